package registrytest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

var long = strings.Repeat("x", registry.MaxString+1)

var boundTests = []test{
	{"values of the longest length are recorded", func(t *testing.T, r *tester) {
		longest := long[1:]
		join := aJoin()
		join.Issuer, join.ClientID, join.Origin = longest, longest, longest
		r.join(join)
		redemption := redeems(join, longest)
		redemption.Subject.Sid = longest
		equal(t, "known", r.redeem(redemption).Known, true)
		participations, err := r.r.Participations(t.Context(), longest, join.Fresh)
		r.must(err)
		equal(t, "sid", participations[0].Subjects[0].Sid, longest)
	}},
	{"a Join out of bounds is invalid and records nothing", func(t *testing.T, r *tester) {
		taken := aJoin()
		r.join(taken)
		for name, change := range map[string]func(*registry.Join){
			"no issuer":        func(j *registry.Join) { j.Issuer = "" },
			"long issuer":      func(j *registry.Join) { j.Issuer = long },
			"no client ID":     func(j *registry.Join) { j.ClientID = "" },
			"long client ID":   func(j *registry.Join) { j.ClientID = long },
			"long origin":      func(j *registry.Join) { j.Origin = long },
			"no browser":       func(j *registry.Join) { j.Browser = sessionstate.BrowserID{} },
			"no fresh ID":      func(j *registry.Join) { j.Fresh = sessionstate.SessionID{} },
			"a fresh ID taken": func(j *registry.Join) { j.Fresh = taken.Fresh },
			"no lifetime":      func(j *registry.Join) { j.Lifetime = 0 },
		} {
			join := aJoin()
			change(&join)
			if _, err := r.r.Join(t.Context(), join); !errors.Is(err, registry.ErrInvalid) || errors.Is(err, registry.ErrUnavailable) {
				t.Errorf("%s: got error %v", name, err)
			}
			if join.Fresh != taken.Fresh && len(join.Issuer) == len(issuer) {
				r.isMissing(issuer, join.Fresh)
			}
		}
		equal(t, "taken session", r.session(taken.Fresh).Browser, taken.Browser)
	}},
	{"a Redemption out of bounds is invalid and records nothing", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		for name, change := range map[string]func(*registry.Redemption){
			"long issuer": func(d *registry.Redemption) { d.Issuer = long },
			"no sub":      func(d *registry.Redemption) { d.Subject.Sub = "" },
			"long sub":    func(d *registry.Redemption) { d.Subject.Sub = long },
			"long sid":    func(d *registry.Redemption) { d.Subject.Sid = long },
			"no fresh ID": func(d *registry.Redemption) { d.Fresh = sessionstate.SessionID{} },
			"no lifetime": func(d *registry.Redemption) { d.Lifetime = -time.Second },
		} {
			redemption := redeems(join, "alice")
			change(&redemption)
			if _, err := r.r.Redeem(t.Context(), redemption); !errors.Is(err, registry.ErrInvalid) {
				t.Errorf("%s: got error %v", name, err)
			}
		}
		equal(t, "subjects", len(r.participation(join.Fresh).Subjects), 0)
	}},
	{"a user switch to a fresh ID that is taken is invalid and changes nothing", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		session := r.redeem(redeems(join, "alice")).Session
		redemption := redeems(join, "bob")
		redemption.Fresh = join.Fresh
		if _, err := r.r.Redeem(t.Context(), redemption); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("got error %v", err)
		}
		equal(t, "session", r.session(join.Fresh), session)
	}},
	{"other calls out of bounds are invalid", func(t *testing.T, r *tester) {
		ctx, id := t.Context(), sessionstate.NewSessionID()
		errs := make(map[string]error)
		_, _, errs["Session"] = r.r.Session(ctx, long, id)
		_, _, errs["Resolve"] = r.r.Resolve(ctx, long, id, newResponse())
		_, errs["Participations"] = r.r.Participations(ctx, "", id)
		_, errs["End without a browser"] = r.r.End(ctx, registry.Ending{Issuer: issuer, Reason: registry.ReasonLogout, Now: start})
		_, errs["End of a holder without a sid"] = r.r.End(ctx, registry.Ending{
			Issuer: issuer, Holder: registry.Holder{ClientID: "shop", Sub: "alice"}, Reason: registry.ReasonLogout, Now: start,
		})
		_, errs["End of a browser and a holder"] = r.r.End(ctx, registry.Ending{
			Issuer: issuer, Browser: sessionstate.NewBrowserID(), Holder: registry.Holder{ClientID: "shop", Sub: "alice", Sid: "1"},
			Reason: registry.ReasonLogout, Now: start,
		})
		_, errs["End without a reason"] = r.r.End(ctx, registry.Ending{Issuer: issuer, Browser: sessionstate.NewBrowserID(), Now: start})
		allWrap(t, errs, registry.ErrInvalid)
	}},
	{"subjects over their bound are not recorded, and the result says so", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		redemption := redeems(join, "alice")
		for i := range registry.MaxSubjects {
			redemption.Subject.Sid = fmt.Sprint(i)
			equal(t, "full", r.redeem(redemption).Full, false)
		}
		equal(t, "full, and there already", r.redeem(redemption).Full, false)
		redemption.Subject.Sid = "one more"
		redeemed := r.redeem(redemption)
		equal(t, "redeemed", redeemed, registry.Redeemed{Known: true, Session: r.session(join.Fresh), Full: true})
		equal(t, "subjects", len(r.participation(join.Fresh).Subjects), registry.MaxSubjects)
	}},
	{"origins over their bound are not recorded", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		for i := range registry.MaxOrigins {
			next := again(join)
			next.Origin = fmt.Sprintf("https://shop%d.example.com", i)
			r.join(next)
		}
		equal(t, "origins", len(r.participation(join.Fresh).Origins), registry.MaxOrigins)
	}},
	{"clients over their bound join without being recorded", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		r.inParallel(registry.MaxParticipations-1, func(i int) error {
			next := again(join)
			next.ClientID, next.Subject.Sub = fmt.Sprint("client ", i), "alice"
			_, err := r.r.Join(t.Context(), next)
			return err
		})
		r.redeem(redeems(join, "alice"))
		last := again(join)
		last.ClientID = "last"
		r.join(last)
		equal(t, "participations", len(r.participations(join.Fresh)), registry.MaxParticipations)
		redeemed := r.redeem(redeems(last, "alice"))
		equal(t, "redeemed", redeemed, registry.Redeemed{Known: true, Session: r.session(join.Fresh), Full: true})
		equal(t, "participations", len(r.participations(join.Fresh)), registry.MaxParticipations)
	}},
}

