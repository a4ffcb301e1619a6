package handlers

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxRecent is how many values one recent keeps.
const maxRecent = 1 << 13

// recent keeps the values that were put or got last, at most maxRecent, in memory. The zero value
// is empty, and it is safe for concurrent use.
type recent[V any] struct {
	mu     sync.Mutex
	values *simplelru.LRU[[16]byte, V]
}

func (m *recent[V]) put(key [16]byte, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		m.values, _ = simplelru.NewLRU[[16]byte, V](maxRecent, nil) // fails for no size alone
	}
	m.values.Add(key, value)
}

func (m *recent[V]) has(key [16]byte) bool {
	_, found := m.get(key)
	return found
}

func (m *recent[V]) get(key [16]byte) (value V, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		return value, false
	}
	return m.values.Get(key)
}
