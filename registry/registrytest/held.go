package registrytest

import (
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// signsIn starts a session, for a while, of alice at the shop.
func (r *tester) signsIn(from time.Time, lasts time.Duration, sid string) registry.Join {
	r.Helper()
	join := told()
	join.Now, join.Lifetime = from, lasts
	r.join(join)
	r.redeem(identifies(join, "alice", sid))
	return join
}

// sendable is what is due and not held back; those that are listed as such are settled as such.
func (r *tester) sendable(now time.Time) string {
	r.Helper()
	var sendable []registry.Notice
	for _, notice := range r.due(now) {
		if notice.Held {
			r.settle(now, registry.Outcome{ID: notice.ID, Held: true})
		} else {
			sendable = append(sendable, notice)
		}
	}
	for _, notice := range r.due(now) {
		if notice.Held {
			r.Errorf("it is due still, and held back: %+v", notice)
		}
	}
	return names(sendable)
}

// deliver settles all that is due as delivered.
func (r *tester) deliver(now time.Time) {
	r.Helper()
	for _, notice := range r.due(now) {
		r.settle(now, registry.Outcome{ID: notice.ID, Delivered: true})
	}
}

// at is a time after start, in minutes.
func at(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }

const minute = time.Minute

var heldTests = []test{
	{"expiry leaves a user alone who is signed in elsewhere, by the same sid or without one, until that is over too", func(t *testing.T, r *tester) {
		for _, sid := range []string{"", "1"} {
			r.signsIn(start, minute, sid)
			r.signsIn(start, 2*minute, sid)
			r.expireTold(at(1))
			equal(t, "after the first", names(r.due(start.Add(late))), "")
			r.expireTold(at(2))
			equal(t, "after the last", names(r.due(start.Add(late))), "shop alice "+sid+" expiry")
			r.deliver(start.Add(late))
		}
	}},
	{"what another sub, sid or client holds keeps no notice back", func(t *testing.T, r *tester) {
		r.signsIn(start, minute, "1")
		r.signsIn(start, lifetime, "2")
		r.signsIn(start, lifetime, "")
		for client, sub := range map[string]string{"wiki": "alice", "shop": "bob"} {
			join := told()
			join.ClientID = client
			r.join(join)
			r.redeem(identifies(join, sub, "1"))
		}
		r.expireTold(at(1))
		equal(t, "notices", r.sendable(at(1)), "shop alice 1 expiry")
	}},
	{"who signs in again after expiry, by the same sid, stays signed in", func(t *testing.T, r *tester) {
		first := r.signsIn(start, 10*minute, "1")
		second := told()
		second.Browser, second.Session, second.Now = first.Browser, first.Fresh, at(10)
		equal(t, "session", r.join(second).ID, second.Fresh)
		r.redeem(identifies(second, "alice", "1"))
		r.expireTold(at(10)) // of the first
		equal(t, "notices", names(r.due(start.Add(late))), "")
		second.Now = at(11)
		r.end(ending(second, registry.ReasonLogout))
		equal(t, "notices of the second", names(r.due(start.Add(late))), "shop alice 1 logout")
	}},
	{"a user switch leaves a user alone who is signed in elsewhere", func(t *testing.T, r *tester) {
		for _, sid := range []string{"", "1"} {
			desk, phone := r.signsIn(start, lifetime, sid), r.signsIn(start, lifetime, sid)
			bob := again(desk)
			r.join(bob)
			equal(t, "switched", r.redeem(identifies(bob, "bob", sid)).Switched, true)
			equal(t, "notices", names(r.due(start.Add(late))), "")
			r.end(ending(phone, registry.ReasonLogout))
			equal(t, "notices of the other", names(r.due(start.Add(late))), "shop alice "+sid+" logout")
			r.deliver(start.Add(late))
			r.end(ending(bob, registry.ReasonLogout))
			r.deliver(start.Add(late))
		}
	}},
	{"a notice that waits for its client is dropped when the user signs in there again", func(t *testing.T, r *tester) {
		for _, sid := range []string{"", "1"} {
			r.signsIn(start, minute, sid)
			r.expireTold(at(1))
			due := r.due(at(1))
			equal(t, "due", names(due), "shop alice "+sid+" expiry")
			equal(t, "held back", due[0].Held, false)
			r.settle(at(1), registry.Outcome{ID: due[0].ID, Due: at(5), Attempts: 1, Why: "status 503"})
			back := r.signsIn(at(3), lifetime, sid)
			due = r.due(at(5))
			equal(t, "held back now", due[0].Held, true)
			equal(t, "sendable", r.sendable(at(5)), "")
			equal(t, "left", len(r.due(start.Add(late))), 0)
			r.expireTold(back.Now.Add(lifetime))
			equal(t, "after the other", r.sendable(start.Add(late)), "shop alice "+sid+" expiry")
			r.deliver(start.Add(late))
		}
	}},
	{"a try that has failed meanwhile is the last", func(t *testing.T, r *tester) {
		r.signsIn(start, minute, "1")
		r.expireTold(at(1))
		due := r.due(at(1))
		r.signsIn(at(1), lifetime, "1")
		r.settle(at(1), registry.Outcome{ID: due[0].ID, Due: at(5), Attempts: 1, Why: "status 503"})
		equal(t, "left", len(r.due(start.Add(late))), 0)
	}},
	{"a notice is due still if the other session ended before it was settled as held back", func(t *testing.T, r *tester) {
		r.signsIn(start, minute, "")
		r.expireTold(at(1))
		phone := r.signsIn(at(1), lifetime, "5")
		due := r.due(at(1))
		equal(t, "held back", due[0].Held, true)
		r.end(ending(phone, registry.ReasonLogout))
		r.settle(at(1), registry.Outcome{ID: due[0].ID, Held: true})
		equal(t, "sendable", r.sendable(at(1)), "shop alice  expiry, shop alice 5 logout")
	}},
	{"without a sid it waits for the last session with one, and is due then, once", func(t *testing.T, r *tester) {
		r.signsIn(start, 10*minute, "5")
		r.signsIn(start, 40*24*time.Hour, "6") // longer than notices are kept
		var ids []registry.NoticeID
		for i := range 3 {
			ids = append(ids, registry.NameNotice(r.signsIn(at(i), minute, "").Fresh, "shop", "alice", ""))
			r.expireTold(at(i + 1))
		}
		equal(t, "after those without", names(r.due(start.Add(late))), "")
		kept, err := r.r.Notices(t.Context(), issuer, ids)
		r.must(err)
		equal(t, "kept", len(kept), 1) // one of the three is enough
		r.expireTold(at(10))
		equal(t, "after the first with one", names(r.due(start.Add(late))), "shop alice 5 expiry")
		r.deliver(at(10))
		last := start.Add(40 * 24 * time.Hour)
		r.expireTold(last.Add(-time.Second))
		equal(t, "before the last", len(r.due(last)), 0)
		r.expireTold(last)
		due := r.due(last)
		equal(t, "after the last", names(due), "shop alice  expiry, shop alice 6 expiry")
		for _, notice := range due {
			equal(t, "held back", notice.Held, false)
			equal(t, "created", notice.Created, instant(last))
		}
		r.expireTold(last.Add(registry.NoticeLifetime - minute))
		equal(t, "not forgotten", len(r.due(start.Add(late))), 2)
		r.expireTold(last.Add(registry.NoticeLifetime))
		equal(t, "forgotten", len(r.due(start.Add(late))), 0)
	}},
	{"one that waits for its client, without a sid, waits for a session with one", func(t *testing.T, r *tester) {
		r.signsIn(start, minute, "")
		r.expireTold(at(1))
		id := r.due(at(1))[0].ID
		phone := r.signsIn(at(2), lifetime, "5")
		equal(t, "sendable", r.sendable(at(2)), "")
		kept, err := r.r.Notices(t.Context(), issuer, []registry.NoticeID{id})
		r.must(err)
		equal(t, "kept", len(kept), 1)
		equal(t, "held back", kept[0].Held, true)
		equal(t, "due", kept[0].Due.IsZero(), true)
		phone.Now = at(3)
		r.end(ending(phone, registry.ReasonLogout))
		equal(t, "sendable after the other", r.sendable(at(3)), "shop alice  expiry, shop alice 5 logout")
	}},
	{"what was tried meanwhile is settled although it is held back", func(t *testing.T, r *tester) {
		for what, outcome := range map[string]registry.Outcome{
			"delivered": {Delivered: true},
			"given up":  {Dead: true},
			"again":     {Due: at(3)},
		} {
			r.signsIn(start, minute, "")
			r.expireTold(at(1))
			outcome.ID = r.due(at(1))[0].ID
			phone := r.signsIn(at(2), lifetime, "5")
			equal(t, what+", sendable", r.sendable(at(2)), "")
			r.settle(at(2), outcome)
			equal(t, what+", due", len(r.due(start.Add(late))), 0)
			r.end(ending(phone, registry.ReasonLogout))
			want := map[string]string{"again": "shop alice  expiry, "}[what] + "shop alice 5 logout"
			equal(t, what+", after the other", r.sendable(start.Add(late)), want)
			r.deliver(start.Add(late))
		}
	}},
	{"it is not sent beside its equal", func(t *testing.T, r *tester) {
		r.signsIn(start, minute, "")
		last := r.signsIn(start, 3*minute, "5")
		r.expireTold(at(1)) // held back for the last
		next := again(last)
		r.join(next)
		r.redeem(identifies(next, "alice", "")) // the last holds both now
		r.expireTold(at(3))
		due := r.due(start.Add(late))
		equal(t, "due", names(due), "shop alice  expiry, shop alice 5 expiry")
		for _, notice := range due {
			equal(t, "of the last session", notice.ID, registry.NameNotice(last.Fresh, "shop", "alice", notice.Sid))
		}
		equal(t, "nothing is left", r.expire(start.Add(10*late)) > 0 && r.expire(start.Add(10*late)) == 0, true)
	}},
	{"what is held back is due also where the last session's own clients are not told", func(t *testing.T, r *tester) {
		r.signsIn(start, minute, "")
		r.signsIn(start, 2*minute, "5")
		r.expireTold(at(1))
		for r.expire(at(2)) > 0 { // nobody is to be told of it
		}
		equal(t, "notices", r.sendable(start.Add(late)), "shop alice  expiry")
	}},
	{"a session that holds two sids of a sub holds it until it has ended", func(t *testing.T, r *tester) {
		r.signsIn(start, minute, "")
		phone := r.signsIn(start, lifetime, "5")
		next := again(phone)
		r.join(next)
		r.redeem(identifies(next, "alice", "6"))
		r.expireTold(at(1))
		equal(t, "while it goes on", r.sendable(at(1)), "")
		r.end(ending(next, registry.ReasonLogout))
		equal(t, "after it", r.sendable(at(1)), "shop alice  expiry, shop alice 5 logout, shop alice 6 logout")
	}},
	{"signing out tells the clients all the same", func(t *testing.T, r *tester) {
		for _, reason := range []registry.Reason{registry.ReasonLogout, registry.ReasonLoginCookie, registry.ReasonOperator} {
			for _, sid := range []string{"", "1"} {
				desk := r.signsIn(start, lifetime, sid)
				phone := r.signsIn(start, lifetime, sid)
				r.end(ending(desk, reason))
				equal(t, "notices", r.sendable(start.Add(late)), "shop alice "+sid+" "+string(reason))
				r.end(ending(phone, reason))
				r.deliver(start.Add(late))
			}
		}
	}},
}
