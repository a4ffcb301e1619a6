package registrytest

import (
	"testing"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

var lateTests = []test{
	{"a subject that is added to an ended session is owed a notice at once, and once until it is delivered", func(t *testing.T, r *tester) {
		join := told()
		r.join(join)
		r.end(ending(join, registry.ReasonLogout))
		redemption := identifies(join, "alice", "1")
		redemption.Now = at(5)
		r.redeem(redemption)
		due := r.due(at(5))
		equal(t, "notices", names(due), "shop alice 1 logout")
		equal(t, "created", due[0].Created, instant(at(5))) // not long before, so that it is tried for as long as others
		r.settle(at(5), registry.Outcome{ID: due[0].ID, Due: at(7), Attempts: 1})
		r.redeem(redemption)
		due = r.due(start.Add(late))
		equal(t, "again", len(due), 1)
		equal(t, "attempts", due[0].Attempts, 1)
	}},
	{"another tab's code that comes after the client was told owes the notice again", func(t *testing.T, r *tester) {
		for what, outcome := range map[string]registry.Outcome{"delivered": {Delivered: true}, "given up": {Dead: true, Attempts: 9, Why: "status 400"}} {
			join := told()
			session := r.join(join)
			r.redeem(identifies(join, "alice", "1"))
			tab := again(join)
			r.join(tab)
			r.end(ending(join, registry.ReasonLogout))
			outcome.ID = registry.NameNotice(session.ID, "shop", "alice", "1")
			r.settle(start, outcome)
			redemption := identifies(tab, "alice", "1")
			redemption.Now = at(2)
			r.redeem(redemption)
			equal(t, what+": too early", len(r.due(at(2).Add(-minute))), 0)
			want := registry.Notice{
				ID: outcome.ID, ClientID: "shop", Sub: "alice", Sid: "1", Reason: registry.ReasonLogout,
				Created: instant(at(2)), Due: instant(at(2)),
			}
			equalSlices(t, what, r.due(at(2)), []registry.Notice{want})
			r.deliver(start.Add(late))
			r.expireTold(recorded.Add(registry.DeadLetterLifetime)) // it was made anew: no dead letter's time is over
			equal(t, what+": in the end", r.expire(start.Add(10*late)), 0)
		}
	}},
	{"a code whose session was removed owes its client a notice", func(t *testing.T, r *tester) {
		join := told()
		join.Lifetime = minute
		session := r.join(join)
		r.expireTold(at(1))
		r.isMissing(issuer, session.ID)
		redemption := identifies(join, "alice", "1")
		redemption.Now = at(2)
		quiet := redemption
		quiet.Tell = false
		equal(t, "redeemed", r.redeem(quiet), registry.Redeemed{})
		equal(t, "notices where nobody is to be told", len(r.due(start.Add(late))), 0)
		equal(t, "redeemed", r.redeem(redemption), registry.Redeemed{})
		equal(t, "notices", names(r.due(at(2))), "shop alice 1 expiry")
		equal(t, "ID", r.due(at(2))[0].ID, registry.NameNotice(session.ID, "shop", "alice", "1"))
		foreign := identifies(join, "bob", "1")
		foreign.Audience = []string{"wiki"}
		r.redeem(foreign)
		equal(t, "notices after another client's", len(r.due(start.Add(late))), 1)
		r.isMissing(issuer, session.ID)
	}},
	{"a code whose session was removed owes nothing to a user who has signed in again", func(t *testing.T, r *tester) {
		join := told()
		join.Lifetime = minute
		r.join(join)
		r.expireTold(at(1))
		r.signsIn(at(2), lifetime, "1")
		redemption := identifies(join, "alice", "1")
		redemption.Now = at(3)
		r.redeem(redemption)
		equal(t, "notices", len(r.due(start.Add(late))), 0)
	}},
	{"a late subject without a sid does not end what was opened since", func(t *testing.T, r *tester) {
		join := told()
		r.join(join)
		tab := again(join)
		r.join(tab)
		r.end(ending(join, registry.ReasonLogout))
		r.deliver(start)
		since := r.signsIn(at(1), lifetime, "2")
		redemption := identifies(tab, "alice", "")
		redemption.Now = at(2)
		r.redeem(redemption)
		equal(t, "while the user is signed in again", r.sendable(start.Add(late)), "")
		r.end(ending(since, registry.ReasonLogout))
		equal(t, "after that", r.sendable(start.Add(late)), "shop alice  logout, shop alice 2 logout")
	}},
	{"a late subject without a sid is told at once where nothing was opened since", func(t *testing.T, r *tester) {
		join := told()
		r.join(join)
		r.end(ending(join, registry.ReasonLogout))
		redemption := identifies(join, "alice", "")
		redemption.Now = at(2)
		r.redeem(redemption)
		equal(t, "notices", r.sendable(at(2)), "shop alice  logout")
	}},
}
