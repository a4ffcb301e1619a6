package registrytest

import (
	"fmt"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// forgets is whether a session's record is removed ten minutes after a time, and not before.
func (r *tester) forgets(what string, id sessionstate.SessionID, from time.Time) {
	r.Helper()
	for _, after := range []time.Duration{-time.Millisecond, 0} {
		r.expireTold(instant(from).Add(registry.CodeLifetime + after))
		_, found, err := r.r.Session(r.Context(), issuer, id)
		r.must(err)
		equal(r.T, fmt.Sprint(what, ": is recorded after ten minutes and ", after), found, after < 0)
	}
}

// stays is whether a session's record is there until it expires.
func (r *tester) stays(what string, id sessionstate.SessionID, expires time.Time) {
	r.Helper()
	r.expireTold(expires.Add(-time.Millisecond))
	equal(r.T, what+": is live", r.session(id).Live(expires.Add(-time.Millisecond)), true)
}

var unredeemedTests = []test{
	{"a session none of whose codes was redeemed is forgotten after ten minutes, and nobody is owed a notice", func(t *testing.T, r *tester) {
		join := told()
		session := r.join(join)
		equal(t, "expires", session.Expires, recorded.Add(lifetime)) // for its browser
		r.forgets("session", join.Fresh, start)
		equal(t, "participations", len(r.participations(join.Fresh)), 0)
		equal(t, "notices", len(r.due(start.Add(late))), 0)
	}},
	{"each further response gives it ten minutes more", func(t *testing.T, r *tester) {
		join := told()
		r.join(join)
		next := again(join)
		next.Now = at(9)
		equal(t, "session", r.join(next).ID, join.Fresh)
		r.forgets("session", join.Fresh, at(9))
	}},
	{"once a code is redeemed it lasts for its lifetime", func(t *testing.T, r *tester) {
		join := told()
		r.join(join)
		redemption := redeems(join, "alice")
		redemption.Now = at(9)
		session := r.redeem(redemption).Session
		equal(t, "expires", session.Expires, recorded.Add(lifetime))
		next := again(join) // whose code nobody redeems
		next.Now = at(10)
		r.join(next)
		r.stays("session", join.Fresh, session.Expires)
	}},
	{"a response with a subject counts as redeemed, as does one without a code", func(t *testing.T, r *tester) {
		for what, change := range map[string]func(*registry.Join){
			"a subject": func(j *registry.Join) { j.Subject.Sub = "alice" },
			"no code":   func(j *registry.Join) { j.Response = sessionstate.ResponseID{} },
		} {
			first, later := told(), told()
			change(&first)
			r.join(first)
			r.join(later) // and one that joins what nobody has redeemed
			next := again(later)
			change(&next)
			r.join(next)
			r.stays(what, first.Fresh, recorded.Add(lifetime))
			r.stays(what+" later", later.Fresh, recorded.Add(lifetime))
			_, _ = r.endAll(ending(first, registry.ReasonLogout))
			_, _ = r.endAll(ending(later, registry.ReasonLogout))
		}
	}},
	{"one that was forgotten goes on under its ID when its browser comes back", func(t *testing.T, r *tester) {
		join := told()
		r.join(join)
		r.forgets("session", join.Fresh, start)
		next := again(join)
		next.Now = at(30)
		session := r.join(next)
		equal(t, "session", session.ID, join.Fresh)
		equal(t, "browser", session.Browser, join.Browser)
		r.isMissing(issuer, next.Fresh)
		redeemed := r.redeem(redeems(next, "alice"))
		equal(t, "redeemed", redeemed.Known, true)
		equal(t, "session of the code", redeemed.Session.ID, join.Fresh)
	}},
	{"one that is about to be forgotten is joined as it is", func(t *testing.T, r *tester) {
		join := told()
		session := r.join(join)
		next := again(join)
		next.Now = at(11) // nothing has been removed meanwhile
		got := r.join(next)
		equal(t, "session", got.ID, join.Fresh)
		equal(t, "created", got.Created, session.Created)
	}},
	{"an idle timeout shorter than ten minutes ends it", func(t *testing.T, r *tester) {
		join := told()
		join.Idle = minute
		r.join(join)
		r.expireTold(at(1))
		r.isMissing(issuer, join.Fresh)
	}},
	{"one that ends owes nobody a notice until its code is redeemed", func(t *testing.T, r *tester) {
		join := told()
		r.join(join)
		r.end(ending(join, registry.ReasonLogout))
		redemption := identifies(join, "alice", "1")
		redemption.Now = at(9)
		r.redeem(redemption)
		equal(t, "notices", names(r.due(at(9))), "shop alice 1 logout")
	}},
	{"that one has ended is known for as long as its browser may hold it", func(t *testing.T, r *tester) {
		join := told()
		session := r.join(join)
		r.end(ending(join, registry.ReasonLogout))
		r.expireTold(session.Expires.Add(-time.Millisecond))
		equal(t, "reason", r.session(join.Fresh).Reason, registry.ReasonLogout)
		next := again(join)
		next.Now = at(30)
		equal(t, "session of an old cookie", r.join(next).ID, next.Fresh)
		r.expireTold(session.Expires)
		r.isMissing(issuer, join.Fresh)
	}},
	{"clients whose codes nobody has redeemed give way to one that redeems its own", func(t *testing.T, r *tester) {
		join := told()
		join.ClientID = "first"
		r.join(join)
		r.redeem(redeems(join, "alice"))
		r.inParallel(registry.MaxParticipations-1, func(i int) error { // as a page can make a browser do
			next := again(join)
			next.ClientID = fmt.Sprint("registered ", i)
			_, err := r.r.Join(t.Context(), next)
			return err
		})
		later := again(join)
		later.ClientID, later.Origin = "shop", "https://shop.example.com"
		r.join(later)
		redeemed := r.redeem(redeems(later, "alice"))
		equal(t, "full", redeemed.Full, false)
		participations := r.participations(join.Fresh)
		equal(t, "participations", len(participations), registry.MaxParticipations)
		for _, p := range participations {
			if p.ClientID == "shop" {
				equalSlices(t, "origins", p.Origins, []string{"https://shop.example.com"})
			}
		}
		r.end(ending(join, registry.ReasonLogout))
		equal(t, "notices", names(r.due(start.Add(late))), "first alice sid of alice logout, shop alice sid of alice logout")
	}},
	{"the oldest of too many sessions of one user at one client ends as expired", func(t *testing.T, r *tester) {
		var first []registry.Join
		signIn := func(i int) {
			join := told()
			join.Now = start.Add(time.Duration(i) * time.Second)
			r.join(join)
			r.redeem(identifies(join, "alice", fmt.Sprint(i)))
			first = append(first, join)
		}
		for i := range registry.MaxUserSessions {
			signIn(i)
		}
		more := again(first[0]) // the same sessions
		r.join(more)
		r.redeem(identifies(more, "alice", "another sid"))
		for what, change := range map[string]func(j *registry.Join){
			"another client": func(j *registry.Join) { j.ClientID = "wiki" },
			"another issuer": func(j *registry.Join) { j.Issuer += "/tenant" },
		} {
			join := told()
			change(&join)
			r.join(join)
			r.redeem(identifies(join, "alice", "1"))
			equal(t, what+" ends none", r.session(first[0].Fresh).Ended.IsZero(), true)
		}
		other := told()
		r.join(other)
		r.redeem(identifies(other, "bob", "1"))
		equal(t, "another user ends none", r.session(first[0].Fresh).Ended.IsZero(), true)
		signIn(registry.MaxUserSessions)
		oldest := r.session(first[0].Fresh)
		equal(t, "reason", oldest.Reason, registry.ReasonExpiry)
		equal(t, "ended", oldest.Ended, instant(first[registry.MaxUserSessions].Now))
		equal(t, "notices", r.sendable(first[registry.MaxUserSessions].Now), "shop alice 0 expiry, shop alice another sid expiry")
		for _, join := range first[1:] {
			equal(t, "another is live", r.session(join.Fresh).Live(join.Now), true)
		}
		r.forgets("the record of the end", first[0].Fresh, oldest.Ended)
	}},
	{"any number of sign-ins of one account leaves a hundred sessions", func(t *testing.T, r *tester) {
		var ids []sessionstate.SessionID
		for i := range 4 * registry.MaxUserSessions {
			join := aJoin()
			join.Now = start.Add(time.Duration(i) * time.Millisecond)
			ids = append(ids, r.join(join).ID)
			if i%2 == 0 {
				r.redeem(redeems(join, "alice"))
			}
		}
		r.expireTold(start.Add(registry.CodeLifetime + time.Second))
		recorded := 0
		for _, id := range ids {
			_, found, err := r.r.Session(t.Context(), issuer, id)
			r.must(err)
			if found {
				recorded++
			}
		}
		equal(t, "recorded", recorded, registry.MaxUserSessions)
	}},
}
