package handlers

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// readAuthorizationRequest reads the request at the authorization endpoint (OpenID Connect Core 1.0, section 3.1.2.1); nil where
// it is none, or none that can be observed. It returns the request to pass on, since a form has to be read to be known.
//
// Only navigations count, of a tab or a frame: nothing else leads to a redirect URI.
func (b *Browser) readAuthorizationRequest(op *OP, r *http.Request) (*pendingRequest, *http.Request) {
	if op.AuthorizationPath == "" || r.URL.Path != op.AuthorizationPath {
		return nil, r
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return nil, r
	}
	parameters, _ := url.ParseQuery(r.URL.RawQuery) // what can be read is read: the OP judges the rest
	if r.Method == http.MethodPost {
		var form url.Values
		form, r = readForm(r)
		for name, values := range form {
			parameters[name] = append(parameters[name], values...)
		}
	} else if r.Method != http.MethodGet {
		return nil, r
	}
	asked, ok := b.resolveRequest(op, parameters)
	if !ok {
		return nil, r
	}
	return &asked, r
}

// resolveRequest notes an authorization request, whose parameters may be pushed (RFC 9126) or in a request object (RFC 9101).
func (b *Browser) resolveRequest(op *OP, parameters url.Values) (p pendingRequest, ok bool) {
	now, clientID := b.env.Now(), parameters.Get("client_id")
	if isRepeated(parameters) {
		return p, false
	}
	if uri := parameters.Get("request_uri"); uri != "" {
		if pushed, known := b.Pushed.find(uri, clientID, now); known {
			return pushed, true
		}
		if !op.requestURIs {
			return p, false
		}
		return newBlindRequest(clientID, now)
	}
	return readRequestParameters(op, parameters, now)
}

// isRepeated reports whether a parameter that counts is given twice: the OP might take the other one.
func isRepeated(parameters url.Values) bool {
	return isTwice(parameters, []string{"client_id", "redirect_uri", "state", "prompt", "response_mode", "request", "request_uri"})
}

// isTwice reports whether one of some parameters is given more than once.
func isTwice(parameters url.Values, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return len(parameters[name]) > 1 })
}

// readRequestParameters notes the request that has these parameters.
func readRequestParameters(op *OP, parameters url.Values, now time.Time) (p pendingRequest, ok bool) {
	clientID := parameters.Get("client_id")
	if object := parameters.Get("request"); object != "" && op.requestObjects {
		inside, err := tokens.ReadRequestObject(object)
		if err != nil {
			return newBlindRequest(clientID, now)
		}
		if by := inside["client_id"]; by != "" && clientID != "" && by != clientID {
			return p, false // they must be identical (RFC 9101, section 5)
		}
		parameters = mergedParameters(parameters, inside)
	}
	p, ok = newPendingRequest(parameters.Get("client_id"), parameters.Get("redirect_uri"), parameters.Get("state"), now)
	if slices.Contains(strings.Fields(parameters.Get("prompt")), "none") {
		p.traits |= silent
	}
	if isBare(parameters) {
		p.traits |= bare
	}
	if parameters.Get("response_mode") == "form_post" {
		p.traits |= posting
	}
	if parameters.Get("response_type") == "none" {
		p.traits |= none
	}
	return p, ok
}

// mergedParameters are those of the request with those of its request object in front: OAuth takes the latter only, OpenID Connect
// fills up from the former (RFC 9101, section 6.3; OpenID Connect Core 1.0, section 6.3.3).
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
// It is kept in memory, too: of a long client ID its cookie has only the hash, and requests that a browser sends at once may take
// the same cookie, of which one is lost. Another server, or this one after a restart, goes by the cookie alone.
func (b *Browser) await(v *visit, asked pendingRequest) {
	if v.topLevel() && v.sealed.browser.IsZero() {
		v.browser()
		v.giveSession()
	}
	asked.browser = v.sealed.browser
	b.awaited.put(asked)
	v.givePending(v.slot(asked), asked)
}

// slot returns the name of the cookie for a request: that of the same request, one that is free, or that of the oldest request. The
// search for a free one begins elsewhere for each request, for those that are sent at once do not know of each other.
func (v *visit) slot(asked pendingRequest) string {
	slots := otherSlots
	if navigates(v.r) {
		slots = navigationSlots
	}
	var free, oldest string
	first := int(asked.answer[0] ^ asked.client[0])
	for i := range slots {
		at := (first + i) % len(slots)
		name := v.op.cookies.pending + slots[at:at+1]
		p, taken := v.pending[name]
		switch {
		case taken && p.isSame(asked):
			return name
		case !taken:
			free = cmp.Or(free, name)
		case oldest == "" || p.issued.Before(v.pending[oldest].issued):
			oldest = name
		}
	}
	return cmp.Or(free, oldest)
}

func (v *visit) givePending(name string, p pendingRequest) {
	v.pending[name] = p
	left := p.issued.Add(pendingLifetime).Sub(v.now.Truncate(time.Second))
	v.set(v.op.cookies.cookie(name, p.seal(v.keys, v.op.Issuer), left, false))
}

// markAnswered leaves a request that was answered little time to be answered again.
func (b *Browser) markAnswered(v *visit, request pendingRequest) {
	for name, p := range v.pending {
		if closed := p.answered(v.now); p.isSame(request) && closed != p {
			v.givePending(name, closed)
		}
	}
	if p, known := b.awaited.find(v.sealed.browser, request.answer); known {
		b.awaited.put(p.answered(v.now))
	}
}

// newestBrowser is the browser that sent the newest pending request; zero if none had an ID.
func (v *visit) newestBrowser() sessionstate.BrowserID {
	var newest pendingRequest
	for _, p := range v.pending {
		if !p.browser.IsZero() && p.issued.After(newest.issued) {
			newest = p
		}
	}
	return newest.browser
}
