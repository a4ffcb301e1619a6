package signin

import (
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// An authorizationResponse has the shape of an authorization response (OpenID Connect Core 1.0,
// sections 3.1.2.5 and 3.1.2.6), from any path: OPs respond from their login pages as well.
// Whether it answers a request is not decided yet.
type authorizationResponse struct {
	target *url.URL // where it goes; its query does not count
	mode   responseMode
	values url.Values

	// a Location in three parts; empty for a form
	lead     string // up to the first byte of the parameters
	raw      string // the parameters as they came
	trailing string // what follows them: the fragment behind a query
}

// A responseMode is the place of a response's parameters (OAuth 2.0 Multiple Response Type
// Encoding Practices, section 2.1).
type responseMode int

const (
	inQuery responseMode = iota
	inFragment
	inForm
)

// readRedirect reads the Location of a redirect. ok is false for all that has not the shape of an
// authorization response.
func readRedirect(
	op *handlers.OP, r *http.Request, status int, header http.Header,
) (a authorizationResponse, ok bool) {
	location := header.Get("Location")
	oversized := len(location) > handlers.MaxLocation
	if !isRedirect(status) || len(header["Location"]) != 1 || oversized {
		return a, false
	}
	if a, ok = readLocation(location); ok {
		a.target, ok = resolve(op, r, a.lead[:len(a.lead)-1])
	}
	return a, ok
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// readLocation finds the parameters of a response in a Location. ok is false when there are none,
// or some in both places.
func readLocation(location string) (a authorizationResponse, ok bool) {
	before, fragment, hasFragment := strings.Cut(location, "#")
	target, query, _ := strings.Cut(before, "?")
	ofQuery, _ := url.ParseQuery(query)
	ofFragment, _ := url.ParseQuery(fragment)
	byQuery, byFragment := isResponse(inQuery, ofQuery), isResponse(inFragment, ofFragment)
	if !byQuery && !byFragment {
		byQuery, byFragment = isCodeless(ofQuery), isCodeless(ofFragment)
	}
	switch {
	case byQuery == byFragment:
		return a, false
	case byFragment:
		a = authorizationResponse{
			mode: inFragment, values: ofFragment, lead: before + "#", raw: fragment,
		}
	default:
		a = authorizationResponse{mode: inQuery, values: ofQuery, lead: target + "?", raw: query}
		if hasFragment {
			a.trailing = "#" + fragment
		}
	}
	return a, a.isUnambiguous()
}

// readForm reads a form that a page posts. ok is false when it has not the shape of an
// authorization response.
func readForm(
	op *handlers.OP, r *http.Request, form exchange.PostedForm,
) (a authorizationResponse, ok bool) {
	a = authorizationResponse{mode: inForm, values: form.Values}
	if !isResponse(a.mode, a.values) && !isCodeless(a.values) || !a.isUnambiguous() {
		return a, false
	}
	a.target, ok = resolve(op, r, form.Action)
	return a, ok
}

// resolve makes the address of a response absolute, as the browser does.
func resolve(op *handlers.OP, r *http.Request, address string) (*url.URL, bool) {
	target, err := url.Parse(address)
	if err != nil || target.IsAbs() {
		return target, err == nil
	}
	base, err := url.Parse(op.Origin + r.URL.EscapedPath())
	if err != nil {
		return nil, false
	}
	return base.ResolveReference(target), true
}

// isResponse reports whether parameters have what an authorization response must have one of.
// Tokens never come in a query (OAuth 2.0 Multiple Response Type Encoding Practices, section 3):
// one that stands there is the redirect URI's own, or of another page.
func isResponse(mode responseMode, values url.Values) bool {
	hasToken := values.Has("id_token") || values.Has("access_token")
	return values.Has("code") || values.Has("error") || mode != inQuery && hasToken
}

// isCodeless reports whether parameters are those of a response to response_type=none. Those after
// a sign-out look the same.
func isCodeless(values url.Values) bool {
	return !isResponse(inFragment, values) && (values.Has("state") || values.Has("session_state"))
}

// isUnambiguous reports whether each parameter is there once: of two, two readers might take
// different ones. A code over the limit may be cut off somewhere.
func (a authorizationResponse) isUnambiguous() bool {
	return !isTwice(a.values, browser.ResponseNames) &&
		len(a.values.Get("code")) <= handlers.MaxCode
}

// isSuccess reports whether the user has signed in.
func (a authorizationResponse) isSuccess() bool {
	return a.values.Get("code") != "" || a.idToken() != "" ||
		a.mode != inQuery && a.values.Get("access_token") != ""
}

// idToken returns the response's ID token; empty: it has none.
func (a authorizationResponse) idToken() string {
	if a.mode == inQuery {
		return ""
	}
	return a.values.Get("id_token")
}

// isDefinite reports whether the response is either a success or an error.
func (a authorizationResponse) isDefinite() bool {
	return a.isSuccess() != (a.values.Get("error") != "")
}

// without returns the response without the parameters that stand in the requested redirect URI's
// own query. The client chooses those: none of them is said by the OP.
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

// with returns the Location with session_state behind the other parameters, in place of the OP's
// own if it has any. All else stays to the letter as it was.
func (a authorizationResponse) with(sessionState string) string {
	var out strings.Builder
	out.WriteString(a.lead)
	for pair := range strings.SplitSeq(a.raw, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); err == nil && name == "session_state" {
			continue
		}
		out.WriteString(pair)
		out.WriteByte('&')
	}
	out.WriteString("session_state=" + url.QueryEscape(sessionState) + a.trailing)
	return out.String()
}
