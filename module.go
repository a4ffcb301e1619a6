// Package oidcsession gives an OpenID Provider (OP) behind Caddy session management and sign-out, whatever the OP itself supports:
// the check page (OP iframe) and session_state of OpenID Connect Session Management 1.0, the end_session endpoint of OpenID
// Connect RP-Initiated Logout 1.0, and Back-Channel and Front-Channel Logout 1.0 to the clients of each session that ends.
//
// Its Caddy modules are the app `oidc_session`, which holds what all sites share, the HTTP handler `http.handlers.oidc_session` for the
// site of an OP, `admin.api.oidc_session` for operators, and the stores.
package oidcsession

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
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
)

func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(Handler{})
}

const (
	// sessionLifetime is how long a session lasts from its start, if nothing else is configured.
	sessionLifetime = 30 * 24 * time.Hour

	// Bounds of what may be configured. Browsers keep no cookie for more than 400 days (RFC 6265bis, section 5.5).
	minSessionLifetime = time.Minute
	maxSessionLifetime = 400 * 24 * time.Hour

	// frontChannelTimeout is how long the page of sign-out waits for frames, if nothing else is configured.
	frontChannelTimeout    = 3 * time.Second
	maxFrontChannelTimeout = 30 * time.Second
)

// Handler gives the OpenID Provider (OP) of a site OpenID Connect Session Management 1.0 and RP-Initiated Logout 1.0: it serves
// the check page (OP iframe) and the end_session endpoint, adds `session_state` to the OP's authorization responses and
// `check_session_iframe` and `end_session_endpoint` to its discovery document, and keeps track of sessions by what passes between
// browsers, apps and the OP. Nothing changes in the OP or in the apps.
//
// These placeholders are set for requests of browsers that are signed in, as their sealed cookie says:
//
// Placeholder | Description
// ------------|---------------
// `{http.oidc_session.id}` | The ID of the session. It is no secret, but names a sign-in of one user.
// `{http.oidc_session.browser_state}` | The browser state, as scripts of the OP can read it from its cookie.
//
// It must stand in front of everything else on the site, since it reads paths as browsers see them. All that is not part of
// sign-in passes untouched, and so does sign-in whenever something of ours is out of order.
type Handler struct {
	// The issuer identifier of the OP, exactly as in its discovery document. Only requests for its host are handled. Takes
	// placeholders that are known at start.
	//
	// An OP that has an issuer for each of its clients, but one authorization endpoint, is one OP with one login: all of its issuers
	// belong here. A last path segment `*` stands for any one segment, as in `https://id.example.com/application/o/*/`. All must
	// have one origin. The first one names the OP in all that is kept of it: another one in its place ends all sessions.
	//
	// Default: the issuer of the OP's own document at /.well-known/openid-configuration, if its host is the request's. On
	// sites for several, wildcard or any host names it must be set.
	Issuers []string `json:"issuers,omitempty"`

	// The paths of the OP's discovery documents, where they are not at the places of their issuers. One segment of a path may be
	// `*`. The OP is asked at the first path without it. Takes placeholders that are known at start.
	//
	// Default: /.well-known/openid-configuration behind each issuer. Of an issuer with a `*`, that of any client will do: it is
	// observed when a client asks for it.
	Discovery []string `json:"discovery,omitempty"`

	// The name of the cookie by which the OP itself remembers that a browser is signed in. When the OP deletes it, the
	// session has ended. Takes placeholders that are known at start.
	//
	// Default: none; a sign-out at the OP is noticed at the next sign-in of another user only.
	LoginCookie string `json:"login_cookie,omitempty"`

	// The requests by which the OP itself signs a user out, for OPs that give the browser a new login cookie then instead of deleting
	// it. One that succeeds, with a status of 2xx or 3xx, ends the session, if it comes from a page of the OP or loads a whole tab.
	//
	// Default: none.
	OPLogouts []signin.OPLogout `json:"op_logout,omitempty"`

	// What becomes of a `session_state` that the OP itself sends: `auto` leaves an OP alone that names a `check_session_iframe` of its
	// own, and adds nothing to its responses; at others it is `replace`. `keep` leaves the OP's own as they are, and adds ours where
	// there is none. `replace` puts ours in their place, and takes a `session_state` out of token responses.
	//
	// Default: auto.
	SessionState handlers.SessionState `json:"session_state,omitempty"`

	// Where the OP itself is: http://host:port, https://host:port or unix//path. Its discovery
	// document, its keys and the upstream sign-out request are asked for there, with the issuer's
	// Host, X-Forwarded-Host and X-Forwarded-Proto, and with the client's address as
	// X-Forwarded-For. Takes placeholders that are known at start.
	//
	// Default: they are asked for through the rest of the site, as the client's own requests go
	// there. A site that has an auth wall, a list of addresses or a filter of bots there needs
	// this.
	OPAddress string `json:"op_address,omitempty"`

	// What the OP's ID tokens are known to have: `kid`, the name of the key that signed it, so that signing keys can be published
	// beside the OP's own at once, and `sid`, the name of its session, so that discovery says at once that clients are told it.
	//
	// Default: what was seen in ID tokens; and of `sid`, what the OP's `claims_supported` says until one without was seen.
	IDTokens []string `json:"id_tokens,omitempty"`

	// How long a session lasts from its start, whatever the OP does: 1 minute to 400 days. It should not be shorter than the
	// OP's own, or RPs ask again for users who are still signed in. A change is for sessions that start afterwards.
	//
	// Default: 30 days.
	SessionLifetime caddy.Duration `json:"session_lifetime,omitempty"`

	// After how long a session ends in which nobody signs in to an app, neither by hand nor silently: 1 minute or more.
	//
	// Default: none; a session ends at the end of its lifetime at the latest.
	IdleTimeout caddy.Duration `json:"idle_timeout,omitempty"`

	// How clients are told that a session has ended, from server to server.
	//
	// Default: as its own defaults say, if any client has a `backchannel_logout_uri`.
	BackChannel *BackChannel `json:"backchannel_logout,omitempty"`

	// How long the page of sign-out waits for the frames in which clients with a `frontchannel_logout_uri` are told: up to 30
	// seconds. If it is set, the discovery document says that clients can be told so, also where none is configured.
	//
	// Default: 3 seconds.
	FrontChannelTimeout caddy.Duration `json:"frontchannel_timeout,omitempty"`

	// The check page.
	CheckSession *check.CheckSession `json:"check_session,omitempty"`

	// The end_session endpoint, where the OP has none of its own.
	//
	// Default: served if `login_cookie` is set: signing out deletes that cookie. An object, even an empty one, is enough to have it
	// served; an OP that has no cookie has nothing to end but the session and those of the apps.
	EndSession *logout.EndSession `json:"end_session,omitempty"`

	// What the pages of sign-out call the OP: up to 100 characters. Takes placeholders that are known at start.
	//
	// Default: the host of the issuer.
	Name string `json:"name,omitempty"`

	// Clients (relying parties) of the OP, by what is registered of them.
	Clients []clients.Client `json:"clients,omitempty"`

	// A JSON file with more clients: an array of their registration metadata, or an object with such an array as `clients`.
	// It is read again when it changes. Takes placeholders that are known at start.
	//
	// Default: none.
	ClientsFile string `json:"clients_file,omitempty"`

	// Where the OP's public keys are, by which ID tokens are verified that come back as id_token_hint. Takes placeholders
	// that are known at start.
	//
	// Default: the jwks_uri of the OP's document, if that is on the issuer's origin.
	JWKSURI string `json:"jwks_uri,omitempty"`

	// Whether the log says, as `subject`, who the user of a session is: an HMAC-SHA256 of the sub by
	// a key that is derived from the first shared key. One user at one issuer has one value, until
	// that key is another. Who has the key can compute it; nobody else can compare it with a sub.
	//
	// Default: false.
	LogSubject bool `json:"log_subject,omitempty"`

	paths     *handlers.Paths
	arrivals  *overview.Arrivals
	missing   *atomic.Bool        // the log has which paths do not come here
	op        *handlers.OPAddress // nil: the OP is asked through the site
	provider  *handlers.Provider
	endpoints *handlers.Claim
	discovery discovery.Discovery
	token     signin.Token
	pushed    *signin.Pushed
	browser   signin.Browser
	told      *backchannel.BackChannel
	jwks      *backchannel.JWKS
	register  *registration.Registration
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.oidc_session", New: func() caddy.Module { return new(Handler) }}
}

