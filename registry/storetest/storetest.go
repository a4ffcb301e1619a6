// Package storetest holds the test that every store of sessions passes.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A Clock is one that tests turn, for stores and all else that takes its time from a function. It
// is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at some time, the same in all runs.
func NewClock() *Clock { return ClockAt(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) }

// ClockAt returns a clock that stands at the given time.
func ClockAt(now time.Time) *Clock { return &Clock{now: now} }

// Now returns its time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance turns it forward, or back where d is negative.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Run tests a store. open returns an empty one with the clock; it is closed by the test.
func Run(t *testing.T, open func(t *testing.T, clock *Clock) registry.Store) {
	tests := map[string]func(*testing.T, registry.Store, *Clock){
		"a record is what its rule made of it":                   testEdit,
		"a record is deleted without a value":                    testDelete,
		"a record expires":                                       testExpiry,
		"a rule that fails or panics harms no other":             testFailures,
		"what is created stays as it was":                        testCreates,
		"members of a set expire, and leave it":                  testMembers,
		"marks and creates stand where a rule fails":             testMarksStand,
		"records are due when their time has come, once a while": testDue,
		"what has expired by the thousand delays nothing":        testCrowd,
		"records that owe are listed in their order":             testOwing,
		"whoever watches hears of changes with Notify":           testWatch,
		"whoever watches and hangs delays no other record":       testHangingListener,
		"whoever watches hears of it though the caller has gone": testGoneCaller,
		"simultaneous changes of one record all count":           testSimultaneous,
		"simultaneous sign-ins by two registries all succeed":    testSignIns,
		"a closed store answers with an error":                   testClosed,
		"a call that is over changes nothing":                    testOver,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			clock := NewClock()
			store := open(t, clock)
			defer func() {
				if err := store.Close(); err != nil {
					t.Errorf("closing: %v", err)
				}
			}()
			test(t, store, clock)
		})
	}
}

