package signin

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// pushedLifetime is how long a pushed request is kept in memory. One that is forgotten, or was
// pushed to another server, is blind.
const pushedLifetime = 10 * time.Minute

// ServePushed passes a pushed authorization request on (RFC 9126). If the OP accepts it, it is
// kept: the browser's request_uri will stand for it.
func (o *Observer) ServePushed(
	op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler,
) error {
	if r.Method != http.MethodPost {
		return next.ServeHTTP(w, r)
	}
	parameters, r := exchange.ReadForm(r)
	request, ok := readRequestParameters(op, withClientID(r, parameters), o.env.Now())
	if !ok || isRepeated(parameters) {
		return next.ServeHTTP(w, r)
	}
	keep := func(header http.Header, body []byte) []byte {
		var response struct {
			RequestURI string `json:"request_uri"`
		}
		plain, err := exchange.Decode(header, body, exchange.MaxJSON)
		if err == nil && json.Unmarshal(plain, &response) == nil && response.RequestURI != "" {
			o.pushed.Put(handlers.Hash(response.RequestURI), request)
		}
		return nil
	}
	decide := func(status int, header http.Header) *exchange.Hold {
		accepted := status == http.StatusCreated || status == http.StatusOK
		if !accepted || !exchange.IsJSON(header) {
			return nil
		}
		return &exchange.Hold{Limit: exchange.MaxJSON, Edit: keep}
	}
	return exchange.Observe(w, exchange.Unencoded(r), next, decide)
}

// withClientID adds the client ID of HTTP Basic authentication to a form that names no client (RFC
// 6749, section 2.3.1).
func withClientID(r *http.Request, parameters url.Values) url.Values {
	if parameters.Has("client_id") {
		return parameters
	}
	user, _, _ := r.BasicAuth()
	id, _ := url.QueryUnescape(user)
	return mergedParameters(parameters, map[string]string{"client_id": id})
}

// findPushed returns what a client pushed, as a request made now. known is false when it is
// forgotten, or another client's.
func (o *Observer) findPushed(
	uri, clientID string, now time.Time,
) (pushed browser.PendingRequest, known bool) {
	pushed, known = o.pushed.Get(handlers.Hash(uri))
	if !known || now.Sub(pushed.Issued) >= pushedLifetime || pushed.ClientID != clientID {
		return browser.PendingRequest{}, false
	}
	pushed.Issued = now.Truncate(time.Second)
	return pushed, true
}