var lifeTests = []test{
	{"the registry's ID stays", func(t *testing.T, r *tester) {
		first, err := r.r.ID(t.Context())
		r.must(err)
		second, err := r.r.ID(t.Context())
		r.must(err)
		equal(t, "second", second, first)
		equal(t, "zero", first.IsZero(), false)
	}},
	{"after Close nothing can be known", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		r.must(r.r.Close())
		allWrap(t, callsOf(t.Context(), r.r), registry.ErrUnavailable)
		r.must(r.r.Close())
	}},
	{"a call whose context is done is unavailable", func(t *testing.T, r *tester) {
		r.join(aJoin())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		errs := callsOf(ctx, r.r)
		allWrap(t, errs, registry.ErrUnavailable)
		allWrap(t, errs, context.Canceled)
	}},
	{"a Close while calls are under way lets them be done or unavailable", func(t *testing.T, r *tester) {
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() {
				for range 20 {
					if _, err := r.r.Join(t.Context(), aJoin()); err != nil && !errors.Is(err, registry.ErrUnavailable) {
						t.Errorf("got error %v", err)
					}
				}
			})
		}
		r.must(r.r.Close())
		calls.Wait()
	}},
	{"concurrent calls keep the invariants", concurrent},
}

// concurrent lets several callers join, switch users and end in one browser. Afterwards no session may be both live and ended, be
// live beside another that it should have continued, or be lost.
func concurrent(t *testing.T, r *tester) {
	first := aJoin()
	r.join(first)
	r.redeem(redeems(first, "user 0"))
	var callers sync.WaitGroup
	switches := make(chan registry.Redeemed, 1000)
	for caller := range 16 {
		callers.Go(func() {
			for range 8 {
				join := again(first)
				session, err := r.r.Join(t.Context(), join)
				if err != nil {
					t.Error(err)
					return
				}
				redeemed, err := r.r.Redeem(t.Context(), redeems(join, fmt.Sprintf("user %d", caller%2)))
				if err != nil || !redeemed.Known {
					t.Errorf("redeemed %+v after joining %s: %v", redeemed, session.ID, err)
					return
				}
				if redeemed.Switched {
					switches <- redeemed
				}
				if caller == 0 {
					ending := registry.Ending{Issuer: issuer, Browser: first.Browser, Reason: registry.ReasonLogout, Now: start}
					if _, err := r.r.End(t.Context(), ending); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	callers.Wait()
	close(switches)
	for redeemed := range switches {
		successor := r.session(redeemed.Session.ID)
		if subjects := r.participation(successor.ID).Subjects; len(subjects) == 0 {
			t.Errorf("successor %s has no subject", successor.ID)
		}
		if successor.Live(start) == (successor.Reason != "") {
			t.Errorf("session is both live and ended: %+v", successor)
		}
	}
	ending := registry.Ending{Issuer: issuer, Browser: first.Browser, Reason: registry.ReasonLogout, Now: start}
	r.end(ending)
	equal(t, "left to end", len(r.end(ending)), 0)
}
