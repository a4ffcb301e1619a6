package logout

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A logoutExchange is one request of a browser that is to be signed out.
type logoutExchange struct {
	*browser.Cookies

	op      *handlers.OP
	w       http.ResponseWriter
	r       *http.Request
	next    caddyhttp.Handler
	request logoutRequest

	proved      bool     // the OP's answer shows that its own session has ended
	confirmed   bool     // the user has said so to a page of ours, in this browser
	confirmedBy [16]byte // the one-time value of the question that was answered; zero: none was

	looked bool              // found is what is recorded of the browser's session
	found  *registry.Session // nil: it is not known
}

// parkedParameter is the parameter of our own URL that a parked request goes on at.
const parkedParameter = "request"

// isCrossSitePost reports whether a POST comes from another site's page, or from one that does not
// say.
func isCrossSitePost(op *handlers.OP, r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "":
		origin := r.Header.Get("Origin")
		return origin != "" && origin != op.Origin
	default:
		return site != "same-origin" && site != "none"
	}
}

// redirectToSelf has the browser come back with all of its cookies.
func (e *EndSession) redirectToSelf(l *logoutExchange, s sealedLogout) {
	l.redirect(e.next(l, s))
}

// next is where the browser goes on. What says that it has been signed out is for this browser
// alone. A parked request is for any: a POST of another site comes without cookies.
func (e *EndSession) next(l *logoutExchange, s sealedLogout) string {
	if s.Ended {
		s.Browser = l.boundBrowser()
	}
	return e.PathAt(l.op) + "?" + url.Values{parkedParameter: {s.seal(l.Cookies, parkedPurpose)}}.Encode()
}

// redirect sends the browser elsewhere, by GET whatever it came by.
func (l *logoutExchange) redirect(location string) {
	l.Write(l.w.Header())
	l.w.Header().Set("Location", location)
	l.w.WriteHeader(http.StatusSeeOther)
}

// serveParked goes on with a request that the browser was sent back with.
func (e *EndSession) serveParked(l *logoutExchange) {
	parked, ok := openLogout(l.Cookies, parkedPurpose, l.r.URL.Query().Get(parkedParameter))
	if !ok || !parked.isLive(l.Now) {
		e.askAgain(l)
		return
	}
	l.request = parked.Request
	parked.Sessions = append(parked.Sessions, sessionIDs(l.Ended)...) // not recorded until now
	switch {
	case !parked.Ended || !parked.isOfBrowser(l.Sealed.Browser):
		e.decide(l)
	case e.hasSession(l):
		e.ask(l) // signed in since: nothing of before holds any more
	case parked.Failed:
		e.showFailed(l, parked)
	case e.cookieSurvived(l.r, parked.Carried):
		e.logFailed(l, &browser.NotEndedError{Why: "the browser still has its cookies", Advice: "have clear_cookies name their domain or path as the OP sets them"})
		e.showFailed(l, parked)
	default:
		e.finish(l, "signed out", parked)
	}
}

// decide signs the user out, or asks first (RP-Initiated Logout 1.0, section 2). Who is not signed
// in is not asked, and it is no error (section 4).
func (e *EndSession) decide(l *logoutExchange) {
	switch {
	case !e.isSignedIn(l):
		e.finishSignedOut(l)
	case e.mustAsk(l):
		e.ask(l)
	default:
		e.signOut(l)
	}
}

// finishSignedOut sends on who is not signed in, maybe since a moment ago and without knowing it
// yet.
func (e *EndSession) finishSignedOut(l *logoutExchange) {
	before := e.endedBefore(l)
	if before.Ended {
		l.forgetSession()
	}
	e.finish(l, "not signed in", before)
}

// isSignedIn reports whether there is, or may be, a session to end: ours as far as it is known, or
// the OP's own by its cookies.
func (e *EndSession) isSignedIn(l *logoutExchange) bool {
	return e.hasSession(l) || e.mayBeSignedInAtOP(l)
}

// hasSession reports whether our own session lives, as far as it is known.
func (e *EndSession) hasSession(l *logoutExchange) bool {
	if l.Sealed.Session.IsZero() {
		return false
	}
	session, known := e.session(l)
	return !known || session.Live(registry.At(l.Now))
}

// mayBeSignedInAtOP reports whether the browser may be signed in at the OP itself. Where no name
// of its cookies is known for certain, any that is not ours may say so.
func (e *EndSession) mayBeSignedInAtOP(l *logoutExchange) bool {
	unnamed := len(e.loginNames()) == 0 || e.LoginCookiePaths.IsDoubted()
	if e.carriesLogin(l.r) || e.LoginCookiePaths.IsSet() && !e.wouldBring(l.op, l.r) {
		return true
	}
	// else it has no session that could be ended
	return e.endsAtOP() && unnamed && !e.wouldBring(l.op, l.r) && l.hasOPCookie()
}

