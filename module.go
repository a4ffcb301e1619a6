// Package oidcsession gives an OpenID Provider (OP) behind Caddy session management and logout,
// whatever the OP itself supports: the check page (OP iframe) and session_state of OpenID Connect
// Session Management 1.0, the end_session endpoint of OpenID Connect RP-Initiated Logout 1.0, and
// Back-Channel and Front-Channel Logout 1.0 to the clients of each session that ends.
//
// Its Caddy modules are the app `oidc_session`, which holds what all sites share (app.go), the HTTP
// handler `http.handlers.oidc_session` for the site of an OP (module.go), `admin.api.oidc_session`
// for operators (admin.go), and the stores (stores.go). caddyfile.go parses, validate.go checks.
//
// Start reading at site.serve in sites.go, which sends each request to its endpoint: the packages
// below handlers have the protocol, of which this one has nothing. It may import all of them.
package oidcsession

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler gives the OpenID Provider (OP) of a site session management and logout. Nothing changes
// in the OP or in the apps:
//
//   - It serves the check page (OP iframe), and adds `session_state` to authorization responses and
//     `check_session_iframe` to the discovery document (OpenID Connect Session Management 1.0).
//   - It serves the end_session endpoint, where the OP has none, and its pages: it asks the user,
//     ends the OP's own session, and sends the browser back to the app (RP-Initiated Logout 1.0).
//   - It notifies the apps of each session that ends, from server to server and in frames, and adds
//     its public keys to the OP's (Back-Channel and Front-Channel Logout 1.0).
//   - It ends a session at a logout at the OP itself, when another user signs in, at an operator's
//     request, and when its lifetime or idle timeout expires.
//   - It keeps the logout settings of clients that register themselves (Dynamic Client Registration
//     1.0), and accepts pushed authorization requests (RFC 9126).
//
// Caddyfile syntax:
//
//	oidc_session {
//		issuer           <url...>
//		discovery        <path...>
//		login_cookie     <name>
//		op_logout        [<method>] <path...>
//		session_state    auto | keep | replace
//		id_tokens        [kid] [sid]
//		op_address       <url>
//		check_session    <path>
//		session_lifetime <duration>
//		idle_timeout     <duration>
//		end_session [<path>] {
//			upstream [<method>] <path> {
//				header  <field> <value>
//				form    <field> <value>
//				body    <text>
//				success <status...>
//			}
//			clear_cookies <name...> {
//				domain <domain>
//				path   <path...>
//			}
//			confirm   needed | always
//			templates <dir>
//			access_log
//			allow_hint_only
//		}
//		backchannel_logout {
//			signing_key   <pem or jwk...>
//			allow_private <address, range or private_ranges...>
//			trusted_ca    <path...>
//			retry_for     <duration>
//			redirect_wait <duration>
//		}
//		frontchannel_timeout <duration>
//		name         <text>
//		client <client_id> {
//			name                     <text>
//			post_logout_redirect_uri <uri...>
//			backchannel_logout_uri   <uri>
//			backchannel_logout_session_required
//			logout_token             sid | sub | both
//			frontchannel_logout_uri  <uri>
//			frontchannel_logout_session_required
//			id_token_signed_response_alg <alg>
//			insecure_http
//		}
//		clients_file <path>
//		jwks_uri     <url>
//		log_subject
//	}
//
// These placeholders are set for requests of browsers that are signed in, as their sealed cookie
// says:
//
// Placeholder | Description
// ------------|---------------
// `{http.oidc_session.id}` | The ID of the session: no secret, but it names a sign-in of one user.
// `{http.oidc_session.browser_state}` | The browser state, which scripts of the OP can read, too.
//
// The handler must stand before everything else on the site, since it reads paths as browsers see
// them. Requests that are not part of sign-in pass unchanged, and sign-ins do so, too, whenever
// something of the plugin's is out of order.
type Handler struct {
	// The issuer identifier of the OP, exactly as in its discovery document. Only requests for its
	// host are handled. Takes placeholders that are known at start.
	//
	// An OP that has an issuer for each of its clients, but one authorization endpoint, is one OP
	// with one login: all of its issuers belong here. A last path segment `*` stands for any one
	// segment, as in `https://id.example.com/application/o/*/`. All must have one origin. The
	// first one names the OP in all that is recorded of it: another one in its place ends all
	// sessions.
	//
	// Default: the issuer of the document at /.well-known/openid-configuration, if its host is the
	// request's. On sites for several, wildcard or any host names it must be set.
	Issuers []string `json:"issuers,omitempty"`

	// The paths of the OP's discovery documents, where they are not at the places of their
	// issuers. One segment of a path may be `*`. The OP is asked at the first path without it.
	// Takes placeholders that are known at start.
	//
	// Default: /.well-known/openid-configuration behind each issuer. Of an issuer with a `*`, that
	// of any client will do: it is observed when a client asks for it.
	Discovery []string `json:"discovery,omitempty"`

	// The name of the cookie by which the OP itself remembers that a browser is signed in. When
	// the OP deletes it, the session has ended. Takes placeholders that are known at start.
	//
	// Default: none. A logout at the OP is then noticed at the next sign-in of another user only.
	LoginCookie string `json:"login_cookie,omitempty"`

	// The requests by which the OP itself signs a user out, for OPs that give the browser a new
	// login cookie then instead of deleting it. One that succeeds, with a status of 2xx or 3xx,
	// ends the session, if it comes from a page of the OP or loads a whole tab.
	//
	// Default: none.
	OPLogouts []signin.OPLogout `json:"op_logout,omitempty"`

	// What becomes of a `session_state` that the OP itself sends. With `auto`, an OP that names a
	// `check_session_iframe` of its own is left alone, and gets nothing added to its responses;
	// for others it is `replace`. With `keep`, the OP's own stay, and responses without one get
	// one. With `replace`, the OP's own are replaced, and removed from token responses. Takes
	// placeholders that are known at start.
	//
	// Default: auto.
	SessionState handlers.SessionState `json:"session_state,omitempty"`

	// Where the OP itself is: http://host:port, https://host:port or unix//path. Its discovery
	// document, its keys and the upstream logout request are asked for there, with the issuer's
	// Host, X-Forwarded-Host and X-Forwarded-Proto, and with the client's address as
	// X-Forwarded-For. Takes placeholders that are known at start.
	//
	// Default: they are asked for through the rest of the site, as the client's own requests go
	// there. A site that has an auth wall, a list of addresses or a filter of bots there needs
	// this option.
	OPAddress string `json:"op_address,omitempty"`

	// What the OP's ID tokens are known to have: `kid`, the name of the key that signed it, so
	// that signing keys can be published beside the OP's own at once, and `sid`, the name of its
	// session, so that discovery says at once that clients are notified with it.
	//
	// Default: what was observed in ID tokens; and for `sid`, what the OP's `claims_supported`
	// says until one without it was observed.
	IDTokens []string `json:"id_tokens,omitempty"`

	// How long a session lasts from its start, whatever the OP does: 1 minute to 400 days. It
	// should not be shorter than the OP's own, or apps ask again for users who are still signed
	// in. A change applies to sessions that start afterwards.
	//
	// Default: 30 days.
	SessionLifetime caddy.Duration `json:"session_lifetime,omitempty"`

	// After how long a session ends in which nobody signs in to an app, neither by hand nor
	// silently: 1 minute to 400 days.
	//
	// Default: none; a session ends at the end of its lifetime at the latest.
	IdleTimeout caddy.Duration `json:"idle_timeout,omitempty"`

	// How clients are notified that a session has ended, from server to server.
	//
	// Default: as its own defaults say, if any client has a `backchannel_logout_uri`.
	BackChannel *BackChannel `json:"backchannel_logout,omitempty"`

	// How long the page of logout waits for the frames that notify clients with a
	// `frontchannel_logout_uri`: up to 30 seconds. If it is set, the discovery document says that
	// clients can be notified so, also where none is configured.
	//
	// Default: 3 seconds.
	FrontChannelTimeout caddy.Duration `json:"frontchannel_timeout,omitempty"`

	// The check page, which apps frame to ask whether the session has changed.
	//
	// Default: served at the path /oidc/check-session below that of the issuer.
	CheckSession *check.CheckSession `json:"check_session,omitempty"`

	// The end_session endpoint, where the OP has none of its own.
	//
	// Default: served if `login_cookie` is set: a logout deletes that cookie. An object, even an
	// empty one, is enough to have it served; an OP that has no cookie has nothing to end but the
	// session and those of the apps.
	EndSession *logout.Config `json:"end_session,omitempty"`

	// What the pages of logout call the OP: up to 100 characters. Takes placeholders that are
	// known at start.
	//
	// Default: the host of the issuer.
	Name string `json:"name,omitempty"`

	// Clients (relying parties) of the OP, by what is registered of them.
	//
	// Default: none.
	Clients []clients.Client `json:"clients,omitempty"`

	// A JSON file with more clients: an array of their registration metadata, or an object with
	// such an array as `clients`. It is read again when it changes. Takes placeholders that are
	// known at start.
	//
	// Default: none.
	ClientsFile string `json:"clients_file,omitempty"`

	// Where the OP's public keys are, by which ID tokens are verified that come back as
	// id_token_hint. Takes placeholders that are known at start.
	//
	// Default: the jwks_uri of the provider metadata, if that is on the issuer's origin.
	JWKSURI string `json:"jwks_uri,omitempty"`

	// Whether the log says, as `subject`, who the user of a session is: an HMAC-SHA256 of the sub
	// by a key that is derived from the first shared key. One user at one issuer has one value,
	// until that key is another. Who has the key can compute it; nobody else can compare it with a
	// sub.
	//
	// Default: false.
	LogSubject bool `json:"log_subject,omitempty"`

	site *site // what Provision makes of the above
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID: "http.handlers.oidc_session", New: func() caddy.Module { return new(Handler) },
	}
}

