package oidcsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/discovery"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/handlers/overview"
	"github.com/oidc-session/caddy-oidc-session/handlers/registration"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
	"github.com/oidc-session/caddy-oidc-session/internal/clock"
	"github.com/oidc-session/caddy-oidc-session/internal/placement"
)

const (
	// sessionLifetime is how long a session lasts from its start, if nothing else is configured.
	sessionLifetime = 30 * 24 * time.Hour

	// frontChannelTimeout is how long the page of logout waits for frames, if nothing else is
	// configured.
	frontChannelTimeout = 3 * time.Second
)

// A site is a Handler at work.
type site struct {
	placed       *placement.Site
	paths        *handlers.Paths
	arrivals     *overview.Arrivals
	op           *handlers.OPAddress // nil: the OP is asked through the site
	provider     *handlers.Provider
	endpoints    *handlers.Claim
	clients      *clients.Clients
	checkSession *check.Endpoint
	endSession   *logout.EndSession
	sessionState handlers.SessionState
	discovery    discovery.Discovery
	observer     signin.Observer
	backChannel  *backchannel.BackChannel
	jwks         *backchannel.JWKS
	registration *registration.Registration
}

// newSite makes the site of a handler whose placeholders are resolved. With an error it may return
// a part of one, which has to be closed.
func newSite(ctx caddy.Context, app *App, h *Handler) (s *site, err error) {
	s = &site{
		clients:      &clients.Clients{List: h.Clients, File: h.ClientsFile},
		checkSession: &check.Endpoint{Path: h.CheckSession.Path, SessionState: h.SessionState},
		endSession:   new(logout.EndSession), sessionState: h.SessionState,
		paths:     new(handlers.Paths),
		endpoints: app.run.endpoints.Provisioned(),
	}
	if s.backChannel, err = h.provisionBackChannel(ctx, app, s.clients); err != nil {
		return s, err
	}
	if h.OPAddress != "" {
		if s.op, err = handlers.NewOPAddress(h.OPAddress); err != nil {
			return s, err
		}
	}
	env := s.env(app, h, ctx.Logger())
	if err := s.clients.Setup(env); err != nil {
		return s, err
	}
	s.addProvider(app, h, env)
	keys := &opkeys.Keys{URI: h.JWKSURI, As: s.provider.As, Discovered: s.backChannel.ObserveKeys}
	keys.Setup(env)
	s.addSignIn(app, h, keys)
	s.addBackChannel(keys)
	s.addEndSession(h, keys)
	s.setup(env)
	app.run.sites.provisioned(s.backChannel, s.provider.Issuers)
	return s, errors.Join(s.provider.Setup(env), s.endSession.Setup(env))
}

// provisionBackChannel makes what notifies the clients of the site.
func (h *Handler) provisionBackChannel(
	ctx caddy.Context, app *App, clients *clients.Clients,
) (*backchannel.BackChannel, error) {
	configured := h.BackChannel
	if configured == nil {
		configured = new(BackChannel)
	}
	b, err := configured.provision(ctx, app, h.BackChannel != nil, clients)
	if err != nil {
		return nil, fmt.Errorf("backchannel_logout: %w", err)
	}
	b.IDTokens = h.IDTokens
	b.Adopt = func(issuer string) { app.run.sites.adopt(b, issuer) }
	return b, nil
}

// env is what the handlers of the site share.
func (s *site) env(app *App, h *Handler, logger *zap.Logger) handlers.Env {
	return handlers.Env{
		Keys:            app.run.keys.get,
		Registry:        app.run.registry,
		Prepare:         prepareSubRequest,
		OPAddress:       s.op,
		Replace:         replacePlaceholders,
		SessionLifetime: cmp.Or(time.Duration(h.SessionLifetime), sessionLifetime),
		IdleTimeout:     time.Duration(h.IdleTimeout),
		Notifies:        s.backChannel.Notifies,
		IsGuarded:       app.isGuarded,
		Wake:            s.backChannel.Wake,
		ObserveIDToken:  s.backChannel.ObserveIDToken,
		Logger:          logger,
		LogSubject:      h.LogSubject,
		Now:             clock.Now,
	}
}

// addProvider makes what knows the OP, and what the log says of it.
func (s *site) addProvider(app *App, h *Handler, env handlers.Env) {
	summary := &overview.Summary{
		LoginCookie: h.LoginCookie, SessionState: s.sessionState, CheckSession: s.checkSession,
		EndSession: s.endSession, BackChannel: s.backChannel, Clients: s.clients,
		Logger: env.Logger,
	}
	s.provider = &handlers.Provider{
		Issuers: h.Issuers, Discovery: h.Discovery, CheckSessionPath: s.checkSession.Path,
		Notifies: s.backChannel.MayNotify,
		Discovered: func(op *handlers.OP) {
			summary.Discovered(op)
			app.run.placement.Discovered(s.placed)
		},
	}
	s.placed = &placement.Site{
		Issuers: h.Issuers,
		Expects: func() overview.Expected {
			return overview.Expects(s.provider.Named(), s.checkSession, s.endSession)
		},
	}
	s.arrivals = &overview.Arrivals{
		OP: s.provider.Named, Issuers: app.allIssuers, CheckSession: s.checkSession,
		EndSession: s.endSession, Logger: env.Logger, Now: clock.Now,
	}
}

// addSignIn makes what observes sign-ins: the browser's requests and the token endpoint.
func (s *site) addSignIn(app *App, h *Handler, keys *opkeys.Keys) {
	s.observer = signin.Observer{
		LoginCookie: h.LoginCookie, OPLogouts: h.OPLogouts, SessionState: s.sessionState,
		Issuers: app.allIssuers, OPKeys: keys, Clients: s.clients,
	}
	s.discovery.Observe = s.discovered
}

