package registrytest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// told is a Join whose session's clients are owed notices when it ends by it.
func told() registry.Join {
	join := aJoin()
	join.Tell = true
	return join
}

// identifies is the Redemption of a Join, for a sub and a sid.
func identifies(join registry.Join, sub, sid string) registry.Redemption {
	redemption := redeems(join, sub)
	redemption.Subject.Sid, redemption.Tell = sid, true
	return redemption
}

// ending is the end of a Join's browser's sessions.
func ending(join registry.Join, reason registry.Reason) registry.Ending {
	return registry.Ending{Issuer: join.Issuer, Browser: join.Browser, Reason: reason, Now: join.Now, Tell: true}
}

func (r *tester) due(now time.Time) []registry.Notice {
	r.Helper()
	notices, err := r.r.DueNotices(r.Context(), issuer, now, 1000)
	r.must(err)
	return notices
}

func (r *tester) settle(now time.Time, outcomes ...registry.Outcome) {
	r.Helper()
	r.must(r.r.SettleNotices(r.Context(), registry.Settling{Issuer: issuer, Outcomes: outcomes, Now: now}))
}

// expireTold ends and removes what is past its time, and owes the notices of it.
func (r *tester) expireTold(now time.Time) {
	r.Helper()
	for range 100 {
		removed, err := r.r.Expire(r.Context(), registry.Expiry{Now: now})
		r.must(err)
		if removed < registry.MaxExpired {
			return
		}
	}
}

