package handlers

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// A Browser observes what passes between a browser and the OP: authorization requests, the responses that answer them, and the
// deletion of the OP's own login cookie.
type Browser struct {
	// LoginCookie is the name of the OP's own login cookie. Its deletion ends the session. Default: none.
	LoginCookie string
	// OPLogouts are the requests by which the OP signs users out. Default: none.
	OPLogouts []OPLogout
	// SessionState says what becomes of a session_state of the OP's own. Default: SessionStateAuto.
	SessionState SessionState
	// Pushed knows the pushed authorization requests. Nil: none.
	Pushed *Pushed
	// Issuers returns the issuers of each OP that is configured, this one among them; empty ones count as none. Nil: none.
	Issuers func() [][]string

	// LoginPlace is told where the login cookie is set. Nil: nobody is.
	LoginPlace *LoginPlace
	// OPKeys verify the ID tokens of authorization responses. Nil: none is believed.
	OPKeys *Keys
	// Clients knows the origins of clients whose requests cannot be read. Nil: none.
	Clients *Clients
	// Redemptions is told the codes that clients get. Nil: nobody is.
	Redemptions *Redemptions

	env     Env
	signIns *recent[time.Time] // when a browser was last signed in somewhere
	renewed *recent[time.Time] // when a login cookie was replaced by another value, by the hash of the one before
	origins *recent[struct{}]  // where clients were sent that asked for it: see originKey
	awaited *awaited
}

// Setup gives the handler its world.
func (b *Browser) Setup(env Env) {
	b.env = env
	if b.origins == nil {
		b.origins, b.awaited = new(recent[struct{}]), new(awaited)
		b.signIns, b.renewed = new(recent[time.Time]), new(recent[time.Time])
	}
}

// Validate tells why the configuration cannot be.
func (b *Browser) Validate() error {
	errs := []error{b.SessionState.Validate()}
	for _, logout := range b.OPLogouts {
		errs = append(errs, logout.Validate())
	}
	return errors.Join(errs...)
}

// Involved reports whether a request may be part of what is observed: it is an authorization request, or it carries a pending
// cookie or the login cookie. It costs next to nothing, since every request of the site is asked about.
func (b *Browser) Involved(op *OP, r *http.Request) bool {
	if r.URL.Path == op.AuthorizationPath && op.AuthorizationPath != "" || b.isLogout(op, r) {
		return true
	}
	if len(r.Header["Cookie"]) == 0 {
		return false
	}
	return carries(r, op.cookies.pending) || b.carriesLogin(r) || b.isOPLogout(r)
}

func (b *Browser) carriesLogin(r *http.Request) bool {
	return b.LoginCookie != "" && carries(r, b.LoginCookie+"=")
}

// HasSession reports whether a request carries a sealed cookie of the OP's, without opening it.
func (b *Browser) HasSession(op *OP, r *http.Request) bool {
	return len(r.Header["Cookie"]) > 0 && carries(r, op.cookies.session+"=")
}

// Session returns what the sealed cookie of a request says: the ID of the session, in unpadded base64url, and its browser state.
// Both are empty when the browser is not signed in or the cookie does not open. Whether the session still lives is not asked.
func (b *Browser) Session(op *OP, r *http.Request) (id, browserState string) {
	keys, err := b.env.Keys(r.Context())
	if err != nil {
		return "", ""
	}
	v := newVisit(b.env, op, keys, r)
	if v.sealed.session.IsZero() {
		return "", ""
	}
	return v.sealed.session.String(), v.sealed.state
}

// Serve passes an involved request on and observes the response.
func (b *Browser) Serve(op *OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	asked, r := b.readAuthorizationRequest(op, r)
	if b.isLogout(op, r) {
		asked, r = b.readLogoutRequest(r)
	}
	carried, r := readSubmission(r)
	pending := carries(r, op.cookies.pending)
	read := loadsPage(r) && (pending || asked != nil && asked.is(posting))
	passed := r // which itself stays as it is
	switch {
	case read:
		passed = readable(r)
	case pending:
		passed = r.WithContext(r.Context())
		passed.Header = r.Header.Clone()
	}
	if pending {
		op.cookies.strip(passed)
	}
	if asked == nil && isPartOfPage(r) && !b.carriesLogin(r) && !b.isOPLogout(r) {
		return next.ServeHTTP(w, passed)
	}
	from := arrival{op, asSent(r, next), next, carried, read}
	return observe(w, passed, next, func(status int, header http.Header) *hold {
		defer b.noteRenewal(from, header) // the answer to a request says nothing of the cookie that it came with
		return b.observed(from, asked, status, header)
	})
}

// loadsPage reports whether a request is for a page, of a tab or a frame (Fetch Metadata, section 2.1). No other has an answer by a
// page that posts itself. Engines without that header field name what they can show.
func loadsPage(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "document", "iframe", "frame":
		return true
	case "":
		return strings.Contains(strings.Join(r.Header["Accept"], ","), "text/html")
	}
	return false
}

// isPartOfPage reports whether a request is certain to be for no page, but for something on one: an image, a script, data.
func isPartOfPage(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Dest") != "" && !loadsPage(r)
}

// An arrival is a request of a browser on its way to the OP.
type arrival struct {
	op      *OP
	r       *http.Request
	next    caddyhttp.Handler
	carried submission
	read    bool // its response may have to be read
}

// observed decides on one response. Most are none of our concern, which is told without opening a cookie.
func (b *Browser) observed(from arrival, asked *pendingRequest, status int, header http.Header) *hold {
	op, r := from.op, from.r
	b.noteLoginCookie(op, r, header)
	signedOut := b.loginCookieDeleted(op, r, header)
	opLogout := !signedOut && b.signsOutAtOP(op, r, status, header)
	response, answers := readRedirect(op, r, status, header)
	mayPost := from.read && status == http.StatusOK && mayBeHTML(header)
	mayLeave := b.mayLeave(r, status)
	if !signedOut && !opLogout && !answers && !mayPost && !mayLeave && asked == nil {
		return nil
	}
	keys, err := b.env.Keys(recording(r))
	if err != nil {
		return nil // whoever failed to get them has said so
	}
	v := newVisit(b.env, op, keys, r)
	v.from = from
	v.settle()
	v.patient = asked == nil && len(v.pending) == 0
	if signedOut {
		v.end(registry.ReasonLoginCookie)
	}
	if opLogout {
		v.end(registry.ReasonLogout)
	}
	answered := answers && b.answerRedirect(v, asked, response, header)
	if mayLeave && !answered && leaves(v, asked, header.Get("Location")) {
		v.end(registry.ReasonLogout)
		answered = true
	}
	if asked != nil && !answered && status < http.StatusBadRequest {
		b.await(v, *asked)
	}
	v.writeCookies(header)
	if mayPost && expectsPost(v, asked) {
		return b.holdForm(v, asked)
	}
	return nil
}

// answerRedirect answers by the Location of a redirect.
func (b *Browser) answerRedirect(v *visit, asked *pendingRequest, response redirectResponse, header http.Header) bool {
	sessionState, ok := b.answer(v, asked, response.authorizationResponse)
	if !ok {
		return false
	}
	forbidCaching(header)
	if sessionState != "" && b.SessionState.mayAdd(v.op, response.values) {
		header.Set("Location", response.location.with(sessionState))
	}
	return true
}