// Provision resolves placeholders, sets defaults and makes the site.
func (h *Handler) Provision(ctx caddy.Context) error {
	loaded, err := ctx.App("oidc_session")
	if err != nil {
		return fmt.Errorf("getting the oidc_session app: %w", err)
	}
	if err := h.resolve(); err != nil {
		return err
	}
	app := loaded.(*App)
	if err := app.addHandler(ctx.Modules(), h.Issuers); err != nil {
		return err
	}
	h.site, err = newSite(ctx, app, h)
	return err
}

// resolve sets the endpoints that are not configured, and replaces the placeholders in settings
// that are known at start.
func (h *Handler) resolve() error {
	if h.CheckSession == nil {
		h.CheckSession = new(check.CheckSession)
	}
	settings := []setting{
		{"login_cookie", &h.LoginCookie},
		{"session_state", (*string)(&h.SessionState)},
		{"op_address", &h.OPAddress},
		{"check_session", &h.CheckSession.Path},
		{"clients_file", &h.ClientsFile},
		{"jwks_uri", &h.JWKSURI},
		{"name", &h.Name},
	}
	if h.EndSession != nil {
		settings = append(settings, settingsOfEndSession(h.EndSession)...)
	}
	settings = append(settings, settingsOf("issuer", h.Issuers)...)
	settings = append(settings, settingsOf("discovery", h.Discovery)...)
	for i := range h.OPLogouts {
		logout := &h.OPLogouts[i]
		logout.Method = strings.ToUpper(logout.Method)
		settings = append(settings, settingsOf("op_logout", logout.Paths)...)
	}
	return resolveAll(settings...)
}

