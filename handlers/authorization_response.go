package handlers

import (
	"net/http"
	"net/url"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// An authorizationResponse is a redirect that has the shape of an authorization response (OpenID Connect Core 1.0, sections
// 3.1.2.5 and 3.1.2.6). Whether it answers a request is for the visit to find out.
type authorizationResponse struct {
	target   *url.URL // where it goes, without its parameters
	state    string
	code     string
	success  bool
	location parameters
}

// readAuthorizationResponse looks at a response from any path: OPs answer from their login pages as well. ok is false for all
// that is no authorization response, and for one that already has a session_state, the OP's own.
func readAuthorizationResponse(op *OP, r *http.Request, status int, header http.Header) (a authorizationResponse, ok bool) {
	if !isRedirect(status) || len(header["Location"]) != 1 || len(header.Get("Location")) > maxLocation {
		return a, false
	}
	location, ok := readParameters(header.Get("Location"))
	if !ok || location.values.Has("session_state") {
		return a, false
	}
	values := location.values
	a = authorizationResponse{
		state:    values.Get("state"),
		code:     values.Get("code"),
		success:  values.Get("code") != "" || values.Get("id_token") != "" || values.Get("access_token") != "",
		location: location,
	}
	if a.success == (values.Get("error") != "") || len(a.code) > maxCode {
		return a, false
	}
	a.target, ok = resolve(op, r, location.target)
	return a, ok
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// resolve makes a Location absolute, as the browser does.
func resolve(op *OP, r *http.Request, location string) (*url.URL, bool) {
	target, err := url.Parse(location)
	if err != nil {
		return nil, false
	}
	if target.IsAbs() {
		return target, true
	}
	base, err := url.Parse(op.Origin + r.URL.EscapedPath())
	if err != nil {
		return nil, false
	}
	return base.ResolveReference(target), true
}

// answer adds session_state to a response that answers the request at hand or one of the pending ones, and tells whether it
// does. A success continues or starts a session; an error writes nothing, starts and ends nothing.
func (v *visit) answer(asked *pendingRequest, a authorizationResponse, header http.Header) bool {
	clientID, ok := v.answered(asked, a)
	if !ok {
		return false
	}
	origin, err := sessionstate.Origin(a.target.String())
	if err != nil {
		origin = "" // a custom scheme: no page of such an origin can ask, but the client takes part all the same
	}
	handle := sessionstate.NewHandle(clientID, origin)
	handle.Issued = v.now
	if a.success {
		v.signIn(clientID, origin, a.code, &handle)
	} else if v.state == "" && v.topLevel() {
		v.giveState(v.currentState())
	}
	forbidCaching(header)
	if origin != "" {
		salt := v.keys.SealHandle(v.op.Issuer, handle)
		state := sessionstate.Compute(clientID, origin, v.currentState(), salt)
		header.Set("Location", a.location.with("session_state", state))
	}
	return true
}

// answered returns the client whose request a response answers: the target must be where that request wanted it, and the state
// must be its state. An open redirect at the OP answers nothing.
func (v *visit) answered(asked *pendingRequest, a authorizationResponse) (clientID string, ok bool) {
	if asked != nil && asked.answeredBy(a.target, a.state) {
		return asked.clientID, true
	}
	var newest pendingRequest
	for _, p := range v.pending {
		if p.answeredBy(a.target, a.state) && p.issued.After(newest.issued) {
			newest = p
		}
	}
	return newest.clientID, newest.clientID != ""
}
