package signin

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

func isAuthorizationPath(op *handlers.OP, r *http.Request) bool {
	return op.AuthorizationPath != "" && r.URL.Path == op.AuthorizationPath
}

// readAuthorizationRequest reads a request at the authorization endpoint (OpenID Connect Core 1.0,
// section 3.1.2.1); nil: none that can be observed. It returns the request to pass on.
//
// Only navigations count, of a tab or a frame: nothing else leads to a redirect URI.
func (o *Observer) readAuthorizationRequest(
	op *handlers.OP, r *http.Request,
) (*browser.PendingRequest, *http.Request) {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return nil, r
	}
	// what can be read is read: the OP judges the rest
	parameters, _ := url.ParseQuery(r.URL.RawQuery)
	if r.Method == http.MethodPost {
		var form url.Values
		form, r = exchange.ReadForm(r)
		for name, values := range form {
			parameters[name] = append(parameters[name], values...)
		}
	} else if r.Method != http.MethodGet {
		return nil, r
	}
	if request, ok := o.resolveRequest(op, parameters); ok {
		return &request, r
	}
	return nil, r
}

// resolveRequest returns the authorization request of parameters, which may be pushed (RFC 9126)
// or in a request object (RFC 9101).
func (o *Observer) resolveRequest(
	op *handlers.OP, parameters url.Values,
) (p browser.PendingRequest, ok bool) {
	now, clientID := o.env.Now(), parameters.Get("client_id")
	if isRepeated(parameters) {
		return p, false
	}
	if uri := parameters.Get("request_uri"); uri != "" {
		if pushed, known := o.findPushed(uri, clientID, now); known {
			return pushed, true
		}
		if !op.TakesRequestURIs() {
			return p, false
		}
		return browser.NewBlindRequest(clientID, now)
	}
	return readRequestParameters(op, parameters, now)
}

// isRepeated reports whether a parameter that counts is there twice: the OP might take the other
// one.
func isRepeated(parameters url.Values) bool {
	return isTwice(parameters, []string{
		"client_id", "redirect_uri", "state", "prompt", "response_mode", "request", "request_uri",
	})
}

// isTwice reports whether one of some parameters is there more than once.
func isTwice(parameters url.Values, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return len(parameters[name]) > 1 })
}

// readRequestParameters returns the request that has these parameters.
func readRequestParameters(
	op *handlers.OP, parameters url.Values, now time.Time,
) (p browser.PendingRequest, ok bool) {
	clientID := parameters.Get("client_id")
	if object := parameters.Get("request"); object != "" && op.TakesRequestObjects() {
		inside, err := tokens.ReadRequestObject(object)
		if err != nil {
			return browser.NewBlindRequest(clientID, now)
		}
		if by := inside["client_id"]; by != "" && clientID != "" && by != clientID {
			return p, false // they must be identical (RFC 9101, section 5)
		}
		parameters = mergedParameters(parameters, inside)
	}
	p, ok = browser.NewPendingRequest(
		parameters.Get("client_id"), parameters.Get("redirect_uri"), parameters.Get("state"), now)
	if slices.Contains(strings.Fields(parameters.Get("prompt")), "none") {
		p.Traits |= browser.SilentRequest
	}
	if isBare(parameters) {
		p.Traits |= browser.BareRequest
	}
	if parameters.Get("response_mode") == "form_post" {
		p.Traits |= browser.PostingRequest
	}
	if parameters.Get("response_type") == "none" {
		p.Traits |= browser.CodelessRequest
	}
	return p, ok
}

// mergedParameters are those of the request with those of its request object in front: OAuth takes
// the latter only, OpenID Connect fills up from the former (RFC 9101, section 6.3; OpenID Connect
// Core 1.0, section 6.3.3).
func mergedParameters(outside url.Values, inside map[string]string) url.Values {
	merged := url.Values{}
	for name := range outside {
		merged.Set(name, outside.Get(name))
	}
	for name, value := range inside {
		merged.Set(name, value)
	}
	return merged
}

// bareParameters are those of an authorization request that do not change whether the OP lets a
// user in who is signed in. Others may ask for a fresher, a stronger or another user's sign-in.
var bareParameters = []string{
	"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce",
	"code_challenge", "code_challenge_method", "ui_locales", "prompt",
}

// isBare reports whether a request asks whether the user is signed in, and for nothing else.
func isBare(parameters url.Values) bool {
	for name, values := range parameters {
		if len(values) != 1 || !slices.Contains(bareParameters, name) {
			return false
		}
	}
	return parameters.Get("prompt") == "none"
}

// await keeps a request until it is answered, with the browser that it came from: in a cookie, and
// in memory. A cookie has only the hash of a long client ID, and requests that a browser sends at
// once may take the same cookie. Another server, or this one after a restart, has the cookie alone.
func (x *observation) await(request browser.PendingRequest) {
	if x.cookies.TopLevel() && x.cookies.Sealed.Browser.IsZero() {
		x.cookies.BrowserID()
		x.cookies.SetSession()
	}
	request.Browser = x.cookies.Sealed.Browser
	x.cookies.AddPending(request)
	if len(request.ClientID) > browser.MaxSealedID {
		x.clientIDs.Put(request.Client, request.ClientID)
	}
	if !request.Browser.IsZero() && !request.Is(browser.BlindRequest|browser.LogoutRequest) {
		x.requests.Put(requestKey(request.Browser, request.Response), request)
	}
}