// Provision resolves placeholders, sets defaults and gives the parts their world.
func (h *Handler) Provision(ctx caddy.Context) error {
	loaded, err := ctx.App("oidc_session")
	if err != nil {
		return fmt.Errorf("getting the oidc_session app: %w", err)
	}
	if err := h.resolve(); err != nil {
		return err
	}
	app := loaded.(*App)
	if err := app.addSite(ctx.Modules(), h.Issuers); err != nil {
		return err
	}
	h.endpoints = app.endpoints.Provisioned()
	known := &clients.Clients{List: h.Clients, File: h.ClientsFile}
	if err := h.provisionBackChannel(ctx, app, known); err != nil {
		return err
	}
	if h.OPAddress != "" {
		if h.op, err = handlers.NewOPAddress(h.OPAddress); err != nil {
			return err
		}
	}
	env := h.env(app, ctx.Logger())
	h.paths = new(handlers.Paths)
	h.paths.Setup(env)
	if err := known.Setup(env); err != nil {
		return err
	}
	h.provisionProvider(app, env, known)
	h.pushed = new(signin.Pushed)
	h.browser = signin.Browser{
		LoginCookie: h.LoginCookie, OPLogouts: h.OPLogouts, Redemptions: new(signin.Redemptions), SessionState: h.SessionState, Pushed: h.pushed, LoginCookiePaths: new(browser.LoginCookiePaths),
		Issuers: app.allIssuers, Clients: known,
	}
	h.CheckSession.SessionState = h.SessionState
	h.discovery.Learn = h.learn
	h.discovery.Setup(env)
	h.token.SessionState, h.token.Redemptions = h.SessionState, h.browser.Redemptions
	h.token.Setup(env)
	h.pushed.Setup(env)
	h.browser.Setup(env)
	h.CheckSession.Setup(env)
	h.told.Setup(env)
	h.jwks = &backchannel.JWKS{BackChannel: h.told}
	h.jwks.Setup(env)
	h.register = &registration.Registration{Clients: known, EndSession: h.EndSession, BackChannel: h.told}
	h.register.Setup(env)
	app.sites.provisioned(h.told, h.name())
	return errors.Join(h.provider.Setup(env), h.setupEndSession(env, known))
}