// settingsOfEndSession are those of the end_session endpoint.
func settingsOfEndSession(end *logout.Config) []setting {
	settings := []setting{
		{"end_session", &end.Path},
		{"confirm", &end.Confirm},
		{"templates", &end.Templates},
	}
	if upstream := end.Upstream; upstream != nil {
		upstream.Method = strings.ToUpper(upstream.Method)
		settings = append(settings, setting{"upstream", &upstream.Path})
	}
	for i := range end.ClearCookies {
		cookie := &end.ClearCookies[i]
		settings = append(settings, setting{"clear_cookies", &cookie.Name},
			setting{"domain", &cookie.Domain}, setting{"path", &cookie.Path})
	}
	return settings
}

// Validate checks what Provision resolved. The Caddyfile's parser applies the same rules to what
// is literal there, where file and line are known.
func (h *Handler) Validate() error {
	errs := []error{
		validateLoginCookie(h.LoginCookie), h.site.observer.Validate(), h.CheckSession.Validate(),
		backchannel.ValidateIDTokens(h.IDTokens...),
		opkeys.ValidateJWKSURI(h.JWKSURI), logout.ValidateName(h.Name),
		validateLifetime("session_lifetime")(h.SessionLifetime),
		validateLifetime("idle_timeout")(h.IdleTimeout),
		validateFrontChannelTimeout(h.FrontChannelTimeout),
	}
	if b := h.BackChannel; b != nil {
		errs = append(errs, validateRetryFor(b.RetryFor), validateRedirectWait(b.RedirectWait))
	}
	if h.EndSession != nil {
		errs = append(errs, h.EndSession.Validate())
	}
	return errors.Join(append(errs, h.validateTogether())...)
}

// ServeHTTP serves a request by the path that the browser sent.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if way := h.site.paths.Restore(r, next); way != nil {
		return way.Serve(w, r, h.site.serve)
	}
	return h.site.serve(w, r, next)
}

// Cleanup closes the idle connections to the OP.
func (h *Handler) Cleanup() error {
	if h.site != nil && h.site.op != nil {
		h.site.op.Close()
	}
	return nil
}

// Interface guards
var (
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
