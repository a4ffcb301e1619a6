package registry

import (
	"fmt"
	"testing"
	"time"
)

func TestRedeem(t *testing.T) {
	browsers(t, map[string]func(*browser){
		"the subject is recorded for the client": func(b *browser) {
			p := b.join("shop")
			s, full := b.redeem(p, "alice", "1")
			equal(b, "session", s.ID, p.session)
			equal(b, "full", full, false)
			equal(b, "clients", people(s), "shop alice/1")
			equal(b, "redeemed", b.rec.response(p.response).Redeemed, b.now)
		},
		"a subject is recorded once, and another sid of it beside it": func(b *browser) {
			p := b.join("shop")
			b.redeem(p, "alice", "1")
			equal(b, "added", b.redeemed.Added, true)
			equal(b, "started", b.redeemed.Started, false)
			b.redeem(p, "alice", "1")
			equal(b, "added again", b.redeemed.Added, false)
			s, _ := b.redeem(p, "alice", "")
			equal(b, "clients", people(s), "shop alice/1 alice")
		},
		"a code that was never seen is not known": func(b *browser) {
			b.join("shop")
			s, _ := b.redeem(tab{response: [16]byte{9}, client: "shop"}, "alice", "")
			equal(b, "known", s != nil, false)
		},
		"a code for a client that is not in the audience is not known": func(b *browser) {
			p := b.join("shop")
			for _, client := range []string{"", "wiki", "Shop"} {
				wrong := p
				wrong.client = client
				s, _ := b.redeem(wrong, "alice", "")
				equal(b, "known to "+client, s != nil, false)
			}
			equal(b, "clients", people(b.rec.Sessions[0]), "shop")
		},
		"a code is remembered for its lifetime": func(b *browser) {
			p := b.join("shop")
			b.redeem(p, "alice", "")
			b.now = start.Add(CodeLifetime) - 1
			s, _ := b.redeem(p, "alice", "")
			equal(b, "before", s != nil, true)
			s, _ = b.redeem(p, "alice", "")
			equal(b, "after", s != nil, false)
		},
		"an ended session gets the subject without a switch": func(b *browser) {
			p := b.join("shop")
			b.redeem(p, "alice", "")
			b.end(ReasonLogout)
			s, _ := b.redeem(p, "bob", "")
			equal(b, "reason", s.Reason, ReasonLogout)
			equal(b, "clients", people(s), "shop alice bob")
		},
		"an expired session gets the subject without a switch": func(b *browser) {
			b.j.Lifetime = time.Minute
			p := b.join("shop")
			b.redeem(p, "alice", "")
			b.now = start + minute
			s, _ := b.redeem(p, "bob", "")
			equal(b, "reason", s.Reason, ReasonExpiry)
			equal(b, "clients", people(s), "shop alice bob")
		},
		"subjects over their bound are not recorded, which is said": func(b *browser) {
			p := b.join("shop")
			for i := range MaxSubjects {
				_, full := b.redeem(p, "alice", fmt.Sprint(i))
				equal(b, "full", full, false)
			}
			_, full := b.redeem(p, "alice", "0")
			equal(b, "full, and there already", full, false)
			s, full := b.redeem(p, "alice", "one more")
			equal(b, "full", full, true)
			equal(b, "subjects", len(s.Clients[0].Subjects), MaxSubjects)
		},
		"what its ID tokens are like is kept, each string the latest that is not empty": func(b *browser) {
			p := b.join("shop")
			for _, b.d.IDToken = range []IDToken{{"https://op.example.com/shop/", "RS256"}, {"", "ES256"}, {}} {
				b.redeem(p, "alice", "1")
			}
			b.end(ReasonLogout)
			equal(b, "in the notice", b.rec.Sessions[0].Pending()[0].IDToken, IDToken{"https://op.example.com/shop/", "ES256"})
		},
	})
}

