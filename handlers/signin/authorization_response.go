package signin

import (
	"maps"
	"net/http"
	"net/url"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// An authorizationResponse has the shape of an authorization response (OpenID Connect Core 1.0,
// sections 3.1.2.5 and 3.1.2.6). Whether it answers a request is for the visit to find out.
type authorizationResponse struct {
	target *url.URL // where it goes, without its parameters
	mode   responseMode
	values url.Values
}

// A responseMode is the place of a response's parameters (OAuth 2.0 Multiple Response Type
// Encoding Practices, section 2.1).
type responseMode int

const (
	inQuery responseMode = iota
	inFragment
	inForm
)

// newAuthorizationResponse takes the parameters of a response. ok is false for all that has not
// the shape of one.
func newAuthorizationResponse(op *handlers.OP, r *http.Request, target string, mode responseMode, values url.Values) (a authorizationResponse, ok bool) {
	a = authorizationResponse{mode: mode, values: values}
	if isAmbiguous(values) || !isResponse(mode, values) && !isCodeless(values) || len(values.Get("code")) > handlers.MaxCode {
		return a, false
	}
	a.target, ok = resolve(op, r, target)
	return a, ok
}

// success reports whether the user has signed in.
func (a authorizationResponse) success() bool {
	return a.values.Get("code") != "" || a.mode != inQuery && (a.values.Get("id_token") != "" || a.values.Get("access_token") != "")
}

// isOne reports whether the response is either a success or an error.
func (a authorizationResponse) isOne() bool { return a.success() != (a.values.Get("error") != "") }

// without returns the response without the parameters that stand in the requested redirect URI's
// own query, which is the client's to choose: none of them is said by the OP.
func (a authorizationResponse) without(own uint16) authorizationResponse {
	if a.mode != inQuery || own == 0 {
		return a
	}
	a.values = maps.Clone(a.values)
	for i, name := range browser.ResponseNames {
		if own&(1<<i) != 0 {
			a.values.Del(name)
		}
	}
	return a
}

// isResponse reports whether parameters have what an authorization response must have one of.
// Tokens never come in a query (OAuth
// 2.0 Multiple Response Type Encoding Practices, section 3): one that stands there is the redirect URI's own, or of another page.
func isResponse(mode responseMode, values url.Values) bool {
	return values.Has("code") || values.Has("error") || mode != inQuery && (values.Has("id_token") || values.Has("access_token"))
}

// isCodeless reports whether parameters are what a request with response_type=none is answered
// with. So is a sign-out.
func isCodeless(values url.Values) bool {
	return !isResponse(inFragment, values) && (values.Has("state") || values.Has("session_state"))
}

// isAmbiguous reports whether a parameter is given twice: two readers might take different ones.
func isAmbiguous(values url.Values) bool { return isTwice(values, browser.ResponseNames) }

// resolve makes the address of a response absolute, as the browser does.
func resolve(op *handlers.OP, r *http.Request, address string) (*url.URL, bool) {
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

// answer takes a response that answers the request at hand or one of the pending ones. A success
// continues or starts a session; an error writes nothing, and starts and ends nothing but what the
// OP has ended. It returns the session_state for the response: empty for a client that has no web
// origin, whose pages could not ask. ok is false when the response answers none.
func (o *Observer) answer(v *browser.Cookies, asked *browser.PendingRequest, a authorizationResponse) (sessionState string, ok bool) {
	if v.Arrival.Carried.HasAnswer(a.values) || isCodeless(a.values) && asked == nil && mayBeOther(v, a.target) {
		return "", false
	}
	origin, err := sessionstate.Origin(a.target.String())
	if err != nil {
		origin = ""
	}
	request, ok := o.answered(v, asked, a, origin)
	if !ok {
		return "", false
	}
	o.markAnswered(v, request)
	a = a.without(request.Own)
	handle := sessionstate.NewHandle(request.ClientID, origin)
	switch {
	case a.success() || request.Is(browser.CodelessRequest) && isCodeless(a.values):
		o.signIn(v, request, origin, a, &handle)
	case o.endedByOP(v, request, a):
		v.End(registry.ReasonOPEnded)
	case v.State == "" && v.TopLevel():
		v.SetState(v.CurrentState())
	}
	if origin == "" {
		return "", true
	}
	return sessionstate.Compute(request.ClientID, origin, v.CurrentState(), v.Keys.SealHandle(v.OP.Issuer, handle)), true
}

// mayBeOther reports whether a redirect without code and token may be another thing than an
// answer: one after a sign-out, or by a redirector.
func mayBeOther(v *browser.Cookies, target *url.URL) bool {
	return v.OP.EndsAt(v.Request.URL.Path) || v.Arrival.Carried.HasAnswerAt(target)
}

// answered returns the request that a response answers.
func (o *Observer) answered(v *browser.Cookies, asked *browser.PendingRequest, a authorizationResponse, origin string) (request browser.PendingRequest, ok bool) {
	request, seen := o.fitting(v, asked, a)
	ok = seen
	if !seen {
		request, ok = v.BlindRequest(asked)
	}
	if ok {
		request.ClientID, ok = o.clientID(request)
	}
	return request, ok && (seen || o.answersBlindly(v, request, a, origin))
}

// fitting returns the request whose answer a response is: the target must be where that request
// wanted it, and the state must be its state. An open redirect at the OP answers nothing.
func (o *Observer) fitting(v *browser.Cookies, asked *browser.PendingRequest, a authorizationResponse) (request browser.PendingRequest, ok bool) {
	if asked != nil && a.answers(*asked) {
		return *asked, true
	}
	// A frame of another site may have asked for the same, as another client, where an app sends
	// no state: a tab is answered what a tab has asked for, and a frame what a frame has.
	kin := false // whether the request found so far is of that kind
	for name, p := range v.Pending {
		if is := browser.IsNavigationSlot(name) == exchange.IsNavigation(v.Request); a.answers(p) && (!ok || is && !kin || is == kin && p.Issued.After(request.Issued)) {
			request, kin, ok = p, is, true
		}
	}
	if ok {
		return request, true
	}
	request, ok = o.awaited.find(v.Sealed.Browser, browser.HashAnswer(a.target, a.values.Get("state")))
	return request, ok && a.answers(request) && !request.Expired(v.Now)
}

// answers reports whether the response is one to a request, by what the OP itself has put into it.
func (a authorizationResponse) answers(p browser.PendingRequest) bool {
	a = a.without(p.Own)
	if !a.isOne() && (!p.Is(browser.CodelessRequest) || !isCodeless(a.values)) {
		return false
	}
	return p.AnsweredBy(a.target, a.values.Get("state"))
}

// answersBlindly reports whether a response may be one to a blind request, whose redirect URI and
// state are not known: it has a state or an issuer, as OAuth's current practice asks for, and goes
// to an origin that is known to be the client's. Else anybody could have his own client's
// responses taken for those of another one.
func (o *Observer) answersBlindly(v *browser.Cookies, request browser.PendingRequest, a authorizationResponse, origin string) bool {
	if !a.isOne() || origin == "" || origin == v.OP.Origin || !o.isOriginOf(v, request.ClientID, origin) {
		return false
	}
	issuer := a.values.Get("iss")
	return v.OP.Issues(issuer) || issuer == "" && a.values.Get("state") != ""
}

// isOriginOf reports whether an origin is known to be a client's: the client was sent there
// before, or has registered an address there.
func (o *Observer) isOriginOf(v *browser.Cookies, clientID, origin string) bool {
	if _, seen := o.origins.Get(originKey(clientID, origin)); seen {
		return true
	}
	if o.Clients == nil {
		return false
	}
	client, _ := o.Clients.Find(v.Request.Context(), v.OP.Issuer, clientID)
	return clients.SharesOrigin(origin, client.PostLogoutRedirectURIs) || clients.SharesOrigin(origin, []string{client.FrontChannelLogoutURI})
}

// originKey names an origin of a client.
func originKey(clientID, origin string) [16]byte { return handlers.Hash(origin + " " + clientID) }
