package handlerstest

import (
	"slices"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// ClientOf is a session's client with one subject.
func ClientOf(client, sub, sid string) *registry.Client {
	return &registry.Client{ID: client, Subjects: []*registry.Subject{{Sub: sub, Sid: sid}}}
}

// Pending lists all that is owed.
func (x *Exit) Pending() (all []registry.PendingNotice) {
	x.T.Helper()
	sessions, _, err := x.W.Env.Registry.Owing(x.T.Context(), "", 1000)
	if err != nil {
		x.T.Fatal(err)
	}
	for _, session := range sessions {
		all = append(all, session.Pending()...)
	}
	return all
}

// RecordOutcomes records what became of the notice of a client, if it is owed one.
func (x *Exit) RecordOutcomes(client string, outcome registry.Outcome) {
	x.T.Helper()
	for _, outcome.Notice = range x.Pending() {
		if outcome.Notice.ClientID != client {
			continue
		}
		if err := x.W.Env.Registry.RecordOutcomes(x.T.Context(), []registry.Outcome{outcome}); err != nil {
			x.T.Fatal(err)
		}
	}
}

// A delivery is a notice that is claimed, and where it goes.
type delivery struct {
	registry.PendingNotice
	notify.Target
}

// Due claims notices, and lists where they go: those that go nowhere are settled.
func (x *Exit) Due() (due []delivery) {
	x.T.Helper()
	x.W.Claim(x.T)
	for _, owed := range x.Pending() {
		if owed.Lease == 0 || owed.Due > registry.At(x.W.Clock.Now().Add(registry.Lease+time.Second)) {
			continue // not due, or held back
		}
		switch route := x.W.NoticesOf(x.E.BackChannel).Route(x.T.Context(), owed); {
		case route.Drop != "":
			x.RecordOutcomes(owed.ClientID, registry.Outcome{Delivered: true})
		case route.WithoutSid:
			x.RecordOutcomes(owed.ClientID, registry.Outcome{WithoutSid: true, Due: 1})
			x.Pass(2 * time.Second)
			return x.Due()
		case !route.Again:
			due = append(due, delivery{owed, route.Target})
		}
	}
	return due
}

// Pass lets time pass, in which what expires ends.
func (x *Exit) Pass(d time.Duration) {
	x.W.Clock.Advance(d)
	x.W.Claim(x.T)
	x.W.Clock.Advance(2 * time.Second) // until it is listed again
}

// DueClients are the clients whose notices are due, sorted.
func (x *Exit) DueClients() string {
	x.T.Helper()
	var clients []string
	for _, n := range x.Due() {
		clients = append(clients, n.ClientID)
	}
	slices.Sort(clients)
	return strings.Join(clients, " ")
}
