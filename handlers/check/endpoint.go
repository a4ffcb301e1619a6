package check

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// CheckSession configures the check page, which RPs load in a hidden frame: the OP iframe of
// OpenID Connect Session Management 1.0 (section 3.2).
type CheckSession struct {
	// The path of the check page on the issuer's origin; it is the `check_session_iframe` of the
	// discovery document, unless the OP has one of its own. It must begin with a slash, and be
	// neither / nor a path of end_session or of a discovery document. Takes placeholders that are
	// known at start, such as {env.*}.
	//
	// Default: /oidc/check-session, behind the path of the issuer if it has one.
	Path string `json:"path,omitempty"`
}

// Validate reports why the configuration cannot be served.
func (c *CheckSession) Validate() error {
	return handlers.ValidateEndpoint("check_session", c.Path)
}

// An Endpoint serves the check page and answers the page's questions.
type Endpoint struct {
	// Path is the configured one; empty: the default.
	Path string
	// SessionState says whether the page takes the place of the OP's own.
	SessionState handlers.SessionState

	env     handlers.Env
	limiter *limiter
	pages   sync.Map // name of the cookie that the page reads -> *page
}

// Setup prepares the endpoint for requests.
func (e *Endpoint) Setup(env handlers.Env) {
	e.env = env
	e.limiter = newLimiter(env.Now)
}

// PathAt returns the path of the page at an OP.
func (e *Endpoint) PathAt(op *handlers.OP) string {
	return op.EndpointPath(e.Path, handlers.DefaultCheckSessionPath)
}

// Serves reports whether a path is that of the check page.
func (e *Endpoint) Serves(op *handlers.OP, path string) bool {
	return op.IsAt(path, e.Path, handlers.DefaultCheckSessionPath) && e.Owner(op) == ""
}

// Owner returns the member of the provider metadata that has the page's path, which belongs to the
// OP then. It is empty where there is none, or where the page takes the place of that one's.
func (e *Endpoint) Owner(op *handlers.OP) string {
	member := op.Owner(e.PathAt(op))
	if member == "check_session_iframe" && e.SessionState.Replaces(op) {
		return ""
	}
	return member
}

// Members returns what the check page adds to the provider metadata; replace: in place of the OP's
// own.
func (e *Endpoint) Members(op *handlers.OP, replace bool) []exchange.Member {
	if e.Owner(op) != "" {
		return nil
	}
	url := op.Origin + e.PathAt(op)
	return []exchange.Member{{Name: "check_session_iframe", Value: url, Replace: replace}}
}

// Serve answers a request for the check page (GET, HEAD) or a question of the page (POST).
func (e *Endpoint) Serve(op *handlers.OP, w http.ResponseWriter, r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		e.page(op.Cookies.State).serve(w, r)
		return nil
	case http.MethodPost:
		return e.answer(op, w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		return caddyhttp.Error(http.StatusMethodNotAllowed, nil)
	}
}

// A page is the check page of an issuer, with its header by canonical names.
type page struct {
	assets.Page

	header map[string]string
}

// page returns the page that reads a cookie.
func (e *Endpoint) page(cookie string) *page {
	if made, ok := e.pages.Load(cookie); ok {
		return made.(*page)
	}
	p := &page{Page: assets.CheckSession(cookie)}
	// With Caddy's own these are eight fields, and header and page fit the 4 KiB that net/http
	// sends at once: both are kept so by a test. Pages that isolate themselves (COEP) can frame
	// this one only with the two Cross-Origin fields.
	p.header = map[string]string{
		"Content-Type":                 "text/html; charset=utf-8",
		"Content-Length":               strconv.Itoa(len(p.Body)),
		"Content-Security-Policy":      p.ContentSecurityPolicy,
		"Cross-Origin-Resource-Policy": "cross-origin",
		"Cross-Origin-Embedder-Policy": "require-corp",
		"Cache-Control":                "public, max-age=600",
		"Etag":                         p.ETag,
	}
	e.pages.Store(cookie, p)
	return p
}

// serve sends the page. Any page may frame it: it answers each asker about the asker's own origin
// only.
func (p *page) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	for field, value := range p.header {
		header[field] = []string{value} // a slice of its own: handlers in front may change it
	}
	header.Del("X-Frame-Options")
	whole := len(r.Header["If-None-Match"]) == 0 && len(r.Header["Range"]) == 0
	if r.Method == http.MethodGet && whole {
		_, _ = w.Write(p.Body) // at once: ServeContent copies through a buffer, in two writes
		return
	}
	header.Del("Content-Length")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.Body))
}

// answer answers a question of the page. Questions are taken from pages of the issuer's own origin
// only, never in early data, and up to a rate per address and per handle.
func (e *Endpoint) answer(op *handlers.OP, w http.ResponseWriter, r *http.Request) error {
	exchange.ForbidCaching(w.Header())
	if exchange.IsEarly(r) {
		return caddyhttp.Error(http.StatusTooEarly, nil)
	}
	if r.Header.Get("Origin") != op.Origin {
		err := errors.New("the question does not come from the check page")
		return caddyhttp.Error(http.StatusForbidden, err)
	}
	q, err := readQuestion(w, r)
	if err != nil {
		return caddyhttp.Error(http.StatusBadRequest, err)
	}
	_, salt, _ := sessionstate.Split(q.sessionState)
	if !e.limiter.allow(handlers.ClientAddress(r), salt) {
		w.Header().Set("Retry-After", "10")
		return caddyhttp.Error(http.StatusTooManyRequests, nil)
	}
	answer, err := e.judge(op, r, q)
	if err != nil {
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err = io.WriteString(w, string(answer))
	return err
}
