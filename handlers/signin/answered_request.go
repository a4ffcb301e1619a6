package signin

import (
	"net/http"
	"net/url"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// answerRedirect takes a redirect that answers a request, and adds session_state to its Location.
// It reports whether the redirect answers one.
func (x *observation) answerRedirect(a authorizationResponse, header http.Header) bool {
	sessionState, ok := x.answer(a, header)
	if sessionState != "" {
		header.Set("Location", a.with(sessionState))
	}
	return ok
}

// answer takes a response that answers the request at hand or a pending one. A success continues
// or starts a session. An error starts nothing, and ends nothing but what the OP has ended.
//
// It returns the session_state to add: empty where the OP's own stays, and for a client that has no
// web origin, whose pages could not ask. ok is false when the response answers no request.
func (x *observation) answer(
	a authorizationResponse, header http.Header,
) (sessionState string, ok bool) {
	isOther := isCodeless(a.values) && x.pending == nil && x.mayBeOther(a.target)
	if isOther || x.submitted.HasResponse(a.values) {
		return "", false
	}
	origin, err := sessionstate.Origin(a.target.String())
	if err != nil {
		origin = ""
	}
	request, ok := x.answeredRequest(a, origin)
	if !ok {
		return "", false
	}
	exchange.ForbidCaching(header)
	x.markAnswered(request)
	mayAdd := origin != "" && x.SessionState.MayAdd(x.op, a.values)
	a = a.without(request.Own)
	handle := sessionstate.NewHandle(request.ClientID, origin)
	switch {
	case a.isSuccess() || request.Is(browser.CodelessRequest) && isCodeless(a.values):
		x.signIn(request, origin, a, &handle)
	case x.isEndedByOP(request, a):
		x.cookies.End(registry.ReasonOPEnded)
	case x.cookies.State == "" && x.cookies.TopLevel():
		x.cookies.SetState(x.cookies.CurrentState())
	}
	if !mayAdd {
		return "", true
	}
	salt := x.cookies.Keys.SealHandle(x.op.Issuer, handle)
	return sessionstate.Compute(request.ClientID, origin, x.cookies.CurrentState(), salt), true
}

// mayBeOther reports whether a redirect without code and token may be something else than an
// authorization response: it follows a sign-out, or is by a redirector.
func (x *observation) mayBeOther(target *url.URL) bool {
	return x.op.IsEndSessionPath(x.request.URL.Path) || x.submitted.HasResponseAt(target)
}

// answeredRequest returns the request that a response answers, with its client ID.
func (x *observation) answeredRequest(
	a authorizationResponse, origin string,
) (request browser.PendingRequest, ok bool) {
	request, fits := x.fittingRequest(a)
	ok = fits
	if !fits {
		request, ok = x.cookies.BlindRequest(x.pending)
	}
	if ok {
		request.ClientID, ok = x.clientID(request)
	}
	return request, ok && (fits || x.answersBlindly(request, a, origin))
}

// fittingRequest returns the request that a response fits: it goes where that request wanted it,
// and has its state. An open redirect at the OP answers nothing.
func (x *observation) fittingRequest(
	a authorizationResponse,
) (request browser.PendingRequest, ok bool) {
	if x.pending != nil && a.answers(*x.pending) {
		return *x.pending, true
	}
	if request, ok = x.cookies.FindPending(a.answers); ok {
		return request, true
	}
	if x.cookies.Sealed.Browser.IsZero() {
		return request, false // one in memory might be another browser's
	}
	response := browser.HashResponse(a.target, a.values.Get("state"))
	request, ok = x.requests.Get(requestKey(x.cookies.Sealed.Browser, response))
	return request, ok && a.answers(request) && !request.Expired(x.cookies.Now)
}

func requestKey(id sessionstate.BrowserID, response [16]byte) [16]byte {
	return handlers.Hash(string(id[:]) + string(response[:]))
}

// answers reports whether the response is one to a request, by what the OP itself has put into it.
func (a authorizationResponse) answers(p browser.PendingRequest) bool {
	a = a.without(p.Own)
	if !a.isDefinite() && (!p.Is(browser.CodelessRequest) || !isCodeless(a.values)) {
		return false
	}
	return p.AnsweredBy(a.target, a.values.Get("state"))
}

// clientID returns the client ID of a request. The server that saw the request has a long one, and
// so have all whose configuration has the client. To others the request does not exist.
func (o *Observer) clientID(p browser.PendingRequest) (id string, known bool) {
	if p.ClientID != "" {
		return p.ClientID, true
	}
	if id, known = o.clientIDs.Get(p.Client); known || o.Clients == nil {
		return id, known
	}
	return o.Clients.IDOf(p.Client)
}

// answersBlindly reports whether a response may be one to a blind request, whose redirect URI and
// state are not known. It has a state or an issuer, as OAuth's current practice asks for, and goes
// to an origin that is known to be the client's. Otherwise anybody could have their own client's
// responses taken for those of another.
func (x *observation) answersBlindly(
	request browser.PendingRequest, a authorizationResponse, origin string,
) bool {
	if !a.isDefinite() || origin == "" || origin == x.op.Origin {
		return false
	}
	issuer := a.values.Get("iss")
	return x.isOriginOf(request.ClientID, origin) &&
		(x.op.Issues(issuer) || issuer == "" && a.values.Get("state") != "")
}

// isOriginOf reports whether an origin is known to be a client's: the client was sent there
// before, or has registered an address there.
func (x *observation) isOriginOf(clientID, origin string) bool {
	if _, known := x.origins.Get(originKey(clientID, origin)); known {
		return true
	}
	if x.Clients == nil {
		return false
	}
	client, _ := x.Clients.Find(x.request.Context(), x.op.Issuer, clientID)
	return clients.SharesOrigin(origin, client.PostLogoutRedirectURIs) ||
		clients.SharesOrigin(origin, []string{client.FrontChannelLogoutURI})
}

func originKey(clientID, origin string) [16]byte { return handlers.Hash(origin + " " + clientID) }

// markAnswered leaves an answered request a short time to be answered again.
func (x *observation) markAnswered(request browser.PendingRequest) {
	x.cookies.MarkAnswered(request)
	// without an ID nothing is found, since nothing is kept then
	key := requestKey(x.cookies.Sealed.Browser, request.Response)
	if p, known := x.requests.Get(key); known {
		x.requests.Put(key, p.Answered(x.cookies.Now))
	}
}
