package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// fanOutHosts is how many hosts are told: so many that the bound for one host is none.
const fanOutHosts = 32

// measureFanOut measures how fast notices are delivered to clients that answer at once: signed by RS256, POSTed, and settled.
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
	s := &owing{keys: keys, due: make(map[notify.ID]notify.Notice), done: make(chan struct{})}
	s.sender = notify.NewSender(notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, nil)
	for i := range count {
		n := notify.Notice{Issuer: registryIssuer, ClientID: fmt.Sprintf("client %d", i), Subject: "alice", Created: time.Now()}
		binary.BigEndian.PutUint64(n.ID[:], uint64(i))
		n.Target = notify.Target{URI: clients[i%len(clients)], Sender: s.sender, RetryFor: time.Hour}
		s.due[n.ID] = n
	}
	worker := notify.NewWorker(time.Now)
	start := time.Now()
	worker.Use(s, zap.NewNop(), map[string]notify.Site{registryIssuer: s})
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

// owing is a site in memory, which owes notices.
type owing struct {
	keys   *tokens.SigningKeys
	sender *notify.Sender

	mu   sync.Mutex
	due  map[notify.ID]notify.Notice
	done chan struct{} // closed when nothing is owed any more
}

func (s *owing) Due(_ context.Context, _ time.Time, limit int) ([]notify.Notice, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []notify.Notice
	for _, n := range s.due {
		if len(due) == limit {
			break
		}
		due = append(due, n)
	}
	return due, nil
}

func (s *owing) Settle(_ context.Context, settlements []notify.Settlement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, settled := range settlements {
		if settled.Delivered {
			delete(s.due, settled.ID)
		}
	}
	if len(s.due) == 0 {
		close(s.done)
	}
	return nil
}

func (s *owing) Token(_ context.Context, n notify.Notice) (string, error) {
	return s.keys.Sign(tokens.LogoutToken{Issuer: n.Issuer, ClientID: n.ClientID, Subject: n.Subject, IssuedAt: time.Now()}, "RS256")
}
