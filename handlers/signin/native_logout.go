package signin

import (
	"net/http"
	"net/url"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// opLogoutClient stands for the client in a request of the OP's own end_session endpoint, which
// need not name one.
const opLogoutClient = "end_session"

// isLogout reports whether a request is for the OP's own end_session endpoint, and is looked at.
// Where the login cookie is known, its deletion says that the user is signed out; a redirect says
// less, as OPs send users back who chose to stay, too.
func (o *Observer) isLogout(op *handlers.OP, r *http.Request) bool {
	return o.LoginCookie == "" && op.EndsAt(r.URL.Path)
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
	asked, ok := browser.NewPendingRequest(opLogoutClient, parameters.Get("post_logout_redirect_uri"), parameters.Get("state"), o.env.Now())
	if !ok {
		return nil, r
	}
	asked.Traits = browser.LogoutRequest
	return &asked, r
}

// mayBeOPLogoutRedirect reports whether a response may be the redirect that ends a sign-out at the
// OP.
func (o *Observer) mayBeOPLogoutRedirect(r *http.Request, status int) bool {
	return o.LoginCookie == "" && isRedirect(status) && exchange.IsNavigation(r)
}

// isOPLogoutRedirect reports whether a redirect goes where the OP's own end_session endpoint was
// asked to go after a sign-out, with the state that came along. One whose address was in the
// request itself, elsewhere than at that endpoint, comes from a redirector.
func isOPLogoutRedirect(v *browser.Cookies, asked *browser.PendingRequest, location string) bool {
	target, ok := resolve(v.OP, v.Request, location)
	if !ok || len(location) > handlers.MaxLocation || isAnswer(target) {
		return false
	}
	state := target.Query().Get("state")
	is := func(p browser.PendingRequest) bool {
		return p.Is(browser.LogoutRequest) && p.Answer == browser.HashAnswer(target, state)
	}
	if asked != nil && is(*asked) {
		return true
	}
	if v.Arrival.Carried.HasAddress(target) {
		return false
	}
	for name, p := range v.Pending {
		if is(p) {
			delete(v.Pending, name)
			v.Set(v.OP.Cookies.Deletion(name))
			return true
		}
	}
	return false
}

// isAnswer reports whether an address has what an authorization response has: it ends a sign-in,
// whatever was asked for before.
func isAnswer(target *url.URL) bool {
	fragment, _ := url.ParseQuery(target.EscapedFragment())
	return isResponse(inFragment, target.Query()) || isResponse(inFragment, fragment)
}
