package logout

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// The user's answers to the question whether to sign out.
const (
	AnswerSignOut = "sign_out"
	answerStay    = "stay"
)

// A logoutExchange is one request of the endpoint and its response.
type logoutExchange struct {
	*browser.Cookies // nil until they are read

	op   *handlers.OP
	w    http.ResponseWriter
	r    *http.Request
	next caddyhttp.Handler

	session  *registry.Session // the browser's, as it is recorded; nil: unknown
	request  logoutRequest
	answered [16]byte // the one-time value of the question that the user answered; zero: none
	proved   bool     // the OP's answer shows that its own session has ended
}

// Serve answers a logout request (GET, POST) or takes the user's answer (POST). It never returns
// an error: Caddy would log it with the URL, and the hint in that.
//
// Only requests that load a whole tab are acted upon. Frames and images are answered and nothing
// is done: some apps load their sign-out so, but so do pages that wish the user ill. The author of
// a script reads what to do instead.
func (e *EndSession) Serve(
	op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler,
) error {
	if !e.AccessLog {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
	exchange.ForbidCaching(w.Header())
	w.Header().Set("Referrer-Policy", "same-origin")
	l := &logoutExchange{op: op, w: w, r: r, next: next}
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
	case exchange.IsEarly(r):
		w.WriteHeader(http.StatusTooEarly)
	case exchange.IsSpeculative(r):
		// A success would be shown at the click, which would sign out nobody.
		w.WriteHeader(http.StatusServiceUnavailable)
	case exchange.IsFetched(r):
		e.refuseFetch(l)
	case r.Method == http.MethodHead || !exchange.IsNavigation(r):
		w.WriteHeader(http.StatusOK)
	case e.AllowHintOnly && !e.isConfirmation(op, r.URL.Path) && isServerCall(op, r):
		e.serveHintOnly(l)
	default:
		e.serve(l)
	}
	return nil
}

// serve serves a request of a browser's tab.
func (e *EndSession) serve(l *logoutExchange) {
	keys, err := e.env.Keys(handlers.RecordingContext(l.r))
	if err != nil {
		// Without the keys nothing is known of the session, and no question can be asked.
		e.show(l, http.StatusServiceUnavailable,
			assets.View{Page: assets.PageError, Problem: assets.ProblemOPFailed})
		return
	}
	l.Cookies = browser.ReadCookies(e.env, l.op, keys, l.r)
	l.Flush()
	e.noteLoginCookies(l)
	switch {
	case e.isConfirmation(l.op, l.r.URL.Path):
		e.serveAnswer(l)
	case l.r.Method == http.MethodGet && l.r.URL.Query().Has(parkedParameter):
		e.serveParked(l)
	default:
		e.serveRequest(l)
	}
}

// serveRequest serves the logout request of an app, or of nobody. If another site's page posts it,
// the browser comes back by a navigation: the OP's Lax cookies come with that, and not with such a
// POST (RFC 6265bis, section 5.6.7.1).
func (e *EndSession) serveRequest(l *logoutExchange) {
	err := e.readRequest(l)
	l.session = e.findSession(l, l.Sealed.Session)
	if err != nil {
		e.refuse(l, err)
		return
	}
	if isCrossSitePost(l.op, l.r) {
		e.redirectToSelf(l, sealedLogout{Request: l.request})
		return
	}
	e.decide(l)
}

// isCrossSitePost reports whether a POST comes from another site's page, or another origin's.
func isCrossSitePost(op *handlers.OP, r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site != "same-origin" && site != "none"
	}
	origin := r.Header.Get("Origin")
	return origin != "" && origin != op.Origin
}

// serveParked goes on with a request that the browser was sent back with.
func (e *EndSession) serveParked(l *logoutExchange) {
	sealed := l.r.URL.Query().Get(parkedParameter)
	parked, ok := openLogout(l.Cookies, parkedPurpose, sealed)
	l.session = e.findSession(l, l.Sealed.Session)
	if !ok || !parked.isLive(l.Now) {
		e.askAgain(l)
		return
	}
	l.request = parked.Request
	parked.addEnded(l.Ended...) // not recorded until now
	switch {
	case !parked.Ended || !parked.isOfBrowser(l.Sealed.Browser):
		e.decide(l)
	case l.hasSession():
		e.ask(l) // the user has signed in since
	case parked.Failed:
		e.finish(l, "", parked)
	case e.cookieSurvived(l.r, parked.Carried):
		e.fail(l, parked, notEnded("the browser still has its cookies",
			"have clear_cookies name their domain or path as the OP sets them"))
	default:
		e.finish(l, "signed out", parked)
	}
}

// serveAnswer takes the user's answer: from a page of this origin, in the browser and the session
// that were asked, once. The second answer of a double click gets the response of the first.
func (e *EndSession) serveAnswer(l *logoutExchange) {
	if l.r.Method != http.MethodPost {
		l.redirect(e.PathAt(l.op)) // reloaded, or followed as a link
		return
	}
	form, err := readForm(l.w, l.r)
	l.session = e.findSession(l, l.Sealed.Session)
	if err != nil {
		e.refuse(l, err)
		return
	}
	question, ok := openLogout(l.Cookies, confirmationPurpose, form.Get("confirmation"))
	if ok && question.isOfBrowser(l.Sealed.Browser) {
		l.request, l.answered = question.Request, question.Value
	}
	if !ok || isCrossSitePost(l.op, l.r) || !question.isLive(l.Now) || !question.isOf(l.Cookies) {
		e.askAgain(l)
		return
	}
	answer := form.Get("answer")
	switch first, before := e.answerOnce(l, answer); {
	case first && answer == AnswerSignOut, before == AnswerSignOut && l.mayRepeat():
		e.signOut(l)
	case answer == answerStay && (first || before == answerStay):
		e.log(l, "stayed")
		e.show(l, http.StatusOK, assets.View{Page: assets.PageSignedIn})
	default:
		e.askAgain(l)
	}
}

// answerOnce records the answer to a question. It reports whether that is the first, and returns
// the one before if not, unless that is too old to be repeated. While the registry is unavailable
// an answer may be given again: it is still that of this browser and session, and expires.
func (e *EndSession) answerOnce(l *logoutExchange, answer string) (first bool, before string) {
	if answer != AnswerSignOut && answer != answerStay {
		answer = "" // nothing else that a form may hold is recorded
	}
	answered := answer + " " + strconv.FormatInt(l.Now.Unix(), 10)
	first, before, err := e.env.Registry.Once(handlers.RecordingContext(l.r),
		l.op.Issuer, l.answered, answered, l.Now.Add(confirmationLifetime))
	if err != nil {
		handlers.LogUnrecorded(e.env.Logger, "that a sign-out was confirmed is not recorded", err)
		return true, ""
	}
	before, at, _ := strings.Cut(before, " ")
	if when, err := strconv.ParseInt(at, 10, 64); first || err != nil ||
		l.Now.Sub(time.Unix(when, 0)) >= repeatedWithin {
		before = ""
	}
	return first, before
}
