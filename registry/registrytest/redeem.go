package registrytest

import (
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

var redeemTests = []test{
	{"the subject is recorded for the client", func(t *testing.T, r *tester) {
		join := aJoin()
		session := r.join(join)
		redeemed := r.redeem(redeems(join, "alice"))
		equal(t, "redeemed", redeemed, registry.Redeemed{Known: true, Session: session})
		want := []registry.Subject{{Sub: "alice", Sid: "sid of alice"}}
		equalSlices(t, "subjects", r.participation(join.Fresh).Subjects, want)
	}},
	{"a subject is recorded once, and another sid of it beside it", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		redemption := redeems(join, "alice")
		r.redeem(redemption)
		r.redeem(redemption)
		redemption.Subject.Sid = ""
		equal(t, "switched", r.redeem(redemption).Switched, false)
		want := []registry.Subject{{Sub: "alice", Sid: "sid of alice"}, {Sub: "alice"}}
		equalSlices(t, "subjects", r.participation(join.Fresh).Subjects, want)
	}},
	{"a response that was never joined is not known", func(t *testing.T, r *tester) {
		equal(t, "redeemed", r.redeem(redeems(aJoin(), "alice")), registry.Redeemed{})
	}},
	{"a response without a code is not remembered", func(t *testing.T, r *tester) {
		join := aJoin()
		join.Response = [16]byte{}
		r.join(join)
		equal(t, "redeemed", r.redeem(redeems(join, "alice")), registry.Redeemed{})
	}},
	{"a code for a client that is not in the audience is not known", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		redemption := redeems(join, "alice")
		for _, audience := range [][]string{nil, {"wiki"}, {"Shop"}} {
			redemption.Audience = audience
			equal(t, "redeemed", r.redeem(redemption), registry.Redeemed{})
		}
		equal(t, "subjects", len(r.participation(join.Fresh).Subjects), 0)
		redemption.Audience = []string{"wiki", "shop"}
		equal(t, "known", r.redeem(redemption).Known, true)
	}},
	{"a code is remembered for its lifetime", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		redemption := redeems(join, "alice")
		redemption.Now = recorded.Add(registry.CodeLifetime - time.Nanosecond)
		equal(t, "before", r.redeem(redemption).Known, true)
		redemption.Now = recorded.Add(registry.CodeLifetime)
		equal(t, "after", r.redeem(redemption).Known, false)
	}},
	{"a code stays with the client and session it was first for", func(t *testing.T, r *tester) {
		first := aJoin()
		r.join(first)
		second := aJoin()
		second.Response, second.ClientID = first.Response, "wiki"
		r.join(second)
		equal(t, "second", r.redeem(redeems(second, "mallory")).Known, false)
		equal(t, "first", r.redeem(redeems(first, "alice")).Session.ID, first.Fresh)
	}},
	{"a code that was forgotten can be remembered again", func(t *testing.T, r *tester) {
		first := aJoin()
		r.join(first)
		second := aJoin()
		second.Response, second.Now = first.Response, start.Add(registry.CodeLifetime)
		r.join(second)
		equal(t, "session", r.redeem(redeems(second, "alice")).Session.ID, second.Fresh)
		equal(t, "removed at the first's time", r.expire(start.Add(registry.CodeLifetime)), 0)
		equal(t, "known", r.redeem(redeems(second, "alice")).Known, true)
	}},
	{"a code whose session was removed is not known", func(t *testing.T, r *tester) {
		join := aJoin()
		join.Lifetime = time.Minute
		r.join(join)
		equal(t, "removed", r.expire(start.Add(time.Minute)), 1)
		redemption := redeems(join, "alice")
		redemption.Now = start.Add(2 * time.Minute)
		equal(t, "redeemed", r.redeem(redemption), registry.Redeemed{})
	}},
	{"an ended session gets the subject without a switch", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		r.redeem(redeems(join, "alice"))
		r.end(registry.Ending{Issuer: issuer, Browser: join.Browser, Reason: registry.ReasonLogout, Now: start})
		redeemed := r.redeem(redeems(join, "bob"))
		equal(t, "redeemed", redeemed, registry.Redeemed{Known: true, Session: r.session(join.Fresh)})
		equal(t, "reason", redeemed.Session.Reason, registry.ReasonLogout)
		equal(t, "subjects", len(r.participation(join.Fresh).Subjects), 2)
	}},
	{"an expired session gets the subject without a switch", func(t *testing.T, r *tester) {
		join := aJoin()
		join.Lifetime = time.Minute
		r.join(join)
		r.redeem(redeems(join, "alice"))
		late := redeems(join, "bob")
		late.Now = start.Add(time.Minute)
		equal(t, "switched", r.redeem(late).Switched, false)
		equal(t, "subjects", len(r.participation(join.Fresh).Subjects), 2)
	}},
}

