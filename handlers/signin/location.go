package signin

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/handlers"
)

// A redirectResponse is an authorization response in the Location of a redirect: its parameters
// are in the query or in the fragment.
type redirectResponse struct {
	authorizationResponse

	location parameters
}

// readRedirect looks at a response from any path: OPs answer from their login pages as well. ok is
// false for all that is no authorization response.
func readRedirect(op *handlers.OP, r *http.Request, status int, header http.Header) (d redirectResponse, ok bool) {
	if !isRedirect(status) || len(header["Location"]) != 1 || len(header.Get("Location")) > handlers.MaxLocation {
		return d, false
	}
	if d.location, ok = readParameters(header.Get("Location")); !ok {
		return d, false
	}
	d.authorizationResponse, ok = newAuthorizationResponse(op, r, d.location.target, d.location.mode, d.location.values)
	return d, ok
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// parameters are those of an authorization response in a Location.
type parameters struct {
	target   string // what stands before them: neither query nor fragment
	mode     responseMode
	values   url.Values
	lead     string // the Location up to their first byte
	raw      string // they themselves, as they came
	trailing string // what follows them: the fragment behind a query
}

// readParameters finds the parameters in a Location. ok is false when there are none, or some in
// both places.
func readParameters(location string) (p parameters, ok bool) {
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
		return parameters{}, false
	case byFragment:
		return parameters{target: target, mode: inFragment, values: ofFragment, lead: before + "#", raw: fragment}, !isAmbiguous(ofFragment)
	}
	p = parameters{target: target, mode: inQuery, values: ofQuery, lead: target + "?", raw: query}
	if hasFragment {
		p.trailing = "#" + fragment
	}
	return p, !isAmbiguous(ofQuery)
}

// with returns the Location with session_state behind the other parameters, in place of the OP's
// own if it has any; all else to the letter as it was.
func (p parameters) with(sessionState string) string {
	var out strings.Builder
	out.WriteString(p.lead)
	for pair := range strings.SplitSeq(p.raw, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); err == nil && name == "session_state" {
			continue
		}
		out.WriteString(pair)
		out.WriteByte('&')
	}
	out.WriteString("session_state=" + url.QueryEscape(sessionState) + p.trailing)
	return out.String()
}
