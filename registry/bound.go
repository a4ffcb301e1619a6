package registry

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Bound gives every call of a registry at most the given time, whether or not the registry heeds its context: a disk that
// hangs cannot be told to stop. A call that is out of time returns an error that wraps [ErrUnavailable] and runs on; at most
// inFlight calls run at once. While all of those are out of time, further calls fail at once; else they wait within their limit.
//
// With a context of [Patient], a call has [PatientLimit] if that is longer. An End that is out of
// its caller's time has as long: it may run on, and commits then.
//
// ID, Resolve, Client and ClientAt run in the caller's goroutine: their limit is in their context only.
//
// Close is not bounded.
func Bound(r Registry, limit time.Duration, inFlight int) Registry {
	return &bound{registry: r, limit: limit, running: make(chan struct{}, inFlight)}
}

// PatientLimit is how long a call may take that no sign-in waits for.
const PatientLimit = 5 * time.Second

type patientKey struct{}

// Patient returns a context for calls that no sign-in waits for.
func Patient(ctx context.Context) context.Context { return context.WithValue(ctx, patientKey{}, true) }

type bound struct {
	registry Registry
	limit    time.Duration
	running  chan struct{} // holds an element for each call that runs
	stuck    atomic.Int64  // those of them that are out of time
}

// result is what a call returned. found is for the look-ups, which have one result more.
type result[T any] struct {
	value T
	found bool
	err   error
}

// limitOf is how long the caller of a context waits.
func (b *bound) limitOf(ctx context.Context) time.Duration {
	if ctx.Value(patientKey{}) != nil {
		return max(b.limit, PatientLimit)
	}
	return b.limit
}

// within makes one call, within the limit.
func within[T any](ctx context.Context, b *bound, call func(context.Context) result[T]) result[T] {
	return runningOn(ctx, b, 0, call)
}

// runningOn makes one call, for which its caller waits within the limit. Its own context lasts as
// long, but at least a given time.
func runningOn[T any](caller context.Context, b *bound, atLeast time.Duration, call func(context.Context) result[T]) result[T] {
	limit := b.limitOf(caller)
	ctx, cancel := context.WithTimeout(caller, limit)
	defer cancel()
	if err := b.enter(ctx); err != nil {
		return result[T]{err: err}
	}
	own, end := context.WithTimeout(caller, max(limit, atLeast))
	const running, done, late = 0, 1, 2
	var state atomic.Int32
	results := make(chan result[T], 1)
	go func() {
		defer end()
		results <- recovered(func() result[T] { return call(own) })
		if !state.CompareAndSwap(running, done) {
			b.stuck.Add(-1)
		}
		<-b.running
	}()
	select {
	case r := <-results:
		return r
	case <-ctx.Done():
	}
	b.stuck.Add(1)
	if !state.CompareAndSwap(running, late) { // done just now
		b.stuck.Add(-1)
		return <-results
	}
	return result[T]{err: outOfTime(ctx)}
}

// inline makes a call in the caller's own goroutine, for calls that only look something up: those come back within their
// context's time unless the disk hangs, and no login waits for one that reads the disk. A goroutine of its own would cost more
// than such a call.
func inline[T any](ctx context.Context, b *bound, call func(context.Context) result[T]) result[T] {
	ctx, cancel := context.WithTimeout(ctx, b.limitOf(ctx))
	defer cancel()
	if err := b.enter(ctx); err != nil {
		return result[T]{err: err}
	}
	defer func() { <-b.running }()
	return recovered(func() result[T] { return call(ctx) })
}

// enter waits for a place among the calls that run.
func (b *bound) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return outOfTime(ctx)
	}
	select {
	case b.running <- struct{}{}:
		return nil
	default:
	}
	if stuck := b.stuck.Load(); stuck >= int64(cap(b.running)) {
		return fmt.Errorf("%w: %d calls are out of time already", ErrUnavailable, stuck)
	}
	select {
	case b.running <- struct{}{}:
		return nil
	case <-ctx.Done():
		return outOfTime(ctx)
	}
}

// recovered makes a panic an error: in a goroutine of its own, it would end the process.
func recovered[T any](call func() result[T]) (r result[T]) {
	defer func() {
		if value := recover(); value != nil {
			r = result[T]{err: fmt.Errorf("%w: panic: %v", ErrUnavailable, value)}
		}
	}()
	return call()
}

func outOfTime(ctx context.Context) error { return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err()) }

func (b *bound) ID(ctx context.Context) (sessionstate.RegistryID, error) {
	r := inline(ctx, b, func(ctx context.Context) (r result[sessionstate.RegistryID]) {
		r.value, r.err = b.registry.ID(ctx)
		return r
	})
	return r.value, r.err
}

func (b *bound) Join(ctx context.Context, join Join) (Session, error) {
	r := within(ctx, b, func(ctx context.Context) (r result[Session]) {
		r.value, r.err = b.registry.Join(ctx, join)
		return r
	})
	return r.value, r.err
}

func (b *bound) Redeem(ctx context.Context, redemption Redemption) (Redeemed, error) {
	r := within(ctx, b, func(ctx context.Context) (r result[Redeemed]) {
		r.value, r.err = b.registry.Redeem(ctx, redemption)
		return r
	})
	return r.value, r.err
}