var switchTests = []test{
	{"another sub for the same client ends the session in favour of a successor", func(t *testing.T, r *tester) {
		alice := aJoin()
		r.join(alice)
		r.redeem(redeems(alice, "alice"))
		bob := again(alice)
		bob.Origin = "https://m.shop.example.com"
		r.join(bob)
		redemption := redeems(bob, "bob")
		redemption.Now, redemption.Lifetime = start.Add(time.Minute), 2*lifetime

		redeemed := r.redeem(redemption)
		now := recorded.Add(time.Minute)
		successor := registry.Session{ID: redemption.Fresh, Browser: alice.Browser, Issuer: issuer, Created: now, Expires: now.Add(2 * lifetime)}
		equal(t, "redeemed", redeemed, registry.Redeemed{Known: true, Session: successor, Switched: true})
		equal(t, "successor", r.session(redemption.Fresh), successor)
		equal(t, "old session", r.session(alice.Fresh), registry.Session{
			ID: alice.Fresh, Browser: alice.Browser, Issuer: issuer, Created: recorded, Expires: recorded.Add(lifetime),
			Ended: now, Reason: registry.ReasonUserSwitch, Successor: redemption.Fresh,
		})
		equalSlices(t, "old subjects", r.participation(alice.Fresh).Subjects, []registry.Subject{{Sub: "alice", Sid: "sid of alice"}})
		equalSlices(t, "subjects", r.participation(redemption.Fresh).Subjects, []registry.Subject{{Sub: "bob", Sid: "sid of bob"}})
		equalSlices(t, "origins", r.participation(redemption.Fresh).Origins, []string{alice.Origin, bob.Origin})
	}},
	{"the response belongs to the successor from then on", func(t *testing.T, r *tester) {
		_, bob, redeemed := r.switched()
		second := r.redeem(redeems(bob, "bob"))
		equal(t, "redeemed", second, registry.Redeemed{Known: true, Session: redeemed.Session})
	}},
	{"the same user again is no switch, also when others were there before", func(t *testing.T, r *tester) {
		alice := aJoin()
		r.join(alice)
		r.redeem(redeems(alice, "alice"))
		next := again(alice)
		r.join(next)
		equal(t, "switched", r.redeem(redeems(next, "alice")).Switched, false)
		equal(t, "live", r.session(alice.Fresh).Live(start), true)
	}},
	{"a successor can be succeeded", func(t *testing.T, r *tester) {
		_, bob, second := r.switched()
		third := r.redeem(redeems(bob, "carol"))
		equal(t, "switched", third.Switched, true)
		equal(t, "second's successor", r.session(second.Session.ID).Successor, third.Session.ID)
		equal(t, "resolved", r.resolve(bob.Session, bob.Response), third.Session)
	}},
	{"an older code joins the older session", func(t *testing.T, r *tester) {
		first := aJoin()
		r.join(first)
		older, newer := again(first), again(first)
		r.join(older)
		r.join(newer)
		r.redeem(redeems(first, "alice"))
		equal(t, "switched", r.redeem(redeems(newer, "bob")).Switched, true)
		late := r.redeem(redeems(older, "alice"))
		equal(t, "session", late.Session.ID, first.Fresh)
		equal(t, "switched", late.Switched, false)
	}},
	{"subs of other clients count across clients only", func(t *testing.T, r *tester) {
		shop := aJoin()
		r.join(shop)
		r.redeem(redeems(shop, "pairwise for shop"))
		wiki := again(shop)
		wiki.ClientID = "wiki"
		r.join(wiki)
		redemption := redeems(wiki, "pairwise for wiki")
		equal(t, "pairwise", r.redeem(redemption).Switched, false)

		app := again(shop)
		app.ClientID = "app"
		r.join(app)
		redemption = redeems(app, "public")
		redemption.AcrossClients = true
		redeemed := r.redeem(redemption)
		equal(t, "public", redeemed.Switched, true)
		equal(t, "client", r.participation(redeemed.Session.ID).ClientID, "app")
	}},
	{"the same sub at another client is no switch", func(t *testing.T, r *tester) {
		shop := aJoin()
		r.join(shop)
		r.redeem(redeems(shop, "alice"))
		wiki := again(shop)
		wiki.ClientID = "wiki"
		r.join(wiki)
		redemption := redeems(wiki, "alice")
		redemption.AcrossClients = true
		equal(t, "redeemed", r.redeem(redemption), registry.Redeemed{Known: true, Session: r.session(shop.Fresh)})
	}},
	{"the first subject of a session is no switch", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		redemption := redeems(join, "alice")
		redemption.AcrossClients = true
		equal(t, "switched", r.redeem(redemption).Switched, false)
	}},
	{"the response keeps the lifetime of its code", func(t *testing.T, r *tester) {
		_, bob, _ := r.switched()
		redemption := redeems(bob, "bob")
		redemption.Now = start.Add(registry.CodeLifetime)
		equal(t, "known", r.redeem(redemption).Known, false)
	}},
}

var resolveTests = []test{
	{"a response resolves to the session that it was re-bound to", func(t *testing.T, r *tester) {
		alice, bob, redeemed := r.switched()
		equal(t, "bob's", r.resolve(alice.Fresh, bob.Response), redeemed.Session)
		equal(t, "alice's", r.resolve(alice.Fresh, alice.Response).ID, alice.Fresh)
		equal(t, "zero", r.resolve(alice.Fresh, [16]byte{}).ID, alice.Fresh)
		_, found, err := r.r.Resolve(t.Context(), issuer+"/tenant", alice.Fresh, bob.Response)
		r.must(err)
		equal(t, "found at another issuer", found, false)
	}},
	{"a re-binding outlives its code, and the session that it was made for", func(t *testing.T, r *tester) {
		alice, bob, _ := r.switched()
		redemption := redeems(bob, "carol")
		redemption.Lifetime = 2 * lifetime
		redeemed := r.redeem(redemption)
		for r.expire(start.Add(lifetime)) > 0 {
		}
		r.isMissing(issuer, alice.Fresh)
		equal(t, "session", r.resolve(alice.Fresh, bob.Response), redeemed.Session)
	}},
	{"a re-binding ends with its successor", func(t *testing.T, r *tester) {
		first := aJoin()
		r.join(first)
		r.redeem(redeems(first, "alice"))
		bob := again(first)
		r.join(bob)
		redemption := redeems(bob, "bob")
		redemption.Lifetime = time.Minute
		r.redeem(redemption)
		equal(t, "removed", r.expire(start.Add(time.Minute)), 2)
		equal(t, "session", r.resolve(first.Fresh, bob.Response).ID, first.Fresh)
	}},
}
