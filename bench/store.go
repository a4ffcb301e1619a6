package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const registryIssuer = "https://op.example.com"

// openRegistry returns a registry over a store, which it closes. ended is called with what it
// ends.
func openRegistry(store registry.Store, ended func([]*registry.Session)) *registry.Registry {
	return registry.Open(opened{store}, ended, zap.NewNop())
}

// opened is the opener of a store that is open.
type opened struct{ store registry.Store }

func (o opened) Open(*zap.Logger) (registry.Store, error) { return o.store, nil }

func (opened) SharingKey() string { return "" }

func ignore([]*registry.Session) {}

// join is an authorization response for a new browser.
func join(name string, lifetime time.Duration) registry.Join {
	return registry.Join{
		Issuer: registryIssuer, Browser: sessionstate.NewBrowserID(), ClientID: "shop", Origin: "https://shop.example",
		Response: sessionstate.NewResponseID(name), Lifetime: lifetime, Notify: true,
	}
}

const month = 30 * 24 * time.Hour

// login records one sign-in of a new browser, as the handlers do: its authorization response, then
// its token response.
func login(ctx context.Context, r *registry.Registry, name string) (*registry.Session, error) {
	j := join(name, month)
	joined, err := r.Join(ctx, j)
	if err != nil {
		return nil, err
	}
	redeemed, err := r.Redeem(ctx, registry.Redemption{
		Issuer: registryIssuer, Response: j.Response, Audience: []string{j.ClientID}, Sub: "user " + name, Sid: "session " + name,
		Lifetime: month, Notify: true,
	})
	if err == nil && redeemed.Session == nil {
		err = errors.New("the code is not remembered")
	}
	return joined.Session, err
}

// Sessions are filled many at once; the last ones few at once, for a commit leaves as many free
// pages as it needed, and the next commits write their list until sign-ins have used them up.
const filledAtOnce, lastAtOnce, lastFilled = 1024, 8, 20_000

// fill records sessions, each of one sign-in whose response names the user. Without codes, they
// are as when their codes are forgotten. It returns their IDs.
func fill(ctx context.Context, store registry.Store, count int, lifetime time.Duration, codes bool) ([]sessionstate.SessionID, error) {
	later := &deferred{Store: store}
	r := openRegistry(later, ignore) // not closed: the store goes on
	sessions := make([]sessionstate.SessionID, 0, count)
	for i := range count {
		j := join(fmt.Sprintf("filled %d", i), lifetime)
		j.Sub, j.Sid = fmt.Sprintf("user %d", i), fmt.Sprintf("session %d", i)
		if !codes {
			j.Response = sessionstate.ResponseID{}
		}
		// named here: the store makes the record once more
		j.Session = registry.NewSessionID(j.Issuer, j.Browser)
		sessions = append(sessions, j.Session)
		if _, err := r.Join(registry.Patient(ctx), j); err != nil {
			return nil, err
		}
		if left := count - 1 - i; left > 0 && len(later.edits) < filledAtOnce && (left > lastFilled || len(later.edits) < lastAtOnce) {
			continue
		}
		if err := later.commit(ctx); err != nil {
			return nil, err
		}
	}
	return sessions, nil
}

// deferred keeps edits of new records until they are committed together.
type deferred struct {
	registry.Store

	edits []*registry.Edit
}

func (d *deferred) Edit(_ context.Context, edits ...*registry.Edit) error {
	for _, edit := range edits {
		if _, err := edit.Apply(nil); err != nil {
			return err
		}
	}
	d.edits = append(d.edits, edits...)
	return nil
}

// Members finds no other sessions of the users: there are none.
func (d *deferred) Members(_ context.Context, _ int, sets ...registry.Key) ([][]string, error) {
	return make([][]string, len(sets)), nil
}

func (d *deferred) commit(ctx context.Context) error {
	err := d.Store.Edit(ctx, d.edits...)
	for _, edit := range d.edits {
		err = errors.Join(err, edit.Err)
	}
	d.edits = nil
	return err
}

// times are how long calls took that sign-ins and sign-outs wait for.
type times struct {
	took []time.Duration
	late int // calls that gave up, since the machine was busy
}

// add makes a call.
func (t *times) add(call func() error) error {
	start := time.Now()
	err := call()
	t.took = append(t.took, time.Since(start))
	if errors.Is(err, context.DeadlineExceeded) {
		t.late++
		return nil
	}
	return err
}

func (t *times) percentile(p int) time.Duration {
	return percentile(slices.Sorted(slices.Values(t.took)), p)
}

// growth is how many times as long as the others a call takes.
func (t *times) growth(others *times) float64 {
	return float64(t.percentile(50)) / float64(others.percentile(50))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