// hasOPCookie reports whether the browser has a cookie that is not ours.
func (l *logoutExchange) hasOPCookie() bool {
	for _, cookie := range l.r.Cookies() {
		if names := l.op.Cookies; cookie.Name != names.Session && cookie.Name != names.State && !strings.HasPrefix(cookie.Name, names.Pending) {
			return true
		}
	}
	return false
}

// cookieSurvived reports whether the browser still has, or may have, what it was signed in by at
// the OP, of the cookies that were cleared: the login cookie where that is known, for another may
// be that of a neighbour on the same domain. So may one more of its name: if the browser has fewer
// of it than it had before, the OP's own is gone.
func (e *EndSession) cookieSurvived(r *http.Request, before []int) bool {
	for i, n := range e.countCleared(r) {
		name := e.ClearCookies[i].Name
		switch {
		case n == 0 || e.LoginCookie != "" && name != e.LoginCookie:
		case i < len(before) && n < before[i]:
		case name == e.LoginCookie && e.LoginCookiePaths.IsCleared(e.ClearCookies):
		default:
			return true
		}
	}
	return false
}

// countCleared returns how many cookies the browser has of the name of each that is cleared.
func (e *EndSession) countCleared(r *http.Request) []int {
	counts := make([]int, len(e.ClearCookies))
	for i, cookie := range e.ClearCookies {
		counts[i] = exchange.CountCookies(r, cookie.Name)
	}
	return counts
}

// session returns the browser's session, or the one that took its place when the user switched.
// known is false when the registry has not recorded it, or cannot be asked. It is asked once.
func (e *EndSession) session(l *logoutExchange) (session *registry.Session, known bool) {
	if !l.looked {
		l.looked, l.found = true, e.lookUp(l, l.Sealed.Session)
	}
	return l.found, l.found != nil
}

func (e *EndSession) lookUp(l *logoutExchange, next sessionstate.SessionID) *registry.Session {
	recorded, err := e.env.Registry.Browser(l.r.Context(), registry.PlaceOfSession(next))
	if err != nil {
		return nil
	}
	var found *registry.Session
	for range recorded {
		i := slices.IndexFunc(recorded, func(s *registry.Session) bool { return s.ID == next })
		if i < 0 || next.IsZero() {
			break
		}
		found, next = recorded[i], recorded[i].Successor
	}
	return found
}

// mustAsk reports whether the user has to be asked: always if configured so, else unless the hint
// is that of a client which takes part in this very session, as this very user (section 2).
func (e *EndSession) mustAsk(l *logoutExchange) bool {
	if e.Confirm == ConfirmAlways || !l.request.Hinted || l.Sealed.Session.IsZero() || e.strictCookieWithheld(l) {
		return true
	}
	session, known := e.session(l)
	if !known || !session.Live(registry.At(l.Now)) && !wasLeft(session, l.Now) {
		return true
	}
	client := session.Client(l.request.ClientID)
	return client == nil || !l.request.fits(client)
}

// strictCookieWithheld reports whether the browser may have a login cookie that it did not send,
// because another site's page sent it here (SameSite=Strict). The answer to a question comes from
// our own page, and brings it along.
func (e *EndSession) strictCookieWithheld(l *logoutExchange) bool {
	return e.LoginCookie != "" && !exchange.HasCookie(l.r, e.LoginCookie) && e.LoginCookiePaths.MayWithhold(l.op, l.r) && !e.LoginCookiePaths.Comes(l.r)
}

// fits reports whether the hint names the user, and the OP's session where both name one, as the
// client's own ID tokens did.
func (q logoutRequest) fits(client *registry.Client) bool {
	for _, subject := range client.Subjects {
		if subject.Sub == q.Subject && (q.SessionID == "" || subject.Sid == "" || subject.Sid == q.SessionID) {
			return true
		}
	}
	return false
}

