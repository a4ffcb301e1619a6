package registrytest

import (
	"errors"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

var redeemTests = []test{
	{"the subject is recorded for the client", func(t *testing.T, r *tester) {
		join := aJoin()
		session := r.join(join)
		redeemed := r.redeem(redeems(join, "alice"))
		session.Forgotten = time.Time{}
		equal(t, "redeemed", redeemed, registry.Redeemed{Known: true, Session: session, Added: true})
		want := []registry.Subject{{Sub: "alice", Sid: "sid of alice"}}
		equalSlices(t, "subjects", named(r.participation(join.Fresh).Subjects), want)
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
		equalSlices(t, "subjects", named(r.participation(join.Fresh).Subjects), want)
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
		equal(t, "removed at the first's time", r.expire(start.Add(registry.CodeLifetime)), 1) // its session
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
		equal(t, "redeemed", redeemed, registry.Redeemed{Known: true, Session: r.session(join.Fresh), Added: true})
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
		successor := registry.Session{
			ID: redemption.Fresh, Browser: alice.Browser, Issuer: issuer,
			Created: recorded.Add(time.Second), Expires: now.Add(2 * lifetime), Limit: now.Add(2 * lifetime), Predecessor: alice.Fresh,
		}
		equal(t, "redeemed", redeemed, registry.Redeemed{Known: true, Session: successor, Switched: true, Added: true})
		equal(t, "successor", r.session(redemption.Fresh), successor)
		equal(t, "old session", r.session(alice.Fresh), registry.Session{
			ID: alice.Fresh, Browser: alice.Browser, Issuer: issuer, Created: recorded, Expires: recorded.Add(lifetime), Limit: recorded.Add(lifetime),
			Ended: now, Reason: registry.ReasonUserSwitch, Successor: redemption.Fresh,
		})
		equalSlices(t, "old subjects", named(r.participation(alice.Fresh).Subjects), []registry.Subject{{Sub: "alice", Sid: "sid of alice"}})
		equalSlices(t, "subjects", named(r.participation(redemption.Fresh).Subjects), []registry.Subject{{Sub: "bob", Sid: "sid of bob"}})
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
		older := again(first)
		newer := again(older)
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
		equal(t, "redeemed", r.redeem(redemption), registry.Redeemed{Known: true, Session: r.session(shop.Fresh), Added: true})
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
		redemption.Now = bob.Now.Add(registry.CodeLifetime)
		equal(t, "known", r.redeem(redemption).Known, false)
	}},
	{"codes redeemed in the wrong order leave the user who came last", func(t *testing.T, r *tester) {
		alice := aJoin()
		r.join(alice)
		bob := again(alice)
		r.join(bob)
		r.redeem(redeems(bob, "bob"))
		late := r.redeem(redeems(alice, "alice"))
		equal(t, "switched", late.Switched, false)
		equal(t, "reason of alice's", late.Session.Reason, registry.ReasonUserSwitch)
		equal(t, "successor of alice's", late.Session.Successor, alice.Fresh)
		equal(t, "alice's response", r.resolve(alice.Fresh, alice.Response), late.Session)
		equal(t, "bob's session is live", r.resolve(alice.Fresh, bob.Response).Live(start), true)
		equalSlices(t, "bob's session", named(r.participation(alice.Fresh).Subjects), []registry.Subject{{Sub: "bob", Sid: "sid of bob"}})
	}},
	{"a user between two others has been and gone", func(t *testing.T, r *tester) {
		alice := aJoin()
		r.join(alice)
		r.redeem(redeems(alice, "alice"))
		bob := again(alice)
		r.join(bob)
		carol := again(bob)
		r.join(carol)
		last := r.redeem(redeems(carol, "carol"))
		between := r.redeem(redeems(bob, "bob"))
		equal(t, "switched", between.Switched, false)
		equal(t, "bob's successor", between.Session.Successor, last.Session.ID)
		equal(t, "bob's session is live", between.Session.Live(start), false)
		equal(t, "carol's session is live", r.session(last.Session.ID).Live(start), true)
	}},
	{"a user between two sign-ins of another has been and gone", func(t *testing.T, r *tester) {
		alice := aJoin()
		r.join(alice)
		r.redeem(redeems(alice, "alice"))
		bob := again(alice)
		r.join(bob)
		back := again(bob)
		r.join(back)
		equal(t, "alice is back", r.redeem(redeems(back, "alice")).Session.ID, alice.Fresh)
		between := r.redeem(redeems(bob, "bob"))
		equal(t, "switched", between.Switched, false)
		equal(t, "bob's successor", between.Session.Successor, alice.Fresh)
		equal(t, "bob's session is live", between.Session.Live(start), false)
		equal(t, "alice's session is live", r.session(alice.Fresh).Live(start), true)
	}},
	{"an earlier code of the new user joins the new session", func(t *testing.T, r *tester) {
		alice := aJoin()
		r.join(alice)
		r.redeem(redeems(alice, "alice"))
		earlier := again(alice)
		r.join(earlier)
		bob := again(earlier)
		r.join(bob)
		second := r.redeem(redeems(bob, "bob"))
		late := r.redeem(redeems(earlier, "bob"))
		equal(t, "switched", late.Switched, false)
		equal(t, "session", late.Session, second.Session)
		equal(t, "its response", r.resolve(alice.Fresh, earlier.Response), second.Session)
	}},
	{"a code of the new user for another client follows to the successor", func(t *testing.T, r *tester) {
		alice := aJoin()
		r.join(alice)
		r.redeem(redeems(alice, "alice"))
		bob := again(alice)
		r.join(bob)
		wiki := again(bob)
		wiki.ClientID = "wiki"
		r.join(wiki)
		second := r.redeem(redeems(bob, "bob"))
		third := r.redeem(redeems(wiki, "pairwise bob"))
		equal(t, "session", third.Session, second.Session)
		equal(t, "wiki's response", r.resolve(alice.Fresh, wiki.Response), second.Session)
	}},
	{"a code of the old user for another client stays behind", func(t *testing.T, r *tester) {
		alice := aJoin()
		r.join(alice)
		r.redeem(redeems(alice, "alice"))
		wiki := again(alice)
		wiki.ClientID = "wiki"
		r.join(wiki)
		bob := again(wiki)
		bob.ClientID = "shop"
		r.join(bob)
		r.redeem(redeems(bob, "bob"))
		equal(t, "session", r.redeem(redeems(wiki, "pairwise alice")).Session.ID, alice.Fresh)
	}},
	{"silent answers for accounts that the OP holds at once are no switches, after the first", func(t *testing.T, r *tester) {
		alice, bob, second := r.switched()
		silent := again(bob)
		silent.Session, silent.Silent = second.Session.ID, true
		r.join(silent)
		back := r.redeem(redeems(silent, "alice"))
		equal(t, "switched", back.Switched, false)
		equal(t, "session", back.Session, second.Session)
		forth := again(silent)
		r.join(forth)
		equal(t, "session", r.redeem(redeems(forth, "bob")).Session, second.Session)
		equal(t, "alice's first session stays ended", r.session(alice.Fresh).Live(start), false)
	}},
	{"a user who signs in again after another has switched back", func(t *testing.T, r *tester) {
		_, bob, second := r.switched()
		back := again(bob)
		back.Session = second.Session.ID
		r.join(back)
		equal(t, "switched", r.redeem(redeems(back, "alice")).Switched, true)
	}},
	{"a silent answer for a user who was not there before is a switch", func(t *testing.T, r *tester) {
		alice := aJoin()
		r.join(alice)
		r.redeem(redeems(alice, "alice"))
		silent := again(alice)
		silent.Silent = true
		r.join(silent)
		equal(t, "switched", r.redeem(redeems(silent, "bob")).Switched, true)
	}},
}

var frontChannelTests = []test{
	{"the subject of the response itself is recorded at once", func(t *testing.T, r *tester) {
		join := aJoin()
		join.Subject = registry.Subject{Sub: "alice", Sid: "sid of alice"}
		equal(t, "session", r.join(join).ID, join.Fresh)
		equalSlices(t, "subjects", named(r.participation(join.Fresh).Subjects), []registry.Subject{{Sub: "alice", Sid: "sid of alice"}})
		equal(t, "switched by the code", r.redeem(redeems(join, "alice")).Switched, false)
	}},
	{"another user in the response itself switches at once", func(t *testing.T, r *tester) {
		alice := aJoin()
		r.join(alice)
		r.redeem(redeems(alice, "alice"))
		bob := again(alice)
		bob.Subject = registry.Subject{Sub: "bob"}
		session := r.join(bob)
		equal(t, "session", session.ID, bob.Fresh)
		equal(t, "predecessor", session.Predecessor, alice.Fresh)
		equal(t, "old session is live", r.session(alice.Fresh).Live(start), false)
		redeemed := r.redeem(redeems(bob, "bob"))
		equal(t, "session by the code", redeemed.Session.ID, bob.Fresh)
		equal(t, "switched by the code", redeemed.Switched, false)
	}},
	{"a subject that is too long is refused", func(t *testing.T, r *tester) {
		join := aJoin()
		join.Subject.Sub = string(make([]byte, registry.MaxString+1))
		_, err := r.r.Join(t.Context(), join)
		equal(t, "invalid", errors.Is(err, registry.ErrInvalid), true)
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
		equal(t, "removed", r.expire(bob.Now.Add(time.Minute)), 2)
		equal(t, "session", r.resolve(first.Fresh, bob.Response).ID, first.Fresh)
	}},
}
