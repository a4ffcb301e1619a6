package handlers

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxRecent is how many values one recent keeps.
const maxRecent = 1 << 13

// Recent keeps the values that were put or got last, at most maxRecent, in memory. The zero value
// is empty, and it is safe for concurrent use.
type Recent[V any] struct {
	mu     sync.Mutex
	values *simplelru.LRU[[16]byte, V]
}

func (m *Recent[V]) Put(key [16]byte, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept().Add(key, value)
}

// First reports whether a key is put for the first time, as far as is remembered: what is logged
// once goes by it.
func (m *Recent[V]) First(key [16]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, found := m.kept().Get(key); found {
		return false
	}
	var none V
	m.values.Add(key, none)
	return true
}

func (m *Recent[V]) Get(key [16]byte) (value V, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept().Get(key)
}

func (m *Recent[V]) kept() *simplelru.LRU[[16]byte, V] {
	if m.values == nil {
		m.values, _ = simplelru.NewLRU[[16]byte, V](maxRecent, nil) // fails for no size alone
	}
	return m.values
}
