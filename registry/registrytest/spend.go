package registrytest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// aSpending is that of a new value, for ten minutes.
func aSpending() registry.Spending {
	return registry.Spending{Issuer: issuer, Value: sessionstate.NewSessionID(), Now: start, Expires: start.Add(10 * time.Minute)}
}

func (r *tester) spend(spending registry.Spending) bool {
	r.Helper()
	first, err := r.r.Spend(r.Context(), spending)
	r.must(err)
	return first
}

var spendTests = []test{
	{"a value is used once", func(t *testing.T, r *tester) {
		spending := aSpending()
		equal(t, "first", r.spend(spending), true)
		equal(t, "again", r.spend(spending), false)
		spending.Now = spending.Expires.Add(-time.Second)
		equal(t, "at its end", r.spend(spending), false)
		equal(t, "another", r.spend(aSpending()), true)
	}},
	{"a value is the issuer's", func(t *testing.T, r *tester) {
		spending := aSpending()
		r.spend(spending)
		spending.Issuer += "/tenant"
		equal(t, "of another issuer", r.spend(spending), true)
	}},
	{"of many at once one is the first", func(t *testing.T, r *tester) {
		spending := aSpending()
		var firsts atomic.Int32
		var tries sync.WaitGroup
		for range 20 {
			tries.Go(func() {
				if first, err := r.r.Spend(t.Context(), spending); err == nil && first {
					firsts.Add(1)
				}
			})
		}
		tries.Wait()
		equal(t, "firsts", firsts.Load(), int32(1))
	}},
	{"a value is removed at its time and not before", func(t *testing.T, r *tester) {
		r.spend(aSpending())
		equal(t, "too early", r.expire(recorded.Add(10*time.Minute-time.Millisecond)), 0)
		equal(t, "removed", r.expire(recorded.Add(10*time.Minute)), 1)
		equal(t, "nothing left", r.expire(recorded.Add(1000*time.Hour)), 0)
	}},
	{"a Spending out of bounds is invalid", func(t *testing.T, r *tester) {
		for name, change := range map[string]func(*registry.Spending){
			"no issuer":   func(s *registry.Spending) { s.Issuer = "" },
			"long issuer": func(s *registry.Spending) { s.Issuer = long },
			"no time":     func(s *registry.Spending) { s.Expires = s.Now },
		} {
			spending := aSpending()
			change(&spending)
			if _, err := r.r.Spend(t.Context(), spending); !errors.Is(err, registry.ErrInvalid) || errors.Is(err, registry.ErrUnavailable) {
				t.Errorf("%s: got error %v", name, err)
			}
		}
	}},
}
