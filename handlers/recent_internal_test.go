package handlers

import (
	"encoding/binary"
	"fmt"
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

func TestCostlyValuesAreKeptForTheNamesThatWereUsedLast(t *testing.T) {
	var l Lately[int]
	made := 0
	get := func(i int) int {
		return l.Get(fmt.Sprint(i), func() int { made++; return made })
	}
	for i := range 2 * MaxLately {
		get(i)
	}
	if get(2*MaxLately-1) != 2*MaxLately || made != 2*MaxLately || l.values.Len() != MaxLately {
		t.Errorf("%d were made, %d are kept", made, l.values.Len())
	}
	if get(0) == 1 {
		t.Error("the first is kept")
	}
}
