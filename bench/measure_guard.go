package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Targets: CPU time per request, as a multiple of that of `reverse_proxy` alone; and that multiple
// among the most sessions, as a multiple of that among the fewest.
const (
	guardTarget       = 1.05
	guardGrowthTarget = 1.1
)

// distinct is of how many sessions requests come in turn, if there are as many.
const distinct = 20_000

// measureGuard measures what oidc_guard adds to a request: first in this process, then in that of
// Caddy, in front of reverse_proxy.
func measureGuard(ctx context.Context, r *report, l limits, dir string) error {
	r.section("One request through oidc_guard, in this process, nothing behind it")
	if err := measureUnguarded(r, filepath.Join(dir, "in-process")); err != nil {
		return err
	}
	if err := measureBound(ctx, r); err != nil {
		return err
	}
	r.section(fmt.Sprintf("CPU time of a Caddy process per request: `oidc_guard` and `reverse_proxy`, against `reverse_proxy` (%d rounds of %d requests)",
		l.guarded, batch))
	var ratios []float64
	noise := 0.0
	for _, count := range l.sessions {
		c, err := measureGuarded(ctx, r, l, filepath.Join(dir, fmt.Sprint(count)), count)
		if errors.Is(err, errors.ErrUnsupported) {
			r.info("not measured", "the CPU time of a process is known on Linux only")
			return nil
		}
		if err != nil {
			return fmt.Errorf("%d sessions: %w", count, err)
		}
		ratios, noise = append(ratios, c.subject().sums), noise+c.control().noise()
	}
	first, last := 0, len(ratios)-1
	r.target(fmt.Sprintf("bound cookie: among %d / among %d sessions", l.sessions[last], l.sessions[first]),
		ratios[last]/ratios[first], guardGrowthTarget, noise, "%.2f")
	return nil
}

// measureUnguarded measures a request without cookies.
func measureUnguarded(r *report, dir string) error {
	ctx, cancel, err := provision(dir)
	if err != nil {
		return fmt.Errorf("provisioning: %w", err)
	}
	defer cancel()
	handler, err := loadHandler(ctx, "oidc_guard", map[string]any{})
	if err != nil {
		return err
	}
	const name = "no cookies"
	result, err := benchmark(name, func(b *testing.B) error { return serveGuarded(b, handler, "") })
	if err != nil {
		return err
	}
	r.info(name, "%s", costs(result))
	r.exact(name+": allocations", float64(result.AllocsPerOp()), 0, "%.0f")
	return nil
}

// measureBound measures a request of a browser that is signed in, without what it costs Caddy to
// make placeholders known.
func measureBound(ctx context.Context, r *report) (err error) {
	site, err := newAppSite()
	if err != nil {
		return err
	}
	reg := openRegistry(memory.New(time.Now), ignore)
	defer func() { err = errors.Join(err, reg.Close()) }()
	session, err := login(ctx, reg, "bound")
	if err != nil {
		return err
	}
	g := &guard.Guard{
		OnLogout: guard.Strip, CloseStreams: true,
		Issuers: func() []string { return []string{registryIssuer} },
		Expose:  func(*http.Request, *guard.Facts) {},
	}
	g.Setup(handlers.Env{
		Keys:     func(context.Context) (*sessionstate.Keyring, error) { return site.keys, nil },
		Registry: reg, Logger: zap.NewNop(), Now: time.Now,
	})
	defer g.Close()
	const name = "bound cookie"
	result, err := benchmark(name, func(b *testing.B) error {
		return serveGuarded(b, guarding{g}, site.cookies(session.ID))
	})
	if err == nil {
		r.info(name, "%s", costs(result))
	}
	return err
}

// guarding is a guard as a handler.
type guarding struct{ *guard.Guard }

func (g guarding) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return g.Serve(w, r, next)
}

var errUnbound = errors.New("a response to a bound request is as to any other")

// serveGuarded sends one request again and again to a guard behind which there is a page, and holds
// that the guard takes it for one of a user who is signed in, or not.
func serveGuarded(b *testing.B, handler caddyhttp.MiddlewareHandler, cookie string) error {
	w, r := &discard{header: make(http.Header)}, request("/index.html")
	r.Host = appHost
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	contentType := []string{pageType}
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header()["Content-Type"] = contentType
		w.WriteHeader(http.StatusOK)
		return nil
	})
	for b.Loop() {
		clear(w.header)
		w.status = 0
		if err := handler.ServeHTTP(w, r, next); err != nil {
			return err
		}
		if bound := w.header["Cache-Control"] != nil; bound != (cookie != "") || w.status != http.StatusOK {
			return errUnbound
		}
	}
	return nil
}

// measureGuarded measures requests to a Caddy process with so many sessions, and returns the
// comparison of those with a bound cookie.
func measureGuarded(ctx context.Context, r *report, l limits, dir string, count int) (*comparison, error) {
	defer os.RemoveAll(dir) // that of a million sessions is large
	s, err := startGuarded(ctx, dir, count)
	if err != nil {
		return nil, err
	}
	r.watch.server = s.server
	defer func() {
		r.watch.server = nil
		s.stop()
	}()
	name := fmt.Sprintf("bound cookie among %d sessions", count)
	if err := s.measureFirst(ctx, r, name); err != nil {
		return nil, fmt.Errorf("first requests: %w", err)
	}
	c := s.comparison(name, "/", signedInBody, s.browsers, isBound)
	if err := s.measure(ctx, r, c, l.guarded); err != nil {
		return nil, err
	}
	r.target(name+" / reverse_proxy", c.subject().sums, guardTarget, c.control().noise(), "%.3f")
	if count == l.sessions[0] {
		err = s.measureOthers(ctx, r, l.guarded/3)
	}
	return c, err
}

// measureFirst measures the first request of each session, whose record is looked up.
func (s *guarded) measureFirst(ctx context.Context, r *report, name string) error {
	c := s.comparison(name, "/", signedInBody, s.browsers, isBound)
	var spent [2]float64
	for _, at := range []int{siteProxy, siteGuard} {
		l := c.sites[at]
		defer l.close()
		if err := l.dial(ctx, s.address(at)); err != nil {
			return err
		}
		var err error
		spent[at], err = spend(s.server.cpuTime, func() error { return l.send(ctx, len(s.browsers)) })
		if err != nil {
			return err
		}
	}
	each := func(at int) time.Duration { return time.Duration(spent[at] / float64(len(s.browsers))) }
	r.info(name+": the first request of each", "%v (reverse_proxy: %v)", each(siteGuard), each(siteProxy))
	return nil
}

// measureOthers measures what has no target, on which the number of sessions has no influence.
func (s *guarded) measureOthers(ctx context.Context, r *report, rounds int) error {
	for _, c := range []*comparison{
		s.comparison("no cookies", "/", signedOutBody, []string{""}, isUntouched),
		s.comparison("bound cookie that each response sets anew", rotatingPath, signedInBody, s.browsers, isCertified),
	} {
		if err := s.measure(ctx, r, c, rounds); err != nil {
			return err
		}
	}
	return nil
}

func (s *guarded) measure(ctx context.Context, r *report, c *comparison, rounds int) error {
	addresses := [3]string{s.address(siteGuard), s.address(siteProxy), s.address(siteProxyControl)}
	if err := measure(ctx, r, s.server, c, addresses, rounds); err != nil {
		return fmt.Errorf("%s: %w", c.sites[0].name, err)
	}
	return nil
}