// provisionProvider makes what knows the OP, and what the log is told of it.
func (h *Handler) provisionProvider(app *App, env handlers.Env, known *clients.Clients) {
	summary := &overview.Summary{
		LoginCookie: h.LoginCookie, SessionState: h.SessionState, CheckSession: h.CheckSession, EndSession: h.EndSession,
		BackChannel: h.told, Clients: known, Logger: env.Logger,
	}
	var looked sync.Once // a walk over all routes is not for each refresh of the document
	h.provider = &handlers.Provider{
		Issuers: h.Issuers, Discovery: h.Discovery, CheckSessionPath: h.CheckSession.Path, Notifies: h.told.MayNotify,
		Discovered: func(op *handlers.OP) {
			summary.Discovered(op)
			looked.Do(func() { app.discovered(h) })
		},
	}
	h.missing = new(atomic.Bool)
	h.arrivals = &overview.Arrivals{
		OP: h.provider.Named, Issuers: app.allIssuers, CheckSession: h.CheckSession, EndSession: h.EndSession, Logger: env.Logger, Now: clock.Now,
	}
}

// provisionBackChannel makes what tells the clients of this site.
func (h *Handler) provisionBackChannel(ctx caddy.Context, app *App, known *clients.Clients) (err error) {
	configured := h.BackChannel
	if configured == nil {
		configured = new(BackChannel)
	}
	h.told, err = configured.provision(ctx, app, h.BackChannel != nil, known)
	if err != nil {
		return fmt.Errorf("backchannel_logout: %w", err)
	}
	h.told.IDTokens = h.IDTokens
	h.told.Adopt = func(issuer string) { app.sites.adopt(h.told, issuer) }
	return nil
}

// resolve makes the endpoints that are not configured, and replaces the placeholders in settings that are known at start.
func (h *Handler) resolve() error {
	if h.CheckSession == nil {
		h.CheckSession = new(check.CheckSession)
	}
	explicit := h.EndSession != nil
	if !explicit {
		h.EndSession = new(logout.EndSession)
	}
	h.EndSession.Explicit = explicit
	settings := []setting{
		{"login_cookie", &h.LoginCookie},
		{"session_state", (*string)(&h.SessionState)},
		{"op_address", &h.OPAddress},
		{"check_session", &h.CheckSession.Path},
		{"clients_file", &h.ClientsFile},
		{"jwks_uri", &h.JWKSURI},
		{"name", &h.Name},
		{"end_session", &h.EndSession.Path},
		{"confirm", &h.EndSession.Confirm},
		{"templates", &h.EndSession.Templates},
	}
	if upstream := h.EndSession.Upstream; upstream != nil {
		upstream.Method = strings.ToUpper(upstream.Method)
		settings = append(settings, setting{"upstream", &upstream.Path})
	}
	for i := range h.EndSession.ClearCookies {
		cookie := &h.EndSession.ClearCookies[i]
		settings = append(settings, setting{"clear_cookies", &cookie.Name}, setting{"domain", &cookie.Domain}, setting{"path", &cookie.Path})
	}
	settings = slices.Concat(settings, settingsOf("issuer", h.Issuers), settingsOf("discovery", h.Discovery))
	for i := range h.OPLogouts {
		logout := &h.OPLogouts[i]
		logout.Method = strings.ToUpper(logout.Method)
		settings = append(settings, settingsOf("op_logout", logout.Paths)...)
	}
	return resolveAll(settings...)
}

