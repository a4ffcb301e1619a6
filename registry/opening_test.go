package registry_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
)

// A fragile store can be broken. It notes that it was closed.
type fragile struct {
	registry.Store

	broken, closed atomic.Bool
}

func (f *fragile) Broken() bool { return f.broken.Load() }

func (f *fragile) Close() error {
	f.closed.Store(true)
	return f.Store.Close()
}

// A disk is what a registry's store is opened from.
type disk struct {
	*registry.Registry

	open  func() (registry.Store, error)
	times atomic.Int64
	away  atomic.Bool
	last  atomic.Pointer[fragile]
	logs  *observer.ObservedLogs
}

var errAway = errors.New("no such disk")

func newDisk() *disk {
	core, logs := observer.New(zapcore.InfoLevel)
	d := &disk{logs: logs}
	d.open = func() (registry.Store, error) {
		if d.away.Load() {
			return nil, errAway
		}
		store := &fragile{Store: memory.New(time.Now)}
		d.last.Store(store)
		return store, nil
	}
	opens := opener(func() (registry.Store, error) {
		d.times.Add(1)
		return d.open()
	})
	logger := zap.New(core)
	d.Registry = registry.Open(opens, func([]*registry.Session) {}, logger)
	return d
}

// asks makes a call and compares its error and how often the store was opened.
func (d *disk) asks(t *testing.T, want error, opened int64) {
	t.Helper()
	_, _, err := d.Owing(t.Context(), "", 1)
	if !errors.Is(err, want) || want != nil && !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("error is %v, want %v", err, want)
	}
	equal(t, "opened", d.times.Load(), opened)
}

func TestOpening(t *testing.T) {
	slowly := func(d *disk) {
		open := d.open
		d.open = func() (registry.Store, error) {
			time.Sleep(time.Second)
			return open()
		}
	}
	for name, test := range map[string]func(*testing.T, *disk){
		"the store is opened at first use": func(t *testing.T, d *disk) {
			synctest.Wait()
			equal(t, "opened before", d.times.Load(), 0)
			d.asks(t, nil, 1)
			d.asks(t, nil, 1)
			equal(t, "logged", d.logs.Len(), 0)
		},
		"it is warmed once": func(t *testing.T, d *disk) {
			d.Warm()
			d.Warm()
			synctest.Wait()
			d.asks(t, nil, 1)
		},
		"it is opened once for many calls": func(t *testing.T, d *disk) {
			slowly(d)
			var calls sync.WaitGroup
			for range 50 {
				calls.Go(func() { _, _, _ = d.Owing(t.Context(), "", 1) })
			}
			calls.Wait()
			time.Sleep(time.Second)
			d.asks(t, nil, 1)
		},
		"it is retried later and later": func(t *testing.T, d *disk) {
			d.away.Store(true)
			d.asks(t, errAway, 1)
			opened := int64(1)
			for _, wait := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
				time.Sleep(wait - time.Millisecond)
				d.asks(t, errAway, opened)
				time.Sleep(time.Millisecond)
				opened++
				d.asks(t, errAway, opened)
			}
			d.away.Store(false)
			d.asks(t, errAway, opened) // too early
			time.Sleep(time.Minute)
			d.asks(t, nil, opened+1)
			entries := d.logs.TakeAll()
			if len(entries) != 2 || entries[0].Level != zap.WarnLevel || entries[1].Level != zap.InfoLevel {
				t.Errorf("logged %v, want a warning and that it is over", entries)
			}
		},
		"a store that breaks as soon as it is opened is retried later and later": func(t *testing.T, d *disk) {
			d.asks(t, nil, 1)
			opened := int64(1)
			for _, wait := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second} {
				d.last.Load().broken.Store(true)
				time.Sleep(wait - time.Millisecond)
				d.asks(t, registry.ErrUnavailable, opened)
				time.Sleep(3 * time.Second)
				opened++
				d.asks(t, nil, opened)
			}
			time.Sleep(3 * time.Minute) // it was in order: it begins anew
			d.last.Load().broken.Store(true)
			d.asks(t, nil, opened+1)
		},
		"a broken store is closed and opened again": func(t *testing.T, d *disk) {
			d.asks(t, nil, 1)
			time.Sleep(time.Hour)
			first := d.last.Load()
			first.broken.Store(true)
			d.asks(t, nil, 2)
			equal(t, "closed", first.closed.Load(), true)
			equal(t, "logged", d.logs.Len(), 2)
		},
		"an opening that panics is a failure": func(t *testing.T, d *disk) {
			d.open = func() (registry.Store, error) { panic("out of order") }
			d.asks(t, registry.ErrUnavailable, 1)
		},
		"a call waits for an opening as long as it may": func(t *testing.T, d *disk) {
			slowly(d)
			defer func(limit time.Duration) { registry.Limit = limit }(registry.Limit)
			registry.Limit = 250 * time.Millisecond
			began := time.Now()
			d.asks(t, context.DeadlineExceeded, 1)
			equal(t, "waited", time.Since(began), registry.Limit)
			_, _, err := d.Claim(t.Context(), 1) // which no sign-in waits for
			must(t, 0, err)
		},
		"a store that opens while the registry is closed is closed": func(t *testing.T, d *disk) {
			slowly(d)
			var call sync.WaitGroup
			call.Go(func() { d.asks(t, registry.ErrUnavailable, 1) })
			synctest.Wait()
			must(t, 0, d.Close())
			call.Wait()
			equal(t, "closed", d.last.Load().closed.Load(), true)
		},
		"closing never hangs": func(t *testing.T, d *disk) {
			release := make(chan struct{})
			d.open = func() (registry.Store, error) {
				<-release
				return nil, errAway
			}
			d.Warm()
			synctest.Wait()
			if err := d.Close(); !errors.Is(err, registry.ErrUnavailable) {
				t.Errorf("error is %v", err)
			}
			must(t, 0, d.Close())
			close(release)
		},
		"whoever watches is changed to ask again when a store was opened": func(t *testing.T, d *disk) {
			var lost atomic.Int64
			defer d.Watch(func(place registry.Place) {
				if place == (registry.Place{}) {
					lost.Add(1)
				}
			})()
			d.asks(t, nil, 1)
			time.Sleep(time.Hour)
			d.last.Load().broken.Store(true)
			d.asks(t, nil, 2)
			equal(t, "changed", lost.Load(), 2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk()
				test(t, d)
				_ = d.Close()
			})
		})
	}
}

func TestCallsFailInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := onStore(t, nil, nil)
		store := hanging{memory.New(time.Now)}
		w.Registry = registry.Open(opener(func() (registry.Store, error) { return store, nil }), nil, zap.NewNop())
		began := time.Now()
		_, err := w.Join(t.Context(), w.aJoin(1))
		allUnavailable(t, map[string]error{"Join": err})
		equal(t, "took", time.Since(began), registry.Limit)
		allUnavailable(t, w.callsOf(t.Context()))

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began = time.Now()
		errs := w.callsOf(ctx)
		allUnavailable(t, errs)
		equal(t, "took when the context was over", time.Since(began), 0)
		must(t, 0, w.Close())
		allUnavailable(t, w.callsOf(t.Context()))
	})
}

// TestARuleThatRunsLate: a call that ran out of time shares nothing with the rule that the store
// runs afterwards, as the race detector sees.
func TestARuleThatRunsLate(t *testing.T) {
	w := newWorld(t)
	j := w.aJoin(1)
	w.join(j)
	var late sync.WaitGroup
	w.store.edit = func(ctx context.Context, edits []*registry.Edit) error {
		late.Go(func() {
			for _, e := range edits {
				_, _ = e.Apply([]byte(w.value(1)))
			}
		})
		return hang(ctx)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	joined, err := w.Join(ctx, j)
	redeemed, redeemErr := w.Redeem(ctx, redeems(j, "alice", ""))
	ended, endErr := w.End(ctx, registry.Ending{Place: registry.PlaceOf(issuer, j.Browser), Reason: registry.ReasonLogout})
	first, _, onceErr := w.Once(ctx, issuer, [16]byte{1}, "", time.Now())
	allUnavailable(t, map[string]error{"Join": err, "Redeem": redeemErr, "End": endErr, "Once": onceErr})
	equal(t, "results", joined.Session == nil && redeemed.Session == nil && len(ended) == 0 && !first, true)
	equal(t, "announced", w.announced(), "")
	late.Wait()
}
