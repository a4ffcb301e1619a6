package registry

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A Store keeps records, sets and what leads to records, and knows nothing of sessions. Its
// methods are safe for concurrent use, and return when their context ends, whatever the store
// does. An error wraps [ErrUnavailable] where nothing can be known now.
type Store interface {
	// Get returns values in the order of the keys; nil: there is none, or it has expired. Unless
	// fresh, they may be as old as the store's cache allows, which is ten seconds at most.
	Get(ctx context.Context, fresh bool, keys ...Key) ([][]byte, error)

	// Members lists up to limit members of each set that have not expired, in any order.
	Members(ctx context.Context, limit int, sets ...Key) ([][]string, error)

	// Edit replaces records by what their rules make of them, each as if nobody else changed it
	// meanwhile. Each edit is atomic, is durable when Edit returns, and fails by itself: see
	// [Edit]. The error is that of the whole call.
	Edit(ctx context.Context, edits ...*Edit) error

	// Due lists up to limit records whose Ends or Owed has come, those first that have waited
	// longest, and does not list them again for two seconds.
	Due(ctx context.Context, limit int) ([]Key, error)

	// Owing lists up to limit records that are Owing, in the order of their keys, after one.
	Owing(ctx context.Context, after Key, limit int) ([]Key, error)

	// Watch calls listener with the key of each record that was replaced by a change with Notify,
	// on whichever server, once Get returns the change, fresh or not, and lost when some may have
	// been missed, until cancel is called. A listener that hangs delays no other record's edits.
	Watch(listener func(Key), lost func()) (cancel func())

	// Now is the clock of all servers that share the store.
	Now() time.Time

	// Broken reports whether the store has to be opened anew.
	Broken() bool

	// Close releases the store. Calls after it, and a second Close, are harmless: they return
	// ErrUnavailable.
	Close() error
}

// An Opener opens stores: what a store module configures.
type Opener interface {
	// Open opens the store, or fails within a second when it is locked or unavailable. It never
	// waits for another process. The logger is for as long as the store is open, over reloads.
	Open(logger *zap.Logger) (Store, error)

	// SharingKey is equal for openers of one and the same store, so that reloads and several users
	// share one registry.
	SharingKey() string
}

// A Key names a value or a set. Its first byte is its kind; the rest is up to 64 bytes.
type Key string

// The kinds of keys.
const (
	kindBrowser  = 'b' // the record of a browser; its place follows
	kindPointer  = 'p' // leads to something, or counts once; a hash follows
	kindUser     = 'u' // the set of the places of an End-User's browsers; a hash follows
	kindDocument = 'd' // what is kept of an issuer, a client or a site; a hash follows
)

// An Edit is a change of one record.
type Edit struct {
	Key Key
	// Marks and Creates are durable before the record is, or with it. They stand also where the
	// rule changes nothing.
	Marks   []Mark
	Creates []Create
	// Rule says what becomes of the value; old is nil where there is none. It may run several
	// times and must not keep old. A nil Change changes nothing. Where it fails or panics, so does
	// the edit, and no other.
	Rule func(old []byte) (*Change, error)

	// Err is why the edit failed. Edit sets it.
	Err error
}

// A Mark makes something a member of a set until it expires; one that is a member already stays so
// until the later one of both times. A zero Expires takes it out of the set.
type Mark struct {
	Set     Key
	Member  string
	Expires time.Time
}

// A Create records a value until it expires, unless there is one.
type Create struct {
	Key     Key
	Value   []byte
	Expires time.Time
}

// A Change is what becomes of a record. Without a Value it is deleted.
type Change struct {
	Value   []byte
	Expires time.Time // when it may be deleted
	Ends    time.Time // when [Store.Due] lists it; zero: not for this
	Owed    time.Time // likewise
	Owing   bool      // [Store.Owing] lists it
	Notify  bool      // whether listeners of [Store.Watch] are called
}

// Apply runs the rule, and makes its panic an error: for stores.
func (e *Edit) Apply(old []byte) (change *Change, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			change, err = nil, fmt.Errorf("a rule panicked: %v\n%s", reason, debug.Stack())
		}
	}()
	return e.Rule(old)
}

// Wake is when [Store.Due] lists the record; zero: not at all.
func (c *Change) Wake() time.Time {
	if c.Ends.IsZero() || !c.Owed.IsZero() && c.Owed.Before(c.Ends) {
		return c.Owed
	}
	return c.Ends
}

// A Listed remembers which records [Store.Due] has listed a moment ago, for stores of one process.
// The zero value remembers none.
type Listed struct {
	mu  sync.Mutex
	ats map[Key]time.Time
}

// listedFor is for how long a record that is due is not listed again.
const listedFor = 2 * time.Second

// First reports whether a record is to be listed now, and remembers it.
func (l *Listed) First(key Key, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.ats[key]; ok && now.Sub(at) < listedFor && !now.Before(at) {
		return false
	}
	if l.ats == nil {
		l.ats = make(map[Key]time.Time)
	}
	l.ats[key] = now
	return true
}

// Forget forgets what was listed long enough ago.
func (l *Listed) Forget(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.ats, func(_ Key, at time.Time) bool { return now.Sub(at) >= listedFor })
}

func recordKey(place Place) Key { return Key(kindBrowser) + Key(place[:]) }

func placeOfKey(key Key) (place Place) {
	copy(place[:], key[1:])
	return place
}

// hashedKey is the key of a kind that follows from the parts, which are kept apart.
func hashedKey(kind rune, parts ...string) Key {
	sum := hashParts(parts...)
	return Key(kind) + Key(sum[:16])
}

func hashParts(parts ...string) [32]byte {
	var all []byte
	for _, part := range parts {
		all = binary.AppendUvarint(all, uint64(len(part)))
		all = append(all, part...)
	}
	return sum256(all)
}
