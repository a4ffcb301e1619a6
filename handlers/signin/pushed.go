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

// pushedLifetime is how long a pushed request is remembered. One that is forgotten, or was pushed
// to another server, is blind.
const pushedLifetime = 10 * time.Minute

// A Pushed observes the OP's pushed authorization request endpoint (RFC 9126): what a client
// pushed there is what the browser's request_uri will stand for. It is remembered in memory, for
// minutes.
type Pushed struct {
	env      handlers.Env
	requests handlers.Recent[browser.PendingRequest] // by the hash of the request_uri
}

// Setup gives the handler its world.
func (p *Pushed) Setup(env handlers.Env) { p.env = env }

// Serve passes a pushed request on, and remembers it if the OP takes it.
func (p *Pushed) Serve(op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Method != http.MethodPost {
		return next.ServeHTTP(w, r)
	}
	parameters, r := exchange.ReadForm(r)
	pushed, ok := readRequestParameters(op, withClientID(r, parameters), p.env.Now())
	if !ok || isRepeated(parameters) {
		return next.ServeHTTP(w, r)
	}
	return exchange.Observe(w, exchange.Unencoded(r), next, func(status int, header http.Header) *exchange.Hold {
		if status != http.StatusCreated && status != http.StatusOK || !exchange.IsJSON(header) {
			return nil
		}
		return &exchange.Hold{Limit: exchange.MaxJSON, Edit: func(header http.Header, body []byte) []byte {
			p.pushed(pushed, header, body)
			return nil
		}}
	})
}

func (p *Pushed) pushed(pushed browser.PendingRequest, header http.Header, body []byte) {
	body, err := exchange.Decode(header, body, exchange.MaxJSON)
	if err != nil {
		return
	}
	var response struct {
		RequestURI string `json:"request_uri"`
	}
	if json.Unmarshal(body, &response) == nil && response.RequestURI != "" {
		p.requests.Put(handlers.Hash(response.RequestURI), pushed)
	}
}

// withClientID adds the client ID of HTTP Basic authentication, where a client is not named in the
// form (RFC 6749, section 2.3.1).
func withClientID(r *http.Request, parameters url.Values) url.Values {
	if parameters.Has("client_id") {
		return parameters
	}
	user, _, _ := r.BasicAuth()
	id, err := url.QueryUnescape(user)
	if err != nil {
		return parameters
	}
	return mergedParameters(parameters, map[string]string{"client_id": id})
}

// find returns what a client pushed, as a request made now. known is false when that is not
// remembered, or another client's.
func (p *Pushed) find(uri, clientID string, now time.Time) (pushed browser.PendingRequest, known bool) {
	if p == nil {
		return browser.PendingRequest{}, false
	}
	pushed, known = p.requests.Get(handlers.Hash(uri))
	if !known || now.Sub(pushed.Issued) >= pushedLifetime || pushed.ClientID != clientID {
		return browser.PendingRequest{}, false
	}
	pushed.Issued = now.Truncate(time.Second)
	return pushed, true
}
