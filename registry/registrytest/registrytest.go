// Package registrytest holds the test of the contract of [registry.Registry], which every implementation passes.
package registrytest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	issuer   = "https://op.example.com"
	lifetime = time.Hour
)

// start is the time of most calls: with a part of a millisecond, and not in UTC.
var start = time.Date(2030, 1, 2, 3, 4, 5, 678_900_000, time.FixedZone("", 3600))

// recorded is start as registries return it.
var recorded = time.Date(2030, 1, 2, 2, 4, 5, 678_000_000, time.UTC)

// Run tests an implementation. open opens an empty registry, and closes it at the end of the test.
func Run(t *testing.T, open func(t *testing.T) registry.Registry) {
	groups := []struct {
		name  string
		tests []test
	}{
		{"Join", joinTests},
		{"Redeem", redeemTests},
		{"user switch", switchTests},
		{"subjects in responses", frontChannelTests},
		{"Resolve", resolveTests},
		{"End", endTests},
		{"Spend", spendTests},
		{"Keys", keyTests},
		{"Observed", observedTests},
		{"Expire", expireTests},
		{"notices", noticeTests},
		{"notices that are held back", heldTests},
		{"late codes", lateTests},
		{"ID tokens", idTokenTests},
		{"many sessions", crowdTests},
		{"codes that nobody redeems", unredeemedTests},
		{"clients", clientTests},
		{"idle sessions", idleTests},
		{"bounds", boundTests},
		{"life", lifeTests},
	}
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					test.run(t, &tester{T: t, r: open(t)})
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(t *testing.T, r *tester)
}

// A tester is a registry whose calls may not fail.
type tester struct {
	*testing.T
	r registry.Registry
}

// aJoin is a Join of one client, at start, without a session in the cookie.
func aJoin() registry.Join {
	return registry.Join{
		Issuer:   issuer,
		Browser:  sessionstate.NewBrowserID(),
		Fresh:    sessionstate.NewSessionID(),
		Response: newResponse(),
		ClientID: "shop",
		Origin:   "https://shop.example.com",
		Now:      start,
		Lifetime: lifetime,
	}
}

// newResponse draws a response ID.
func newResponse() sessionstate.ResponseID {
	return sessionstate.ResponseID(sessionstate.NewSessionID())
}

// redeems is the Redemption of a Join's response, for a sub.
func redeems(join registry.Join, sub string) registry.Redemption {
	return registry.Redemption{
		Issuer:   join.Issuer,
		Response: join.Response,
		Audience: []string{join.ClientID},
		Subject:  registry.Subject{Sub: sub, Sid: "sid of " + sub},
		Fresh:    sessionstate.NewSessionID(),
		Now:      join.Now,
		Lifetime: join.Lifetime,
	}
}

func (r *tester) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *tester) join(join registry.Join) registry.Session {
	r.Helper()
	session, err := r.r.Join(r.Context(), join)
	r.must(err)
	return session
}

func (r *tester) redeem(redemption registry.Redemption) registry.Redeemed {
	r.Helper()
	redeemed, err := r.r.Redeem(r.Context(), redemption)
	r.must(err)
	return redeemed
}

func (r *tester) session(id sessionstate.SessionID) registry.Session {
	r.Helper()
	session, found, err := r.r.Session(r.Context(), issuer, id)
	r.must(err)
	if !found {
		r.Fatalf("session %s is not recorded", id)
	}
	return session
}

func (r *tester) isMissing(issuer string, id sessionstate.SessionID) {
	r.Helper()
	session, found, err := r.r.Session(r.Context(), issuer, id)
	r.must(err)
	if found || session != (registry.Session{}) {
		r.Fatalf("found %+v", session)
	}
}

func (r *tester) resolve(id sessionstate.SessionID, response sessionstate.ResponseID) registry.Session {
	r.Helper()
	session, found, err := r.r.Resolve(r.Context(), issuer, id, response)
	r.must(err)
	if !found {
		r.Fatalf("session %s is not recorded", id)
	}
	return session
}

func (r *tester) participations(id sessionstate.SessionID) []registry.Participation {
	r.Helper()
	participations, err := r.r.Participations(r.Context(), issuer, id)
	r.must(err)
	return participations
}

