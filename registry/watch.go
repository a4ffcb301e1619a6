package registry

import (
	"maps"
	"slices"
	"sync"
)

// Listeners are functions that are called with news. The zero value has none. It is safe for
// concurrent use.
type Listeners[T any] struct {
	mu   sync.Mutex
	last int
	all  map[int]func(T)
}

// Add adds a listener until cancel is called. A call that has begun before may come after it.
func (l *Listeners[T]) Add(listener func(T)) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = make(map[int]func(T))
	}
	l.last++
	id := l.last
	l.all[id] = listener
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.all, id)
	}
}

// Notify calls all listeners. It holds no lock meanwhile: a slow one delays only its caller.
func (l *Listeners[T]) Notify(news T) {
	l.mu.Lock()
	all := slices.Collect(maps.Values(l.all))
	l.mu.Unlock()
	for _, listener := range all {
		listener(news)
	}
}

// Watch calls listener, in this process, with each browser of which a session has ended or was lost
// with a damaged record, on whichever server, until cancel is called: [Registry.Resolve] says so by
// then. The zero Place says that some may have been missed: then ask again for what you hold open.
// listener must return soon.
func (r *Registry) Watch(listener func(Place)) (cancel func()) { return r.listeners.Add(listener) }

// watch listens to a store that was opened. Nobody did until now.
func (r *Registry) watch(store Store) {
	lost := func() { r.listeners.Notify(Place{}) }
	store.Watch(func(key Key) { r.listeners.Notify(placeOfKey(key)) }, lost)
	lost()
}
