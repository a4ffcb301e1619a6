package registrytest

import (
	"slices"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

var endTests = []test{
	{"all live sessions of the browser end, and no others", func(t *testing.T, r *tester) {
		first := aJoin()
		r.join(first)
		second := aJoin()
		second.Browser = first.Browser
		r.join(second)
		other := aJoin()
		r.join(other)
		ending := registry.Ending{Issuer: issuer, Browser: first.Browser, Reason: registry.ReasonLoginCookie, Now: start.Add(time.Minute)}
		ended := r.end(ending)
		equal(t, "ended", len(ended), 2)
		for _, session := range ended {
			equal(t, "recorded", r.session(session.ID), session)
			equal(t, "ended at", session.Ended, recorded.Add(time.Minute))
			equal(t, "reason", session.Reason, registry.ReasonLoginCookie)
			equal(t, "successor", session.Successor, sessionstate.SessionID{})
			equal(t, "live", session.Live(start), false)
		}
		for _, id := range []sessionstate.SessionID{first.Fresh, second.Fresh} {
			if !slices.ContainsFunc(ended, func(session registry.Session) bool { return session.ID == id }) {
				t.Errorf("session %s was not returned", id)
			}
		}
		equal(t, "other live", r.session(other.Fresh).Live(start), true)
	}},
	{"ending again is harmless", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		ending := registry.Ending{Issuer: issuer, Browser: join.Browser, Reason: registry.ReasonLogout, Now: start}
		first := r.end(ending)
		ending.Reason, ending.Now = registry.ReasonOperator, start.Add(time.Minute)
		equal(t, "ended again", len(r.end(ending)), 0)
		equal(t, "recorded", r.session(join.Fresh), first[0])
	}},
	{"a browser without sessions is no error", func(t *testing.T, r *tester) {
		ending := registry.Ending{Issuer: issuer, Browser: sessionstate.NewBrowserID(), Reason: registry.ReasonLogout, Now: start}
		equal(t, "ended", len(r.end(ending)), 0)
	}},
	{"an expired session is not ended", func(t *testing.T, r *tester) {
		join := aJoin()
		session := r.join(join)
		ending := registry.Ending{Issuer: issuer, Browser: join.Browser, Reason: registry.ReasonLogout, Now: session.Expires}
		equal(t, "ended", len(r.end(ending)), 0)
		equal(t, "recorded", r.session(join.Fresh), session)
	}},
	{"after a user switch the successor is ended", func(t *testing.T, r *tester) {
		alice, _, bobs := r.switched()
		ended := r.end(registry.Ending{Issuer: issuer, Browser: alice.Browser, Reason: registry.ReasonLogout, Now: start})
		equal(t, "ended", len(ended), 1)
		equal(t, "session", ended[0].ID, bobs.Session.ID)
		equal(t, "alice's reason", r.session(alice.Fresh).Reason, registry.ReasonUserSwitch)
	}},
	{"an adopted session is ended with its browser", func(t *testing.T, r *tester) {
		join := again(aJoin())
		r.join(join)
		ended := r.end(registry.Ending{Issuer: issuer, Browser: join.Browser, Reason: registry.ReasonLogout, Now: start})
		equal(t, "ended", len(ended), 1)
	}},
	{"the sessions of a holder end, and no others", func(t *testing.T, r *tester) {
		first, second, other := aJoin(), aJoin(), aJoin()
		for join, sid := range map[*registry.Join]string{&first: "sid of alice", &second: "sid of alice", &other: "another sid"} {
			r.join(*join)
			redemption := redeems(*join, "alice")
			redemption.Subject.Sid = sid
			r.redeem(redemption)
		}
		holder := registry.Holder{ClientID: first.ClientID, Sub: "alice", Sid: "sid of alice"}
		for _, wrong := range []registry.Holder{
			{ClientID: "another client", Sub: holder.Sub, Sid: holder.Sid},
			{ClientID: holder.ClientID, Sub: "bob", Sid: holder.Sid},
			{ClientID: holder.ClientID, Sub: holder.Sub, Sid: "unknown"},
		} {
			ending := registry.Ending{Issuer: issuer, Holder: wrong, Reason: registry.ReasonLogout, Now: start}
			equal(t, "ended by another holder", len(r.end(ending)), 0)
		}
		ending := registry.Ending{Issuer: issuer, Holder: holder, Reason: registry.ReasonLogout, Now: start.Add(time.Minute)}
		equal(t, "ended", len(r.end(ending)), 2)
		equal(t, "ended again", len(r.end(ending)), 0)
		equal(t, "first", r.session(first.Fresh).Reason, registry.ReasonLogout)
		equal(t, "other live", r.session(other.Fresh).Live(start), true)
	}},
}

