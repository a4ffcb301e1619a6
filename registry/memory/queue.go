package memory

import (
	"container/heap"
	"time"
)

// A queue has keys in the order of their times: one entry for each, however often its time changes.
type queue[K comparable] struct {
	entries map[K]*entry[K]
	order   entries[K]
}

type entry[K comparable] struct {
	key   K
	at    time.Time
	index int // in the order
}

// set puts a key at a time, instead of the one that it had.
func (q *queue[K]) set(key K, at time.Time) {
	if e := q.entries[key]; e != nil {
		e.at = at
		heap.Fix(&q.order, e.index)
		return
	}
	if q.entries == nil {
		q.entries = make(map[K]*entry[K])
	}
	e := &entry[K]{key: key, at: at}
	q.entries[key] = e
	heap.Push(&q.order, e)
}

// remove forgets a key, if it is there.
func (q *queue[K]) remove(key K) {
	if e := q.entries[key]; e != nil {
		heap.Remove(&q.order, e.index)
		delete(q.entries, key)
	}
}

// first returns the key with the soonest time. It stays in the queue.
func (q *queue[K]) first() (key K, found bool) {
	if len(q.order) == 0 {
		return key, false
	}
	return q.order[0].key, true
}

// due lists up to limit keys whose time has come, the soonest first. They stay in the queue.
func (q *queue[K]) due(now time.Time, limit int) []K {
	var due []*entry[K]
	for len(due) < limit && len(q.order) > 0 && !now.Before(q.order[0].at) {
		due = append(due, heap.Pop(&q.order).(*entry[K]))
	}
	var keys []K
	for _, e := range due {
		keys = append(keys, e.key)
		heap.Push(&q.order, e)
	}
	return keys
}

// entries is a heap.
type entries[K comparable] []*entry[K]

func (h entries[K]) Len() int           { return len(h) }
func (h entries[K]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h entries[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *entries[K]) Push(x any) {
	e := x.(*entry[K])
	e.index = len(*h)
	*h = append(*h, e)
}

func (h *entries[K]) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
