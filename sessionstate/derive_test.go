package sessionstate

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"testing"
)

func TestDeriveKeepsThePartsOfALabelApart(t *testing.T) {
	key, err := newDerivedKey([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	labels := [][]string{
		nil,
		{""},
		{"", ""},
		{"seal"},
		{"seal", ""},
		{"", "seal"},
		{"se", "al"},
		{"seal", "a", "b"},
		{"seal", "ab"},
		{"\x00\x04seal"},
		{"seal\x00\x01a"},
		{"seal", "a"},
	}
	seen := make(map[string][]string)
	for _, label := range labels {
		out := key.derive(32, label...)
		if other, ok := seen[string(out)]; ok {
			t.Errorf("%q and %q derive the same", label, other)
		}
		seen[string(out)] = label
		if !bytes.Equal(out, key.derive(32, label...)) {
			t.Errorf("%q derives something else the second time", label)
		}
	}
}

func TestDerivePanicsBeyondWhatHKDFCanGive(t *testing.T) {
	key, err := newDerivedKey([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(key.derive(255 * 32)); got != 255*32 { // RFC 5869, section 2.3
		t.Fatalf("got %d bytes", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("one byte more was given")
		}
	}()
	key.derive(255*32 + 1)
}

func TestExpandIsHKDFExpand(t *testing.T) {
	key, err := newDerivedKey([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range []string{"", "a", "a longer label than one block of the hash, which has 64 bytes of its own, and more"} {
		for _, n := range []int{1, 4, 31, 32, 33, 44, 64, 65, 255} {
			want, err := hkdf.Expand(sha256.New, key.prk, info, n)
			if err != nil {
				t.Fatal(err)
			}
			if got := key.expand([]byte(info), n); !bytes.Equal(got, want) {
				t.Errorf("%d bytes for %q: got %x, want %x", n, info, got, want)
			}
		}
	}
}
