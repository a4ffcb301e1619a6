package check

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// CheckSession serves the check page, which RPs load in a hidden frame (the OP iframe of OpenID
// Connect Session Management 1.0, section 3.2), and answers the page's own questions.
type CheckSession struct {
	// The path of the check page on the issuer's origin; it is the `check_session_iframe` of the
	// discovery document, unless the OP has one of its own. It must begin with a slash, and be
	// neither / nor a path of end_session or of a discovery document. Takes placeholders that are
	// known at start, such as {env.*}.
	// Default: /oidc/check-session, behind the path of the issuer if it has one.
	Path string `json:"path,omitempty"`

	// SessionState says whether the page takes the place of the OP's own.
	SessionState handlers.SessionState `json:"-"`

	env     handlers.Env
	limiter *limiter
	pages   sync.Map // cookie name -> *servedPage
}

// Setup gives the handler its world.
func (c *CheckSession) Setup(env handlers.Env) {
	c.env = env
	c.limiter = newLimiter(env.Now)
}

// Validate reports why the configuration cannot be served.
func (c *CheckSession) Validate() error { return handlers.ValidateEndpoint("check_session", c.Path) }

// Serves reports whether a path is that of the check page.
func (c *CheckSession) Serves(op *handlers.OP, path string) bool {
	return op.IsAt(path, c.Path, handlers.DefaultCheckSessionPath) && c.Owner(op) == ""
}

// Owner returns the member of the OP's metadata that has the page's path, which is the OP's then;
// empty: none has, or the page is to take that one's place.
func (c *CheckSession) Owner(op *handlers.OP) string {
	member := op.Owner(op.EndpointPath(c.Path, handlers.DefaultCheckSessionPath))
	if member == "check_session_iframe" && c.SessionState.Replaces(op) {
		return ""
	}
	return member
}

// Members are what the check page adds to the discovery document; replace: in place of the OP's
// own.
func (c *CheckSession) Members(op *handlers.OP, replace bool) []exchange.Member {
	if c.Owner(op) != "" {
		return nil
	}
	return []exchange.Member{{Name: "check_session_iframe", Value: op.Origin + op.EndpointPath(c.Path, handlers.DefaultCheckSessionPath), Replace: replace}}
}

// Serve answers a request for the check page (GET, HEAD) or from it (POST).
func (c *CheckSession) Serve(op *handlers.OP, w http.ResponseWriter, r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		c.servePage(op, w, r)
		return nil
	case http.MethodPost:
		return c.serveCheck(op, w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		return caddyhttp.Error(http.StatusMethodNotAllowed, nil)
	}
}

// servePage serves the page, which any page may frame: it tells each asker nothing but of the
// asker's own origin.
func (c *CheckSession) servePage(op *handlers.OP, w http.ResponseWriter, r *http.Request) {
	page := c.page(op.Cookies.State)
	header := w.Header()
	for field, value := range page.header {
		header[field] = []string{value} // its own: what stands in front may change it
	}
	header.Del("X-Frame-Options")
	if r.Method == http.MethodGet && len(r.Header["If-None-Match"]) == 0 && len(r.Header["Range"]) == 0 {
		_, _ = w.Write(page.Body) // at once: ServeContent copies through a buffer, in two writes
		return
	}
	header.Del("Content-Length")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(page.Body))
}

// A servedPage is the check page of an issuer, with its header.
type servedPage struct {
	assets.Page

	header map[string]string // by canonical names
}

func (c *CheckSession) page(cookieName string) *servedPage {
	if page, ok := c.pages.Load(cookieName); ok {
		return page.(*servedPage)
	}
	page := &servedPage{Page: assets.CheckSession(cookieName)}
	// With Caddy's own these are eight fields, and header and page fit the 4 KiB that net/http
	// sends at once: both are kept so by a test. Pages that isolate themselves (COEP) can frame
	// this one only with the two Cross-Origin fields.
	page.header = map[string]string{
		"Content-Type":                 "text/html; charset=utf-8",
		"Content-Length":               strconv.Itoa(len(page.Body)),
		"Content-Security-Policy":      page.ContentSecurityPolicy,
		"Cross-Origin-Resource-Policy": "cross-origin",
		"Cross-Origin-Embedder-Policy": "require-corp",
		"Cache-Control":                "public, max-age=600",
		"Etag":                         page.ETag,
	}
	c.pages.Store(cookieName, page)
	return page
}

// A verdict is what the server says of a session_state: one word, the whole body of the answer.
type verdict string

const (
	verdictUnchanged verdict = "unchanged" // the session lives
	verdictChanged   verdict = "changed"   // the session has ended or expired
	verdictError     verdict = "error"     // it was given to another client or origin
	verdictUnknown   verdict = "unknown"   // nothing is known of it: the page's cookie decides
)