// name is what is kept of the OP goes by; empty: it is to be learnt.
func (h *Handler) name() string {
	if len(h.Issuers) == 0 {
		return ""
	}
	return h.Issuers[0]
}

// setupEndSession gives the end_session endpoint its world.
func (h *Handler) setupEndSession(env handlers.Env, known *clients.Clients) error {
	keys := &opkeys.Keys{URI: h.JWKSURI, As: h.provider.As, Learnt: h.told.SawKeys}
	keys.Setup(env)
	h.told.OPKeys, h.browser.OPKeys, h.token.OPKeys = keys, keys, keys
	h.EndSession.LoginCookie, h.EndSession.LoginCookiePaths = h.LoginCookie, h.browser.LoginCookiePaths
	h.EndSession.Name = h.Name
	h.EndSession.Clients, h.EndSession.Keys, h.EndSession.BackChannel = known, keys, h.told
	h.EndSession.FrontChannel = h.FrontChannelTimeout != 0
	h.told.Framed = h.EndSession.IsFramed
	h.EndSession.FrontChannelTimeout = cmp.Or(time.Duration(h.FrontChannelTimeout), frontChannelTimeout)
	return h.EndSession.Setup(env)
}

// ServeHTTP serves a request by the path that the browser sent.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if way := h.paths.Way(r, next); way != nil {
		return way.Serve(w, r, h.serve)
	}
	return h.serve(w, r, next)
}

// serve sends a request to where its path belongs.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	op := h.provider.Find(r, next)
	h.arrivals.See(r)
	if op == nil {
		if candidate := h.provider.Candidate(r); candidate != nil {
			return h.discovery.Serve(candidate, w, r, next, h.members)
		}
		return next.ServeHTTP(w, r)
	}
	if h.endpoints.AreTaken(op) {
		h.provider.Refresh(r, next)
		return next.ServeHTTP(w, r)
	}
	h.told.See(op)
	h.told.Recall(op, r, next)
	switch path := r.URL.Path; {
	case h.CheckSession.Serves(op, path):
		return h.CheckSession.Serve(op, w, r)
	case h.EndSession.Serves(op, path):
		return h.EndSession.Serve(op, w, r, next)
	case op.HasDocument(path):
		h.provider.Refresh(r, next)
		return h.discovery.Serve(op, w, r, next, h.members)
	case h.jwks.Serves(op, path):
		return h.jwks.Serve(op, w, r, next)
	case op.IsTokenPath(path):
		return h.token.Serve(op, w, r, next)
	case h.register.Serves(op, r):
		return h.register.Serve(op, w, r, next)
	case op.IsPushedPath(path):
		return h.pushed.Serve(op, w, r, next)
	}
	if h.browser.HasSession(op, r) {
		h.setPlaceholders(op, r)
	}
	if h.browser.Involved(op, r) {
		return h.browser.Serve(op, w, r, next)
	}
	return next.ServeHTTP(w, r)
}

// learn takes an answer that passes through to a client for the OP's document.
func (h *Handler) learn(op *handlers.OP, r *http.Request, document []byte) *handlers.OP {
	known := h.provider.Learn(op, r, document)
	if known != nil {
		h.told.See(known)
	}
	return known
}

// members are what this site adds to the OP's discovery document.
func (h *Handler) members(op *handlers.OP) []exchange.Member {
	return slices.Concat(h.CheckSession.Members(op, h.SessionState.Replaces(op)), h.EndSession.Members(op), h.told.Members(op))
}

// Cleanup ends the connections to the OP that are idle.
func (h *Handler) Cleanup() error {
	if h.op != nil {
		h.op.Close()
	}
	return nil
}

// env is the world of the handlers of this site.
func (h *Handler) env(a *App, logger *zap.Logger) handlers.Env {
	return handlers.Env{
		Keys:            a.keys.get,
		Registry:        a.registry,
		Prepare:         prepareSubRequest,
		OPAddress:       h.op,
		Replace:         replacePlaceholders,
		SessionLifetime: cmp.Or(time.Duration(h.SessionLifetime), sessionLifetime),
		IdleTimeout:     time.Duration(h.IdleTimeout),
		Notifies:        h.told.Notifies,
		Wake:            h.told.Wake,
		SawIDToken:      h.told.SawIDToken,
		Logger:          logger,
		LogSubject:      h.LogSubject,
		Now:             clock.Now,
	}
}

// Interface guards
var (
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
