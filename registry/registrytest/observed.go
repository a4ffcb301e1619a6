package registrytest

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// seen is what was seen of an OP, with something in every field.
func seen() registry.Observed {
	return registry.Observed{
		KeyIDs:     registry.Presence{Seen: true},
		SessionIDs: registry.Presence{Missing: []registry.Missing{{ClientID: "shop", Last: start}, {ClientID: "wiki", Last: start.Add(time.Hour)}}},
		Keys:       []registry.ObservedKey{{KeyID: "1", Thumbprint: "a", Algorithm: "RS256"}, {Thumbprint: "b"}},
		Discovery:  "/a/.well-known/openid-configuration",
	}
}

func (r *tester) observe(issuer string, observed registry.Observed) {
	r.Helper()
	r.must(r.r.Observe(r.Context(), issuer, observed))
}

func (r *tester) observed(issuer string) (registry.Observed, bool) {
	r.Helper()
	observed, found, err := r.r.Observed(r.Context(), issuer)
	r.must(err)
	return observed, found
}

var observedTests = []test{
	{"what was seen of an OP is recorded, and replaced by what is seen next", func(t *testing.T, r *tester) {
		if _, found := r.observed(issuer); found {
			t.Error("found what was not recorded")
		}
		r.observe(issuer, seen())
		want := seen()
		want.SessionIDs.Missing = []registry.Missing{{ClientID: "shop", Last: recorded}, {ClientID: "wiki", Last: recorded.Add(time.Hour)}}
		if got, found := r.observed(issuer); !found || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v", got, found)
		}
		if _, found := r.observed(issuer + "/tenant"); found {
			t.Error("found what is another issuer's")
		}
		next := registry.Observed{SessionIDs: registry.Presence{Seen: true}}
		r.observe(issuer, next)
		if got, found := r.observed(issuer); !found || !reflect.DeepEqual(got, next) {
			t.Errorf("after that: %+v, %v", got, found)
		}
	}},
	{"it is never past its time", func(t *testing.T, r *tester) {
		r.observe(issuer, seen())
		equal(t, "removed", r.expire(start.Add(1000*24*time.Hour)), 0)
		if _, found := r.observed(issuer); !found {
			t.Error("it is gone")
		}
	}},
	{"what is recorded and what was given share nothing", func(t *testing.T, r *tester) {
		given := seen()
		r.observe(issuer, given)
		given.SessionIDs.Missing[0].ClientID, given.Keys[0].KeyID = "changed", "changed"
		got, _ := r.observed(issuer)
		got.SessionIDs.Missing[1].ClientID, got.Keys[1].KeyID = "changed", "changed"
		again, _ := r.observed(issuer)
		for _, name := range []string{given.Keys[0].KeyID, got.Keys[1].KeyID} {
			if again.Keys[0].KeyID == name || again.Keys[1].KeyID == name || again.SessionIDs.Missing[0].ClientID == name || again.SessionIDs.Missing[1].ClientID == name {
				t.Errorf("recorded is %+v", again)
			}
		}
	}},
	{"what is out of bounds is not recorded", func(t *testing.T, r *tester) {
		for name, change := range map[string]func(*registry.Observed){
			"many clients":     func(o *registry.Observed) { o.KeyIDs.Missing = make([]registry.Missing, registry.MaxMissing+1) },
			"no client ID":     func(o *registry.Observed) { o.SessionIDs.Missing[0].ClientID = "" },
			"a long client ID": func(o *registry.Observed) { o.SessionIDs.Missing[0].ClientID = long },
			"many keys":        func(o *registry.Observed) { o.Keys = make([]registry.ObservedKey, registry.MaxObservedKeys+1) },
			"a long kid":       func(o *registry.Observed) { o.Keys[0].KeyID = long },
			"a long path":      func(o *registry.Observed) { o.Discovery = long },
			"a long alg":       func(o *registry.Observed) { o.Keys[0].Algorithm = long },
		} {
			observed := seen()
			change(&observed)
			if err := r.r.Observe(t.Context(), issuer, observed); !errors.Is(err, registry.ErrInvalid) {
				t.Errorf("%s: got error %v", name, err)
			}
		}
		if err := r.r.Observe(t.Context(), "", seen()); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("no issuer: got error %v", err)
		}
		if _, found := r.observed(issuer); found {
			t.Error("found what is out of bounds")
		}
	}},
	{"the longest of all is recorded", func(t *testing.T, r *tester) {
		longest := strings.Repeat("x", registry.MaxString)
		observed := registry.Observed{Keys: make([]registry.ObservedKey, registry.MaxObservedKeys), Discovery: longest}
		for i := range observed.Keys {
			observed.Keys[i] = registry.ObservedKey{KeyID: longest, Thumbprint: longest, Algorithm: longest}
		}
		for range registry.MaxMissing {
			observed.KeyIDs.Missing = append(observed.KeyIDs.Missing, registry.Missing{ClientID: longest, Last: recorded})
		}
		r.observe(issuer, observed)
		if got, _ := r.observed(issuer); !reflect.DeepEqual(got, observed) {
			t.Error("it is another thing")
		}
	}},
}