// addBackChannel makes what publishes keys, and what registers clients.
func (s *site) addBackChannel(keys *opkeys.Keys) {
	s.backChannel.OPKeys, s.backChannel.Framed = keys, s.endSession.IsFramed
	s.jwks = &backchannel.JWKS{BackChannel: s.backChannel}
	s.registration = &registration.Registration{
		Clients: s.clients, EndSession: s.endSession, BackChannel: s.backChannel,
	}
}

// addEndSession wires the end_session endpoint.
func (s *site) addEndSession(h *Handler, keys *opkeys.Keys) {
	e := s.endSession
	if h.EndSession != nil {
		e.Config, e.Explicit = *h.EndSession, true
	}
	e.LoginCookie, e.LoginCookiePaths, e.Name = h.LoginCookie, s.observer.LoginCookiePaths(), h.Name
	e.Clients, e.Keys, e.BackChannel = s.clients, keys, s.backChannel
	e.FrontChannel = h.FrontChannelTimeout != 0
	e.FrontChannelTimeout = cmp.Or(time.Duration(h.FrontChannelTimeout), frontChannelTimeout)
}

// setup gives the parts what they share.
func (s *site) setup(env handlers.Env) {
	for _, part := range []interface{ Setup(env handlers.Env) }{
		s.paths, &s.discovery, &s.observer,
		s.checkSession, s.backChannel, s.jwks, s.registration,
	} {
		part.Setup(env)
	}
}

// serve sends a request to where its path belongs.
func (s *site) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	op := s.provider.Find(r, next)
	s.arrivals.Observe(r)
	if op == nil {
		if candidate := s.provider.Candidate(r); candidate != nil {
			return s.discovery.Serve(candidate, w, r, next, s.members)
		}
		return next.ServeHTTP(w, r)
	}
	if s.endpoints.Yields(op) {
		s.provider.Refresh(r, next)
		return next.ServeHTTP(w, r)
	}
	s.backChannel.Observe(op)
	s.backChannel.Recall(op, r, next)
	switch path := r.URL.Path; {
	case s.checkSession.Serves(op, path):
		return s.checkSession.Serve(op, w, r)
	case s.endSession.Serves(op, path):
		return s.endSession.Serve(op, w, r, next)
	case op.HasDocument(path):
		s.provider.Refresh(r, next)
		return s.discovery.Serve(op, w, r, next, s.members)
	case s.jwks.Serves(op, path):
		return s.jwks.Serve(op, w, r, next)
	case op.IsTokenPath(path):
		return s.observer.ServeToken(op, w, r, next)
	case s.registration.Serves(op, r):
		return s.registration.Serve(op, w, r, next)
	case op.IsPushedPath(path):
		return s.observer.ServePushed(op, w, r, next)
	}
	if s.observer.HasSession(op, r) {
		s.setPlaceholders(op, r)
	}
	if s.observer.Involved(op, r) {
		return s.observer.Serve(op, w, r, next)
	}
	return next.ServeHTTP(w, r)
}

// discovered takes a response that passes to a client for the provider metadata.
func (s *site) discovered(op *handlers.OP, r *http.Request, document []byte) *handlers.OP {
	known := s.provider.Observe(op, r, document)
	if known != nil {
		s.backChannel.Observe(known)
	}
	return known
}

// members are what the site adds to the provider metadata.
func (s *site) members(op *handlers.OP) []exchange.Member {
	return slices.Concat(
		s.checkSession.Members(op, s.sessionState.Replaces(op)),
		s.endSession.Members(op), s.backChannel.Members(op),
	)
}

// sites are the sites of one configuration whose clients may be notified, by issuer.
type sites struct {
	mu        sync.Mutex
	known     map[string][]*backchannel.BackChannel
	mayNotify bool // some, whether or not they know their issuers
}

// provisioned adds a site that is provisioned. The first of its issuers names the OP in all that
// is recorded of it; without any, that is to be discovered.
func (s *sites) provisioned(b *backchannel.BackChannel, issuers []string) {
	s.mu.Lock()
	s.mayNotify = s.mayNotify || b.MayNotify()
	s.mu.Unlock()
	if len(issuers) > 0 {
		s.adopt(b, issuers[0])
	}
}

// adopt adds the issuer of a site, configured or discovered. Several sites may have one issuer.
func (s *sites) adopt(b *backchannel.BackChannel, issuer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.known[issuer], b) {
		s.known[issuer] = append(s.known[issuer], b)
	}
}

// of returns all sites of an issuer that is configured or was discovered.
func (s *sites) of(issuer string) []*backchannel.BackChannel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.known[issuer])
}

// issuers lists those that are configured or were discovered, as the registry names them.
func (s *sites) issuers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.known))
}

// notifying returns the sites of an issuer whose clients may have to be notified.
func (s *sites) notifying(issuer string) []*backchannel.BackChannel {
	return slices.DeleteFunc(s.of(issuer), func(b *backchannel.BackChannel) bool {
		return !b.MayNotify()
	})
}

// mayNotifyOf reports whether clients of an issuer may have to be notified.
func (s *sites) mayNotifyOf(issuer string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.known[issuer]
	return s.mayNotify &&
		(len(known) == 0 || slices.ContainsFunc(known, (*backchannel.BackChannel).MayNotify))
}

// unnotified lists the clients of an issuer that cannot be notified, each as its sites have it.
func (s *sites) unnotified(
	ctx context.Context, issuer string,
) (all []backchannel.Unnotified, err error) {
	for _, b := range s.of(issuer) {
		list, err := b.Unnotified(ctx, issuer)
		if err != nil {
			return nil, err
		}
		for _, client := range list {
			if !slices.Contains(all, client) {
				all = append(all, client)
			}
		}
	}
	return all, nil
}
