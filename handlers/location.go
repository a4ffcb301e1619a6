package handlers

import (
	"net/url"
	"strings"
)

// parameters are those of an authorization response, in the query or the fragment of its redirect.
type parameters struct {
	target   string // what stands before them: neither query nor fragment
	values   url.Values
	head     string // the Location up to the end of the parameters
	trailing string // what follows them: the fragment behind a query
}

// readParameters finds the parameters in a Location. ok is false when there are none, or one is given twice: two readers might
// take different ones.
func readParameters(location string) (p parameters, ok bool) {
	before, fragment, hasFragment := strings.Cut(location, "#")
	target, query, _ := strings.Cut(before, "?")
	inQuery, _ := url.ParseQuery(query)
	inFragment, _ := url.ParseQuery(fragment)
	p = parameters{target: target, values: inQuery, head: before}
	if hasFragment {
		p.trailing = "#" + fragment
	}
	switch {
	case isResponse(inQuery) && isResponse(inFragment):
		return p, false
	case isResponse(inFragment):
		p = parameters{target: target, values: inFragment, head: location}
	case !isResponse(inQuery):
		return p, false
	}
	for _, name := range []string{"state", "code", "error", "id_token", "access_token", "session_state"} {
		if len(p.values[name]) > 1 {
			return p, false
		}
	}
	return p, true
}

// isResponse tells whether parameters have what an authorization response must have one of.
func isResponse(values url.Values) bool {
	return values.Has("code") || values.Has("error") || values.Has("id_token") || values.Has("access_token")
}

// with returns the Location with one more parameter behind the others, all else to the letter as it was.
func (p parameters) with(name, value string) string {
	return p.head + "&" + name + "=" + url.QueryEscape(value) + p.trailing
}
