package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// proxyTarget is how much of reverse_proxy's time a request that is none of ours may cost, in
// percent.
const proxyTarget = 1.0

// measureHandler measures requests through the handlers, in this process.
func measureHandler(_ context.Context, r *report, _ limits, dir string) error {
	ctx, cancel, err := provision(dir)
	if err != nil {
		return fmt.Errorf("provisioning: %w", err)
	}
	defer cancel()
	plugin, err := loadPlugin(ctx)
	if err != nil {
		return err
	}
	r.section("One request through the handler, after the OP's endpoints are known")
	slowest, err := measurePassing(r, plugin)
	if err != nil {
		return err
	}
	if err := measureObserved(r, plugin); err != nil {
		return err
	}
	return measureProxy(r, ctx, slowest)
}

// passing are requests that are none of the plugin's concern.
var passing = []struct{ name, cookie string }{
	{"uninvolved, no cookies", ""},
	{"uninvolved, another cookie", "theme=dark; basket=b2f7c1d0-4e5a"},
}

// measurePassing returns the ns of the slowest.
func measurePassing(r *report, plugin caddyhttp.MiddlewareHandler) (slowest float64, err error) {
	for _, p := range passing {
		result, err := benchmark(p.name, func(b *testing.B) error { return serve(b, plugin, p.cookie, true) })
		if err != nil {
			return 0, err
		}
		r.info(p.name, "%s", costs(result))
		r.exact(p.name+": allocations", float64(result.AllocsPerOp()), 0, "%.0f")
		slowest = max(slowest, perOp(result))
	}
	return slowest, nil
}

func measureObserved(r *report, plugin caddyhttp.MiddlewareHandler) error {
	result, err := benchmark("observed", func(b *testing.B) error { return serve(b, plugin, "theme=dark; login=c1d0", false) })
	if err == nil {
		r.info("observed: it carries the login cookie", "%s", costs(result))
	}
	return err
}

var (
	errTouched   = errors.New("a request that is none of ours is touched")
	errUntouched = errors.New("a request is not observed")
)

// serve sends one request again and again to a handler behind which nothing is done, and holds
// that it passes untouched, or not.
func serve(b *testing.B, plugin caddyhttp.MiddlewareHandler, cookie string, untouched bool) error {
	w, r := &discard{header: make(http.Header)}, request("/index.html")
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	wrong := errUntouched
	if untouched {
		wrong = errTouched
	}
	next := caddyhttp.HandlerFunc(func(got http.ResponseWriter, _ *http.Request) error {
		if same := got == http.ResponseWriter(w); same != untouched {
			return wrong
		}
		return nil
	})
	for b.Loop() {
		if err := plugin.ServeHTTP(w, r, next); err != nil {
			return err
		}
	}
	return nil
}

// measureProxy measures reverse_proxy, twice as its own control, and holds ours against it.
func measureProxy(r *report, ctx caddy.Context, ours float64) error {
	upstream, err := startUpstream(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, upstreamBody) })
	if err != nil {
		return err
	}
	defer upstream.Close()
	proxy, err := loadHandler(ctx, "reverse_proxy", map[string]any{"upstreams": []any{map[string]any{"dial": upstream.Addr}}})
	if err != nil {
		return err
	}
	var ns [2]float64
	for i := range ns {
		result, err := benchmark("reverse_proxy", func(b *testing.B) error { return serveProxied(b, proxy) })
		if err != nil {
			return err
		}
		ns[i] = perOp(result)
		r.info([]string{"reverse_proxy", "reverse_proxy, again (A/A)"}[i], "%s", costs(result))
	}
	share := 100 * ours / ns[0]
	r.target("uninvolved / reverse_proxy, percent", share, proxyTarget, share*math.Abs(ns[1]/ns[0]-1), "%.2f")
	return nil
}

func serveProxied(b *testing.B, proxy caddyhttp.MiddlewareHandler) error {
	w, r := &discard{header: make(http.Header)}, request("/index.html")
	for b.Loop() {
		clear(w.header)
		w.status, w.written = 0, 0
		if err := proxy.ServeHTTP(w, r, nil); err != nil {
			return err
		}
		if w.status != http.StatusOK || w.written != len(upstreamBody) {
			return fmt.Errorf("it answered with status %d and %d bytes", w.status, w.written)
		}
	}
	return nil
}

const upstreamBody = "a page of the OP"

// startUpstream starts a server for reverse_proxy to ask.
func startUpstream(handler http.HandlerFunc) (*http.Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Addr:              listener.Addr().String(),
		ReadHeaderTimeout: 5 * time.Second,
		Handler:           handler,
	}
	go func() { _ = server.Serve(listener) }()
	return server, nil
}

// discard is a response that is thrown away.
type discard struct {
	header  http.Header
	status  int
	written int
}

func (d *discard) Header() http.Header { return d.header }

func (d *discard) WriteHeader(status int) {
	if d.status == 0 && status >= http.StatusOK {
		d.status = status
	}
}

func (d *discard) Write(p []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	d.written += len(p)
	return len(p), nil
}