// participation is that of the only client.
func (r *tester) participation(id sessionstate.SessionID) registry.Participation {
	r.Helper()
	participations := r.participations(id)
	if len(participations) != 1 {
		r.Fatalf("participations %+v, want one", participations)
	}
	return participations[0]
}

func (r *tester) end(ending registry.Ending) []registry.Session {
	r.Helper()
	ended, err := r.r.End(r.Context(), ending)
	r.must(err)
	return ended
}

func (r *tester) expire(now time.Time) int {
	r.Helper()
	removed, err := r.r.Expire(r.Context(), registry.Expiry{Now: now, Silence: registry.Silence{Issuers: []string{issuer, issuer + "/tenant"}}})
	r.must(err)
	return removed
}

// switched starts a session of alice and makes bob its second user. It returns the Join that alice's session began with, the one
// that bob's code was for, and what his redemption did.
func (r *tester) switched() (alice, bob registry.Join, redeemed registry.Redeemed) {
	r.Helper()
	alice = aJoin()
	r.join(alice)
	r.redeem(redeems(alice, "alice"))
	bob = again(alice)
	r.join(bob)
	redeemed = r.redeem(redeems(bob, "bob"))
	if !redeemed.Switched {
		r.Fatal("the user has not switched")
	}
	return alice, bob, redeemed
}

// again is the same browser's and client's next Join, a second later, when the session that the one before started is in the
// cookie.
func again(join registry.Join) registry.Join {
	if join.Session.IsZero() {
		join.Session = join.Fresh
	}
	join.Fresh = sessionstate.NewSessionID()
	join.Response = newResponse()
	join.Now = join.Now.Add(time.Second)
	return join
}

// named are subjects without the times since when they are known.
func named(subjects []registry.Subject) []registry.Subject {
	var named []registry.Subject
	for _, subject := range subjects {
		named = append(named, registry.Subject{Sub: subject.Sub, Sid: subject.Sid})
	}
	return named
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

func equalSlices[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

// callsOf makes every call of a registry but Close, and returns their errors by name.
func callsOf(ctx context.Context, r registry.Registry) map[string]error {
	join := aJoin()
	errs := make(map[string]error)
	_, errs["ID"] = r.ID(ctx)
	_, errs["Join"] = r.Join(ctx, join)
	_, errs["Redeem"] = r.Redeem(ctx, redeems(join, "alice"))
	_, _, errs["Session"] = r.Session(ctx, issuer, join.Fresh)
	_, _, errs["Resolve"] = r.Resolve(ctx, issuer, join.Fresh, join.Response)
	_, errs["Participations"] = r.Participations(ctx, issuer, join.Fresh)
	_, errs["End"] = r.End(ctx, registry.Ending{Issuer: issuer, Browser: join.Browser, Reason: registry.ReasonLogout, Now: start})
	_, errs["Spend"] = r.Spend(ctx, aSpending())
	errs["KeepKeys"] = r.KeepKeys(ctx, aKeeping("1"))
	_, errs["Keys"] = r.Keys(ctx, issuer, start)
	errs["Observe"] = r.Observe(ctx, issuer, registry.Observed{})
	_, _, errs["Observed"] = r.Observed(ctx, issuer)
	_, errs["DueNotices"] = r.DueNotices(ctx, issuer, start, 1)
	_, errs["Notices"] = r.Notices(ctx, issuer, make([]registry.NoticeID, 1))
	_, errs["AllNotices"] = r.AllNotices(ctx, issuer, registry.NoticeID{}, 1)
	errs["SettleNotices"] = r.SettleNotices(ctx, registry.Settling{Issuer: issuer, Now: start})
	errs["PutClient"] = r.PutClient(ctx, issuer, registry.Client{ID: "shop", Metadata: []byte("{}")}, start)
	errs["DeleteClient"] = r.DeleteClient(ctx, issuer, "shop")
	_, _, errs["Client"] = r.Client(ctx, issuer, "shop")
	_, _, errs["ClientAt"] = r.ClientAt(ctx, issuer, "/register/shop")
	_, errs["Expire"] = r.Expire(ctx, registry.Expiry{Now: start})
	return errs
}

func allWrap(t *testing.T, errs map[string]error, target error) {
	t.Helper()
	for name, err := range errs {
		if !errors.Is(err, target) {
			t.Errorf("%s: got error %v, want %v", name, err, target)
		}
	}
}
