package handlers

import "slices"

// maxLately is how many values one lately keeps.
const maxLately = 64

// lately keeps the values that were used last, by name. The zero value is empty. It is not safe
// for concurrent use.
type lately[V any] struct {
	names  []string // the last used first
	values map[string]V
}

// get returns the value of a name, which is made if it is not there. Of too many, the one that
// was used the longest time ago is forgotten.
func (l *lately[V]) get(name string, fresh func() V) V {
	value, found := l.values[name]
	if i := slices.Index(l.names, name); i >= 0 {
		l.names = slices.Delete(l.names, i, i+1)
	}
	if !found {
		if l.values == nil {
			l.values = make(map[string]V)
		}
		value = fresh()
		l.values[name] = value
	}
	l.names = slices.Insert(l.names, 0, name)
	if len(l.names) > maxLately {
		delete(l.values, l.names[maxLately])
		l.names = l.names[:maxLately]
	}
	return value
}
