package handlers

import (
	"crypto/sha256"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	maxRecent = 1 << 13 // values that one Recent keeps

	// MaxLately is how many values one Lately keeps.
	MaxLately = 64
)

// Recent keeps the values that were put or got last, at most 8192, in memory. The zero value is
// empty. It is safe for concurrent use.
type Recent[V any] struct {
	mu     sync.Mutex
	values *simplelru.LRU[[16]byte, V]
}

// Put keeps a value. [Hash] makes keys.
func (m *Recent[V]) Put(key [16]byte, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept().Add(key, value)
}

// Get returns the value of a key; found reports whether it is still kept.
func (m *Recent[V]) Get(key [16]byte) (value V, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept().Get(key)
}

// First reports whether a key is put for the first time, as far as is remembered: what is logged
// once goes by it.
func (m *Recent[V]) First(key [16]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, found := m.kept().Get(key)
	if !found {
		m.values.Add(key, *new(V))
	}
	return !found
}

func (m *Recent[V]) kept() *simplelru.LRU[[16]byte, V] {
	if m.values == nil {
		m.values, _ = simplelru.NewLRU[[16]byte, V](maxRecent, nil) // fails for no size alone
	}
	return m.values
}

// Lately keeps the few values that were used last, by name: each may be large, or costly to make.
// The zero value is empty. The lock of the struct that has it must guard it.
type Lately[V any] struct{ values *simplelru.LRU[string, V] }

// Get returns the value of a name, which fresh makes if it is not kept.
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

// Hash returns the first 16 bytes of a string's SHA-256.
func Hash(s string) [16]byte {
	sum := sha256.Sum256([]byte(s))
	return [16]byte(sum[:16])
}
