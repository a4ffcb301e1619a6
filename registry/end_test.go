package registry

import (
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func TestEnd(t *testing.T) {
	browsers(t, map[string]func(*browser){
		"all live sessions of the browser end, once": func(b *browser) {
			first := b.signIn("alice")
			b.j.Session = sessionstate.SessionID{}
			other := b.signIn("alice")
			ended := b.end(ReasonLoginCookie)
			equal(b, "ended", len(ended), 2)
			for _, s := range []*Session{first, other} {
				equal(b, "ended at", s.Ended, b.now)
				equal(b, "reason", s.Reason, ReasonLoginCookie)
			}
			equal(b, "again", len(b.end(ReasonOperator)), 0)
			equal(b, "reason", first.Reason, ReasonLoginCookie)
		},
		"an expired session ends by its expiry": func(b *browser) {
			s := b.signIn("alice")
			b.now = s.Expires
			equal(b, "ended", len(b.end(ReasonLogout)), 0)
			equal(b, "reason", s.Reason, ReasonExpiry)
		},
		"after a user switch the successor ends": func(b *browser) {
			alice, bob := b.signIn("alice"), b.signIn("bob")
			ended := b.end(ReasonLogout)
			equal(b, "ended", len(ended) == 1 && ended[0] == bob, true)
			equal(b, "alice's", alice.Reason, ReasonUserSwitch)
		},
		"each client, sub and sid is owed one notice": func(b *browser) {
			p := b.join("shop")
			b.redeem(p, "alice", "1")
			b.redeem(b.join("shop"), "alice", "1")
			b.redeem(b.join("shop"), "alice", "2")
			b.redeem(b.join("wiki"), "pairwise", "")
			b.join("no ID token was seen")
			b.end(ReasonLogout)
			equal(b, "owed", b.owed(), "shop alice 1 logout, shop alice 2 logout, wiki pairwise  logout")
		},
		"the client that asked is notified later, and the others at once": func(b *browser) {
			b.redeem(b.join("shop"), "alice", "1")
			b.redeem(b.join("wiki"), "alice", "1")
			now := b.tick()
			b.rec.endAll(nil, ReasonLogout, "shop", now+2*minute, now)
			for _, o := range b.rec.Sessions[0].Pending() {
				equal(b, o.ClientID+" asked", o.Asked, o.ClientID == "shop")
				equal(b, o.ClientID+" is due later", o.Due == now+2*minute, o.ClientID == "shop")
			}
		},
		"nobody is owed anything where the last sign-in said so": func(b *browser) {
			b.signIn("alice")
			b.j.Notify, b.d.Notify = false, false
			b.signIn("alice")
			b.end(ReasonLogout)
			equal(b, "owed", b.owed(), "")
		},
		"clients are notified again where a later sign-in said so": func(b *browser) {
			b.j.Notify, b.d.Notify = false, false
			b.signIn("alice")
			b.j.Notify = true
			b.join("shop")
			b.end(ReasonLogout)
			equal(b, "owed", b.owed(), "shop alice sid of alice logout")
		},
	})
}

func TestLateCodes(t *testing.T) {
	browsers(t, map[string]func(*browser){
		"a subject that is added to an ended session is owed a notice at once, and once": func(b *browser) {
			p := b.join("shop")
			b.end(ReasonLogout)
			b.now = start + 5*minute
			s, _ := b.redeem(p, "alice", "1")
			n := s.Clients[0].Subjects[0].Notice
			equal(b, "due", n.Due, start+5*minute)
			equal(b, "late", n.Late, true)
			n.Attempts = 1
			b.redeem(p, "alice", "1")
			equal(b, "attempts", s.Pending()[0].Attempts, 1)
		},
		"a code that comes after the client was notified owes the notice again": func(b *browser) {
			p, late := b.join("shop"), b.join("shop")
			s, _ := b.redeem(p, "alice", "1")
			for _, outcome := range []Outcome{{Delivered: true}, {Dead: true, Attempts: 9}} {
				b.end(ReasonLogout)
				if len(s.Pending()) == 1 {
					outcome.Notice = s.Pending()[0]
					b.rec.recordOutcomes([]Outcome{outcome}, b.now)
				}
				equal(b, "settled", b.owed(), "")
				b.redeem(late, "alice", "1")
				equal(b, "owed again", b.owed(), "shop alice 1 logout")
				equal(b, "attempts", s.Pending()[0].Attempts, 0)
			}
		},
		"a code whose session has expired owes its client a notice": func(b *browser) {
			b.j.Lifetime = time.Minute
			p := b.join("shop")
			b.now = start + 2*minute
			b.redeem(p, "alice", "1")
			equal(b, "owed", b.owed(), "shop alice 1 expiry")
		},
		"a code that is redeemed where nobody is notified owes nothing": func(b *browser) {
			p := b.join("shop")
			b.end(ReasonLogout)
			b.d.Notify = false
			b.redeem(p, "alice", "1")
			equal(b, "owed", b.owed(), "")
		},
	})
}

func TestTidying(t *testing.T) {
	browsers(t, map[string]func(*browser){
		"nothing goes before its time": func(b *browser) {
			s := b.signIn("alice")
			equal(b, "ended", len(b.tidy(10*minute)), 0)
			equal(b, "responses", len(b.rec.Responses), 0)
			equal(b, "too early", len(b.tidy(hour-1)), 0)
			equal(b, "ended", len(b.tidy(hour)), 1)
			equal(b, "reason", s.Reason, ReasonExpiry)
			equal(b, "owed", b.owed(), "shop alice sid of alice expiry")
		},
		"ten minutes after its end, a session's clients go unless it owes something": func(b *browser) {
			s := b.signIn("alice")
			b.end(ReasonLogout)
			b.tidy(11 * minute)
			equal(b, "clients", people(s), "shop alice")
			b.rec.recordOutcomes([]Outcome{{Notice: s.Pending()[0], Delivered: true}}, b.now)
			b.tidy(12 * minute)
			equal(b, "clients", people(s), "")
			equal(b, "reason", b.session(s.ID).Reason, ReasonLogout)
			b.tidy(hour + 10*minute - 1)
			equal(b, "sessions", len(b.rec.Sessions), 1)
			b.tidy(hour + 11*minute)
			equal(b, "sessions", len(b.rec.Sessions), 0)
		},
		"a notice is forgotten in the end, and one that was given up sooner": func(b *browser) {
			s := b.signIn("alice")
			b.redeem(b.join("wiki"), "alice", "")
			b.end(ReasonLogout)
			ended := b.now
			b.rec.recordOutcomes([]Outcome{{Notice: s.Pending()[0], Dead: true}}, b.now)
			b.tidy((ended - start).Add(DeadLetterLifetime) - 1)
			equal(b, "notices", len(s.Pending()), 2)
			b.tidy((ended - start).Add(DeadLetterLifetime))
			equal(b, "notices", len(s.Pending()), 1)
			b.tidy((ended - start).Add(NoticeLifetime))
			equal(b, "sessions", len(b.rec.Sessions), 0)
		},
		"an ended session never lives again where its tombstone had to go": func(b *browser) {
			b.j.Lifetime = 5 * time.Hour
			first := b.join("shop").session
			b.end(ReasonLogout)
			b.j.Lifetime = time.Hour
			for range MaxTombstones {
				b.join("shop")
				b.end(ReasonLogout)
			}
			equal(b, "too many", len(b.rec.Sessions), MaxTombstones+1)
			b.tidy(11 * minute)
			equal(b, "tombstones", len(b.rec.Sessions), MaxTombstones)
			equal(b, "the first is recorded", b.rec.session(first) != nil, false)
			change, err := b.rec.change()
			if err != nil || At(change.Expires) != start+5*hour {
				b.Errorf("the record expires at %v, %v", change.Expires, err)
			}
			b.j.Session = first
			equal(b, "it lives again", b.join("shop").session == first, false)
		},
	})
}

// TestARecordIsKeptForAsLongAsItMatters compares what a store is given of records.
func TestARecordIsKeptForAsLongAsItMatters(t *testing.T) {
	expect := func(b *browser, what string, expires, ends, owed Time, owing bool) {
		b.Helper()
		c, err := b.rec.change()
		if err != nil {
			b.Fatal(err)
		}
		equal(b, what+": expires", At(c.Expires), expires)
		equal(b, what+": ends", At(c.Ends), ends)
		equal(b, what+": owed", At(c.Owed), owed)
		equal(b, what+": owing", c.Owing, owing)
	}
	browsers(t, map[string]func(*browser){
		"it outlives its last wake-up by a day, and is deleted once empty": func(b *browser) {
			p := b.join("shop")
			expect(b, "not redeemed", start+10*minute, start+10*minute, 0, false)
			s, _ := b.redeem(p, "alice", "1")
			expect(b, "redeemed", s.Limit+24*hour, s.Expires, 0, false)
			b.tidy(hour)
			expect(b, "expired", b.now.Add(NoticeLifetime), 0, b.now, true)
			b.rec.recordOutcomes([]Outcome{{Notice: s.Pending()[0], Dead: true}}, b.now)
			expect(b, "given up", b.now.Add(DeadLetterLifetime), 0, 0, true)
			s.Clients[0].Subjects[0].Notice = nil
			expect(b, "delivered", s.Limit+10*minute, s.Ended+10*minute, 0, false)
			b.tidy(hour + 10*minute)
			if c, err := b.rec.change(); err != nil || c.Value != nil {
				b.Errorf("an empty record becomes %+v, %v", c, err)
			}
		},
		"it wakes for what comes first": func(b *browser) {
			alice := b.signIn("alice")
			b.now = start + minute
			b.signIn("bob")
			c, err := b.rec.change()
			if err != nil {
				b.Fatal(err)
			}
			equal(b, "owed", At(c.Owed), alice.Ended)
			equal(b, "wake", At(c.Wake()), alice.Ended)
			equal(b, "ends", At(c.Ends), b.session(alice.Successor).Expires)
		},
	})
}
