// Package memory keeps sessions in memory, for tests and for a server that may forget them.
package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/btree"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// A Store is a [registry.Store] in memory. Use [New].
type Store struct {
	now       func() time.Time
	listeners registry.Listeners[registry.Key]
	listed    registry.Listed

	mu      sync.Mutex
	closed  bool
	records map[registry.Key]*registry.Change
	sets    map[registry.Key]map[string]time.Time
	wakes   *btree.BTreeG[moment] // of records with an Ends or an Owed
	expires *btree.BTreeG[moment] // of records and members
}

// A moment is when something happens to a record, or to a member of a set.
type moment struct {
	at     int64
	key    registry.Key
	member string
}

func (m moment) less(other moment) bool {
	if m.at != other.at {
		return m.at < other.at
	}
	if m.key != other.key {
		return m.key < other.key
	}
	return m.member < other.member
}

// degree is that of the trees.
const degree = 32

// New returns an empty store. now is its clock.
func New(now func() time.Time) *Store {
	return &Store{
		now:     now,
		records: make(map[registry.Key]*registry.Change),
		sets:    make(map[registry.Key]map[string]time.Time),
		wakes:   btree.NewG(degree, moment.less),
		expires: btree.NewG(degree, moment.less),
	}
}

var errClosed = fmt.Errorf("%w: closed", registry.ErrUnavailable)

// lock takes the lock, unless the store is closed or the call has ended.
func (s *Store) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", registry.ErrUnavailable, err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	return nil
}

// Get implements [registry.Store].
func (s *Store) Get(ctx context.Context, _ bool, keys ...registry.Key) ([][]byte, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	values := make([][]byte, len(keys))
	for i, key := range keys {
		values[i] = s.get(key)
	}
	return values, nil
}

func (s *Store) get(key registry.Key) []byte {
	if record := s.records[key]; record != nil && s.now().Before(record.Expires) {
		return record.Value
	}
	return nil
}

// Members implements [registry.Store].
func (s *Store) Members(ctx context.Context, limit int, sets ...registry.Key) ([][]string, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	now := s.now()
	members := make([][]string, len(sets))
	for i, set := range sets {
		for member, expires := range s.sets[set] {
			if len(members[i]) == limit {
				break
			}
			if now.Before(expires) {
				members[i] = append(members[i], member)
			}
		}
	}
	return members, nil
}

// Edit implements [registry.Store].
func (s *Store) Edit(ctx context.Context, edits ...*registry.Edit) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	var changed []registry.Key
	for _, edit := range edits {
		var tell bool
		if tell, edit.Err = s.edit(edit); tell {
			changed = append(changed, edit.Key)
		}
	}
	s.sweep()
	s.mu.Unlock()
	for _, key := range changed {
		s.listeners.Notify(key)
	}
	return nil
}

func (s *Store) edit(edit *registry.Edit) (tell bool, err error) {
	change, err := edit.Apply(s.get(edit.Key))
	for _, mark := range edit.Marks {
		s.mark(mark)
	}
	for _, create := range edit.Creates {
		if s.get(create.Key) == nil {
			s.put(create.Key, &registry.Change{Value: create.Value, Expires: create.Expires})
		}
	}
	if err != nil || change == nil {
		return false, err
	}
	s.put(edit.Key, change)
	return change.Notify, nil
}

func (s *Store) mark(mark registry.Mark) {
	before := s.sets[mark.Set][mark.Member]
	if !mark.Expires.IsZero() && !mark.Expires.After(before) {
		return
	}
	s.unmark(mark.Set, mark.Member, before)
	if mark.Expires.IsZero() {
		return
	}
	if s.sets[mark.Set] == nil {
		s.sets[mark.Set] = make(map[string]time.Time)
	}
	s.sets[mark.Set][mark.Member] = mark.Expires
	s.expires.ReplaceOrInsert(moment{mark.Expires.UnixNano(), mark.Set, mark.Member})
}

func (s *Store) unmark(set registry.Key, member string, expires time.Time) {
	s.expires.Delete(moment{expires.UnixNano(), set, member})
	delete(s.sets[set], member)
	if len(s.sets[set]) == 0 {
		delete(s.sets, set)
	}
}

// put replaces a record; without a value, it is deleted.
func (s *Store) put(key registry.Key, change *registry.Change) {
	if before := s.records[key]; before != nil {
		s.expires.Delete(moment{at: before.Expires.UnixNano(), key: key})
		if wake := before.Wake(); !wake.IsZero() {
			s.wakes.Delete(moment{at: wake.UnixNano(), key: key})
		}
		delete(s.records, key)
	}
	if len(change.Value) == 0 {
		return
	}
	s.records[key] = change
	s.expires.ReplaceOrInsert(moment{at: change.Expires.UnixNano(), key: key})
	if wake := change.Wake(); !wake.IsZero() {
		s.wakes.ReplaceOrInsert(moment{at: wake.UnixNano(), key: key})
	}
}

// maxSwept is how much one call deletes of what has expired.
const maxSwept = 100

// sweep deletes what has expired.
func (s *Store) sweep() {
	now := s.now().UnixNano()
	for range maxSwept {
		first, ok := s.expires.Min()
		if !ok || first.at > now {
			return
		}
		if first.member != "" {
			s.unmark(first.key, first.member, time.Unix(0, first.at))
		} else {
			s.put(first.key, new(registry.Change))
		}
	}
}

// Due implements [registry.Store].
func (s *Store) Due(ctx context.Context, limit int) (due []registry.Key, err error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	now := s.now()
	s.listed.Forget(now)
	s.wakes.AscendLessThan(moment{at: now.UnixNano() + 1}, func(m moment) bool {
		if s.listed.First(m.key, now) {
			due = append(due, m.key)
		}
		return len(due) < limit
	})
	return due, nil
}

// Owing implements [registry.Store].
func (s *Store) Owing(ctx context.Context, after registry.Key, limit int) ([]registry.Key, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var owing []registry.Key
	for key, record := range s.records {
		if record.Owing && key > after && s.now().Before(record.Expires) {
			owing = append(owing, key)
		}
	}
	slices.Sort(owing)
	return owing[:min(limit, len(owing))], nil
}

// Watch implements [registry.Store]. Nothing is ever missed.
func (s *Store) Watch(listener func(registry.Key), _ func()) (cancel func()) {
	return s.listeners.Add(listener)
}

// Now implements [registry.Store].
func (s *Store) Now() time.Time { return s.now() }

// Broken implements [registry.Store]: memory does not break.
func (*Store) Broken() bool { return false }

// Close implements [registry.Store].
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.records, s.sets = nil, nil
	return nil
}

// Interface guard
var _ registry.Store = (*Store)(nil)
