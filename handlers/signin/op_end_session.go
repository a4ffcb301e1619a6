package signin

import (
	"net/http"
	"net/url"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// endSessionClient stands for the client in a request of the OP's own end_session endpoint, which
// need not name one.
const endSessionClient = "end_session"

// isEndSession reports whether a request is for the OP's own end_session endpoint, and is
// observed. Where the login cookie is known, its deletion says that the user is signed out. A
// redirect says less, as OPs also send users back who chose to stay.
func (o *Observer) isEndSession(op *handlers.OP, r *http.Request) bool {
	return o.LoginCookie == "" && op.IsEndSessionPath(r.URL.Path)
}

// readLogoutRequest reads a request of the OP's own end_session endpoint (RP-Initiated Logout 1.0,
// section 2); nil where it asks for no redirect, which alone would show that it was followed. It
// returns the request to pass on.
func (o *Observer) readLogoutRequest(r *http.Request) (*browser.PendingRequest, *http.Request) {
	if !exchange.IsNavigation(r) {
		return nil, r
	}
	// what can be read is read: the OP judges the rest
	parameters, _ := url.ParseQuery(r.URL.RawQuery)
	if r.Method == http.MethodPost {
		parameters, r = exchange.ReadForm(r)
	}
	if len(parameters["post_logout_redirect_uri"]) != 1 || len(parameters["state"]) > 1 {
		return nil, r
	}
	request, ok := browser.NewPendingRequest(endSessionClient,
		parameters.Get("post_logout_redirect_uri"), parameters.Get("state"), o.env.Now())
	if !ok {
		return nil, r
	}
	request.Traits = browser.LogoutRequest
	return &request, r
}

// mayBeOPLogoutRedirect reports whether a response may be the redirect that ends a sign-out at the
// OP.
func (x *observation) mayBeOPLogoutRedirect(status int) bool {
	return x.LoginCookie == "" && isRedirect(status) && exchange.IsNavigation(x.request)
}

// isOPLogoutRedirect reports whether a redirect goes where the OP's own end_session endpoint was
// asked to go after a sign-out, with the state that came along. One whose address was in the
// request itself, elsewhere than at that endpoint, comes from a redirector.
func (x *observation) isOPLogoutRedirect(status int, location string) bool {
	target, ok := x.resolveAfterLogout(location)
	if !ok || !x.mayBeOPLogoutRedirect(status) {
		return false
	}
	response := browser.HashResponse(target, target.Query().Get("state"))
	isAnswered := func(p browser.PendingRequest) bool {
		return p.Is(browser.LogoutRequest) && p.Response == response
	}
	if x.pending != nil && isAnswered(*x.pending) {
		return true
	}
	return !x.submitted.HasAddress(target) && x.cookies.TakePending(isAnswered)
}

// resolveAfterLogout makes a Location absolute. ok is false when it cannot follow a sign-out: it
// has an authorization response, which ends a sign-in, whatever was requested before.
func (x *observation) resolveAfterLogout(location string) (target *url.URL, ok bool) {
	target, ok = resolve(x.op, x.request, location)
	if !ok || len(location) > handlers.MaxLocation || isResponse(inFragment, target.Query()) {
		return nil, false
	}
	fragment, _ := url.ParseQuery(target.EscapedFragment())
	return target, !isResponse(inFragment, fragment)
}