// testCrowd has a hundred thousand members of sets expire.
func testCrowd(t *testing.T, store registry.Store, clock *Clock) {
	crowd := &registry.Edit{Key: "b0", Rule: func([]byte) (*registry.Change, error) { return nil, nil }}
	for i := range 100_000 {
		mark := registry.Mark{Set: registry.Key(fmt.Sprint("u", i/100)), Member: fmt.Sprint(i), Expires: clock.Now().Add(time.Minute)}
		crowd.Marks = append(crowd.Marks, mark)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := store.Edit(ctx, crowd); err != nil {
		t.Fatal(err)
	}
	due := registry.Change{Value: []byte("owes"), Expires: clock.Now().Add(time.Hour), Owed: clock.Now().Add(2 * time.Minute), Owing: true}
	edit(t, store, &registry.Edit{Key: "b1", Rule: set(due)})
	clock.Advance(3 * time.Minute)
	put(t, store, clock, "b2", "another") // by which they begin to be deleted
	begun := time.Now()
	keys, err := store.Due(t.Context(), 100)
	if err != nil || !slices.Equal(keys, []registry.Key{"b1"}) {
		t.Errorf("due are %q, %v", keys, err)
	}
	put(t, store, clock, "b1", "owes nothing")
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

// set is a rule by which the value becomes the given one.
func set(change registry.Change) func([]byte) (*registry.Change, error) {
	return func([]byte) (*registry.Change, error) { return &change, nil }
}

func edit(t *testing.T, store registry.Store, edits ...*registry.Edit) {
	t.Helper()
	if err := store.Edit(t.Context(), edits...); err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		if e.Err != nil {
			t.Fatal(e.Err)
		}
	}
}

func put(t *testing.T, store registry.Store, clock *Clock, key registry.Key, value string) {
	t.Helper()
	edit(t, store, &registry.Edit{Key: key, Rule: set(registry.Change{Value: []byte(value), Expires: clock.Now().Add(time.Hour)})})
}

func get(t *testing.T, store registry.Store, key registry.Key) string {
	t.Helper()
	values, err := store.Get(t.Context(), true, key)
	if err != nil {
		t.Fatal(err)
	}
	if values[0] == nil {
		return "none"
	}
	return string(values[0])
}

func expect(t *testing.T, store registry.Store, key registry.Key, want string) {
	t.Helper()
	if got := get(t, store, key); got != want {
		t.Errorf("%s is %q, want %q", key, got, want)
	}
}

func testEdit(t *testing.T, store registry.Store, clock *Clock) {
	expect(t, store, "b1", "none")
	put(t, store, clock, "b1", "one")
	var seen string
	edit(t, store, &registry.Edit{Key: "b1", Rule: func(old []byte) (*registry.Change, error) {
		seen = string(old)
		return nil, nil
	}})
	expect(t, store, "b1", "one")
	edit(t, store, &registry.Edit{Key: "b1", Rule: func(old []byte) (*registry.Change, error) {
		return &registry.Change{Value: append(slices.Clone(old), " two"...), Expires: clock.Now().Add(time.Hour)}, nil
	}})
	expect(t, store, "b1", "one two")
	if seen != "one" {
		t.Errorf("the rule saw %q", seen)
	}
	values, err := store.Get(t.Context(), true, "b2", "b1")
	if err != nil || values[0] != nil || string(values[1]) != "one two" {
		t.Errorf("got %q, %v", values, err)
	}
}

func testDelete(t *testing.T, store registry.Store, clock *Clock) {
	put(t, store, clock, "b1", "one")
	edit(t, store, &registry.Edit{Key: "b1", Rule: set(registry.Change{})})
	expect(t, store, "b1", "none")
	edit(t, store, &registry.Edit{Key: "b1", Rule: set(registry.Change{})})
}

func testExpiry(t *testing.T, store registry.Store, clock *Clock) {
	put(t, store, clock, "b1", "one")
	clock.Advance(time.Hour - time.Millisecond)
	expect(t, store, "b1", "one")
	clock.Advance(time.Millisecond)
	expect(t, store, "b1", "none")
	edit(t, store, &registry.Edit{Key: "b1", Rule: func(old []byte) (*registry.Change, error) {
		if old != nil {
			t.Errorf("the rule saw %q", old)
		}
		return nil, nil
	}})
}

func testFailures(t *testing.T, store registry.Store, clock *Clock) {
	failure := errors.New("refused")
	edits := []*registry.Edit{
		{Key: "b1", Rule: func([]byte) (*registry.Change, error) { return nil, failure }},
		{Key: "b2", Rule: func([]byte) (*registry.Change, error) { panic("bug") }},
		{Key: "b3", Rule: set(registry.Change{Value: []byte("three"), Expires: clock.Now().Add(time.Hour)})},
	}
	if err := store.Edit(t.Context(), edits...); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(edits[0].Err, failure) || edits[1].Err == nil || edits[2].Err != nil {
		t.Errorf("errors are %v, %v, %v", edits[0].Err, edits[1].Err, edits[2].Err)
	}
	expect(t, store, "b1", "none")
	expect(t, store, "b2", "none")
	expect(t, store, "b3", "three")
	if store.Broken() {
		t.Error("the store counts as broken")
	}
}

func testCreates(t *testing.T, store registry.Store, clock *Clock) {
	create := func(value string) {
		edit(t, store, &registry.Edit{
			Key: "b1", Creates: []registry.Create{{Key: "p1", Value: []byte(value), Expires: clock.Now().Add(time.Minute)}},
			Rule: func([]byte) (*registry.Change, error) { return nil, nil },
		})
	}
	create("first")
	create("second")
	expect(t, store, "p1", "first")
	clock.Advance(time.Minute)
	create("third")
	expect(t, store, "p1", "third")
}

func members(t *testing.T, store registry.Store, limit int, set registry.Key) []string {
	t.Helper()
	sets, err := store.Members(t.Context(), limit, "unone", set)
	if err != nil || len(sets) != 2 || len(sets[0]) != 0 {
		t.Fatalf("got %q, %v", sets, err)
	}
	slices.Sort(sets[1])
	return sets[1]
}

func mark(t *testing.T, store registry.Store, marks ...registry.Mark) {
	t.Helper()
	edit(t, store, &registry.Edit{Key: "b1", Marks: marks, Rule: func([]byte) (*registry.Change, error) { return nil, nil }})
}

func testMembers(t *testing.T, store registry.Store, clock *Clock) {
	in := func(d time.Duration) time.Time { return clock.Now().Add(d) }
	mark(t, store, registry.Mark{Set: "u1", Member: "a", Expires: in(time.Minute)}, registry.Mark{Set: "u1", Member: "b", Expires: in(time.Hour)})
	mark(t, store, registry.Mark{Set: "u12", Member: "other set", Expires: in(time.Hour)})
	mark(t, store, registry.Mark{Set: "u1", Member: "b", Expires: in(time.Second)}) // it stays an hour
	if got := members(t, store, 10, "u1"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("members are %q", got)
	}
	if got := members(t, store, 1, "u1"); len(got) != 1 {
		t.Errorf("members are %q", got)
	}
	clock.Advance(time.Minute)
	if got := members(t, store, 10, "u1"); !slices.Equal(got, []string{"b"}) {
		t.Errorf("members are %q", got)
	}
	mark(t, store, registry.Mark{Set: "u1", Member: "b"}, registry.Mark{Set: "u1", Member: "c"})
	if got := members(t, store, 10, "u1"); len(got) != 0 {
		t.Errorf("members are %q", got)
	}
}

func testMarksStand(t *testing.T, store registry.Store, clock *Clock) {
	e := &registry.Edit{
		Key: "b1", Marks: []registry.Mark{{Set: "u1", Member: "a", Expires: clock.Now().Add(time.Hour)}},
		Creates: []registry.Create{{Key: "p1", Value: []byte("x"), Expires: clock.Now().Add(time.Hour)}},
		Rule:    func([]byte) (*registry.Change, error) { return nil, errors.New("refused") },
	}
	if err := store.Edit(t.Context(), e); err != nil || e.Err == nil {
		t.Fatalf("errors are %v, %v", err, e.Err)
	}
	expect(t, store, "p1", "x")
	if got := members(t, store, 10, "u1"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("members are %q", got)
	}
}

func due(t *testing.T, store registry.Store, limit int) []registry.Key {
	t.Helper()
	keys, err := store.Due(t.Context(), limit)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func testDue(t *testing.T, store registry.Store, clock *Clock) {
	in := func(d time.Duration) time.Time { return clock.Now().Add(d) }
	change := registry.Change{Value: []byte("x"), Expires: in(24 * time.Hour)}
	ends, owes, both, never := change, change, change, change
	ends.Ends, owes.Owed, both.Ends, both.Owed = in(2*time.Minute), in(time.Minute), in(time.Hour), in(3*time.Minute)
	edit(t, store, &registry.Edit{Key: "b1", Rule: set(ends)}, &registry.Edit{Key: "b2", Rule: set(owes)},
		&registry.Edit{Key: "b3", Rule: set(both)}, &registry.Edit{Key: "b4", Rule: set(never)})
	if got := due(t, store, 10); len(got) != 0 {
		t.Errorf("due are %q", got)
	}
	clock.Advance(3 * time.Minute)
	if got := due(t, store, 2); !slices.Equal(got, []registry.Key{"b2", "b1"}) {
		t.Errorf("due are %q", got)
	}
	if got := due(t, store, 10); !slices.Equal(got, []registry.Key{"b3"}) {
		t.Errorf("due are %q", got)
	}
	clock.Advance(2 * time.Second)
	edit(t, store, &registry.Edit{Key: "b2", Rule: set(never)}, &registry.Edit{Key: "b3", Rule: set(registry.Change{})})
	if got := due(t, store, 10); !slices.Equal(got, []registry.Key{"b1"}) {
		t.Errorf("due are %q", got)
	}
}

func testOwing(t *testing.T, store registry.Store, clock *Clock) {
	for i, owing := range []bool{true, false, true, true} {
		change := registry.Change{Value: []byte("x"), Expires: clock.Now().Add(time.Hour), Owing: owing}
		edit(t, store, &registry.Edit{Key: registry.Key(fmt.Sprintf("b%d", i)), Rule: set(change)})
	}
	first, err := store.Owing(t.Context(), "", 2)
	if err != nil || !slices.Equal(first, []registry.Key{"b0", "b2"}) {
		t.Errorf("got %q, %v", first, err)
	}
	rest, err := store.Owing(t.Context(), "b2", 2)
	if err != nil || !slices.Equal(rest, []registry.Key{"b3"}) {
		t.Errorf("got %q, %v", rest, err)
	}
	put(t, store, clock, "b0", "settled")
	if left, err := store.Owing(t.Context(), "", 9); err != nil || !slices.Equal(left, []registry.Key{"b2", "b3"}) {
		t.Errorf("got %q, %v", left, err)
	}
}

func testWatch(t *testing.T, store registry.Store, clock *Clock) {
	heard := make(chan registry.Key, 10)
	var seen atomic.Value
	cancel := store.Watch(func(key registry.Key) {
		values, err := store.Get(context.Background(), false, key)
		if err != nil {
			t.Error(err)
			return
		}
		seen.Store(string(values[0]))
		heard <- key
	}, func() {})
	change := registry.Change{Value: []byte("x"), Expires: clock.Now().Add(time.Hour)}
	changed := change
	changed.Notify = true
	edit(t, store, &registry.Edit{Key: "b1", Rule: set(change)}, &registry.Edit{Key: "b2", Rule: set(changed)})
	select {
	case key := <-heard:
		if key != "b2" || seen.Load() != "x" {
			t.Errorf("heard of %q, which was %q then", key, seen.Load())
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was heard")
	}
	cancel()
	edit(t, store, &registry.Edit{Key: "b2", Rule: set(changed)})
	select {
	case key := <-heard:
		t.Errorf("heard of %q", key)
	default:
	}
}

func testHangingListener(t *testing.T, store registry.Store, clock *Clock) {
	hangs, free := make(chan struct{}), make(chan struct{})
	defer store.Watch(func(key registry.Key) {
		if key == "b1" {
			close(hangs)
			<-free
		}
	}, func() {})()
	change := registry.Change{Value: []byte("x"), Expires: clock.Now().Add(time.Hour), Notify: true}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() {
		if err := store.Edit(ctx, &registry.Edit{Key: "b1", Rule: set(change)}); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-hangs:
		if err := store.Edit(ctx, &registry.Edit{Key: "b2", Rule: set(change)}); err != nil {
			t.Errorf("another record: %v", err)
		}
	case <-ctx.Done():
		t.Error("nothing was heard")
	}
	close(free)
	all.Wait()
}

// testGoneCaller has a call end while its change is made.
func testGoneCaller(t *testing.T, store registry.Store, clock *Clock) {
	heard := make(chan registry.Key, 1)
	defer store.Watch(func(key registry.Key) { heard <- key }, func() {})()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	change := registry.Change{Value: []byte("x"), Expires: clock.Now().Add(time.Hour), Notify: true}
	_ = store.Edit(ctx, &registry.Edit{Key: "b1", Rule: func([]byte) (*registry.Change, error) {
		cancel()
		return &change, nil
	}})
	select {
	case <-heard:
		expect(t, store, "b1", "x")
	case <-time.After(10 * time.Second):
		expect(t, store, "b1", "none") // a store may give it up
	}
}

func testSimultaneous(t *testing.T, store registry.Store, clock *Clock) {
	const n = 32
	expires := clock.Now().Add(time.Hour)
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			e := &registry.Edit{Key: "b1", Rule: func(old []byte) (*registry.Change, error) {
				return &registry.Change{Value: append(slices.Clone(old), 'x'), Expires: expires}, nil
			}}
			if err := store.Edit(context.Background(), e); err != nil || e.Err != nil {
				t.Errorf("errors are %v, %v", err, e.Err)
			}
		})
	}
	all.Wait()
	if got := get(t, store, "b1"); len(got) != n {
		t.Errorf("%d of %d count", len(got), n)
	}
}

