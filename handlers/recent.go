package handlers

import "sync"

// maxRecent is how many values are kept in one generation.
const maxRecent = 1 << 12

// recent keeps the values that were put last, at least maxRecent and at most twice as many of them, in memory. The zero value is
// empty, and it is safe for concurrent use.
type recent[V any] struct {
	mu         sync.Mutex
	young, old map[[16]byte]V
}

func (m *recent[V]) put(key [16]byte, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(key, value)
}

func (m *recent[V]) add(key [16]byte, value V) {
	if m.young == nil || len(m.young) >= maxRecent {
		m.old, m.young = m.young, make(map[[16]byte]V)
	}
	m.young[key] = value
}

// first reports whether a key is put for the first time, as far as is remembered: what is logged
// once goes by it.
func (m *recent[V]) first(key [16]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, found := m.find(key); found {
		return false
	}
	var none V
	m.add(key, none)
	return true
}

func (m *recent[V]) get(key [16]byte) (value V, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(key)
}

func (m *recent[V]) find(key [16]byte) (value V, found bool) {
	if value, found = m.young[key]; !found {
		value, found = m.old[key]
	}
	return value, found
}
