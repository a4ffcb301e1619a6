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

// An Observer observes sign-ins and sign-outs at one OP: what passes between browsers and the OP
// ([Observer.Serve]), and between clients and the OP ([Observer.ServeToken],
// [Observer.ServePushed]). The zero value, after Setup, observes an OP without a login cookie.
type Observer struct {
	// LoginCookie is the name of the OP's own login cookie. Its deletion ends the session.
	// Default: none.
	LoginCookie string
	// OPLogouts are the requests by which the OP signs users out. Default: none.
	OPLogouts []OPLogout
	// SessionState says what becomes of a session_state of the OP's own. Default:
	// SessionStateAuto.
	SessionState handlers.SessionState

	// Issuers returns the issuers of each configured OP, this one among them; empty ones count as
	// none. Nil: none.
	Issuers func() [][]string
	// OPKeys verify the ID tokens of authorization responses. They record the key of each ID
	// token, which may come back as a hint once the OP has replaced it. Nil: no ID token of an
	// authorization response counts, and no key is recorded.
	OPKeys *opkeys.Keys
	// Clients has the origins of clients whose requests cannot be read. Nil: none.
	Clients *clients.Clients

	env              handlers.Env
	loginCookiePaths browser.LoginCookiePaths

	requests  handlers.Recent[browser.PendingRequest] // by requestKey
	clientIDs handlers.Recent[string]                 // too long for a cookie, by their hash
	pushed    handlers.Recent[browser.PendingRequest] // by the hash of the request_uri
	origins   handlers.Recent[struct{}]               // that clients signed in at, by originKey
	signIns   handlers.Recent[time.Time]              // the latest of a browser, by browserKey
	renewed   handlers.Recent[time.Time]              // login cookies, by the hash of the old value
	warned    handlers.Recent[struct{}]               // of ID tokens: see warnOnce

	redemptions redemptions
}

// Setup gives the observer what the handlers of a site share.
func (o *Observer) Setup(env handlers.Env) { o.env = env }

// LoginCookiePaths is where the OP was observed to set its login cookie.
func (o *Observer) LoginCookiePaths() *browser.LoginCookiePaths { return &o.loginCookiePaths }

// Validate reports what is wrong with the configuration.
func (o *Observer) Validate() error {
	errs := []error{o.SessionState.Validate()}
	for _, logout := range o.OPLogouts {
		errs = append(errs, logout.Validate())
	}
	return errors.Join(errs...)
}

// Involved reports whether a request may be part of what is observed: it is an authorization
// request or one by which the OP signs users out, or it carries a pending cookie or the login
// cookie. Every request of the site comes here, so it allocates nothing.
func (o *Observer) Involved(op *handlers.OP, r *http.Request) bool {
	if isAuthorizationPath(op, r) || o.isEndSession(op, r) {
		return true
	}
	if len(r.Header["Cookie"]) == 0 {
		return false
	}
	return exchange.HasCookiePrefix(r, op.Cookies.Pending) ||
		o.carriesLogin(r) || o.isOPLogout(r)
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
	sealed := browser.ReadCookies(o.env, op, keys, r).Sealed
	if sealed.Session.IsZero() {
		return "", ""
	}
	return sealed.Session.String(), sealed.State
}

// An observation is one request of a browser on its way to the OP, and the response to it.
type observation struct {
	*Observer

	op      *handlers.OP
	request *http.Request // as the browser sent it
	next    caddyhttp.Handler
	// pending is what the request itself asks for: a later response answers it. Nil: nothing.
	pending   *browser.PendingRequest
	submitted exchange.Submission
	readsPage bool // the response may be a page that posts an authorization response

	cookies *browser.Cookies // nil until the response turns out to matter
}

// Serve passes an involved request on and observes the response. The OP does not get our pending
// cookies; w, r and next are otherwise as Caddy gives them.
func (o *Observer) Serve(
	op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler,
) error {
	pending, r := o.readRequest(op, r)
	submitted, r := exchange.ReadSubmission(r)
	hasPending := exchange.HasCookiePrefix(r, op.Cookies.Pending)
	mayBePosted := hasPending || pending != nil && pending.Is(browser.PostingRequest)
	readsPage := exchange.LoadsPage(r) && mayBePosted
	passed := r // r itself stays as it is
	switch {
	case readsPage:
		passed = exchange.Readable(r)
	case hasPending:
		passed = r.WithContext(r.Context())
		passed.Header = r.Header.Clone()
	}
	if hasPending {
		op.Cookies.Strip(passed)
	}
	if pending == nil && exchange.IsPartOfPage(r) && !o.carriesLogin(r) && !o.isOPLogout(r) {
		return next.ServeHTTP(w, passed)
	}
	observed := &observation{
		Observer: o, op: op, request: handlers.AsSent(r, next), next: next,
		pending: pending, submitted: submitted, readsPage: readsPage,
	}
	return exchange.Observe(w, passed, next, observed.decide)
}

// readRequest reads an authorization request, or a logout request of the OP's own end_session
// endpoint; nil: it is neither. It returns the request to pass on, since a form has to be read.
func (o *Observer) readRequest(
	op *handlers.OP, r *http.Request,
) (*browser.PendingRequest, *http.Request) {
	switch {
	case o.isEndSession(op, r):
		return o.readLogoutRequest(r)
	case isAuthorizationPath(op, r):
		return o.readAuthorizationRequest(op, r)
	}
	return nil, r
}

// decide decides on one response. Most are of no concern, which shows before a cookie is opened.
func (x *observation) decide(status int, header http.Header) *exchange.Hold {
	loginCookies := x.loginCookieLines(header)
	// last: an authorization response says nothing of the cookie that its request came with
	defer x.noteRenewal(loginCookies)
	x.noteLoginCookie(loginCookies)
	ended := x.endedAtOP(status, header, loginCookies)
	response, isResponse := readRedirect(x.op, x.request, status, header)
	mayPost := x.mayBePost(status, header)
	mayEnd := x.mayBeOPLogoutRedirect(status)
	if ended == "" && !isResponse && !mayPost && !mayEnd && x.pending == nil {
		return nil
	}
	if !x.readCookies() {
		return nil
	}
	if ended != "" {
		x.cookies.End(ended)
	}
	switch {
	case isResponse && x.answerRedirect(response, header):
	case x.isOPLogoutRedirect(status, header.Get("Location")):
		x.cookies.End(registry.ReasonLogout)
	case x.pending != nil && status < http.StatusBadRequest:
		x.await(*x.pending)
	}
	x.cookies.Write(header)
	if mayPost && x.expectsPost() {
		return x.holdForm()
	}
	return nil
}

// endedAtOP returns why a response ends the browser's sessions: the OP has deleted its login
// cookie, or has signed the user out on such a request. Empty: it does not end them.
func (x *observation) endedAtOP(
	status int, header http.Header, loginCookies []string,
) registry.Reason {
	switch {
	case x.isLoginCookieDeleted(header, loginCookies):
		return registry.ReasonLoginCookie
	case x.isSignedOutByOP(status, header):
		return registry.ReasonLogout
	}
	return ""
}

// readCookies opens the browser's cookies. ok is false while the keys are unavailable, which the
// log says already.
func (x *observation) readCookies() (ok bool) {
	keys, err := x.env.Keys(handlers.RecordingContext(x.request))
	if err != nil {
		return false
	}
	x.cookies = browser.ReadCookies(x.env, x.op, keys, x.request)
	x.cookies.Flush()
	x.cookies.Patient = x.pending == nil && len(x.cookies.Pending) == 0
	return true
}
