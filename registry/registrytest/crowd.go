package registrytest

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// startsAgain is the Join of a browser that has lost our cookie, a second later.
func startsAgain(join registry.Join) registry.Join {
	next := again(join)
	next.Session = sessionstate.SessionID{}
	return next
}

// endAll ends a browser's sessions as callers do: until none is left.
func (r *tester) endAll(ending registry.Ending) (ended []registry.Session, calls int) {
	r.Helper()
	for range 1000 {
		some := r.end(ending)
		if len(some) == 0 {
			return ended, calls
		}
		ended, calls = append(ended, some...), calls+1
	}
	r.Fatal("sessions end for ever")
	return nil, 0
}

var crowdTests = []test{
	{"a browser that starts more sessions than it may have loses the oldest", func(t *testing.T, r *tester) {
		join := told()
		join.Subject = registry.Subject{Sub: "alice", Sid: "0"}
		var ids []sessionstate.SessionID
		for i := range registry.MaxBrowserSessions + 3 {
			ids = append(ids, r.join(join).ID)
			join = startsAgain(join)
			join.Subject.Sid = fmt.Sprint(i + 1)
		}
		for i, id := range ids {
			session := r.session(id)
			equal(t, fmt.Sprintf("session %d is live", i), session.Live(join.Now), i >= 3)
			if i < 3 {
				equal(t, "reason", session.Reason, registry.ReasonExpiry)
				equal(t, "ended", session.Ended, r.session(ids[i+registry.MaxBrowserSessions]).Created)
			}
		}
		equal(t, "notices", r.sendable(start.Add(late)), "shop alice 0 expiry, shop alice 1 expiry, shop alice 2 expiry")
		other := told()
		other.Now = join.Now
		r.join(other)
		ended, calls := r.endAll(ending(join, registry.ReasonLogout))
		equal(t, "ended", len(ended), registry.MaxBrowserSessions)
		equal(t, "calls", calls, 1)
		equal(t, "another browser's is live", r.session(other.Fresh).Live(join.Now), true)
	}},
	{"sessions whose time is over are none of those", func(t *testing.T, r *tester) {
		join := told()
		join.Lifetime = minute
		for range registry.MaxBrowserSessions {
			r.join(join)
			join = startsAgain(join)
		}
		join.Now, join.Lifetime = at(2), lifetime
		r.join(join)
		for range registry.MaxBrowserSessions - 1 {
			next := startsAgain(join)
			next.Now = at(2)
			r.join(next)
		}
		equal(t, "the first is live", r.session(join.Fresh).Live(at(2)), true)
		ended, _ := r.endAll(ending(join, registry.ReasonLogout))
		equal(t, "ended", len(ended), registry.MaxBrowserSessions)
	}},
	{"sessions of many clients end a few at a time", func(t *testing.T, r *tester) {
		const sessions, clients = 6, 100
		manyClients := func(minutes int) registry.Join {
			first := told()
			first.Lifetime = time.Duration(minutes) * minute
			for range sessions {
				first = startsAgain(first)
				r.join(first)
				join := first
				for client := range clients {
					join = again(join)
					join.Now, join.Response = first.Now, sessionstate.ResponseID{}
					join.ClientID, join.Subject = fmt.Sprint(client), registry.Subject{Sub: "alice", Sid: first.Fresh.String()}
					r.join(join)
				}
			}
			return first
		}
		first := manyClients(60)
		ended, calls := r.endAll(ending(first, registry.ReasonLogout))
		equal(t, "ended", len(ended), sessions)
		equal(t, "calls", calls, 3)
		equal(t, "notices", len(r.due(start.Add(late))), sessions*clients)
		r.deliver(start.Add(late))

		manyClients(1)
		for removed, before := 1, 0; removed > 0; {
			var err error
			removed, err = r.r.Expire(t.Context(), registry.Expiry{Now: at(2)})
			r.must(err)
			notices := len(r.due(start.Add(late)))
			if made := notices - before; made > 3*clients {
				t.Errorf("%d notices by one call of Expire", made)
			}
			before = notices
		}
		equal(t, "notices of those that expired", len(r.due(start.Add(late))), sessions*clients)
	}},
	{"all clients of a session together record no more subjects than end at once", func(t *testing.T, r *tester) {
		first := told()
		r.join(first)
		join, subjects := first, 0
		for i := range registry.MaxSessionSubjects/registry.MaxSubjects + 1 {
			join = again(join)
			join.ClientID = fmt.Sprint("client ", i)
			r.join(join)
			for sid := range registry.MaxSubjects {
				redeemed := r.redeem(identifies(join, "alice", fmt.Sprint(sid)))
				equal(t, "full", redeemed.Full, subjects >= registry.MaxSessionSubjects)
				subjects++
			}
		}
		r.end(ending(first, registry.ReasonLogout))
		equal(t, "notices", len(r.due(start.Add(late))), 1000)
		r.deliver(start.Add(late))
		equal(t, "the others", len(r.due(start.Add(late))), registry.MaxSessionSubjects-1000)
	}},
	{"however sessions end at once, each client, sub and sid is owed one notice", onceEach},
}

// onceEach has two tabs sign out, the login cookie deleted, codes redeemed and the janitor sweep at the same time. It begins anew many
// times, since each of them is to come first sometimes.
func onceEach(t *testing.T, r *tester) {
	want := make(map[string]int)
	for round := range 30 {
		first := told()
		first.Lifetime = minute
		session := r.join(first)
		owed := func(clientID, sub, sid string) {
			want[registry.NameNotice(session.ID, clientID, sub, sid).String()] = 1
		}
		var codes []registry.Redemption
		for i, client := range []string{"shop", "wiki", "mail"} {
			for tab := range 3 {
				join := again(first)
				join.ClientID = client
				r.join(join)
				sub, sid := fmt.Sprintf("%s's user %d", client, round), fmt.Sprint(tab/2) // two tabs have the same sid
				redemption := identifies(join, sub, sid)
				redemption.Now = at(1)
				owed(client, sub, sid)
				if i == 0 {
					r.redeem(redemption)
				} else {
					codes = append(codes, redemption)
				}
			}
		}
		together(t, round, func() error {
			for _, code := range codes {
				if _, err := r.r.Redeem(t.Context(), code); err != nil {
					return err
				}
			}
			return nil
		}, func() error {
			_, err := r.r.Expire(t.Context(), registry.Expiry{Now: at(1)})
			return err
		}, func() error {
			_, err := r.r.End(t.Context(), ending(first, registry.ReasonLoginCookie))
			return err
		}, func() error {
			_, err := r.r.End(t.Context(), ending(first, registry.ReasonLogout))
			return err
		}, func() error {
			_, err := r.r.End(t.Context(), ending(first, registry.ReasonLogout))
			return err
		})
		r.expireTold(at(1))
		r.isMissing(issuer, session.ID)
	}
	got := make(map[string]int)
	for _, notice := range r.due(start.Add(late)) {
		got[notice.ID.String()]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d notices, want %d, each of them once", len(got), len(want))
	}
}

// together makes calls at the same time, in another order each round.
func together(t *testing.T, round int, calls ...func() error) {
	t.Helper()
	begin := make(chan struct{})
	var callers sync.WaitGroup
	for _, call := range slices.Concat(calls[round%len(calls):], calls[:round%len(calls)]) {
		callers.Go(func() {
			<-begin
			if err := call(); err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	callers.Wait()
}
