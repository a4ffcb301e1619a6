package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// fanOutHosts is how many hosts are notified: so many that the bound for one host is none.
const fanOutHosts = 32

// measureFanOut measures how fast notices are delivered to clients that answer at once: signed by
// RS256, POSTed, and settled.
func measureFanOut(ctx context.Context, r *report, count int) error {
	r.section(fmt.Sprintf("Delivering %d notices to %d hosts on this machine that answer at once", count, fanOutHosts))
	var received atomic.Int64
	clients, stop, err := startClients(&received)
	defer stop()
	if err != nil {
		r.info("not measured", "%v", err) // other systems have one loopback address
		return nil
	}
	keys, _, err := tokens.GenerateSigningKeys()
	if err != nil {
		return err
	}
	sender := notify.NewSender(notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, nil)
	s := &owing{keys: keys, sender: sender, clients: clients, left: count, done: make(chan struct{})}
	for i := range count {
		s.due = append(s.due, registry.PendingNotice{Issuer: registryIssuer, ClientID: fmt.Sprint(i), Sub: "alice", Reason: registry.ReasonLogout})
	}
	worker := notify.NewWorker(s, time.Now)
	start := time.Now()
	worker.Use(worker, zap.NewNop(), s)
	select {
	case <-s.done:
	case <-ctx.Done():
		return errors.Join(ctx.Err(), worker.Close())
	}
	took := time.Since(start)
	r.info("delivered", "%.0f notices a second (%v in all)", float64(count)/took.Seconds(), took.Round(time.Millisecond))
	if got := received.Load(); got != int64(count) {
		return errors.Join(fmt.Errorf("%d notices came, not %d", got, count), worker.Close())
	}
	return worker.Close()
}

// startClients starts servers at addresses of their own.
func startClients(received *atomic.Int64) (addresses []string, stop func(), err error) {
	var servers []*http.Server
	stop = func() {
		for _, server := range servers {
			server.Close()
		}
	}
	for i := range fanOutHosts {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:0", i+1))
		if err != nil {
			return nil, stop, err
		}
		server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { received.Add(1) })}
		servers = append(servers, server)
		go func() { _ = server.Serve(listener) }() // ends with stop
		addresses = append(addresses, "http://"+listener.Addr().String()+"/")
	}
	return addresses, stop, nil
}

// owing is a registry in memory and the configuration of its clients.
type owing struct {
	keys    *tokens.SigningKeys
	sender  *notify.Sender
	clients []string // where they are notified

	mu   sync.Mutex
	due  []registry.PendingNotice
	left int           // that are not settled
	done chan struct{} // closed when none is left
}

func (s *owing) Claim(_ context.Context, limit int) (claimed []registry.PendingNotice, none bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(limit, len(s.due))
	claimed, s.due = s.due[:n], s.due[n:]
	for i := range claimed {
		claimed[i].Due = registry.At(time.Now().Add(registry.Lease))
	}
	return claimed, n == 0, nil
}

func (s *owing) RecordOutcomes(_ context.Context, outcomes []registry.Outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, outcome := range outcomes {
		if !outcome.Delivered {
			s.due = append(s.due, outcome.Notice) // it is tried again
			continue
		}
		if s.left--; s.left == 0 {
			close(s.done)
		}
	}
	return nil
}

func (s *owing) Route(_ context.Context, o registry.PendingNotice) notify.Route {
	i, _ := strconv.Atoi(o.ClientID)
	return notify.Route{Target: notify.Target{URI: s.clients[i%len(s.clients)], Sender: s.sender, RetryFor: time.Hour}}
}

func (s *owing) Token(_ context.Context, o registry.PendingNotice) (string, error) {
	return s.keys.Sign(tokens.LogoutToken{Issuer: o.Issuer, ClientID: o.ClientID, Subject: o.Sub, IssuedAt: time.Now()}, "RS256")
}