// A check is one question of the page.
type check struct {
	clientID, sessionState, origin string
	browserState                   string // empty: the page could not read it
}

// serveCheck answers the page's question. It takes questions only from pages of the issuer's own
// origin, none in early data, and so many an address and a handle.
func (c *CheckSession) serveCheck(op *handlers.OP, w http.ResponseWriter, r *http.Request) error {
	exchange.ForbidCaching(w.Header())
	if exchange.IsEarly(r) {
		return caddyhttp.Error(http.StatusTooEarly, nil)
	}
	if r.Header.Get("Origin") != op.Origin {
		return caddyhttp.Error(http.StatusForbidden, errors.New("the question does not come from the check page"))
	}
	q, err := readCheck(w, r)
	if err != nil {
		return caddyhttp.Error(http.StatusBadRequest, err)
	}
	_, salt, _ := sessionstate.Split(q.sessionState)
	if !c.limiter.allow(handlers.ClientAddress(r), salt) {
		w.Header().Set("Retry-After", "10")
		return caddyhttp.Error(http.StatusTooManyRequests, nil)
	}
	answer, err := c.verdict(op, r, q)
	if err != nil {
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err = io.WriteString(w, string(answer))
	return err
}

var errNoCheck = errors.New("a check has the form parameters client_id, session_state and origin, each once")

func readCheck(w http.ResponseWriter, r *http.Request) (check, error) {
	if contentType := r.Header.Get("Content-Type"); contentType != exchange.FormType { // XMLHttpRequest may add a charset
		if mediaType, _, err := mime.ParseMediaType(contentType); err != nil || mediaType != exchange.FormType {
			return check{}, errNoCheck
		}
	}
	body := bytes.NewBuffer(make([]byte, 0, 1<<10))
	if _, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, handlers.MaxCheck)); err != nil {
		return check{}, errNoCheck
	}
	form, err := url.ParseQuery(body.String())
	if err != nil || len(form["client_id"]) != 1 || len(form["session_state"]) != 1 || len(form["origin"]) != 1 || len(form["browser_state"]) > 1 {
		return check{}, errNoCheck
	}
	q := check{form.Get("client_id"), form.Get("session_state"), form.Get("origin"), form.Get("browser_state")}
	if q.clientID == "" || q.sessionState == "" || q.origin == "" || len(q.sessionState) > handlers.MaxSessionState {
		return check{}, errNoCheck
	}
	return q, nil
}

// verdict judges a session_state by its handle. A forged handle, one of a session that is not
// recorded, and that of a browser which was not signed in are answered alike to whoever has no
// browser state to show: they must not learn which it was.
func (c *CheckSession) verdict(op *handlers.OP, r *http.Request, q check) (verdict, error) {
	keys, err := c.env.Keys(r.Context())
	if err != nil {
		return "", err
	}
	_, salt, _ := sessionstate.Split(q.sessionState)
	handle, err := keys.OpenHandle(op.Issuer, salt)
	if err != nil {
		return verdictUnknown, nil
	}
	if !handle.IsFor(q.clientID, q.origin) {
		return verdictError, nil
	}
	if handle.Session.IsZero() {
		return anonymousVerdict(op, keys, q), nil
	}
	state, session, err := c.env.Registry.Resolve(handlers.RecordingContext(r), registry.Ref{Session: handle.Session, Response: handle.Response, Until: handle.Until})
	switch {
	case err != nil:
		handlers.LogUnrecorded(c.env.Logger, "a check cannot be answered", err)
		return verdictUnknown, nil
	case state == registry.Unknown:
		return verdictUnknown, nil // forgotten or lost, which is no sign-out
	case state == registry.Ended:
		return verdictChanged, nil
	case q.browserState != "" && keys.IsAnonymousState(op.Issuer, q.browserState):
		// The browser itself was told that it is signed out, though this registry was not: it
		// could not be asked then, or another server did it.
		return verdictChanged, nil
	case sessionstate.IsBrowserState(q.browserState) && !keys.IsBrowserState(op.Issuer, session.ID, q.browserState):
		// The browser has gone on to a session of its own, which this registry need not know: it
		// lost its cookies meanwhile, or signed out and in at another server. Its cookie knows
		// better.
		return verdictUnknown, nil
	default:
		return verdictUnchanged, nil
	}
}

// anonymousVerdict judges the state of a browser that was not signed in. What it was not signed in
// under one key it is not under another: while a key is rotated, servers differ in which they use.
// The asker learns nothing that it could not compute.
func anonymousVerdict(op *handlers.OP, keys *sessionstate.Keyring, q check) verdict {
	if keys.IsAnonymousState(op.Issuer, q.browserState) && keys.VerifyAnonymous(op.Issuer, q.sessionState, q.clientID, q.origin) {
		return verdictUnchanged
	}
	return verdictUnknown
}
