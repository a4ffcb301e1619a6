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

// readAuthorizationRequest reads the request at the authorization endpoint (OpenID Connect Core
// 1.0, section 3.1.2.1); nil where it is none, or none that can be observed. It returns the
// request to pass on, since a form has to be read to be known.
//
// Only navigations count, of a tab or a frame: nothing else leads to a redirect URI.
func (o *Observer) readAuthorizationRequest(op *handlers.OP, r *http.Request) (*browser.PendingRequest, *http.Request) {
	if op.AuthorizationPath == "" || r.URL.Path != op.AuthorizationPath {
		return nil, r
	}
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
	asked, ok := o.resolveRequest(op, parameters)
	if !ok {
		return nil, r
	}
	return &asked, r
}

// resolveRequest notes an authorization request, whose parameters may be pushed (RFC 9126) or in a
// request object (RFC 9101).
func (o *Observer) resolveRequest(op *handlers.OP, parameters url.Values) (p browser.PendingRequest, ok bool) {
	now, clientID := o.env.Now(), parameters.Get("client_id")
	if isRepeated(parameters) {
		return p, false
	}
	if uri := parameters.Get("request_uri"); uri != "" {
		if pushed, known := o.Pushed.find(uri, clientID, now); known {
			return pushed, true
		}
		if !op.RequestURIs {
			return p, false
		}
		return browser.NewBlindRequest(clientID, now)
	}
	return readRequestParameters(op, parameters, now)
}

// isRepeated reports whether a parameter that counts is given twice: the OP might take the other
// one.
func isRepeated(parameters url.Values) bool {
	return isTwice(parameters, []string{"client_id", "redirect_uri", "state", "prompt", "response_mode", "request", "request_uri"})
}

// isTwice reports whether one of some parameters is given more than once.
func isTwice(parameters url.Values, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return len(parameters[name]) > 1 })
}

// readRequestParameters notes the request that has these parameters.
func readRequestParameters(op *handlers.OP, parameters url.Values, now time.Time) (p browser.PendingRequest, ok bool) {
	clientID := parameters.Get("client_id")
	if object := parameters.Get("request"); object != "" && op.RequestObjects {
		inside, err := tokens.ReadRequestObject(object)
		if err != nil {
			return browser.NewBlindRequest(clientID, now)
		}
		if by := inside["client_id"]; by != "" && clientID != "" && by != clientID {
			return p, false // they must be identical (RFC 9101, section 5)
		}
		parameters = mergedParameters(parameters, inside)
	}
	p, ok = browser.NewPendingRequest(parameters.Get("client_id"), parameters.Get("redirect_uri"), parameters.Get("state"), now)
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

// await remembers the request until it is answered, and the browser that it came from.
//
// It is kept in memory, too: of a long client ID its cookie has only the hash, and requests that a
// browser sends at once may take the same cookie, of which one is lost. Another server, or this
// one after a restart, goes by the cookie alone.
func (o *Observer) await(v *browser.Cookies, asked browser.PendingRequest) {
	if v.TopLevel() && v.Sealed.Browser.IsZero() {
		v.BrowserID()
		v.SetSession()
	}
	asked.Browser = v.Sealed.Browser
	o.awaited.put(asked)
	v.KeepPending(v.Slot(asked), asked)
}

// markAnswered leaves a request that was answered little time to be answered again.
func (o *Observer) markAnswered(v *browser.Cookies, request browser.PendingRequest) {
	for name, p := range v.Pending {
		if closed := p.Answered(v.Now); p.IsSame(request) && closed != p {
			v.KeepPending(name, closed)
		}
	}
	if p, known := o.awaited.find(v.Sealed.Browser, request.Answer); known {
		o.awaited.put(p.Answered(v.Now))
	}
}
