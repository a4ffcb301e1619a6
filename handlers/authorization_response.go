package handlers

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// An authorizationResponse has the shape of an authorization response (OpenID Connect Core 1.0, sections 3.1.2.5 and 3.1.2.6).
// Whether it answers a request is for the visit to find out.
type authorizationResponse struct {
	target  *url.URL // where it goes, without its parameters
	values  url.Values
	success bool
}

// newAuthorizationResponse takes the parameters of a response. ok is false for all that has not the shape of one.
func newAuthorizationResponse(op *OP, r *http.Request, target string, values url.Values) (a authorizationResponse, ok bool) {
	if !isResponse(values) || isAmbiguous(values) || len(values.Get("code")) > maxCode || isReflected(r, values) {
		return a, false
	}
	a = authorizationResponse{
		values:  values,
		success: values.Get("code") != "" || values.Get("id_token") != "" || values.Get("access_token") != "",
	}
	if a.success == (values.Get("error") != "") {
		return a, false
	}
	a.target, ok = resolve(op, r, target)
	return a, ok
}

// isResponse tells whether parameters have what an authorization response must have one of.
func isResponse(values url.Values) bool {
	return values.Has("code") || values.Has("error") || values.Has("id_token") || values.Has("access_token")
}

// isAmbiguous tells whether a parameter is given twice: two readers might take different ones.
func isAmbiguous(values url.Values) bool {
	for _, name := range []string{"state", "code", "error", "id_token", "access_token", "session_state", "iss"} {
		if len(values[name]) > 1 {
			return true
		}
	}
	return false
}

// isReflected tells whether what a response gives was in the URL of the request that it answers. An OP makes codes and tokens anew;
// those that the asker brought along come from a redirector, as many OPs have one for what follows a sign-out.
func isReflected(r *http.Request, values url.Values) bool {
	brought := r.URL.RequestURI()
	for range 3 { // a URL in a URL in a URL
		for _, name := range []string{"code", "id_token", "access_token"} {
			if value := values.Get(name); value != "" && hasValue(brought, value) {
				return true
			}
		}
		undone, err := url.QueryUnescape(brought)
		if err != nil || undone == brought {
			return false
		}
		brought = undone
	}
	return false
}

// hasValue tells whether a query has a parameter of this value.
func hasValue(query, value string) bool {
	for {
		_, rest, found := strings.Cut(query, "="+value)
		if !found {
			return false
		}
		if rest == "" || strings.ContainsRune("&#;", rune(rest[0])) {
			return true
		}
		query = rest
	}
}

// resolve makes the address of a response absolute, as the browser does.
func resolve(op *OP, r *http.Request, address string) (*url.URL, bool) {
	target, err := url.Parse(address)
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

// answer takes a response that answers the request at hand or one of the pending ones. A success continues or starts a session; an
// error writes nothing, starts and ends nothing. It returns the session_state for the response: empty for a client that has no
// web origin, whose pages could not ask. ok is false when the response answers none.
func (v *visit) answer(asked *pendingRequest, a authorizationResponse) (sessionState string, ok bool) {
	request, ok := v.answered(asked, a)
	if !ok {
		return "", false
	}
	origin, err := sessionstate.Origin(a.target.String())
	if err != nil {
		origin = ""
	}
	handle := sessionstate.NewHandle(request.clientID, origin)
	handle.Issued = v.now
	if a.success {
		v.signIn(request, origin, a.values, &handle)
	} else if v.state == "" && v.topLevel() {
		v.giveState(v.currentState())
	}
	if origin == "" {
		return "", true
	}
	return sessionstate.Compute(request.clientID, origin, v.currentState(), v.keys.SealHandle(v.op.Issuer, handle)), true
}

// answered returns the request that a response answers: the target must be where that request wanted it, and the state must be its
// state. An open redirect at the OP answers nothing.
//
// Of a blind request neither is known. A response that has a state or an issuer, as OAuth's current practice asks for, and goes
// elsewhere than to the OP itself answers the newest of those, if it answers no other and they are of one client.
func (v *visit) answered(asked *pendingRequest, a authorizationResponse) (request pendingRequest, ok bool) {
	state := a.values.Get("state")
	if asked != nil && asked.answeredBy(a.target, state) {
		return *asked, true
	}
	var newest pendingRequest
	for _, p := range v.pending {
		if p.answeredBy(a.target, state) && p.issued.After(newest.issued) {
			newest = p
		}
	}
	if newest.clientID != "" {
		return newest, true
	}
	request, ok = v.blindRequest(asked)
	return request, ok && v.answersBlindly(a)
}

// blindRequest returns the newest blind request. ok is false when there is none, or when several clients have one: a wrong guess
// would give one client the state of another.
func (v *visit) blindRequest(asked *pendingRequest) (request pendingRequest, ok bool) {
	if asked != nil && asked.is(blind) {
		return *asked, true
	}
	for _, p := range v.pending {
		if !p.is(blind) {
			continue
		}
		if ok && p.clientID != request.clientID {
			return pendingRequest{}, false
		}
		if !ok || p.issued.After(request.issued) {
			request, ok = p, true
		}
	}
	return request, ok
}

func (v *visit) answersBlindly(a authorizationResponse) bool {
	origin, err := sessionstate.Origin(a.target.String())
	if err == nil && origin == v.op.Origin {
		return false
	}
	issuer := a.values.Get("iss")
	return v.op.issues(issuer) || issuer == "" && a.values.Get("state") != ""
}