func (b *bound) Session(ctx context.Context, issuer string, id sessionstate.SessionID) (Session, bool, error) {
	r := within(ctx, b, func(ctx context.Context) (r result[Session]) {
		r.value, r.found, r.err = b.registry.Session(ctx, issuer, id)
		return r
	})
	return r.value, r.found, r.err
}

func (b *bound) Resolve(ctx context.Context, issuer string, id sessionstate.SessionID, response sessionstate.ResponseID) (Session, bool, error) {
	r := inline(ctx, b, func(ctx context.Context) (r result[Session]) {
		r.value, r.found, r.err = b.registry.Resolve(ctx, issuer, id, response)
		return r
	})
	return r.value, r.found, r.err
}

func (b *bound) Participations(ctx context.Context, issuer string, id sessionstate.SessionID) ([]Participation, error) {
	r := within(ctx, b, func(ctx context.Context) (r result[[]Participation]) {
		r.value, r.err = b.registry.Participations(ctx, issuer, id)
		return r
	})
	return r.value, r.err
}

func (b *bound) End(ctx context.Context, ending Ending) ([]Session, error) {
	r := runningOn(ctx, b, PatientLimit, func(ctx context.Context) (r result[[]Session]) {
		r.value, r.err = b.registry.End(ctx, ending)
		return r
	})
	return r.value, r.err
}

func (b *bound) Spend(ctx context.Context, spending Spending) (bool, error) {
	r := within(ctx, b, func(ctx context.Context) (r result[bool]) {
		r.value, r.err = b.registry.Spend(ctx, spending)
		return r
	})
	return r.value, r.err
}

func (b *bound) KeepKeys(ctx context.Context, keeping Keeping) error {
	r := within(ctx, b, func(ctx context.Context) (r result[struct{}]) {
		r.err = b.registry.KeepKeys(ctx, keeping)
		return r
	})
	return r.err
}

func (b *bound) Keys(ctx context.Context, issuer string, now time.Time) ([]Key, error) {
	r := within(ctx, b, func(ctx context.Context) (r result[[]Key]) {
		r.value, r.err = b.registry.Keys(ctx, issuer, now)
		return r
	})
	return r.value, r.err
}

func (b *bound) Observe(ctx context.Context, issuer string, observed Observed) error {
	r := within(ctx, b, func(ctx context.Context) (r result[struct{}]) {
		r.err = b.registry.Observe(ctx, issuer, observed)
		return r
	})
	return r.err
}

func (b *bound) Observed(ctx context.Context, issuer string) (Observed, bool, error) {
	r := within(ctx, b, func(ctx context.Context) (r result[Observed]) {
		r.value, r.found, r.err = b.registry.Observed(ctx, issuer)
		return r
	})
	return r.value, r.found, r.err
}

func (b *bound) DueNotices(ctx context.Context, issuer string, now time.Time, limit int) ([]Notice, error) {
	r := within(ctx, b, func(ctx context.Context) (r result[[]Notice]) {
		r.value, r.err = b.registry.DueNotices(ctx, issuer, now, limit)
		return r
	})
	return r.value, r.err
}

func (b *bound) Notices(ctx context.Context, issuer string, ids []NoticeID) ([]Notice, error) {
	r := within(ctx, b, func(ctx context.Context) (r result[[]Notice]) {
		r.value, r.err = b.registry.Notices(ctx, issuer, ids)
		return r
	})
	return r.value, r.err
}

func (b *bound) AllNotices(ctx context.Context, issuer string, after NoticeID, limit int) ([]Notice, error) {
	r := within(ctx, b, func(ctx context.Context) (r result[[]Notice]) {
		r.value, r.err = b.registry.AllNotices(ctx, issuer, after, limit)
		return r
	})
	return r.value, r.err
}

func (b *bound) SettleNotices(ctx context.Context, settling Settling) error {
	r := within(ctx, b, func(ctx context.Context) (r result[struct{}]) {
		r.err = b.registry.SettleNotices(ctx, settling)
		return r
	})
	return r.err
}

func (b *bound) PutClient(ctx context.Context, issuer string, client Client, now time.Time) error {
	r := within(ctx, b, func(ctx context.Context) (r result[struct{}]) {
		r.err = b.registry.PutClient(ctx, issuer, client, now)
		return r
	})
	return r.err
}

func (b *bound) DeleteClient(ctx context.Context, issuer, id string) error {
	r := within(ctx, b, func(ctx context.Context) (r result[struct{}]) {
		r.err = b.registry.DeleteClient(ctx, issuer, id)
		return r
	})
	return r.err
}

func (b *bound) Client(ctx context.Context, issuer, id string) (Client, bool, error) {
	r := inline(ctx, b, func(ctx context.Context) (r result[Client]) {
		r.value, r.found, r.err = b.registry.Client(ctx, issuer, id)
		return r
	})
	return r.value, r.found, r.err
}

func (b *bound) ClientAt(ctx context.Context, issuer, uri string) (Client, bool, error) {
	r := inline(ctx, b, func(ctx context.Context) (r result[Client]) {
		r.value, r.found, r.err = b.registry.ClientAt(ctx, issuer, uri)
		return r
	})
	return r.value, r.found, r.err
}

func (b *bound) Expire(ctx context.Context, expiry Expiry) (int, error) {
	r := within(ctx, b, func(ctx context.Context) (r result[int]) {
		r.value, r.err = b.registry.Expire(ctx, expiry)
		return r
	})
	return r.value, r.err
}

func (b *bound) Close() error { return b.registry.Close() }
