package handlers

import (
	"encoding/json"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Bounds of what is remembered of pushed requests. One that is forgotten, or was pushed to another server, is told by less: see
// blind.
const (
	pushedLifetime = 10 * time.Minute
	maxPushed      = 1 << 12 // in one generation
)

// A Pushed observes the OP's pushed authorization request endpoint (RFC 9126): what a client pushed there is what the browser's
// request_uri will stand for. It is remembered in memory, for minutes.
type Pushed struct {
	env Env

	mu         sync.Mutex
	young, old map[[16]byte]pushedRequest
}

type pushedRequest struct {
	parameters url.Values
	expires    time.Time
}

// Setup gives the handler its world.
func (p *Pushed) Setup(env Env) { p.env = env }

// Serve passes a pushed request on, and remembers it if the OP takes it.
func (p *Pushed) Serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Method != http.MethodPost {
		return next.ServeHTTP(w, r)
	}
	parameters, r := readForm(r)
	if len(parameters) == 0 {
		return next.ServeHTTP(w, r)
	}
	return observe(w, unencoded(r), next, func(status int, header http.Header) *hold {
		if status != http.StatusCreated && status != http.StatusOK || !isJSON(header) {
			return nil
		}
		return &hold{limit: maxJSON, edit: func(header http.Header, body []byte) []byte {
			p.pushed(parameters, header, body)
			return nil
		}}
	})
}

func (p *Pushed) pushed(parameters url.Values, header http.Header, body []byte) {
	body, err := decoded(header, body, maxJSON)
	if err != nil {
		return
	}
	var response struct {
		RequestURI string `json:"request_uri"`
	}
	if json.Unmarshal(body, &response) == nil && response.RequestURI != "" {
		p.remember(response.RequestURI, kept(parameters))
	}
}

// kept are the parameters that are of use later: what else is pushed, secrets among them, is not kept.
func kept(parameters url.Values) url.Values {
	of := url.Values{}
	for _, name := range []string{"client_id", "redirect_uri", "state", "prompt", "response_mode", "request"} {
		if value := parameters.Get(name); value != "" && len(value) <= maxLocation {
			of.Set(name, value)
		}
	}
	return of
}

func (p *Pushed) remember(uri string, parameters url.Values) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.young == nil || len(p.young) >= maxPushed {
		p.old, p.young = p.young, make(map[[16]byte]pushedRequest)
	}
	p.young[hash16(uri)] = pushedRequest{parameters, p.env.Now().Add(pushedLifetime)}
}

// find returns what a client pushed. known is false when that is not remembered, or another client's.
func (p *Pushed) find(uri, clientID string, now time.Time) (parameters url.Values, known bool) {
	if p == nil {
		return nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	pushed, known := p.young[hash16(uri)]
	if !known {
		pushed, known = p.old[hash16(uri)]
	}
	by := pushed.parameters.Get("client_id")
	if !known || !now.Before(pushed.expires) || by != "" && by != clientID {
		return nil, false
	}
	return mergedParameters(pushed.parameters, map[string]string{"client_id": clientID}), true
}
