package registry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
	"github.com/oidc-session/caddy-oidc-session/registry/storetest"
)

// servers are registries on one store.
func servers(t *testing.T, n int) (all []*world) {
	clock := storetest.NewClock()
	store := &fake{Store: memory.New(clock.Now)}
	for i := range n {
		w := onStore(t, store, clock)
		w.ids = uint64(i) << 32 // their responses are different ones
		all = append(all, w)
	}
	return all
}

// TestEachNoticeIsClaimedOnce has two servers claim whatever is owed, at the same time, though the
// store lists it to both, while browsers sign in on the same records. Nobody else but the lease is
// between.
func TestEachNoticeIsClaimedOnce(t *testing.T) {
	const browsers, each = 300, 5
	three := servers(t, 3)
	store, clock := three[0].store, three[0].clock
	for i := range browsers {
		j := three[0].aJoin(i)
		three[0].join(j)
		for sid := range each {
			three[0].redeem(redeems(j, fmt.Sprint("user ", i), fmt.Sprint(sid)))
		}
		three[0].end(i) // and this server stops
	}
	clock.Advance(registry.Lease + time.Second)
	owing, err := store.Owing(t.Context(), "", browsers)
	must(t, owing, err)
	store.due = func() ([]registry.Key, error) { return owing, nil }

	var mu sync.Mutex
	claims := make(map[registry.NoticeID]int)
	var all sync.WaitGroup
	for _, w := range three[:2] {
		all.Go(func() {
			for range 4 {
				claimed, _, err := w.Claim(context.Background(), browsers)
				if err != nil {
					t.Error(err)
				}
				var outcomes []registry.Outcome
				mu.Lock()
				for _, o := range claimed {
					claims[o.ID()]++
					outcomes = append(outcomes, registry.Outcome{Notice: o, Delivered: true})
				}
				mu.Unlock()
				if err := w.RecordOutcomes(context.Background(), outcomes); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for i := range browsers {
			if _, err := three[2].Join(context.Background(), three[2].aJoin(i)); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	equal(t, "notices", len(claims), browsers*each)
	for id, n := range claims {
		if n != 1 {
			t.Errorf("notice %s was claimed %d times", id, n)
		}
	}
	left, _, err := three[0].Owing(t.Context(), "", 1)
	equal(t, "left", len(must(t, left, err)), 0)
}

// TestTheStoresClockCounts has one server after another, each with a store's clock that is five
// minutes ahead of, or behind, the one before, as after a restart on another machine.
func TestTheStoresClockCounts(t *testing.T) {
	for _, apart := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
		t.Run(apart.String(), func(t *testing.T) {
			two := servers(t, 2)
			clock := two[0].clock
			first := two[0].aJoin(1)
			session := two[0].join(first)
			clock.Advance(apart)
			last := two[1].aJoin(1)
			last.Session, last.AcrossClients = session.ID, true
			two[1].join(last)
			bob := two[1].redeem(redeems(last, "bob", "2"))
			clock.Advance(-apart)
			alice := two[0].redeem(redeems(first, "alice", "1"))
			equal(t, "alice's reason", alice.Reason, registry.ReasonUserSwitch)
			equal(t, "bob's state", two[1].state(bob), registry.Live)

			ended := two[0].end(1)
			equal(t, "ended", len(ended), 1)
			clock.Advance(apart) // the other server looks for what is due
			claimed := make(map[registry.NoticeID]int)
			for range 20 {
				some, _ := two[1].claims()
				var outcomes []registry.Outcome
				for _, o := range some {
					claimed[o.ID()]++
					outcomes = append(outcomes, registry.Outcome{Notice: o, Delivered: true})
				}
				must(t, 0, two[1].RecordOutcomes(t.Context(), outcomes))
				clock.Advance(time.Minute)
			}
			equal(t, "notices", len(claimed), 2)
			for id, n := range claimed {
				equal(t, id.String(), n, 1)
			}

			carol := two[0].signIn(2, "carol", "3")
			clock.Advance(apart)
			left := carol.Limit.Time().Sub(clock.Now())
			clock.Advance(left - time.Millisecond)
			equal(t, "before its limit", two[1].state(carol), registry.Live)
			clock.Advance(time.Millisecond)
			equal(t, "at its limit", two[1].state(carol), registry.Ended)
		})
	}
}

func TestAnotherServerTakesOverWhenTheLeaseExpires(t *testing.T) {
	two := servers(t, 2)
	clock := two[0].clock
	for i := range 200 {
		two[0].signIn(i, fmt.Sprint("user ", i), "1")
		two[0].end(i)
	}
	clock.Advance(registry.Lease + time.Second)
	claimed, _ := two[0].claims()
	equal(t, "claimed", len(claimed), 200) // and it stops
	taken, took := 0, time.Duration(0)
	for ; taken < 200 && took <= registry.Lease+2*time.Second; took += time.Second {
		clock.Advance(time.Second)
		some, _ := two[1].claims()
		if took+time.Second < registry.Lease && len(some) > 0 {
			t.Fatalf("%d were taken over after %s", len(some), took)
		}
		taken += len(some)
	}
	equal(t, "taken over", taken, 200)
}

// hanging is a store in which nothing ends but by the call's own time.
type hanging struct{ registry.Store }

func hang(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("%w: %w", registry.ErrUnavailable, ctx.Err())
}

func (h hanging) Get(ctx context.Context, _ bool, _ ...registry.Key) ([][]byte, error) {
	return nil, hang(ctx)
}

func (h hanging) Members(ctx context.Context, _ int, _ ...registry.Key) ([][]string, error) {
	return nil, hang(ctx)
}
func (h hanging) Edit(ctx context.Context, _ ...*registry.Edit) error { return hang(ctx) }

func (h hanging) Due(ctx context.Context, _ int) ([]registry.Key, error) { return nil, hang(ctx) }

func (h hanging) Owing(ctx context.Context, _ registry.Key, _ int) ([]registry.Key, error) {
	return nil, hang(ctx)
}

// callsOf makes every call, and returns their errors by name.
func (w *world) callsOf(ctx context.Context) map[string]error {
	j := w.aJoin(1)
	id, place := registry.NewSessionID(issuer, j.Browser), registry.PlaceOf(issuer, j.Browser)
	errs := make(map[string]error)
	_, errs["Join"] = w.Join(ctx, j)
	_, errs["Redeem"] = w.Redeem(ctx, redeems(j, "alice", ""))
	_, _, errs["Resolve"] = w.Resolve(ctx, registry.Ref{Session: id})
	_, errs["Browser"] = w.Browser(ctx, place)
	_, _, errs["Response"] = w.Response(ctx, issuer, j.Response)
	_, errs["End"] = w.End(ctx, registry.Ending{Place: place, Reason: registry.ReasonLogout})
	_, _, errs["User"] = w.User(ctx, issuer, "alice", "")
	_, _, errs["EndUser"] = w.EndUser(ctx, issuer, "alice", registry.ReasonOperator, "")
	_, errs["EndHolder"] = w.EndHolder(ctx, issuer, registry.Holder{ClientID: "shop", Sub: "alice", Sid: "1"}, registry.Ending{})
	_, _, errs["Once"] = w.Once(ctx, issuer, [16]byte{1}, "", time.Now())
	_, _, errs["Claim"] = w.Claim(ctx, 1)
	errs["Settle"] = w.RecordOutcomes(ctx, []registry.Outcome{{}})
	_, _, errs["Owing"] = w.Owing(ctx, "", 1)
	_, errs["Facts"] = w.Facts(ctx, issuer)
	errs["Note"] = w.Note(ctx, issuer, registry.Facts{Kid: 1})
	_, errs["Keys"] = w.Keys(ctx, issuer)
	errs["KeepKeys"] = w.KeepKeys(ctx, issuer, nil)
	_, _, errs["Registered"] = w.Registered(ctx, issuer, "shop")
	_, _, errs["RegisteredAt"] = w.RegisteredAt(ctx, issuer, "/shop")
	errs["Register"] = w.Register(ctx, issuer, registry.Registered{ID: "shop", Metadata: []byte("{}")})
	errs["Deregister"] = w.Deregister(ctx, issuer, "shop")
	_, errs["CookieNames"] = w.CookieNames(ctx, "shop.example.com")
	errs["AddCookieName"] = w.AddCookieName(ctx, "shop.example.com", registry.CookieName{Name: "session"})
	return errs
}

func allUnavailable(t *testing.T, errs map[string]error) {
	t.Helper()
	for name, err := range errs {
		if !errors.Is(err, registry.ErrUnavailable) || errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
