package handlers

import (
	"net/http"
	"net/url"
	"strings"
)

// leavingClient stands for the client in a request of the OP's own end_session endpoint, which need not name one.
const leavingClient = "end_session"

// isLogout reports whether a request is for the OP's own end_session endpoint, and is looked at. Where the login cookie is known, its
// deletion says that the user is signed out; a redirect says less, as OPs send users back who chose to stay, too.
func (b *Browser) isLogout(op *OP, r *http.Request) bool {
	return b.LoginCookie == "" && op.endsAt(r.URL.Path)
}

// readLogoutRequest reads a request of the OP's own end_session endpoint (RP-Initiated Logout 1.0, section 2); nil where it asks for no
// redirect, which alone would show that it was followed. It returns the request to pass on.
func (b *Browser) readLogoutRequest(r *http.Request) (*pendingRequest, *http.Request) {
	if !navigates(r) {
		return nil, r
	}
	parameters, _ := url.ParseQuery(r.URL.RawQuery) // what can be read is read: the OP judges the rest
	if r.Method == http.MethodPost {
		parameters, r = readForm(r)
	}
	if len(parameters["post_logout_redirect_uri"]) != 1 || len(parameters["state"]) > 1 {
		return nil, r
	}
	asked, ok := newPendingRequest(leavingClient, parameters.Get("post_logout_redirect_uri"), parameters.Get("state"), b.env.Now())
	if !ok {
		return nil, r
	}
	asked.traits = leaving
	return &asked, r
}

// mayLeave reports whether a response may be the redirect that ends a sign-out at the OP.
func (b *Browser) mayLeave(r *http.Request, status int) bool {
	return b.LoginCookie == "" && isRedirect(status) && navigates(r)
}

// leaves reports whether a redirect goes where the OP's own end_session endpoint was asked to go after a sign-out, with the state
// that came along. One whose address was in the request itself, elsewhere than at that endpoint, comes from a redirector.
func leaves(v *visit, asked *pendingRequest, location string) bool {
	target, ok := resolve(v.op, v.r, location)
	if !ok || len(location) > maxLocation || isAnswer(target) {
		return false
	}
	state := target.Query().Get("state")
	is := func(p pendingRequest) bool {
		return p.is(leaving) && p.answer == hashAnswer(target, state)
	}
	if asked != nil && is(*asked) {
		return true
	}
	if v.from.carried.hasAddress(target) {
		return false
	}
	for name, p := range v.pending {
		if is(p) {
			delete(v.pending, name)
			v.set(v.op.cookies.deletion(name))
			return true
		}
	}
	return false
}

// isAnswer reports whether an address has what an authorization response has: it ends a sign-in, whatever was asked for before.
func isAnswer(target *url.URL) bool {
	fragment, _ := url.ParseQuery(target.EscapedFragment())
	return isResponse(inFragment, target.Query()) || isResponse(inFragment, fragment)
}

// navigates reports whether a request loads a whole tab (Fetch Metadata, sections 2.1 and 2.2) for someone to see it. Engines without
// those header fields count as such.
func navigates(r *http.Request) bool {
	dest, mode := r.Header.Get("Sec-Fetch-Dest"), r.Header.Get("Sec-Fetch-Mode")
	return !isSpeculative(r) && (dest == "" || dest == "document") && (mode == "" || mode == "navigate")
}

// isSpeculative reports whether a browser loads what nobody may ever see, by prefetch or
// prerender. The fields are those of today's browsers and of earlier ones.
func isSpeculative(r *http.Request) bool {
	return r.Header.Get("Sec-Purpose") != "" || strings.EqualFold(r.Header.Get("Purpose"), "prefetch") ||
		strings.EqualFold(r.Header.Get("X-Moz"), "prefetch")
}