// names are what notices say, in order: client sub sid reason.
func names(notices []registry.Notice) string {
	var all []string
	for _, n := range notices {
		all = append(all, strings.Join([]string{n.ClientID, n.Sub, n.Sid, string(n.Reason)}, " "))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

const late = 100 * 24 * time.Hour

var noticeTests = []test{
	{"the client that asked for the end is told when the caller says, and the others at once", func(t *testing.T, r *tester) {
		join := told()
		session := r.join(join)
		r.redeem(identifies(join, "alice", "1"))
		wiki := again(join)
		wiki.ClientID = "wiki"
		r.join(wiki)
		r.redeem(identifies(wiki, "alice", "1"))
		ending := ending(wiki, registry.ReasonLogout)
		ending.Asked, ending.AskedDue = "shop", at(2)
		r.end(ending)
		equal(t, "at once", names(r.due(wiki.Now)), "wiki alice 1 logout")
		equal(t, "just before", names(r.due(at(2).Add(-time.Second))), "wiki alice 1 logout")
		id := registry.NameNotice(session.ID, "shop", "alice", "1")
		r.settle(at(1), registry.Outcome{ID: id, Due: at(1)}) // the browser is back
		for _, notice := range r.due(at(1)) {
			equal(t, notice.ClientID+" has asked", notice.Asked, notice.ClientID == "shop")
		}
		equal(t, "sooner", names(r.due(at(1))), "shop alice 1 logout, wiki alice 1 logout")
		r.settle(at(1), registry.Outcome{ID: id, Due: at(3), Attempts: 1})
		for _, notice := range r.due(at(3)) {
			equal(t, notice.ClientID+" has asked, after a try", notice.Asked, notice.ClientID == "shop")
		}
	}},
	{"without a time, the client that asked is told at once, too", func(t *testing.T, r *tester) {
		join := told()
		r.join(join)
		r.redeem(identifies(join, "alice", "1"))
		ending := ending(join, registry.ReasonLogout)
		ending.Asked = "shop"
		r.end(ending)
		due := r.due(start)
		equal(t, "notices", names(due), "shop alice 1 logout")
		equal(t, "asked", due[0].Asked, true)
	}},
	{"a notice that is sent without its sid is held back as one that has none", func(t *testing.T, r *tester) {
		first := r.signsIn(start, lifetime, "1")
		other := r.signsIn(start, lifetime, "2")
		r.end(ending(first, registry.ReasonUserSwitch))
		due := r.due(start)
		equal(t, "with its sid", names(due), "shop alice 1 user_switch")
		r.settle(start, registry.Outcome{ID: due[0].ID, Held: true, WithoutSid: true})
		equal(t, "without, while the other goes on", names(r.due(start.Add(late))), "")
		r.end(ending(other, registry.ReasonLogout))
		equal(t, "after that", names(r.due(start)), "shop alice  user_switch, shop alice 2 logout")
	}},
	{"every client, sub and sid of a session that ends is owed one notice", func(t *testing.T, r *tester) {
		shop := told()
		r.join(shop)
		r.redeem(identifies(shop, "alice", "1"))
		tab := again(shop)
		r.join(tab)
		r.redeem(identifies(tab, "alice", "1")) // another tab, the same sid
		renewed := again(tab)
		r.join(renewed)
		r.redeem(identifies(renewed, "alice", "2"))
		wiki := again(renewed)
		wiki.ClientID = "wiki"
		r.join(wiki)
		r.redeem(identifies(wiki, "pairwise", ""))
		silent := again(wiki)
		silent.ClientID = "no ID token was seen"
		r.join(silent)
		equal(t, "before", len(r.due(start.Add(late))), 0)
		r.end(ending(wiki, registry.ReasonLogout))
		equal(t, "notices", names(r.due(start.Add(late))), "shop alice 1 logout, shop alice 2 logout, wiki pairwise  logout")
		r.end(ending(wiki, registry.ReasonOperator))
		equal(t, "after ending again", len(r.due(start.Add(late))), 3)
	}},
	{"a notice is due from the end of the session on, and of its issuer only", func(t *testing.T, r *tester) {
		join := told()
		session := r.join(join)
		r.redeem(identifies(join, "alice", "1"))
		r.end(ending(join, registry.ReasonLoginCookie))
		equal(t, "too early", len(r.due(recorded.Add(-time.Millisecond))), 0)
		due := r.due(start)
		equal(t, "due", len(due), 1)
		id := registry.NameNotice(session.ID, "shop", "alice", "1")
		want := registry.Notice{ID: id, ClientID: "shop", Sub: "alice", Sid: "1", Reason: registry.ReasonLoginCookie, Created: recorded, Due: recorded}
		equal(t, "notice", due[0], want)
		found, err := r.r.Notices(t.Context(), issuer, []registry.NoticeID{{1}, id})
		r.must(err)
		equalSlices(t, "found", found, []registry.Notice{want})
		others, err := r.r.DueNotices(t.Context(), issuer+"/tenant", start, 10)
		r.must(err)
		equal(t, "of another issuer", len(others), 0)
	}},
	{"nobody is owed anything where nobody is to be told", func(t *testing.T, r *tester) {
		join := aJoin()
		r.join(join)
		r.redeem(redeems(join, "alice"))
		quiet := ending(join, registry.ReasonLogout)
		quiet.Tell = false
		r.end(quiet)
		r.switched()
		other := aJoin()
		r.join(other)
		r.redeem(redeems(other, "alice"))
		for r.expire(start.Add(late)) > 0 {
		}
		equal(t, "notices", len(r.due(start.Add(late))), 0)
	}},
	{"a session that expires owes its notices", func(t *testing.T, r *tester) {
		join := told()
		session := r.join(join)
		r.redeem(identifies(join, "alice", "1"))
		r.expireTold(session.Expires.Add(-time.Millisecond))
		equal(t, "too early", len(r.due(start.Add(late))), 0)
		r.expireTold(session.Expires)
		equal(t, "notices", names(r.due(session.Expires)), "shop alice 1 expiry")
		r.isMissing(issuer, session.ID)
		r.expireTold(session.Expires.Add(lifetime))
		equal(t, "notices later", len(r.due(start.Add(late))), 1)
	}},
	{"a session that was ended owes nothing more when its time is over", func(t *testing.T, r *tester) {
		join := told()
		session := r.join(join)
		r.redeem(identifies(join, "alice", "1"))
		r.end(ending(join, registry.ReasonLogout))
		r.settle(start, registry.Outcome{ID: registry.NameNotice(session.ID, "shop", "alice", "1"), Delivered: true})
		r.expireTold(session.Expires)
		equal(t, "notices", len(r.due(start.Add(late))), 0)
	}},
	{"a user switch owes the notices of the old user", func(t *testing.T, r *tester) {
		join := told()
		r.join(join)
		r.redeem(identifies(join, "alice", "1"))
		next := again(join)
		r.join(next)
		equal(t, "switched", r.redeem(identifies(next, "bob", "2")).Switched, true)
		equal(t, "notices", names(r.due(start.Add(late))), "shop alice 1 user_switch")
	}},
	{"a user who was over before it was known is owed a notice at once", func(t *testing.T, r *tester) {
		join := told()
		r.join(join)
		next := again(join)
		r.join(next)
		r.redeem(identifies(next, "bob", "2"))
		r.redeem(identifies(join, "alice", "1")) // the older code comes late
		equal(t, "notices", names(r.due(start.Add(late))), "shop alice 1 user_switch")
	}},
	{"without a sid, signing out tells the clients all the same", func(t *testing.T, r *tester) {
		desk, phone := told(), told()
		for _, join := range []registry.Join{desk, phone} {
			r.join(join)
			r.redeem(identifies(join, "alice", ""))
		}
		r.end(ending(desk, registry.ReasonLogout))
		equal(t, "notices", names(r.due(start.Add(late))), "shop alice  logout")
	}},
	{"what is settled is due later, delivered or given up", func(t *testing.T, r *tester) {
		join := told()
		session := r.join(join)
		ids := make(map[string]registry.NoticeID)
		for _, sid := range []string{"delivered", "dead", "later"} {
			r.redeem(identifies(join, "alice", sid))
			ids[sid] = registry.NameNotice(session.ID, "shop", "alice", sid)
		}
		r.end(ending(join, registry.ReasonLogout))
		later := recorded.Add(time.Minute)
		r.settle(start,
			registry.Outcome{ID: ids["delivered"], Delivered: true},
			registry.Outcome{ID: ids["dead"], Dead: true, Attempts: 3, Why: strings.Repeat("x", registry.MaxWhy+1)},
			registry.Outcome{ID: ids["later"], Due: later, Attempts: 1, Why: "status 503"},
			registry.Outcome{ID: registry.NoticeID{1}, Due: later},
		)
		equal(t, "due at once", len(r.due(later.Add(-time.Millisecond))), 0)
		due := r.due(later)
		equal(t, "due later", names(due), "shop alice later logout")
		equal(t, "attempts", due[0].Attempts, 1)
		equal(t, "why", due[0].Why, "status 503")
		kept, err := r.r.Notices(t.Context(), issuer, []registry.NoticeID{ids["dead"], ids["delivered"]})
		r.must(err)
		equal(t, "kept", len(kept), 1)
		equal(t, "dead", kept[0].Dead, true)
		equal(t, "due again", kept[0].Due.IsZero(), true)
		equal(t, "why it is dead", len(kept[0].Why), registry.MaxWhy)
		r.settle(start, registry.Outcome{ID: ids["dead"], Due: later})
		equal(t, "the dead do not come back", len(r.due(start.Add(late))), 1)
	}},
	{"all notices are listed, page by page", func(t *testing.T, r *tester) {
		join := told()
		session := r.join(join)
		var ids []registry.NoticeID
		for i := range 10 {
			sid := fmt.Sprint(i)
			r.redeem(identifies(join, "alice", sid))
			ids = append(ids, registry.NameNotice(session.ID, "shop", "alice", sid))
		}
		r.end(ending(join, registry.ReasonLogout))
		r.settle(start, registry.Outcome{ID: ids[3], Dead: true, Attempts: 2, Why: "refused"}, registry.Outcome{ID: ids[4], Delivered: true})
		ids = slices.Delete(ids, 4, 5)
		slices.SortFunc(ids, func(a, b registry.NoticeID) int { return bytes.Compare(a[:], b[:]) })
		var listed []registry.NoticeID
		dead := 0
		for after := (registry.NoticeID{}); len(listed) <= len(ids); {
			page, err := r.r.AllNotices(t.Context(), issuer, after, 4)
			r.must(err)
			if len(page) == 0 {
				break
			}
			for _, notice := range page {
				listed = append(listed, notice.ID)
				after = notice.ID
				if notice.Dead {
					dead++
					equal(t, "why", notice.Why, "refused")
				}
			}
		}
		equalSlices(t, "listed", listed, ids)
		equal(t, "given up", dead, 1)
		others, err := r.r.AllNotices(t.Context(), issuer+"/tenant", registry.NoticeID{}, 10)
		r.must(err)
		equal(t, "another issuer's", len(others), 0)
	}},
	{"no client's notices hide another's", func(t *testing.T, r *tester) {
		owes := func(client string, sessions int, at time.Time) {
			for range sessions {
				join := told()
				join.ClientID, join.Now, join.Subject = client, at, registry.Subject{Sub: "alice", Sid: "1"}
				r.join(join)
				r.end(ending(join, registry.ReasonLogout))
			}
		}
		owes("down", registry.DuePerClient+10, start)
		var others []string
		for i := range 20 {
			others = append(others, fmt.Sprintf("client %d", i))
			owes(others[i], 1, start.Add(time.Minute))
		}
		owes("later", 1, start.Add(time.Hour))
		listed := func(limit int) map[string]int {
			notices, err := r.r.DueNotices(t.Context(), issuer, start.Add(time.Minute), limit)
			r.must(err)
			counts := make(map[string]int)
			for _, notice := range notices {
				counts[notice.ClientID]++
			}
			return counts
		}
		counts := listed(1000)
		equal(t, "of the one that is far behind", counts["down"], registry.DuePerClient)
		for _, client := range others {
			equal(t, "of "+client, counts[client], 1)
		}
		equal(t, "of the one whose time has not come", counts["later"], 0)
		seen := make(map[string]bool)
		for range 100_000 { // with room for few, each has its turn
			if len(seen) == 21 {
				break
			}
			for client := range listed(3) {
				seen[client] = true
			}
		}
		equal(t, "clients that had their turn", len(seen), 21)
	}},
	{"the oldest of a client are first, up to the limit", func(t *testing.T, r *tester) {
		for i := range 5 {
			join := told()
			join.Now = start.Add(time.Duration((i*3)%5) * time.Second)
			r.join(join)
			r.redeem(identifies(join, fmt.Sprint((i*3)%5), "1"))
			r.end(ending(join, registry.ReasonLogout))
		}
		notices, err := r.r.DueNotices(t.Context(), issuer, start.Add(late), 3)
		r.must(err)
		equal(t, "notices", len(notices), 3)
		for i, notice := range notices {
			equal(t, "sub", notice.Sub, fmt.Sprint(i))
		}
	}},
	{"a notice is forgotten in the end", func(t *testing.T, r *tester) {
		join := told()
		session := r.join(join)
		r.redeem(identifies(join, "alice", "dead"))
		r.redeem(identifies(join, "alice", "1"))
		r.end(ending(join, registry.ReasonLogout))
		dead := registry.NameNotice(session.ID, "shop", "alice", "dead")
		r.settle(start, registry.Outcome{ID: dead, Dead: true})
		r.expireTold(recorded.Add(registry.DeadLetterLifetime - time.Millisecond))
		recall := func() int {
			found, err := r.r.Notices(t.Context(), issuer, []registry.NoticeID{dead})
			r.must(err)
			return len(found)
		}
		equal(t, "dead letters", recall(), 1)
		r.expireTold(recorded.Add(registry.DeadLetterLifetime))
		equal(t, "dead letters later", recall(), 0)
		equal(t, "others", len(r.due(start.Add(late))), 1)
		r.expireTold(recorded.Add(registry.NoticeLifetime))
		equal(t, "others later", len(r.due(start.Add(late))), 0)
		equal(t, "nothing left", r.expire(start.Add(10*late)), 0)
	}},
}

var idleTests = []test{
	{"a session ends when it was not used for a while, and later when it was", func(t *testing.T, r *tester) {
		join := told()
		join.Idle = 10 * time.Minute
		session := r.join(join)
		equal(t, "expires", session.Expires, recorded.Add(10*time.Minute))
		equal(t, "limit", session.Limit, recorded.Add(lifetime))
		r.redeem(identifies(join, "alice", "1"))
		next := again(join)
		next.Now = start.Add(9 * time.Minute)
		used := r.join(next)
		equal(t, "session", used.ID, session.ID)
		equal(t, "expires later", used.Expires, recorded.Add(19*time.Minute))
		equal(t, "recorded", r.session(session.ID), used)
		r.expireTold(recorded.Add(10 * time.Minute))
		equal(t, "still live", r.session(session.ID).Live(start.Add(10*time.Minute)), true)
		r.expireTold(used.Expires)
		r.isMissing(issuer, session.ID)
		equal(t, "notices", names(r.due(used.Expires)), "shop alice 1 expiry")
	}},
	{"no use makes it last longer than its lifetime", func(t *testing.T, r *tester) {
		join := told()
		join.Idle = 40 * time.Minute
		session := r.join(join)
		next := again(join)
		next.Now = start.Add(30 * time.Minute)
		equal(t, "expires", r.join(next).Expires, session.Limit)
	}},
	{"with the option gone it lasts for its lifetime again", func(t *testing.T, r *tester) {
		join := told()
		join.Idle = time.Minute
		session := r.join(join)
		next := again(join)
		next.Idle = 0
		equal(t, "expires", r.join(next).Expires, session.Limit)
		r.expireTold(session.Expires)
		equal(t, "live", r.session(session.ID).Live(session.Expires), true)
	}},
	{"a successor begins to be idle when it starts", func(t *testing.T, r *tester) {
		join := told()
		join.Idle = 10 * time.Minute
		r.join(join)
		r.redeem(identifies(join, "alice", "1"))
		next := again(join)
		r.join(next)
		redemption := identifies(next, "bob", "2")
		redemption.Idle = 10 * time.Minute
		redeemed := r.redeem(redemption)
		equal(t, "expires", redeemed.Session.Expires, instant(redemption.Now.Add(10*time.Minute)))
		equal(t, "recorded", r.session(redeemed.Session.ID), redeemed.Session)
		r.end(ending(join, registry.ReasonLogout))
		ended := r.session(redeemed.Session.ID)
		equal(t, "limit of the ended one", ended.Limit, redeemed.Session.Limit)
	}},
}

// instant is a time as registries return it.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
