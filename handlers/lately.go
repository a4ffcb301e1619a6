package handlers

import (
	"crypto/sha256"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// MaxLately is how many values one lately keeps.
const MaxLately = 64

// Lately keeps the values that were used last, by name. The zero value is empty. It is not safe
// for concurrent use.
type Lately[V any] struct{ values *simplelru.LRU[string, V] }

// Get returns the value of a name, which is made if it is not there.
func (l *Lately[V]) Get(name string, fresh func() V) V {
	if l.values == nil {
		l.values, _ = simplelru.NewLRU[string, V](MaxLately, nil) // fails for no size alone
	}
	value, found := l.values.Get(name)
	if !found {
		value = fresh()
		l.values.Add(name, value)
	}
	return value
}

func Hash(s string) [16]byte {
	sum := sha256.Sum256([]byte(s))
	return [16]byte(sum[:16])
}