type opener struct{ registry.Store }

func (o opener) Open(*zap.Logger) (registry.Store, error) { return o.Store, nil }
func (o opener) SharingKey() string                       { return "" }

func testSignIns(t *testing.T, store registry.Store, _ *Clock) {
	const n = 32
	ctx := registry.Patient(context.Background()) // not a test of the disk's speed
	j := registry.Join{Issuer: "https://op.example.com", Browser: sessionstate.NewBrowserID(), ClientID: "shop", Lifetime: time.Hour, Notify: true}
	var two []*registry.Registry
	for range 2 {
		two = append(two, registry.Open(opener{store}, func([]*registry.Session) {}, zap.NewNop()))
	}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			j := j
			j.Response = sessionstate.ResponseID{byte(i), 1}
			d := registry.Redemption{
				Issuer: j.Issuer, Response: j.Response, Audience: []string{"shop"}, Sub: fmt.Sprint("user ", i), Lifetime: time.Hour, Notify: true,
			}
			_, err := two[i%2].Join(ctx, j)
			redeemed, redeemErr := two[(i+1)%2].Redeem(ctx, d)
			if err := errors.Join(err, redeemErr); err != nil || redeemed.Session == nil {
				t.Errorf("sign-in %d: %v, %v", i, redeemed, err)
			}
		})
	}
	all.Wait()
	ended, err := two[0].End(ctx, registry.Ending{Place: registry.PlaceOf(j.Issuer, j.Browser), Reason: registry.ReasonLogout})
	owing, _, owingErr := two[1].Owing(ctx, "", 1)
	if len(ended) != n || len(owing) != n || err != nil || owingErr != nil {
		t.Errorf("%d have ended, %d owe, %v, %v", len(ended), len(owing), err, owingErr)
	}
}

func testClosed(t *testing.T, store registry.Store, _ *Clock) {
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	_, getErr := store.Get(t.Context(), true, "b1")
	_, membersErr := store.Members(t.Context(), 1, "u1")
	_, dueErr := store.Due(t.Context(), 1)
	_, owingErr := store.Owing(t.Context(), "", 1)
	editErr := store.Edit(t.Context(), &registry.Edit{Key: "b1", Rule: set(registry.Change{})})
	for _, err := range []error{getErr, membersErr, dueErr, owingErr, editErr} {
		if !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("error is %v", err)
		}
	}
}

func testOver(t *testing.T, store registry.Store, clock *Clock) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := &registry.Edit{Key: "b1", Rule: set(registry.Change{Value: []byte("x"), Expires: clock.Now().Add(time.Hour)})}
	if err := store.Edit(ctx, e); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("error is %v", err)
	}
	expect(t, store, "b1", "none")
}