func TestUserSwitch(t *testing.T) {
	browsers(t, map[string]func(*browser){
		"another sub for the same client ends the session in favour of a successor": func(b *browser) {
			alice := b.signIn("alice")
			b.now, b.j.Origin = start+second, "https://m.shop.example.com"
			p := b.join("shop")
			b.now, b.d.Lifetime = start+minute, 2*time.Hour
			bob, _ := b.redeem(p, "bob", "2")
			equal(b, "started", b.redeemed.Started, true)
			equal(b, "created", bob.Created, start+second)
			equal(b, "limit", bob.Limit, start+minute+2*hour)
			equal(b, "predecessor", bob.Predecessor, alice.ID)
			equal(b, "successor", alice.Successor, bob.ID)
			equal(b, "ended", alice.Ended, start+minute)
			equal(b, "reason", alice.Reason, ReasonUserSwitch)
			equal(b, "clients", people(alice)+"; "+people(bob), "shop alice; shop bob/2")
			equal(b, "origins", len(bob.Clients[0].Origins), 2)
			equal(b, "owed", b.owed(), "shop alice sid of alice user_switch")
			response := b.rec.response(p.response)
			equal(b, "the response moves", response.Session == bob.ID && response.Moved, true)
			again, _ := b.redeem(p, "bob", "2")
			equal(b, "again", again, bob)
		},
		"the same user again is no switch": func(b *browser) {
			alice := b.signIn("alice")
			equal(b, "session", b.signIn("alice"), alice)
		},
		"a successor can be succeeded": func(b *browser) {
			b.signIn("alice")
			p := b.join("shop")
			bob, _ := b.redeem(p, "bob", "")
			carol, _ := b.redeem(p, "carol", "")
			equal(b, "successor", bob.Successor, carol.ID)
			equal(b, "response", b.rec.response(p.response).Session, carol.ID)
		},
		"an older code joins the older session": func(b *browser) {
			alice := b.signIn("alice")
			older, newer := b.join("shop"), b.join("shop")
			b.redeem(newer, "bob", "")
			late, _ := b.redeem(older, "alice", "")
			equal(b, "session", late, alice)
			equal(b, "sessions", len(b.rec.Sessions), 2)
		},
		"subs of other clients count across clients only": func(b *browser) {
			shop := b.signIn("pairwise for shop")
			wiki, _ := b.redeem(b.join("wiki"), "pairwise for wiki", "")
			equal(b, "pairwise", wiki, shop)
			b.d.AcrossClients = true
			public, _ := b.redeem(b.join("app"), "public", "")
			equal(b, "public", people(public), "app public")
			same, _ := b.redeem(b.join("mail"), "public", "")
			equal(b, "the same sub", same, public)
		},
		"codes redeemed in the wrong order leave the user who came last": func(b *browser) {
			first, last := b.join("shop"), b.join("shop")
			bob, _ := b.redeem(last, "bob", "")
			alice, _ := b.redeem(first, "alice", "")
			equal(b, "alice's reason", alice.Reason, ReasonUserSwitch)
			equal(b, "alice's successor", alice.Successor, bob.ID)
			equal(b, "alice's response", b.rec.response(first.response).Session, alice.ID)
			equal(b, "bob lives", bob.Live(b.now), true)
			equal(b, "clients", people(alice)+"; "+people(bob), "shop alice; shop bob")
			equal(b, "owed", b.owed(), "shop alice  user_switch")
		},
		"a user between two others has been and gone": func(b *browser) {
			b.signIn("alice")
			between, last := b.join("shop"), b.join("shop")
			carol, _ := b.redeem(last, "carol", "")
			bob, _ := b.redeem(between, "bob", "")
			equal(b, "bob's successor", bob.Successor, carol.ID)
			equal(b, "live", bob.Live(b.now) || !carol.Live(b.now), false)
		},
		"a user between two sign-ins of another has been and gone": func(b *browser) {
			alice := b.signIn("alice")
			between := b.join("shop")
			equal(b, "alice is back", b.signIn("alice"), alice)
			bob, _ := b.redeem(between, "bob", "")
			equal(b, "bob's successor", bob.Successor, alice.ID)
			equal(b, "live", bob.Live(b.now) || !alice.Live(b.now), false)
		},
		"an earlier code of the new user joins the new session": func(b *browser) {
			b.signIn("alice")
			earlier := b.join("shop")
			bob := b.signIn("bob")
			late, _ := b.redeem(earlier, "bob", "")
			equal(b, "session", late, bob)
			equal(b, "response", b.rec.response(earlier.response).Session, bob.ID)
		},
		"codes for other clients stay with the old user or follow the new one, by when they were issued": func(b *browser) {
			alice := b.signIn("alice")
			old := b.join("wiki")
			switching := b.join("shop")
			follows := b.join("mail")
			bob, _ := b.redeem(switching, "bob", "")
			s, _ := b.redeem(old, "pairwise alice", "")
			equal(b, "before the switch", s, alice)
			s, _ = b.redeem(follows, "pairwise bob", "")
			equal(b, "after it", s, bob)
		},
		"silent responses for accounts that the OP holds at once are no switches after the first": func(b *browser) {
			alice := b.signIn("alice")
			bob := b.signIn("bob")
			b.j.Silent = true
			equal(b, "back", b.signIn("alice"), bob)
			equal(b, "and forth", b.signIn("bob"), bob)
			equal(b, "alice's first lives", alice.Live(b.now), false)
		},
		"a silent response for a user who was not there before is a switch": func(b *browser) {
			alice := b.signIn("alice")
			b.j.Silent = true
			equal(b, "bob's", b.signIn("bob") != alice, true)
			equal(b, "alice's", alice.Reason, ReasonUserSwitch)
		},
		"a user who signs in again after another has switched back": func(b *browser) {
			b.signIn("alice")
			bob := b.signIn("bob")
			b.signIn("alice")
			equal(b, "bob's", bob.Reason, ReasonUserSwitch)
		},
		"a handle of before follows its response to the successor, and the others do not": func(b *browser) {
			before := b.join("shop")
			b.redeem(before, "alice", "")
			p := b.join("shop")
			bob, _ := b.redeem(p, "bob", "")
			equal(b, "bob's", b.rec.resolve(Ref{Session: p.session, Response: p.response}), bob)
			equal(b, "alice's", b.rec.resolve(Ref{Session: before.session, Response: before.response}).ID, before.session)
			equal(b, "without a code", b.rec.resolve(Ref{Session: p.session}).ID, p.session)
			b.tidy(30 * minute)
			equal(b, "when the code is over", b.rec.resolve(Ref{Session: p.session, Response: p.response}), bob)
		},
	})
}
