package logout

import (
	"slices"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// decide signs the user out, or asks first (RP-Initiated Logout 1.0, section 2). Users who are not
// signed in are not asked, and it is no error (section 4).
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

// isSignedIn reports whether there is, or may be, a session to end: ours, or the OP's own by its
// cookies. Where no name of these is certain, any cookie that is not ours may be one.
func (e *EndSession) isSignedIn(l *logoutExchange) bool {
	if l.hasSession() || e.carriesLogin(l.r) {
		return true
	}
	if e.wouldBring(l) {
		return false
	}
	unnamed := len(e.loginNames()) == 0 || e.LoginCookiePaths.IsDoubted()
	return e.LoginCookiePaths.IsSet() || unnamed && e.endsAtOP() && l.hasOPCookie()
}

// mustAsk reports whether the user has to be asked: always if configured so, else unless the hint
// is that of a client which takes part in this very session, as this very user (section 2).
func (e *EndSession) mustAsk(l *logoutExchange) bool {
	if e.Confirm == ConfirmAlways || !l.request.Hinted || e.strictCookieWithheld(l) {
		return true
	}
	if l.session == nil || !l.hasSession() && !endedByLogout(l.session, l.Now) {
		return true
	}
	client := l.session.Client(l.request.ClientID)
	return client == nil || !l.request.fits(client)
}

// strictCookieWithheld reports whether the browser may have a login cookie that it did not send,
// because another site's page sent it here (SameSite=Strict). The answer to a question comes from
// our own page, and brings it along.
func (e *EndSession) strictCookieWithheld(l *logoutExchange) bool {
	return e.LoginCookie != "" && !exchange.HasCookie(l.r, e.LoginCookie) &&
		e.LoginCookiePaths.MayWithhold(l.op, l.r) && !e.LoginCookiePaths.Comes(l.r)
}

// findSession returns a session, or the last of those that took its place when the user switched.
// It is nil when that is not recorded, or the registry is unavailable.
func (e *EndSession) findSession(
	l *logoutExchange, id sessionstate.SessionID,
) (found *registry.Session) {
	if id.IsZero() {
		return nil
	}
	recorded, _ := e.env.Registry.Browser(l.r.Context(), registry.PlaceOfSession(id))
	for range recorded {
		i := slices.IndexFunc(recorded, func(s *registry.Session) bool { return s.ID == id })
		if i < 0 {
			break
		}
		found, id = recorded[i], recorded[i].Successor
	}
	return found
}

// hasSession reports whether our own session lives. One that is not recorded may.
func (l *logoutExchange) hasSession() bool {
	return !l.Sealed.Session.IsZero() &&
		(l.session == nil || l.session.Live(registry.At(l.Now)))
}

// hasOPCookie reports whether the browser has a cookie that is not ours.
func (l *logoutExchange) hasOPCookie() bool {
	names := l.op.Cookies
	for _, c := range l.r.Cookies() {
		isOurs := c.Name == names.Session || c.Name == names.State ||
			strings.HasPrefix(c.Name, names.Pending)
		if !isOurs {
			return true
		}
	}
	return false
}

// mayRepeat reports whether a second answer to a question is that of a double click: the session
// is about to end, or has a moment ago.
func (l *logoutExchange) mayRepeat() bool {
	return l.Sealed.Session.IsZero() || l.hasSession() || endedByLogout(l.session, l.Now)
}

// endedByLogout reports whether a session ended a moment ago, by a sign-out.
func endedByLogout(session *registry.Session, now time.Time) bool {
	return session != nil && session.Reason == registry.ReasonLogout &&
		now.Sub(session.Ended.Time()) < repeatedWithin
}
