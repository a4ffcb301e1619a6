package registrytest

import (
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

var joinTests = []test{
	{"what is not found is no error", func(t *testing.T, r *tester) {
		id := sessionstate.NewSessionID()
		r.isMissing(issuer, id)
		r.isMissing(issuer, sessionstate.SessionID{})
		_, found, err := r.r.Resolve(t.Context(), issuer, id, newResponse())
		r.must(err)
		equal(t, "found", found, false)
		equal(t, "participations", len(r.participations(id)), 0)
	}},
	{"a browser without a session starts one under Fresh", func(t *testing.T, r *tester) {
		join := aJoin()
		session := r.join(join)
		want := registry.Session{
			ID: join.Fresh, Browser: join.Browser, Issuer: issuer, Created: recorded, Expires: recorded.Add(lifetime), Limit: recorded.Add(lifetime),
			Forgotten: recorded.Add(registry.CodeLifetime),
		}
		equal(t, "session", session, want)
		equal(t, "recorded", r.session(join.Fresh), want)
	}},
	{"a live session is continued", func(t *testing.T, r *tester) {
		first := aJoin()
		r.join(first)
		second := again(first)
		second.ClientID, second.Now = "wiki", start.Add(lifetime/2)
		equal(t, "session", r.join(second), r.session(first.Fresh))
		r.isMissing(issuer, second.Fresh)
		equal(t, "clients", len(r.participations(first.Fresh)), 2)
	}},
	{"a session is live until Expires exactly", func(t *testing.T, r *tester) {
		first := aJoin()
		session := r.join(first)
		last := again(first)
		last.Now = session.Expires.Add(-time.Nanosecond)
		equal(t, "before", r.join(last).ID, first.Fresh)
		late := again(first)
		late.Now = session.Expires
		equal(t, "at Expires", r.join(late).ID, late.Fresh)
	}},
	{"an ended session is not continued", func(t *testing.T, r *tester) {
		first := aJoin()
		r.join(first)
		r.end(registry.Ending{Issuer: issuer, Browser: first.Browser, Reason: registry.ReasonLogout, Now: start})
		second := again(first)
		equal(t, "session", r.join(second).ID, second.Fresh)
	}},
	{"the successor of a session is continued", func(t *testing.T, r *tester) {
		alice, _, bobs := r.switched()
		equal(t, "session", r.join(again(alice)), bobs.Session)
	}},
	{"the last of sixteen successors is continued", func(t *testing.T, r *tester) {
		first, last := chain(r, 16)
		equal(t, "session", r.join(again(first)).ID, last)
	}},
	{"of more than sixteen successors none is continued", func(t *testing.T, r *tester) {
		first, _ := chain(r, 17)
		join := again(first)
		equal(t, "session", r.join(join).ID, join.Fresh)
	}},
	{"a dead last successor is not continued", func(t *testing.T, r *tester) {
		alice, _, _ := r.switched()
		r.end(registry.Ending{Issuer: issuer, Browser: alice.Browser, Reason: registry.ReasonLogout, Now: start})
		join := again(alice)
		equal(t, "session", r.join(join).ID, join.Fresh)
	}},
	{"a session that another registry recorded is adopted under its ID", func(t *testing.T, r *tester) {
		join := again(aJoin())
		session := r.join(join)
		equal(t, "session", session.ID, join.Session)
		equal(t, "browser", session.Browser, join.Browser)
		equal(t, "expires", session.Expires, recorded.Add(time.Second+lifetime))
		r.isMissing(issuer, join.Fresh)
	}},
	{"issuers do not see each other's records", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		other := join.Issuer + "/tenant"
		r.isMissing(other, join.Fresh)
		participations, err := r.r.Participations(t.Context(), other, join.Fresh)
		r.must(err)
		equal(t, "participations", len(participations), 0)
		redemption := redeems(join, "alice")
		redemption.Issuer = other
		equal(t, "redeemed", r.redeem(redemption), registry.Redeemed{})
		ended := r.end(registry.Ending{Issuer: other, Browser: join.Browser, Reason: registry.ReasonLogout, Now: start})
		equal(t, "ended", len(ended), 0)
		equal(t, "live", r.session(join.Fresh).Live(start), true)
		same := again(join) // equal IDs, at another issuer
		same.Issuer = other
		equal(t, "joined", r.join(same).ID, join.Fresh)
		equal(t, "issuer", r.join(same).Issuer, other)
		equal(t, "ends here", len(r.end(ending(join, registry.ReasonLogout))), 1)
		same.Now = at(1)
		equal(t, "lives there", r.join(same).ID, join.Fresh)
	}},
	{"clients and origins are sets, ordered by client ID", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		for _, client := range []string{"wiki", "app", "shop", "wiki"} {
			next := again(join)
			next.ClientID, next.Origin = client, "https://"+client+".example.com"
			r.join(next)
		}
		next := again(join)
		next.Origin = ""
		r.join(next)
		next = again(join)
		next.Origin = "https://m.shop.example.com"
		r.join(next)
		var clients []string
		for _, participation := range r.participations(join.Fresh) {
			clients = append(clients, participation.ClientID)
			equal(t, "subjects", len(participation.Subjects), 0)
			if participation.ClientID == "shop" {
				equalSlices(t, "origins", participation.Origins, []string{"https://shop.example.com", "https://m.shop.example.com"})
			}
		}
		equalSlices(t, "clients", clients, []string{"app", "shop", "wiki"})
	}},
	{"what was returned cannot be changed by the caller", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		r.participation(join.Fresh).Origins[0] = "changed"
		equalSlices(t, "origins", r.participation(join.Fresh).Origins, []string{join.Origin})
	}},
	{"an empty origin is not recorded", func(t *testing.T, r *tester) {
		join := aJoin()
		join.Origin = ""
		r.join(join)
		equal(t, "origins", len(r.participation(join.Fresh).Origins), 0)
	}},
}

// chain makes a session with n successors. It returns the Join of the first and the ID of the last.
func chain(r *tester, n int) (first registry.Join, last sessionstate.SessionID) {
	r.Helper()
	first = aJoin()
	r.join(first)
	r.redeem(redeems(first, "user"))
	last = first.Fresh
	for i := range n {
		next := again(first)
		next.Session = last
		r.join(next)
		redeemed := r.redeem(redeems(next, "user "+string(rune('a'+i))))
		if !redeemed.Switched {
			r.Fatal("the user has not switched")
		}
		last = redeemed.Session.ID
	}
	return first, last
}
