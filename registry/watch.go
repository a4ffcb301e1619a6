package registry

import (
	"maps"
	"slices"
	"sync"
)

// Listeners are those who listen to something. The zero value has none; it is safe for concurrent
// use.
type Listeners[T any] struct {
	mu   sync.Mutex
	last int
	all  map[int]func(T)
}

// Add adds one, until cancel is called; one call that has begun before may come after it.
func (l *Listeners[T]) Add(heard func(T)) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = make(map[int]func(T))
	}
	l.last++
	id := l.last
	l.all[id] = heard
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.all, id)
	}
}

// Tell calls all of them. It holds no lock meanwhile: a slow one delays its caller and no other.
func (l *Listeners[T]) Tell(news T) {
	l.mu.Lock()
	all := slices.Collect(maps.Values(l.all))
	l.mu.Unlock()
	for _, heard := range all {
		heard(news)
	}
}

// Watch calls heard, in this process, for each browser of which a session has ended, on whichever
// server; with the zero Place when some may have been missed: ask again then for what you hold
// open. heard must return soon.
func (r *Registry) Watch(heard func(Place)) (cancel func()) { return r.heard.Add(heard) }

// watch listens to a store that was opened. Nobody did until now.
func (r *Registry) watch(store Store) {
	lost := func() { r.heard.Tell(Place{}) }
	store.Watch(func(key Key) { r.heard.Tell(placeOfKey(key)) }, lost)
	lost()
}
