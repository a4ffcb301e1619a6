package signin

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// An Observer observes what passes between a browser and the OP: authorization requests, the
// responses that answer them, and the deletion of the OP's own login cookie.
type Observer struct {
	// LoginCookie is the name of the OP's own login cookie. Its deletion ends the session.
	// Default: none.
	LoginCookie string
	// OPLogouts are the requests by which the OP signs users out. Default: none.
	OPLogouts []OPLogout
	// SessionState says what becomes of a session_state of the OP's own. Default:
	// SessionStateAuto.
	SessionState handlers.SessionState
	// Pushed knows the pushed authorization requests. Nil: none.
	Pushed *Pushed
	// Issuers returns the issuers of each OP that is configured, this one among them; empty ones
	// count as none. Nil: none.
	Issuers func() [][]string

	// LoginPlace is told where the login cookie is set. Nil: nobody is.
	LoginCookiePaths *browser.LoginCookiePaths
	// OPKeys verify the ID tokens of authorization responses. Nil: none is believed.
	OPKeys *opkeys.Keys
	// Clients knows the origins of clients whose requests cannot be read. Nil: none.
	Clients *clients.Clients
	// Redemptions is told the codes that clients get. Nil: nobody is.
	Redemptions *Redemptions

	env     handlers.Env
	signIns *handlers.Recent[time.Time] // when a browser was last signed in somewhere
	// when a login cookie was replaced by another value, by the hash of the one before
	renewed *handlers.Recent[time.Time]
	origins *handlers.Recent[struct{}] // where clients were sent that asked for it: see originKey
	awaited *awaited
}

// Setup gives the handler its world.
func (o *Observer) Setup(env handlers.Env) {
	o.env = env
	if o.origins == nil {
		o.origins, o.awaited = new(handlers.Recent[struct{}]), new(awaited)
		o.signIns, o.renewed = new(handlers.Recent[time.Time]), new(handlers.Recent[time.Time])
	}
}

// Validate tells why the configuration cannot be.
func (o *Observer) Validate() error {
	errs := []error{o.SessionState.Validate()}
	for _, logout := range o.OPLogouts {
		errs = append(errs, logout.Validate())
	}
	return errors.Join(errs...)
}

// Involved reports whether a request may be part of what is observed: it is an authorization
// request, or it carries a pending cookie or the login cookie. It costs next to nothing, since
// every request of the site is asked about.
func (o *Observer) Involved(op *handlers.OP, r *http.Request) bool {
	if r.URL.Path == op.AuthorizationPath && op.AuthorizationPath != "" || o.isLogout(op, r) {
		return true
	}
	if len(r.Header["Cookie"]) == 0 {
		return false
	}
	return exchange.HasCookiePrefix(r, op.Cookies.Pending) || o.carriesLogin(r) || o.isOPLogout(r)
}

func (o *Observer) carriesLogin(r *http.Request) bool {
	return o.LoginCookie != "" && exchange.HasCookiePrefix(r, o.LoginCookie+"=")
}

// HasSession reports whether a request carries a sealed cookie of the OP's, without opening it.
func (o *Observer) HasSession(op *handlers.OP, r *http.Request) bool {
	return len(r.Header["Cookie"]) > 0 && exchange.HasCookiePrefix(r, op.Cookies.Session+"=")
}

// Session returns what the sealed cookie of a request says: the ID of the session, in unpadded
// base64url, and its browser state. Both are empty when the browser is not signed in or the cookie
// does not open. Whether the session still lives is not asked.
func (o *Observer) Session(op *handlers.OP, r *http.Request) (id, browserState string) {
	keys, err := o.env.Keys(r.Context())
	if err != nil {
		return "", ""
	}
	v := browser.ReadCookies(o.env, op, keys, r)
	if v.Sealed.Session.IsZero() {
		return "", ""
	}
	return v.Sealed.Session.String(), v.Sealed.State
}

// Serve passes an involved request on and observes the response.
func (o *Observer) Serve(op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	asked, r := o.readAuthorizationRequest(op, r)
	if o.isLogout(op, r) {
		asked, r = o.readLogoutRequest(r)
	}
	carried, r := exchange.ReadSubmission(r)
	pending := exchange.HasCookiePrefix(r, op.Cookies.Pending)
	read := exchange.LoadsPage(r) && (pending || asked != nil && asked.Is(browser.PostingRequest))
	passed := r // which itself stays as it is
	switch {
	case read:
		passed = exchange.Readable(r)
	case pending:
		passed = r.WithContext(r.Context())
		passed.Header = r.Header.Clone()
	}
	if pending {
		op.Cookies.Strip(passed)
	}
	if asked == nil && exchange.IsPartOfPage(r) && !o.carriesLogin(r) && !o.isOPLogout(r) {
		return next.ServeHTTP(w, passed)
	}
	from := browser.Arrival{OP: op, Request: handlers.AsSent(r, next), Next: next, Carried: carried, Read: read}
	return exchange.Observe(w, passed, next, func(status int, header http.Header) *exchange.Hold {
		// the answer to a request says nothing of the cookie that it came with
		defer o.noteRenewal(from, header)
		return o.observed(from, asked, status, header)
	})
}

// observed decides on one response. Most are none of our concern, which is told without opening a
// cookie.
func (o *Observer) observed(from browser.Arrival, asked *browser.PendingRequest, status int, header http.Header) *exchange.Hold {
	op, r := from.OP, from.Request
	o.noteLoginCookie(op, r, header)
	signedOut := o.loginCookieDeleted(op, r, header)
	opLogout := !signedOut && o.signsOutAtOP(op, r, status, header)
	response, answers := readRedirect(op, r, status, header)
	mayPost := from.Read && status == http.StatusOK && exchange.MayBeHTML(header)
	mayLeave := o.mayBeOPLogoutRedirect(r, status)
	if !signedOut && !opLogout && !answers && !mayPost && !mayLeave && asked == nil {
		return nil
	}
	keys, err := o.env.Keys(handlers.RecordingContext(r))
	if err != nil {
		return nil // whoever failed to get them has said so
	}
	v := browser.ReadCookies(o.env, op, keys, r)
	v.Arrival = from
	v.Flush()
	v.Patient = asked == nil && len(v.Pending) == 0
	if signedOut {
		v.End(registry.ReasonLoginCookie)
	}
	if opLogout {
		v.End(registry.ReasonLogout)
	}
	answered := answers && o.answerRedirect(v, asked, response, header)
	if mayLeave && !answered && isOPLogoutRedirect(v, asked, header.Get("Location")) {
		v.End(registry.ReasonLogout)
		answered = true
	}
	if asked != nil && !answered && status < http.StatusBadRequest {
		o.await(v, *asked)
	}
	v.Write(header)
	if mayPost && expectsPost(v, asked) {
		return o.holdForm(v, asked)
	}
	return nil
}

// answerRedirect answers by the Location of a redirect.
func (o *Observer) answerRedirect(v *browser.Cookies, asked *browser.PendingRequest, response redirectResponse, header http.Header) bool {
	sessionState, ok := o.answer(v, asked, response.authorizationResponse)
	if !ok {
		return false
	}
	exchange.ForbidCaching(header)
	if sessionState != "" && o.SessionState.MayAdd(v.OP, response.values) {
		header.Set("Location", response.location.with(sessionState))
	}
	return true
}
