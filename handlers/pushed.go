package handlers

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// pushedLifetime is how long a pushed request is remembered. One that is forgotten, or was pushed to another server, is blind.
const pushedLifetime = 10 * time.Minute

// A Pushed observes the OP's pushed authorization request endpoint (RFC 9126): what a client pushed there is what the browser's
// request_uri will stand for. It is remembered in memory, for minutes.
type Pushed struct {
	env      Env
	requests recent[pendingRequest] // by the hash of the request_uri
}

// Setup gives the handler its world.
func (p *Pushed) Setup(env Env) { p.env = env }

// Serve passes a pushed request on, and remembers it if the OP takes it.
func (p *Pushed) Serve(op *OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Method != http.MethodPost {
		return next.ServeHTTP(w, r)
	}
	parameters, r := readForm(r)
	pushed, ok := readRequestParameters(op, withClientID(r, parameters), p.env.Now())
	if !ok || isRepeated(parameters) {
		return next.ServeHTTP(w, r)
	}
	return observe(w, unencoded(r), next, func(status int, header http.Header) *hold {
		if status != http.StatusCreated && status != http.StatusOK || !isJSON(header) {
			return nil
		}
		return &hold{limit: maxJSON, edit: func(header http.Header, body []byte) []byte {
			p.pushed(pushed, header, body)
			return nil
		}}
	})
}

func (p *Pushed) pushed(pushed pendingRequest, header http.Header, body []byte) {
	body, err := decoded(header, body, maxJSON)
	if err != nil {
		return
	}
	var response struct {
		RequestURI string `json:"request_uri"`
	}
	if json.Unmarshal(body, &response) == nil && response.RequestURI != "" {
		p.requests.put(hash16(response.RequestURI), pushed)
	}
}

// withClientID adds the client ID of HTTP Basic authentication, where a client is not named in the form (RFC 6749, section 2.3.1).
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

// find returns what a client pushed, as a request made now. known is false when that is not remembered, or another client's.
func (p *Pushed) find(uri, clientID string, now time.Time) (pushed pendingRequest, known bool) {
	if p == nil {
		return pendingRequest{}, false
	}
	pushed, known = p.requests.get(hash16(uri))
	if !known || now.Sub(pushed.issued) >= pushedLifetime || pushed.clientID != clientID {
		return pendingRequest{}, false
	}
	pushed.issued = now.Truncate(time.Second)
	return pushed, true
}
