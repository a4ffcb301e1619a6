package sessionstate

import (
	"bytes"
	"fmt"
	"testing"
)

func TestDeriveKeepsThePartsOfALabelApart(t *testing.T) {
	key, err := newSharedKey([]byte("0123456789abcdef0123456789abcdef"))
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

func TestTheKeysThatAreKeptAreBounded(t *testing.T) {
	ring, err := NewKeyring([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	first := ring.Seal("cookie", "https://0.example", nil)
	for i := range 3 * maxSealUses {
		ring.Seal("cookie", fmt.Sprint("https://", i, ".example"), nil)
	}
	if n := len(ring.sealing); n > maxSealUses || n == 0 {
		t.Errorf("%d are kept", n)
	}
	if _, _, err := ring.Open("cookie", "https://0.example", first); err != nil {
		t.Error("one that is kept no longer does not open what it sealed")
	}
}
