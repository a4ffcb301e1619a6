package handlers

import (
	"encoding/binary"
	"testing"
)

func TestTheLatestAreRememberedAndNotMore(t *testing.T) {
	var r Recent[int]
	key := func(i int) (k [16]byte) {
		binary.BigEndian.PutUint32(k[:], uint32(i))
		return k
	}
	for i := range 2 * maxRecent {
		r.Put(key(i), i)
	}
	if got, known := r.Get(key(2*maxRecent - 1)); !known || got != 2*maxRecent-1 {
		t.Errorf("of the last, %d is known", got)
	}
	if _, known := r.Get(key(0)); known || r.values.Len() > maxRecent {
		t.Errorf("%d are remembered", r.values.Len())
	}
}