// signOut ends the OP's own session, then ours, and sends the browser on. If the OP's part fails,
// ours ends all the same, and the user is told.
func (e *EndSession) signOut(l *logoutExchange) {
	session := l.Sealed.Session
	err := e.endAtOPOnce(l)
	looks := e.clearCookies(l)
	if err == nil && !looks {
		err = e.unproved(l)
	}
	l.Patient, l.AskedBy = true, l.request.ClientID
	if l.request.Redirect != "" { // first its user goes back there
		l.AskedWait = AskedWait
	}
	l.End(registry.ReasonLogout)
	if !e.endsAtOP() && l.hasOPCookie() {
		e.nothingAt.Do(func() { // by one of the cookies, the user may still be signed in there
			e.env.Logger.Warn("end_session ends no session at the OP itself", zap.String("issuer", l.op.Issuer),
				zap.String("advice", "if the OP signs users in by a cookie, set login_cookie, clear_cookies or upstream"))
		})
	}
	signedOut := sealedLogout{Request: l.request, Ended: true, Failed: err != nil, Sessions: e.endedSessions(l, session)}
	signedOut.Carried = e.countCleared(l.r)
	if err != nil {
		e.logFailed(l, err)
		e.showFailed(l, signedOut)
		return
	}
	if looks {
		e.redirectToSelf(l, signedOut) // to see that they are gone
		return
	}
	e.finish(l, "signed out", signedOut)
}

// isUnrecorded reports whether the end of a session is in the browser's cookies only: no client
// is notified of it before the browser is back at the OP.
func (l *logoutExchange) isUnrecorded() bool { return len(l.Sealed.Owed.Ids()) > 0 }

// sessionIDs are the IDs of sessions, for the receipt.
func sessionIDs(sessions []*registry.Session) [][]byte {
	var ids [][]byte
	for _, session := range sessions[:min(len(sessions), maxReceipts)] {
		ids = append(ids, session.ID[:])
	}
	return ids
}

// showFailed tells that the OP's part has failed, and offers to try again. The clients are told
// all the same.
func (e *EndSession) showFailed(l *logoutExchange, done sealedLogout) {
	done.Failed = true
	told, left, shown := e.notify(l, done)
	if shown {
		return
	}
	e.show(l, http.StatusBadGateway, told.view(assets.View{
		Page: assets.PageError, Problem: assets.ProblemOPFailed, Unrecorded: l.isUnrecorded(),
		Action: e.PathAt(l.op) + handlers.ConfirmSuffix, Confirmation: l.confirmation(l.request),
	}, left))
	e.notifyAsking(l, left, 0)
}

// logFailed says why the OP's own session may go on.
func (e *EndSession) logFailed(l *logoutExchange, err error) {
	advice := zap.Skip()
	if known := new(browser.NotEndedError); errors.As(err, &known) {
		advice = zap.String("advice", known.Advice)
	}
	e.log(l, "failed", zap.Error(err), advice)
}

// finish has the clients told (section 2), and then sends a browser that is signed out to where it
// was asked to go, or says that it is.
func (e *EndSession) finish(l *logoutExchange, outcome string, done sealedLogout) {
	told, left, shown := e.notify(l, done)
	if shown {
		return
	}
	e.log(l, outcome)
	mayGo, page := l.request.Redirect != "" && e.maySend(l, done), assets.View{Page: assets.PageSignedOut, Unrecorded: l.isUnrecorded()}
	if mayGo && page.Unrecorded { // a redirect would hide that apps are still signed in
		page.Continue, mayGo = l.request.location(), false
	}
	if mayGo {
		l.redirect(l.request.location())
		if len(left) > 0 {
			_ = http.NewResponseController(l.w).Flush() // the user is on the way
		}
		e.notifyAsking(l, left, ReturnGrace)
		return
	}
	e.show(l, http.StatusOK, told.view(page, left))
	e.notifyAsking(l, left, 0)
}

// notify has the clients told. shown: by the page that does it in frames, from which the browser
// comes back, once. Else it returns who is on the receipt, and which notices are left to be
// delivered.
func (e *EndSession) notify(l *logoutExchange, done sealedLogout) (told *receipt, left map[registry.NoticeID]registry.PendingNotice, shown bool) {
	told = e.receiptFor(l, done)
	if len(told.frames) > 0 && !done.Framed {
		e.showFrames(l, told.frames, done)
		return nil, nil, true
	}
	return told, e.await(l.r.Context(), told, e.BackChannel.RedirectWait), false
}

// maySend reports whether the browser may be sent to the registered address that was asked for. A
// client that registered itself could have registered any address, and anybody could send browsers
// there by way of the OP: so something must speak for the request, a hint, the user, or a sign-out
// (RP-Initiated Logout 1.0, section 3). Of a client that the operator has configured, a link will
// do.
func (e *EndSession) maySend(l *logoutExchange, done sealedLogout) bool {
	if l.request.Hinted || l.confirmed || done.Ended {
		return true
	}
	// it may have been deleted since the request was parked
	client, known := e.Clients.Find(handlers.RecordingContext(l.r), l.op.Issuer, l.request.ClientID)
	return known && !client.Registered
}
