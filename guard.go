package oidcsession

import (
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
	"github.com/oidc-session/caddy-oidc-session/internal/clock"
)

func init() {
	caddy.RegisterModule(Guard{})
}

// Guard refuses an app's own session once the session at the OpenID Provider (OP) has ended, on the
// site of the app. Nothing changes in the app, which needs no logout of its own. The OP's site has
// the handler `oidc_session`, with the same key and store.
//
// It finds the app's session cookies by itself: those that only the server can set (HttpOnly and
// without Domain), from each sign-in on. Beside each it sets a certificate, a sealed cookie that
// names the session at the OP. A session cookie without a certificate that fits is refused, as is
// one whose session has ended.
//
// Caddyfile syntax:
//
//	oidc_guard {
//		app_cookie      <name...>
//		ignore_cookie   <name...>
//		on_logout       strip | 401 | redirect <url>
//		adopt           <duration>
//		close_streams   on | off
//		clear_site_data
//		on_store_error  refuse | allow
//		issuer          <url...>
//	}
//
// These placeholders are set:
//
// Placeholder | Description
// ------------|---------------
// `{http.oidc_guard.session}` | The ID of the session at the OP, if the request has a live one.
// `{http.oidc_guard.subject}` | The user (sub) that its ID tokens named to the app.
// `{http.oidc_guard.refused}` | The names of the cookies that were refused, separated by commas.
//
// The handler must stand before everything else on the site, and once: a route that sets session
// cookies past it has users sign in again and again.
type Guard struct {
	// Names of session cookies that scripts or other sites could set as well, because the app sets
	// them without HttpOnly or with a Domain. Of the latter, every site of the domain must have the
	// guard. Takes placeholders that are known at start.
	//
	// Default: none; only those that the guard finds by itself.
	AppCookies []string `json:"app_cookies,omitempty"`

	// Names of cookies that the guard leaves alone. Takes placeholders that are known at start.
	//
	// Default: none.
	IgnoreCookies []string `json:"ignore_cookies,omitempty"`

	// What becomes of a request whose session has ended.
	//
	// Default: strip.
	OnLogout *OnLogout `json:"on_logout,omitempty"`

	// For how long from when the name of a session cookie is first known one without certificate
	// passes, and gets one, so that nobody is signed out when the guard is switched on: up to 400
	// days. With 0, none passes.
	//
	// Default: 24 hours.
	Adopt *caddy.Duration `json:"adopt,omitempty"`

	// Whether WebSockets and event streams are closed when their session ends.
	//
	// Default: true.
	CloseStreams *bool `json:"close_streams,omitempty"`

	// Whether browsers are told to forget what they have stored of the site, with each refusal
	// (`Clear-Site-Data: "cache", "storage"`).
	//
	// Default: false.
	ClearSiteData bool `json:"clear_site_data,omitempty"`

	// What becomes of sessions while the registry cannot be asked: `refuse` responds 503, `allow`
	// has them pass.
	//
	// Default: refuse.
	OnStoreError string `json:"on_store_error,omitempty"`

	// The issuers whose sign-ins count, each the first one of its `oidc_session`. Takes
	// placeholders that are known at start.
	//
	// Default: those of all `oidc_session` sites of this configuration.
	Issuers []string `json:"issuers,omitempty"`

	guard *guard.Guard // what Provision makes of the above
}

// OnLogout is what becomes of a request whose session has ended.
type OnLogout struct {
	// `strip` takes the cookie off the request and expires it in the browser; all else goes on, so
	// that the app shows its own sign-in. `401` responds with a page that says so, or has
	// handle_errors respond. `redirect` leads the browser to the URL. Both expire the cookie, so
	// that they come once; a cookie without certificate is stripped in any case.
	Action guard.Action `json:"action"`

	// Where `redirect` leads. Takes placeholders, those of the request included.
	URL string `json:"url,omitempty"`
}

const (
	// adoptFor is in how long a time cookies without certificate pass, if nothing is configured.
	adoptFor = 24 * time.Hour

	storeErrorRefuse = "refuse"
	storeErrorAllow  = "allow"
)

// CaddyModule returns the Caddy module information.
func (Guard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID: "http.handlers.oidc_guard", New: func() caddy.Module { return new(Guard) },
	}
}

// Provision resolves placeholders, sets defaults and makes the guard.
func (g *Guard) Provision(ctx caddy.Context) error {
	loaded, err := ctx.App("oidc_session")
	if err != nil {
		return fmt.Errorf("getting the oidc_session app: %w", err)
	}
	app := loaded.(*App)
	settings := []setting{{"on_store_error", &g.OnStoreError}}
	settings = append(settings, settingsOf("app_cookie", g.AppCookies)...)
	settings = append(settings, settingsOf("ignore_cookie", g.IgnoreCookies)...)
	settings = append(settings, settingsOf("issuer", g.Issuers)...)
	if err := resolveAll(settings...); err != nil {
		return err
	}
	g.guard = g.provisioned(app)
	g.guard.Setup(handlers.Env{
		Keys: app.run.keys.get, Registry: app.run.registry, Replace: replacePlaceholders,
		Logger: ctx.Logger(), Now: clock.Now,
	})
	app.run.guards = append(app.run.guards, g.guard)
	return nil
}

// provisioned returns the guard as it is configured.
func (g *Guard) provisioned(app *App) *guard.Guard {
	made := &guard.Guard{
		AppCookies: g.AppCookies, IgnoreCookies: g.IgnoreCookies,
		OnLogout: guard.Strip, Adopt: adoptFor,
		CloseStreams:  g.CloseStreams == nil || *g.CloseStreams,
		ClearSiteData: g.ClearSiteData, AllowUnknown: g.OnStoreError == storeErrorAllow,
		Issuers: app.run.sites.issuers, Expose: exposeGuard,
	}
	if g.OnLogout != nil {
		made.OnLogout, made.RedirectURL = g.OnLogout.Action, g.OnLogout.URL
	}
	if g.Adopt != nil {
		made.Adopt = time.Duration(*g.Adopt)
	}
	if len(g.Issuers) > 0 {
		made.Issuers = func() []string { return g.Issuers }
	}
	return made
}

// Validate checks what Provision resolved.
func (g *Guard) Validate() error {
	if err := validateOPs(g.Issuers...); err != nil {
		return err
	}
	if err := validateStoreError(g.OnStoreError); g.OnStoreError != "" && err != nil {
		return err
	}
	return g.guard.Validate()
}

// ServeHTTP passes a request on without what is refused.
func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return g.guard.Serve(w, r, next)
}

// Cleanup ends the guard's watch over the registry.
func (g *Guard) Cleanup() error {
	if g.guard != nil {
		g.guard.Close()
	}
	return nil
}

// exposeGuard sets the placeholders of a request. The user is asked for only if somebody wants to
// know.
func exposeGuard(r *http.Request, facts *guard.Facts) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	repl.Map(func(key string) (any, bool) {
		switch key {
		case "http.oidc_guard.session":
			return facts.Session, facts.Session != ""
		case "http.oidc_guard.refused":
			return facts.Refused, facts.Refused != ""
		case "http.oidc_guard.subject":
			subject := facts.Subject(r.Context())
			return subject, subject != ""
		}
		return nil, false
	})
}

// Interface guards
var (
	_ caddy.CleanerUpper          = (*Guard)(nil)
	_ caddy.Provisioner           = (*Guard)(nil)
	_ caddy.Validator             = (*Guard)(nil)
	_ caddyhttp.MiddlewareHandler = (*Guard)(nil)
)
