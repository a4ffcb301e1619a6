package registrytest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// aKeeping records keys of the given IDs for a day.
func aKeeping(ids ...string) registry.Keeping {
	keeping := registry.Keeping{Issuer: issuer, Now: start, Until: start.Add(24 * time.Hour)}
	for _, id := range ids {
		keeping.Keys = append(keeping.Keys, registry.Key{ID: id, JWK: []byte(`{"kid":"` + id + `"}`)})
	}
	return keeping
}

func (r *tester) keep(keeping registry.Keeping) {
	r.Helper()
	r.must(r.r.KeepKeys(r.Context(), keeping))
}

// keys are the IDs of the keys at a time, in a row.
func (r *tester) keys(issuer string, now time.Time) string {
	r.Helper()
	keys, err := r.r.Keys(r.Context(), issuer, now)
	r.must(err)
	var ids []string
	for _, key := range keys {
		if string(key.JWK) != `{"kid":"`+key.ID+`"}` {
			r.Errorf("key %s is recorded as %s", key.ID, key.JWK)
		}
		ids = append(ids, key.ID)
	}
	return strings.Join(ids, " ")
}

var keyTests = []test{
	{"keys are listed by ID until their time", func(t *testing.T, r *tester) {
		equal(t, "none", r.keys(issuer, start), "")
		r.keep(aKeeping("2", "1"))
		r.keep(aKeeping("3"))
		equal(t, "all", r.keys(issuer, start.Add(23*time.Hour)), "1 2 3")
		equal(t, "past their time", r.keys(issuer, start.Add(25*time.Hour)), "")
		equal(t, "another issuer's", r.keys(issuer+"/tenant", start), "")
	}},
	{"a key recorded again has the later time", func(t *testing.T, r *tester) {
		r.keep(aKeeping("1", "2"))
		later, earlier := aKeeping("1"), aKeeping("2")
		later.Until = later.Until.Add(24 * time.Hour)
		earlier.Until = earlier.Until.Add(-12 * time.Hour)
		r.keep(later)
		r.keep(earlier)
		equal(t, "before the earlier time", r.keys(issuer, start.Add(23*time.Hour)), "1 2")
		equal(t, "before the later time", r.keys(issuer, start.Add(47*time.Hour)), "1")
		equal(t, "removed at the first time", r.expire(recorded.Add(24*time.Hour)), 1)
		equal(t, "left", r.keys(issuer, start), "1")
		equal(t, "removed at the second", r.expire(recorded.Add(48*time.Hour)), 1)
		equal(t, "nothing left", r.expire(recorded.Add(1000*time.Hour)), 0)
	}},
	{"of too many keys those that are over soonest are forgotten", func(t *testing.T, r *tester) {
		for i := range registry.MaxKeys + 10 {
			keeping := aKeeping(fmt.Sprintf("%03d", i))
			keeping.Until = keeping.Until.Add(time.Duration(i) * time.Second)
			r.keep(keeping)
		}
		ids := strings.Fields(r.keys(issuer, start))
		equal(t, "number", len(ids), registry.MaxKeys)
		equal(t, "first", ids[0], "010")
	}},
	{"a Keeping out of bounds is invalid and records nothing", func(t *testing.T, r *tester) {
		for name, change := range map[string]func(*registry.Keeping){
			"no issuer": func(k *registry.Keeping) { k.Issuer = "" },
			"no ID":     func(k *registry.Keeping) { k.Keys[0].ID = "" },
			"long ID":   func(k *registry.Keeping) { k.Keys[0].ID = long },
			"no key":    func(k *registry.Keeping) { k.Keys[0].JWK = nil },
			"long key":  func(k *registry.Keeping) { k.Keys[0].JWK = make([]byte, registry.MaxKey+1) },
			"no time":   func(k *registry.Keeping) { k.Until = k.Now },
			"many keys": func(k *registry.Keeping) { k.Keys = make([]registry.Key, registry.MaxKeys+1) },
		} {
			keeping := aKeeping("1")
			change(&keeping)
			if err := r.r.KeepKeys(t.Context(), keeping); !errors.Is(err, registry.ErrInvalid) || errors.Is(err, registry.ErrUnavailable) {
				t.Errorf("%s: got error %v", name, err)
			}
		}
		equal(t, "keys", r.keys(issuer, start), "")
	}},
}
