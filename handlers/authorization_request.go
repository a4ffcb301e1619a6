package handlers

import (
	"net/http"
	"net/url"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// readAuthorizationRequest reads the request at the authorization endpoint (OpenID Connect Core 1.0, section 3.1.2.1); nil where
// it is none, or none that can be observed. It returns the request to pass on, since a form has to be read to be known.
func readAuthorizationRequest(op *OP, r *http.Request, now time.Time) (*pendingRequest, *http.Request) {
	if op.AuthorizationPath == "" || r.URL.Path != op.AuthorizationPath {
		return nil, r
	}
	var parameters url.Values
	switch r.Method {
	case http.MethodGet:
		parameters, _ = url.ParseQuery(r.URL.RawQuery) // what can be read is read: the OP judges the rest
	case http.MethodPost:
		parameters, r = readForm(r)
	}
	asked, ok := newPendingRequest(parameters.Get("client_id"), parameters.Get("redirect_uri"), parameters.Get("state"), now)
	if !ok {
		return nil, r
	}
	return &asked, r
}

// await remembers the request until it is answered, and the browser that it came from.
func (v *visit) await(asked pendingRequest) {
	name := v.op.cookies.pending + asked.id()
	if _, known := v.pending[name]; !known {
		v.forgetOldest()
	}
	v.set(v.op.cookies.cookie(name, asked.seal(v.keys, v.op.Issuer), pendingLifetime, false))
	if v.topLevel() && v.sealed.browser.IsZero() {
		v.sealed.browser = sessionstate.NewBrowserID()
		v.giveSession()
	}
}

// forgetOldest makes room for one more pending request.
func (v *visit) forgetOldest() {
	for len(v.pending) >= maxPending {
		oldest := ""
		for name, p := range v.pending {
			if oldest == "" || p.issued.Before(v.pending[oldest].issued) {
				oldest = name
			}
		}
		delete(v.pending, oldest)
		v.set(v.op.cookies.deletion(oldest))
	}
}
