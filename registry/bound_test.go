package registry_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
	"github.com/oidc-session/caddy-oidc-session/registry/registrytest"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func TestBoundKeepsTheContract(t *testing.T) {
	registrytest.Run(t, func(*testing.T) registry.Registry { return registry.Bound(memory.New(), time.Minute, 8) })
}

// A hanging registry's Participations hangs until release is closed, whatever its context says.
type hanging struct {
	registry.Registry
	release chan struct{}
}

func (h hanging) Participations(context.Context, string, sessionstate.SessionID) ([]registry.Participation, error) {
	<-h.release
	return []registry.Participation{{ClientID: "shop"}}, nil
}

// list makes the call that hangs.
func list(ctx context.Context, r registry.Registry) ([]registry.Participation, error) {
	return r.Participations(ctx, "https://op.example.com", sessionstate.SessionID{})
}

func TestBoundGivesUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hanging{memory.New(), make(chan struct{})}
		bound := registry.Bound(h, 250*time.Millisecond, 2)
		began := time.Now()
		got, err := list(t.Context(), bound)
		if !errors.Is(err, registry.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || got != nil {
			t.Errorf("got %v and error %v", got, err)
		}
		if took := time.Since(began); took != 250*time.Millisecond {
			t.Errorf("took %s", took)
		}
		if _, _, err := bound.Session(t.Context(), "https://op.example.com", sessionstate.SessionID{}); err != nil {
			t.Errorf("another call: %v", err)
		}
		close(h.release)
	})
}

// No sign-in waits for those who are patient.
func TestBoundGivesThePatientMoreTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hanging{memory.New(), make(chan struct{})}
		bound := registry.Bound(h, 250*time.Millisecond, 2)
		time.AfterFunc(registry.PatientLimit-time.Millisecond, func() { close(h.release) })
		if got, err := list(registry.Patient(t.Context()), bound); err != nil || len(got) != 1 {
			t.Errorf("got %v and error %v", got, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h := hanging{memory.New(), make(chan struct{})}
		began := time.Now()
		if _, err := list(registry.Patient(t.Context()), registry.Bound(h, 250*time.Millisecond, 2)); !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("got error %v", err)
		}
		if took := time.Since(began); took != registry.PatientLimit {
			t.Errorf("took %s", took)
		}
		close(h.release)
	})
}

// A busy registry ends sessions after a second, as far as its context allows.
type busy struct {
	registry.Registry
	ended chan error
}

func (b busy) End(ctx context.Context, _ registry.Ending) ([]registry.Session, error) {
	select {
	case <-time.After(time.Second):
		b.ended <- nil
	case <-ctx.Done():
		b.ended <- ctx.Err()
	}
	return nil, nil
}

// The clients of a session are notified, though its browser never comes back.
func TestAnEndThatItsCallerDoesNotWaitForRunsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := busy{memory.New(), make(chan error, 1)}
		began := time.Now()
		if _, err := registry.Bound(b, 250*time.Millisecond, 2).End(t.Context(), registry.Ending{}); !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("got error %v", err)
		}
		if took := time.Since(began); took != 250*time.Millisecond {
			t.Errorf("took %s", took)
		}
		if err := <-b.ended; err != nil {
			t.Errorf("it was broken off: %v", err)
		}
	})
}

func TestBoundHeedsTheCallersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hanging{memory.New(), make(chan struct{})}
		bound := registry.Bound(h, time.Hour, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := list(ctx, bound); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("got error %v", err)
		}
		close(h.release)
	})
}

func TestBoundRefusesAtOnceWhenAllCallsAreStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hanging{memory.New(), make(chan struct{})}
		bound := registry.Bound(h, time.Second, 2)
		var calls sync.WaitGroup
		for range 5 { // two run, three wait for a place
			calls.Go(func() {
				if _, err := list(t.Context(), bound); !errors.Is(err, registry.ErrUnavailable) {
					t.Errorf("got error %v", err)
				}
			})
		}
		calls.Wait()
		began := time.Now()
		if _, err := list(t.Context(), bound); !errors.Is(err, registry.ErrUnavailable) || time.Since(began) != 0 {
			t.Errorf("got error %v after %s", err, time.Since(began))
		}
		close(h.release)
		synctest.Wait()
		if got, err := list(t.Context(), bound); err != nil || got == nil {
			t.Errorf("after the calls have ended: got %v and error %v", got, err)
		}
	})
}

func TestBoundLetsManyFastCallsWaitForAPlace(t *testing.T) {
	bound := registry.Bound(memory.New(), time.Minute, 1)
	var calls sync.WaitGroup
	for range 100 {
		calls.Go(func() {
			if _, err := list(t.Context(), bound); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
}

// A waiting registry's Resolve waits as long as its context lets it.
type waiting struct{ registry.Registry }

func (waiting) Resolve(ctx context.Context, _ string, _ sessionstate.SessionID, _ sessionstate.ResponseID) (s registry.Session, found bool, err error) {
	<-ctx.Done()
	return s, false, registry.ErrUnavailable
}

func TestBoundLimitsLookUpsByTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bound := registry.Bound(waiting{memory.New()}, 250*time.Millisecond, 1)
		began := time.Now()
		_, _, err := bound.Resolve(t.Context(), "https://op.example.com", sessionstate.SessionID{}, sessionstate.ResponseID{})
		if !errors.Is(err, registry.ErrUnavailable) || time.Since(began) != 250*time.Millisecond {
			t.Errorf("got error %v after %s", err, time.Since(began))
		}
	})
}

// A panicking registry's ID panics.
type panicking struct{ registry.Registry }

func (panicking) ID(context.Context) (sessionstate.RegistryID, error) { panic("out of order") }

func TestBoundMakesAPanicAnError(t *testing.T) {
	bound := registry.Bound(panicking{memory.New()}, time.Minute, 1)
	for range 2 {
		if _, err := bound.ID(t.Context()); !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("got error %v", err)
		}
	}
}

func BenchmarkBound(b *testing.B) {
	plain := memory.New()
	for name, r := range map[string]registry.Registry{"plain": plain, "bound": registry.Bound(plain, 250*time.Millisecond, 64)} {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := r.Session(ctx, "https://op.example.com", sessionstate.SessionID{1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
