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
	"github.com/oidc-session/caddy-oidc-session/registry/registrytest"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// An opener opens what its function returns, and counts.
type opener struct {
	open  func() (registry.Registry, error)
	times atomic.Int64
}

func (o *opener) Open(*zap.Logger) (registry.Registry, error) {
	o.times.Add(1)
	return o.open()
}

func (o *opener) SharingKey() string { return "test" }

// A fragile registry can be broken. It notes that it was closed.
type fragile struct {
	registry.Registry
	broken, closed atomic.Bool
}

func (f *fragile) Broken() bool { return f.broken.Load() }

func (f *fragile) Close() error {
	f.closed.Store(true)
	return f.Registry.Close()
}

// world is a Lazy whose opening fails while away is true.
type world struct {
	*registry.Lazy
	opener *opener
	away   atomic.Bool
	last   atomic.Pointer[fragile]
	logs   *observer.ObservedLogs
}

var errAway = errors.New("no such disk")

func newWorld(t *testing.T) *world {
	core, logs := observer.New(zapcore.InfoLevel)
	w := &world{logs: logs}
	w.opener = &opener{open: func() (registry.Registry, error) {
		if w.away.Load() {
			return nil, errAway
		}
		store := &fragile{Registry: memory.New()}
		w.last.Store(store)
		return store, nil
	}}
	w.Lazy = registry.NewLazy(w.opener, zap.New(core), time.Now)
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// asks makes a call and compares its error and how often the store was opened.
func (w *world) asks(t *testing.T, want error, opened int64) {
	t.Helper()
	_, err := w.ID(t.Context())
	if !errors.Is(err, want) || want != nil && !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("got error %v, want %v", err, want)
	}
	if got := w.opener.times.Load(); got != opened {
		t.Errorf("opened %d times, want %d", got, opened)
	}
}

func TestLazyKeepsTheContract(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registry.Registry { return newWorld(t).Lazy })
}

func TestLazyOpensAtFirstUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		synctest.Wait()
		if got := w.opener.times.Load(); got != 0 {
			t.Errorf("opened %d times before", got)
		}
		w.asks(t, nil, 1)
		w.asks(t, nil, 1)
		if got := w.logs.Len(); got != 0 {
			t.Errorf("logged %v", w.logs.All())
		}
		_ = w.Close()
	})
}

func TestLazyIsWarmedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Warm()
		w.Warm()
		synctest.Wait()
		w.asks(t, nil, 1)
		_ = w.Close()
	})
}

func TestLazyOpensOnceForManyCalls(t *testing.T) {
	w := newWorld(t)
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if _, err := w.ID(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	w.asks(t, nil, 1)
}

func TestLazyRetriesLaterAndLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.away.Store(true)
		w.asks(t, errAway, 1)
		opened := int64(1)
		for _, wait := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
			time.Sleep(wait - time.Millisecond)
			w.asks(t, errAway, opened)
			time.Sleep(time.Millisecond)
			opened++
			w.asks(t, errAway, opened)
		}
		w.away.Store(false)
		w.asks(t, errAway, opened) // too early
		time.Sleep(time.Minute)
		w.asks(t, nil, opened+1)

		entries := w.logs.TakeAll()
		if len(entries) != 2 || entries[0].Level != zap.WarnLevel || entries[1].Level != zap.InfoLevel {
			t.Errorf("logged %v, want a warning and that it is over", entries)
		}
		_ = w.Close()
	})
}

// Requests come when they come: a store that fails is not tried more often because some came late.
func TestLazyWaitsLongerEachTimeTheStoreFails(t *testing.T) {
	for name, breaks := range map[string]bool{"it cannot be opened": false, "it breaks as soon as it is opened": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.away.Store(!breaks)
				opens := func(opened int64) { // with the next call
					t.Helper()
					_, _ = w.ID(t.Context())
					if got := w.opener.times.Load(); got != opened {
						t.Fatalf("opened %d times, want %d", got, opened)
					}
					if breaks {
						w.last.Load().broken.Store(true)
					}
				}
				opens(1)
				opened := int64(1)
				for _, wait := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute} {
					time.Sleep(wait - time.Millisecond)
					opens(opened)
					time.Sleep(3 * time.Second)
					opened++
					opens(opened)
				}
				time.Sleep(3 * time.Minute) // nobody came, or it was in order: it begins anew
				opens(opened + 1)
				time.Sleep(5 * time.Second)
				opens(opened + 2)
				_ = w.Close()
			})
		})
	}
}

func TestLazyReopensABrokenStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.asks(t, nil, 1)
		time.Sleep(time.Hour)
		first := w.last.Load()
		first.broken.Store(true)
		w.asks(t, nil, 2)
		if !first.closed.Load() {
			t.Error("the broken store was not closed")
		}
		if got := w.logs.TakeAll(); len(got) != 2 || got[0].Level != zap.WarnLevel || got[1].Level != zap.InfoLevel {
			t.Errorf("logged %v", got)
		}

		second := w.last.Load() // breaks soon: that is not tried again at once
		second.broken.Store(true)
		w.asks(t, registry.ErrUnavailable, 2)
		if !second.closed.Load() {
			t.Error("the second broken store was not closed")
		}
		time.Sleep(5 * time.Second)
		w.asks(t, nil, 3)
		_ = w.Close()
	})
}

func TestLazyOpeningThatPanicsIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.opener.open = func() (registry.Registry, error) { panic("out of order") }
		w.asks(t, registry.ErrUnavailable, 1)
		_ = w.Close()
	})
}

func TestLazyCallWaitsForAnOpeningAsLongAsItsContextAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		open := w.opener.open
		w.opener.open = func() (registry.Registry, error) {
			time.Sleep(time.Second)
			return open()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		if _, err := w.ID(ctx); !errors.Is(err, registry.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v", err)
		}
		w.asks(t, nil, 1)
		_ = w.Close()
	})
}

func TestLazyCloseDuringAnOpeningClosesTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		open := w.opener.open
		w.opener.open = func() (registry.Registry, error) {
			time.Sleep(time.Second)
			return open()
		}
		var call sync.WaitGroup
		call.Go(func() {
			if _, err := w.ID(t.Context()); !errors.Is(err, registry.ErrUnavailable) {
				t.Errorf("the waiting call: %v", err)
			}
		})
		synctest.Wait()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		call.Wait()
		if !w.last.Load().closed.Load() {
			t.Error("the store is open still")
		}
	})
}

func TestLazyCloseNeverHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		release := make(chan struct{})
		w.opener.open = func() (registry.Registry, error) {
			<-release
			return nil, errAway
		}
		w.Warm()
		synctest.Wait()
		if err := w.Close(); !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("got error %v", err)
		}
		if err := w.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		close(release)
	})
}

func TestLazyRemovesWhatIsPastItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var ids []sessionstate.SessionID
		for range 250 {
			session, err := w.Join(t.Context(), registry.Join{
				Issuer: "https://op.example.com", Browser: sessionstate.NewBrowserID(), Fresh: sessionstate.NewSessionID(),
				ClientID: "shop", Now: time.Now(), Lifetime: 90 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, session.ID)
		}
		left := func() (n int) {
			for _, id := range ids {
				_, found, err := w.Session(t.Context(), "https://op.example.com", id)
				if err != nil {
					t.Fatal(err)
				}
				if found {
					n++
				}
			}
			return n
		}
		time.Sleep(time.Minute + time.Second)
		if got := left(); got != 250 {
			t.Errorf("%d left after a minute", got)
		}
		time.Sleep(time.Minute)
		if got := left(); got != 0 {
			t.Errorf("%d left after two minutes", got)
		}
		_ = w.Close()
	})
}

func TestASweepGivesWayToLoginsWhereTheDiskIsSlow(t *testing.T) {
	store := &slowStore{left: 1000, took: 4 * time.Millisecond}
	if err := registry.Sweep(t.Context(), store, registry.Expiry{}); err != nil || store.left != 0 {
		t.Errorf("%d are left: %v", store.left, err)
	}
	if first, later := store.limits[0], store.limits[5]; first != registry.MaxExpired || later != 20 {
		t.Errorf("it removed %v at once", store.limits)
	}
}

func TestASweepGoesOnWhereACallRemovesLessThanItMay(t *testing.T) {
	store := &slowStore{left: 100, most: 7} // as of sessions with many clients
	if err := registry.Sweep(t.Context(), store, registry.Expiry{}); err != nil || store.left != 0 {
		t.Errorf("%d are left: %v", store.left, err)
	}
}

// slowStore is a store in which removals take their time.
type slowStore struct {
	registry.Registry

	left   int
	most   int // that a call removes; 0: as many as it may
	took   time.Duration
	limits []int
}

func (s *slowStore) Expire(_ context.Context, expiry registry.Expiry) (int, error) {
	time.Sleep(s.took)
	s.limits = append(s.limits, expiry.Limit)
	removed := min(s.left, expiry.Limit)
	if s.most > 0 {
		removed = min(removed, s.most)
	}
	s.left -= removed
	return removed, nil
}