var expireTests = []test{
	{"nothing is removed before its time", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		session := r.redeem(redeems(join, "alice")).Session
		equal(t, "codes too early", r.expire(recorded.Add(registry.CodeLifetime-time.Millisecond)), 0)
		equal(t, "codes", r.expire(recorded.Add(registry.CodeLifetime)), 1)
		equal(t, "sessions too early", r.expire(session.Expires.Add(-time.Nanosecond)), 0)
		equal(t, "session", r.session(join.Fresh), session)
		equal(t, "sessions", r.expire(session.Expires), 1)
		r.isMissing(issuer, join.Fresh)
		equal(t, "participations", len(r.participations(join.Fresh)), 0)
		equal(t, "nothing left", r.expire(session.Expires.Add(1000*time.Hour)), 0)
	}},
	{"an ended session is removed at its time too", func(t *testing.T, r *tester) {
		join := aJoin()
		join.Response = sessionstate.ResponseID{}
		session := r.join(join)
		r.end(registry.Ending{Issuer: issuer, Browser: join.Browser, Reason: registry.ReasonLogout, Now: start})
		equal(t, "too early", r.expire(session.Expires.Add(-time.Millisecond)), 0)
		equal(t, "removed", r.expire(session.Expires), 1)
		r.isMissing(issuer, join.Fresh)
	}},
	{"a removed session is none of its browser's", func(t *testing.T, r *tester) {
		join := aJoin()
		session := r.join(join)
		for r.expire(session.Expires) > 0 {
		}
		ending := registry.Ending{Issuer: issuer, Browser: join.Browser, Reason: registry.ReasonLogout, Now: start}
		equal(t, "ended", len(r.end(ending)), 0)
	}},
	{"a hundred are removed at once, the first to expire first", func(t *testing.T, r *tester) {
		var ids []sessionstate.SessionID
		for i := range 150 {
			join := aJoin()
			join.Response = sessionstate.ResponseID{}
			join.Issuer = []string{issuer, issuer + "/tenant"}[i%2]
			join.Lifetime = lifetime + time.Duration((i*53)%150)*time.Millisecond // in another order
			ids = append(ids, r.join(join).ID)
		}
		late := start.Add(2 * lifetime)
		equal(t, "first call", r.expire(late), registry.MaxExpired)
		for i, id := range ids {
			_, found, err := r.r.Session(t.Context(), []string{issuer, issuer + "/tenant"}[i%2], id)
			r.must(err)
			if want := (i*53)%150 >= registry.MaxExpired; found != want {
				t.Fatalf("the session that expires as number %d: found %t, want %t", (i*53)%150, found, want)
			}
		}
		equal(t, "second call", r.expire(late), 50)
		equal(t, "third call", r.expire(late), 0)
	}},
	{"fewer are removed at once if so asked", func(t *testing.T, r *tester) {
		for range 5 {
			join := aJoin()
			join.Response = sessionstate.ResponseID{}
			r.join(join)
		}
		for _, want := range []int{3, 2, 0} {
			removed, err := r.r.Expire(t.Context(), registry.Expiry{Now: start.Add(lifetime), Silence: registry.Silence{All: true}, Limit: 3})
			r.must(err)
			equal(t, "removed", removed, want)
		}
	}},
	{"other records stay", func(t *testing.T, r *tester) {
		short := aJoin()
		short.Lifetime = time.Minute
		r.join(short)
		long := aJoin()
		long.Browser = short.Browser
		r.join(long)
		equal(t, "removed", r.expire(start.Add(time.Minute)), 1)
		equal(t, "participations", len(r.participations(long.Fresh)), 1)
		equal(t, "redeemed", r.redeem(redeems(long, "alice")).Known, true)
		ended := r.end(registry.Ending{Issuer: issuer, Browser: long.Browser, Reason: registry.ReasonLogout, Now: start})
		equal(t, "ended", len(ended), 1)
	}},
}
