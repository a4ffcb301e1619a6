package registry_test

import (
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/bolt"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
	"github.com/oidc-session/caddy-oidc-session/registry/storetest"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// onEachStore runs a test over each store of one process.
func onEachStore(t *testing.T, test func(*world)) {
	for name, open := range map[string]func(*testing.T, *storetest.Clock) (registry.Store, error){
		"memory": func(_ *testing.T, clock *storetest.Clock) (registry.Store, error) { return memory.New(clock.Now), nil },
		"bolt": func(t *testing.T, clock *storetest.Clock) (registry.Store, error) {
			return bolt.Open(filepath.Join(t.TempDir(), "registry.db"), clock.Now, zap.NewNop())
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock := storetest.NewClock()
			store, err := open(t, clock)
			test(onStore(t, &fake{Store: must(t, store, err)}, clock))
		})
	}
}

// TestWhoWatchesSeesTheEnd has a listener ask for the session when it hears of its browser, however
// the session ends.
func TestWhoWatchesSeesTheEnd(t *testing.T) {
	for name, end := range map[string]func(w *world, s *registry.Session){
		"logout": func(w *world, _ *registry.Session) { w.end(1) },
		"EndUser": func(w *world, _ *registry.Session) {
			_, _, err := w.EndUser(w.Context(), issuer, "alice", registry.ReasonOperator, "")
			must(w, 0, err)
		},
		"EndHolder": func(w *world, _ *registry.Session) {
			holder := registry.Holder{ClientID: "shop", Sub: "alice", Sid: "1"}
			_, err := w.EndHolder(w.Context(), issuer, holder, registry.Ending{Reason: registry.ReasonOperator})
			must(w, 0, err)
		},
		"expiry, by Claim": func(w *world, _ *registry.Session) {
			w.clock.Advance(time.Hour)
			w.claims()
		},
		"expiry, by the next sign-in": func(w *world, _ *registry.Session) {
			w.clock.Advance(time.Hour)
			w.join(w.aJoin(1))
		},
		"a user switch, by an ID token": func(w *world, s *registry.Session) {
			j := w.aJoin(1)
			j.Session, j.Sub = s.ID, "bob"
			w.join(j)
		},
		"a user switch, by a code": func(w *world, s *registry.Session) {
			j := w.aJoin(1)
			j.Session = s.ID
			w.join(j)
			w.redeem(redeems(j, "bob", "2"))
		},
		"one session more than a browser may have": func(w *world, _ *registry.Session) {
			for range registry.MaxBrowserSessions {
				w.join(w.aJoin(1))
			}
		},
		"one session more than a user may have": func(w *world, _ *registry.Session) {
			for i := range registry.MaxUserSessions {
				w.signIn(2+i, "alice", "1")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachStore(t, func(w *world) {
				w.clock.Advance(time.Second) // else sessions of one millisecond are equally old
				s := w.signIn(1, "alice", "1")
				w.clock.Advance(time.Second)
				var heard []registry.State
				cancel := w.Watch(func(place registry.Place) {
					if place == registry.PlaceOfSession(s.ID) {
						heard = append(heard, w.state(s))
					}
				})
				end(w, s)
				cancel()
				equal(w, "times heard", len(heard), 1)
				for _, state := range heard {
					equal(w, "state when it was heard", state, registry.Ended)
				}
			})
		})
	}
}

// TestAListenerMayEndSessions: it is in no lock's way, nor in the writer's.
func TestAListenerMayEndSessions(t *testing.T) {
	onEachStore(t, func(w *world) {
		w.signIn(1, "alice", "1")
		other := w.signIn(2, "alice", "2")
		defer w.Watch(func(place registry.Place) {
			if place == registry.PlaceOf(issuer, browserID(1)) {
				w.end(2)
			}
		})()
		w.end(1)
		equal(w, "state", w.state(other), registry.Ended)
	})
}

// TestResponsesOfCodesAndIDTokensAreApart: no code leads to what an ID token of the same text does.
func TestResponsesOfCodesAndIDTokensAreApart(t *testing.T) {
	onEachStore(t, func(w *world) {
		const text = "e30.e30.AA"
		j := w.aJoin(1)
		j.Response, j.Complete = sessionstate.NewIDTokenResponseID(text), true
		w.join(j)
		d := redeems(j, "mallory", "")
		d.Response = sessionstate.NewResponseID(text)
		equal(w, "redeemed", w.redeem(d), nil)
		_, found, err := w.Response(w.Context(), issuer, d.Response)
		equal(w, "found by a code", must(w, found, err), false)
	})
}
