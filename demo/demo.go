package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// demo is all of it, running in this process: Caddy with the plugin, and behind it an OP and two
// apps.
type demo struct {
	issuer     string // http://op.localhost:8080
	shop, wiki string // the apps' origins
	apps       []*relyingParty
	client     *http.Client

	servers   []*http.Server
	directory string // temporary; removed by stop
	caddyRuns bool
}

// startDemo starts everything, with Caddy on port; 0 is any free one. Only one demo can run in a
// process, because there is only one Caddy. After an error nothing runs any more.
func startDemo(ctx context.Context, caddyfile string, port int) (_ *demo, err error) {
	// the OP's library warns of each prompt=none that finds nobody
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if port == 0 {
		if port, err = freePort(); err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
	}
	listen, err := listenAddresses(port)
	if err != nil {
		return nil, fmt.Errorf("port %d cannot be used, choose another one with -port: %w", port, err)
	}
	d := &demo{
		issuer: fmt.Sprintf("http://op.localhost:%d", port),
		shop:   fmt.Sprintf("http://shop.localhost:%d", port),
		wiki:   fmt.Sprintf("http://wiki.localhost:%d", port),
		client: &http.Client{Transport: loopbackTransport(), Timeout: 15 * time.Second},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.stop())
		}
	}()
	return d, d.start(ctx, caddyfile, listen)
}

func (d *demo) start(ctx context.Context, caddyfile string, listen []string) error {
	var err error
	if d.directory, err = os.MkdirTemp("", "oidc-session-demo-"); err != nil {
		return fmt.Errorf("making a directory for Caddy: %w", err)
	}
	upstreams, err := listenUpstreams(3)
	if err != nil {
		return err
	}
	shop := &opClient{id: "shop", secret: rand.Text(), origin: d.shop}
	wiki := &opClient{id: "wiki", secret: rand.Text(), origin: d.wiki}
	provider, err := newProvider(d.issuer, []*opClient{shop, wiki})
	if err != nil {
		closeAll(upstreams)
		return err
	}
	d.serve(upstreams[0], provider.handler())

	// Caddy comes before the apps: they read the OP's discovery document through it, as they would
	// on the internet.
	err = startCaddy(caddyfile, d.directory, listen, map[string]string{
		"OP_ADDRESS": d.issuer, "OP_ISSUER": d.issuer, "OP_LOGIN_COOKIE": ssoCookie, "OP_UPSTREAM": upstreams[0].Addr().String(),
		"SHOP_ADDRESS": d.shop, "SHOP_UPSTREAM": upstreams[1].Addr().String(),
		"WIKI_ADDRESS": d.wiki, "WIKI_UPSTREAM": upstreams[2].Addr().String(),
		"APP_ADOPT": "0", // nobody has signed in anywhere before
	})
	if err != nil {
		closeAll(upstreams[1:])
		return err
	}
	d.caddyRuns = true
	return d.startApps(ctx, []*opClient{shop, wiki}, upstreams[1:])
}

func (d *demo) startApps(ctx context.Context, apps []*opClient, upstreams []net.Listener) error {
	for i, app := range apps {
		links := []link{{Name: "OpenID Provider", URL: d.issuer}}
		for _, other := range apps {
			if other != app {
				links = append(links, link{Name: other.id, URL: other.origin})
			}
		}
		rp, err := newRelyingParty(ctx, d.issuer, app, links, d.client)
		if err != nil {
			closeAll(upstreams[i:])
			return err
		}
		rp.unmodified = app.id == "wiki"
		d.apps = append(d.apps, rp)
		d.serve(upstreams[i], rp.handler())
	}
	return nil
}

// listenUpstreams opens n listeners on ports that the kernel chooses.
func listenUpstreams(n int) ([]net.Listener, error) {
	var listeners []net.Listener
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			closeAll(listeners)
			return nil, fmt.Errorf("opening a port for the OP and the apps: %w", err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

func (d *demo) serve(l net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	d.servers = append(d.servers, server)
	go func() { _ = server.Serve(l) }() // ends with stop
}

// stop ends everything that startDemo started, and removes what it wrote.
func (d *demo) stop() error {
	var problems []error
	if d.caddyRuns {
		problems = append(problems, caddy.Stop())
		d.caddyRuns = false
	}
	for _, server := range d.servers {
		problems = append(problems, server.Close())
	}
	d.client.CloseIdleConnections()
	if d.directory != "" {
		problems = append(problems, os.RemoveAll(d.directory))
	}
	return errors.Join(problems...)
}
