package registry

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// golden has every field of version 1.
func golden() *record {
	id := func(n byte) (id [16]byte) {
		copy(id[:], "\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13")
		id[15] = n
		return id
	}
	return &record{
		Issuer: issuer, Clock: start + 3, Crowded: start + hour,
		Sessions: []*Session{{
			Issuer: issuer, ID: id(1), Created: start, Expires: start + minute, Limit: start + hour,
			Ended: start + 2, Reason: ReasonUserSwitch, Silent: true, Successor: id(2), Predecessor: id(3),
			Clients: []*Client{{
				ID: "shop", Origins: []string{"https://shop.example.com"}, IDToken: IDToken{Issuer: issuer + "/", Algorithm: "ES256"},
				Subjects: []*Subject{{
					Sub: "alice", Sid: "1", Since: start, Last: start + 1,
					Notice: &Notice{
						Until: start + 9, Due: start + 5, Attempts: 2, Late: true, Asked: true, Lease: 1 << 63, WithoutSid: true,
						Why: "status 503",
					},
				}, {Sub: "alice", Since: start, Last: start}},
			}},
		}, {Issuer: issuer, ID: id(2), Created: start + 2, Expires: start + hour, Limit: start + hour, Forgotten: start + 10*minute}},
		Responses: []*Response{{
			ID: id(9), Session: id(2), ClientID: "shop", Origin: "https://shop.example.com", Made: start + 2, Redeemed: start + 3,
			Silent: true, Moved: true,
		}},
	}
}

// TestRecordsOfVersion1 compares with a record that was written by the first release. It must be
// read for ever. What is written may change only by a field that an earlier release reads.
func TestRecordsOfVersion1(t *testing.T) {
	const path = "testdata/record_v1.hex"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	value, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	read, err := decodeRecord(value)
	if err != nil || !reflect.DeepEqual(read, golden()) {
		t.Errorf("read %+v, %v", read, err)
	}
	if written, err := encode(golden()); err != nil || !bytes.Equal(written, value) {
		t.Errorf("written (%v)\n%x", err, written)
	}
}

func TestWhatIsNotReadAsARecord(t *testing.T) {
	sound, err := encode(golden())
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		value string
		want  error
	}{
		"nothing":              {"", errDamaged},
		"version 0":            {"\x00\xa0", errDamaged},
		"a later version":      {"\x02 whatever", errNewer},
		"the last version":     {"\xff", errNewer},
		"the version alone":    {"\x01", errDamaged},
		"cut off":              {string(sound[:len(sound)-1]), errDamaged},
		"with a tail":          {string(sound) + "x", errDamaged},
		"a list":               {"\x01\x80", errDamaged},
		"no session":           {"\x01\xa1\x03\x81\xf6", errDamaged},
		"no response":          {"\x01\xa1\x04\x81\xf6", errDamaged},
		"no client":            {"\x01\xa1\x03\x81\xa1\x0b\x81\xf6", errDamaged},
		"no subject":           {"\x01\xa1\x03\x81\xa1\x0b\x81\xa1\x03\x81\xf6", errDamaged},
		"a text for a time":    {"\x01\xa1\x02\x61x", errDamaged},
		"a key twice":          {"\x01\xa2\x02\x01\x02\x02", errDamaged},
		"many that are not":    {"\x01\xa1\x03\x9a\xff\xff\xff\xff", errDamaged},
		"a long text that not": {"\x01\xa1\x01\x7b\x7f\xff\xff\xff\xff\xff\xff\xff", errDamaged},
		"nested":               {"\x01" + strings.Repeat("\x81", 60_000), errDamaged},
	} {
		before, after := new(runtime.MemStats), new(runtime.MemStats)
		runtime.ReadMemStats(before)
		_, err := decodeRecord([]byte(row.value))
		runtime.ReadMemStats(after)
		if !errors.Is(err, row.want) || errors.Is(err, errNewer) != errors.Is(row.want, errNewer) {
			t.Errorf("%s: error is %v", name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("%s: takes %d bytes", name, used)
		}
	}
	for field := range 64 { // those of later releases are passed over
		if _, err := decodeRecord([]byte{1, 0xa1, 0x18, byte(100 + field), 0x81, 0x01}); err != nil {
			t.Errorf("field %d: %v", 100+field, err)
		}
	}
}

// FuzzRecord reads any bytes, and has the rules make whatever they read into another record.
func FuzzRecord(f *testing.F) {
	sound, err := encode(golden())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sound)
	f.Add([]byte("\x01\xa1\x03\x81\xf6"))
	f.Add([]byte("\x01\xa1\x03\x81\xa1\x0b\x81\xa1\x03\x81\xa1\x05\xf6"))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := decodeRecord(value)
		if err != nil || r == nil {
			return
		}
		b := newBrowser(t)
		b.rec = r
		now := max(start, min(r.Clock, start+hour)) + 1
		for _, s := range slices.Clone(r.Sessions) {
			s.isOf("alice")
			r.resolve(Ref{Session: s.ID})
			b.j.Session = s.ID
			b.rec.join(b.j, b.fresh(), now)
		}
		for _, p := range slices.Clone(r.Responses) {
			r.redeem(Redemption{Issuer: issuer, Response: p.ID, Audience: []string{p.ClientID}, Sub: "bob", Notify: true}, b.fresh(), now)
		}
		r.tidy(now)
		r.endAll(nil, ReasonLogout, "shop", now, now)
		for _, o := range r.claim(now, now+1, nil, 1) {
			r.recordOutcomes([]Outcome{{Notice: o, Due: now}}, now)
		}
		r.shrink()
		if _, err := r.change(); err != nil {
			t.Fatal(err)
		}
	})
}
