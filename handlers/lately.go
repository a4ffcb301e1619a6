package handlers

import "github.com/hashicorp/golang-lru/v2/simplelru"

// maxLately is how many values one lately keeps.
const maxLately = 64

// lately keeps the values that were used last, by name. The zero value is empty. It is not safe
// for concurrent use.
type lately[V any] struct{ values *simplelru.LRU[string, V] }

// get returns the value of a name, which is made if it is not there.
func (l *lately[V]) get(name string, fresh func() V) V {
	if l.values == nil {
		l.values, _ = simplelru.NewLRU[string, V](maxLately, nil) // fails for no size alone
	}
	value, found := l.values.Get(name)
	if !found {
		value = fresh()
		l.values.Add(name, value)
	}
	return value
}
