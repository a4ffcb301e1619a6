package handlers

import (
	"context"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A visit is one request of a browser whose cookies matter: what the browser presented, and what it is given.
type visit struct {
	env  Env
	op   *OP
	keys *sessionstate.Keyring
	r    *http.Request
	from arrival // the same request; zero at our own endpoints
	now  time.Time

	sealed  sessionCookie // its sealed cookie; zero: it presented none of ours
	state   string        // the browser state it presented; empty: none
	pending map[string]pendingRequest

	give  []*http.Cookie
	ended []*registry.Session // by this visit

	patient   bool          // no sign-in waits for this visit: the registry may take its time to end sessions
	asked     string        // the client that asks for the end of the sessions; empty: none
	askedWait time.Duration // after which that client is notified
}

func newVisit(env Env, op *OP, keys *sessionstate.Keyring, r *http.Request) *visit {
	v := &visit{env: env, op: op, keys: keys, r: r, now: env.Now(), pending: make(map[string]pendingRequest)}
	opened := 0
	for _, c := range r.Cookies() {
		switch {
		case c.Name == op.cookies.session:
			v.openSession(c.Value)
		case c.Name == op.cookies.state && sessionstate.IsBrowserState(c.Value):
			v.state = c.Value
		case op.cookies.isPending(c.Name) && opened < maxOpened:
			opened++
			v.openPending(c)
		}
	}
	return v
}

func (v *visit) openSession(value string) {
	sealed, current, ok := openSessionCookie(v.keys, v.op.Issuer, value)
	if !ok {
		return
	}
	if !sealed.session.IsZero() && !v.now.Before(sealed.expires) {
		sealed = sealed.signedOut()
	}
	v.sealed = sealed
	if !current {
		v.giveSession() // key rotation: sealed anew on sight
	}
}

// openPending opens a pending cookie, or deletes it when it is of no use any more.
func (v *visit) openPending(c *http.Cookie) {
	p, ok := openPendingRequest(v.keys, v.op.Issuer, c.Value, v.now)
	if !ok {
		v.set(v.op.cookies.deletion(c.Name))
		return
	}
	v.pending[c.Name] = p
}

// topLevel reports whether the request is a navigation of a whole tab (Fetch Metadata, section 2.1). The cookies of a frame in
// another site's page may be in a jar of their own, which is not the browser's. Engines without that header count as top-level.
func (v *visit) topLevel() bool {
	dest := v.r.Header.Get("Sec-Fetch-Dest")
	return dest == "" || dest == "document"
}

// browser returns the browser's ID: that of a pending request if its sealed cookie has none, else one drawn now.
func (v *visit) browser() sessionstate.BrowserID {
	if v.sealed.browser.IsZero() {
		v.sealed.browser = v.newestBrowser()
	}
	if v.sealed.browser.IsZero() {
		v.sealed.browser = sessionstate.NewBrowserID()
	}
	return v.sealed.browser
}

// currentState returns the browser state that a response is computed over: what was presented or has been given since, else the
// session's, else that of a browser which is not signed in.
func (v *visit) currentState() string {
	switch {
	case v.state != "":
		return v.state
	case v.sealed.state != "":
		return v.sealed.state
	default:
		return v.keys.AnonymousState(v.op.Issuer)
	}
}

// end ends the browser's sessions for a reason: the OP has ended its own. The browser gets the anonymous state, which is set, not deleted:
// "signed out" and "no cookie to be seen" differ for the check page.
//
// What the registry could not be told is owed: it is told at a later visit. The browser goes on under another ID, so that what it
// signs in to meanwhile does not end then.
func (v *visit) end(reason registry.Reason) {
	failed := v.endRecorded(v.browsers(), reason)
	if len(failed) == 0 && v.sealed.session.IsZero() && v.keys.IsAnonymousState(v.op.Issuer, v.state) {
		return
	}
	v.browser()
	if v.isUnrecorded(len(failed) > 0) {
		v.env.LogEnd(recording(v.r), &registry.Session{Issuer: v.op.Issuer, ID: v.sealed.session, Reason: reason})
	}
	v.sealed = v.sealed.signedOut()
	if len(failed) > 0 {
		v.sealed.browser = sessionstate.NewBrowserID()
		v.sealed.owed = newOwedEnds(append(v.sealed.owed.ids(), failed...))
	}
	v.state = v.keys.AnonymousState(v.op.Issuer)
	v.giveSession()
	v.giveState(v.state)
}

// isUnrecorded reports whether the browser's session was in its cookie only. While the registry is
// unavailable, that is not known: what was recorded is logged when its end is recorded.
func (v *visit) isUnrecorded(unavailable bool) bool {
	isSession := func(ended *registry.Session) bool { return ended.ID == v.sealed.session }
	if unavailable || v.sealed.session.IsZero() || slices.ContainsFunc(v.ended, isSession) {
		return false
	}
	state, _, err := v.env.Registry.Resolve(recording(v.r), registry.Ref{Session: v.sealed.session})
	return err == nil && state == registry.Unknown
}

// settle tells the registry what is owed to it.
func (v *visit) settle() {
	owed := v.sealed.owed.ids()
	if len(owed) == 0 {
		return
	}
	v.sealed.owed = newOwedEnds(v.endRecorded(owed, registry.ReasonLogout))
	v.giveSession()
}

// endRecorded ends what the registry has of the browser under the given IDs, and returns those that it could not be told of.
func (v *visit) endRecorded(browsers []sessionstate.BrowserID, reason registry.Reason) (failed []sessionstate.BrowserID) {
	for i, browser := range browsers {
		if !v.endBrowser(browser, reason) {
			return browsers[i:]
		}
	}
	return nil
}

// endBrowser ends all sessions that the registry has of a browser. It reports whether it did: the rest is left to a later visit.
func (v *visit) endBrowser(browser sessionstate.BrowserID, reason registry.Reason) bool {
	session := zap.Skip()
	if browser == v.sealed.browser && !v.sealed.session.IsZero() {
		session = zap.Stringer("session", v.sealed.session)
	}
	return v.record(session, func(ctx context.Context) ([]*registry.Session, error) {
		return v.env.Registry.End(ctx, registry.Ending{
			Place: registry.PlaceOf(v.op.Issuer, browser), Reason: reason, Asked: v.asked, AskedWait: v.askedWait,
		})
	})
}

// record has sessions end in the registry. It reports whether they did; if not, the log has it, and
// the field that says of which session.
func (v *visit) record(session zap.Field, end func(context.Context) ([]*registry.Session, error)) bool {
	ctx := recording(v.r)
	if v.patient {
		ctx = registry.Patient(ctx)
	}
	ended, err := end(ctx)
	if err != nil {
		v.env.Logger.Error("session end not recorded", zap.String("issuer", v.op.Issuer), session, zap.String("client_id", v.asked), zap.Error(err),
			zap.String("advice", "make the session registry available again: clients are notified when this browser next signs in or out"))
		return false
	}
	v.ended = append(v.ended, ended...)
	return true
}

// browsers are the IDs that the browser is known by: that in its sealed cookie, and those that tabs got which began to sign in at
// the same time.
func (v *visit) browsers() []sessionstate.BrowserID {
	var ids []sessionstate.BrowserID
	add := func(id sessionstate.BrowserID) {
		if !id.IsZero() && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	add(v.sealed.browser)
	for _, p := range v.pending {
		add(p.browser)
	}
	return ids
}

// giveSession sets the sealed cookie. It outlives its session, for the sake of the browser's ID: a code that is redeemed later may make
// the session another user's, which starts then.
func (v *visit) giveSession() {
	lifetime := v.env.SessionLifetime + registry.CodeLifetime
	v.set(v.op.cookies.cookie(v.op.cookies.session, v.sealed.seal(v.keys, v.op.Issuer), lifetime, false))
}

// giveState sets the browser state. It outlives its session: it is to be replaced, not to disappear.
func (v *visit) giveState(state string) {
	v.set(v.op.cookies.cookie(v.op.cookies.state, state, v.env.SessionLifetime, true))
}

// set gives the browser a cookie, in place of an earlier one with the same name.
func (v *visit) set(cookie *http.Cookie) {
	for i, earlier := range v.give {
		if earlier.Name == cookie.Name {
			v.give[i] = cookie
			return
		}
	}
	v.give = append(v.give, cookie)
}

// writeCookies adds the cookies to a response, which no cache may keep then.
func (v *visit) writeCookies(header http.Header) {
	for _, cookie := range v.give {
		header.Add("Set-Cookie", cookie.String())
	}
	if len(v.give) > 0 {
		forbidCaching(header)
	}
	v.give = nil
}

func forbidCaching(header http.Header) { header.Set("Cache-Control", "no-store") }
