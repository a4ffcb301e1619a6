package logout

import (
	"net/http"
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

const (
	// AskedWait is how long after a sign-out the client that asked for it is notified if its user
	// does not come back to it: the browser may have been closed meanwhile, and the page with the
	// frames may take a while.
	AskedWait = 2 * time.Minute
	// ReturnGrace is how long after the redirect that client is notified: its user is on the way.
	// A client that is an OP itself needs its session to go on from there.
	ReturnGrace = 2 * time.Second
)

// signOut ends the OP's own session, then ours, and sends the browser on. If the OP's part fails,
// ours ends all the same, and the user reads so.
func (e *EndSession) signOut(l *logoutExchange) {
	session := l.Sealed.Session
	err := e.endAtOPOnce(l)
	for i, cookie := range e.ClearCookies {
		if !slices.Contains(e.ClearCookies[:i], cookie) {
			l.w.Header().Add("Set-Cookie", cookie.Deletion(l.op).String())
		}
	}
	mustLook := e.cookieSurvived(l.r, nil)
	if err == nil && !mustLook {
		err = e.unproved(l)
	}
	l.Patient, l.AskedBy = true, l.request.ClientID
	if l.request.Redirect != "" { // first its user goes back there
		l.AskedWait = AskedWait
	}
	l.End(registry.ReasonLogout)
	if !e.endsAtOP() && l.hasOPCookie() {
		e.logNothingEnds(l.op)
	}
	done := sealedLogout{Request: l.request, Ended: true, Carried: e.countCleared(l.r)}
	done.addEnded(l.Ended...)
	if !slices.Contains(done.Sessions, session) { // another request may have ended it
		if found := e.findSession(l, session); endedByLogout(found, l.Now) {
			done.addEnded(found)
		}
	}
	switch {
	case err != nil:
		e.fail(l, done, err)
	case mustLook:
		e.redirectToSelf(l, done) // the next request shows whether the cookies are gone
	default:
		e.finish(l, "signed out", done)
	}
}

// fail says that the OP's own session may go on, and why.
func (e *EndSession) fail(l *logoutExchange, done sealedLogout, err error) {
	e.logFailed(l, err)
	done.Failed = true
	e.finish(l, "", done)
}

// finishSignedOut sends on a browser that is not signed in: maybe since a moment ago, so that it
// presents the cookies of before.
func (e *EndSession) finishSignedOut(l *logoutExchange) {
	before := sealedLogout{Request: l.request}
	if endedByLogout(l.session, l.Now) {
		before.Ended = true
		before.addEnded(l.session)
		l.Sealed = l.Sealed.SignedOut()
		l.State = l.Keys.AnonymousState(l.op.Issuer)
		l.SetSession()
		l.SetState(l.State)
	}
	e.finish(l, "not signed in", before)
}

// finish has the clients notified (section 2), first by the page that does it in frames, from
// which the browser comes back. It then sends a browser that is signed out to where an app asked
// for, or says that it is. If the OP's part has failed, it says so, and offers to try again.
func (e *EndSession) finish(l *logoutExchange, outcome string, done sealedLogout) {
	notified := e.receiptFor(l, done)
	if len(notified.frames) > 0 && !done.Framed {
		e.showFrames(l, notified.frames, done)
		return
	}
	e.await(l, notified)
	status, page := http.StatusOK, assets.View{Page: assets.PageSignedOut}
	// No client is notified of an end that is in the cookies only.
	page.Unrecorded = len(l.Sealed.Owed.IDs()) > 0
	if done.Failed {
		status, page.Page = http.StatusBadGateway, assets.PageError
		page.Problem = assets.ProblemOPFailed
		e.addForm(l, &page)
	} else {
		e.log(l, outcome)
		if l.request.Redirect != "" && e.maySend(l, done) {
			page.Continue = l.request.location()
		}
	}
	if page.Continue == "" || page.Unrecorded { // a redirect would hide that
		notified.addTo(&page)
		e.show(l, status, page)
		e.notifyAsking(l, notified, 0)
		return
	}
	l.redirect(page.Continue)
	if len(notified.remaining) > 0 {
		_ = http.NewResponseController(l.w).Flush() // the user is on the way
	}
	e.notifyAsking(l, notified, ReturnGrace)
}

// maySend reports whether the browser may be sent to the registered address that was asked for. A
// client that registered itself could have registered any address, and anybody could send browsers
// there by way of the OP: so something must speak for the request, a hint, the user, or a sign-out
// (RP-Initiated Logout 1.0, section 3). For a client that the operator has configured, a link is
// enough.
func (e *EndSession) maySend(l *logoutExchange, done sealedLogout) bool {
	if l.request.Hinted || l.answered != [16]byte{} || done.Ended {
		return true
	}
	// It may have been deleted since the request was parked.
	client, known := e.findClient(l)
	return known && !client.RegisteredItself()
}

// redirect sends the browser elsewhere, by GET whatever it came by.
func (l *logoutExchange) redirect(location string) {
	l.Write(l.w.Header())
	l.w.Header().Set("Location", location)
	l.w.WriteHeader(http.StatusSeeOther)
}
