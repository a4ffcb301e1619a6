package browser

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// An Arrival is a request of a browser on its way to the OP.
type Arrival struct {
	OP      *handlers.OP
	Request *http.Request
	Next    caddyhttp.Handler
	Carried exchange.Submission
	Read    bool // its response may have to be read
}

// A Cookies is one request of a browser whose cookies matter: what the browser presented, and what
// it is given.
type Cookies struct {
	Env     handlers.Env
	OP      *handlers.OP
	Keys    *sessionstate.Keyring
	Request *http.Request
	Arrival Arrival // the same request; zero at our own endpoints
	Now     time.Time

	Sealed  SessionCookie // its sealed cookie; zero: it presented none of ours
	State   string        // the browser state it presented; empty: none
	Pending map[string]PendingRequest

	give  []*http.Cookie
	Ended []*registry.Session // by this visit

	// no sign-in waits for this visit: the registry may take its time to end sessions
	Patient   bool
	AskedBy   string        // the client that asks for the end of the sessions; empty: none
	AskedWait time.Duration // after which that client is notified
}

func ReadCookies(env handlers.Env, op *handlers.OP, keys *sessionstate.Keyring, r *http.Request) *Cookies {
	v := &Cookies{Env: env, OP: op, Keys: keys, Request: r, Now: env.Now(), Pending: make(map[string]PendingRequest)}
	opened := 0
	for _, c := range r.Cookies() {
		switch {
		case c.Name == op.Cookies.Session:
			v.openSession(c.Value)
		case c.Name == op.Cookies.State && sessionstate.IsBrowserState(c.Value):
			v.State = c.Value
		case op.Cookies.IsPending(c.Name) && opened < maxOpened:
			opened++
			v.openPending(c)
		}
	}
	return v
}

func (v *Cookies) openSession(value string) {
	sealed, current, ok := OpenSessionCookie(v.Keys, v.OP.Issuer, value)
	if !ok {
		return
	}
	if !sealed.Session.IsZero() && !v.Now.Before(sealed.Expires) {
		sealed = sealed.SignedOut()
	}
	v.Sealed = sealed
	if !current {
		v.SetSession() // key rotation: sealed anew on sight
	}
}

// openPending opens a pending cookie, or deletes it when it is of no use any more.
func (v *Cookies) openPending(c *http.Cookie) {
	p, ok := OpenPendingRequest(v.Keys, v.OP.Issuer, c.Value, v.Now)
	if !ok {
		v.Set(v.OP.Cookies.Deletion(c.Name))
		return
	}
	v.Pending[c.Name] = p
}

// TopLevel reports whether the request is a navigation of a whole tab (Fetch Metadata, section
// 2.1). The cookies of a frame in another site's page may be in a jar of their own, which is not
// the browser's. Engines without that header count as top-level.
func (v *Cookies) TopLevel() bool {
	dest := v.Request.Header.Get("Sec-Fetch-Dest")
	return dest == "" || dest == "document"
}

// BrowserID returns the browser's ID: that of a pending request if its sealed cookie has none,
// else one drawn now.
func (v *Cookies) BrowserID() sessionstate.BrowserID {
	if v.Sealed.Browser.IsZero() {
		v.Sealed.Browser = v.newestBrowser()
	}
	if v.Sealed.Browser.IsZero() {
		v.Sealed.Browser = sessionstate.NewBrowserID()
	}
	return v.Sealed.Browser
}

// CurrentState returns the browser state that a response is computed over: what was presented or
// has been given since, else the session's, else that of a browser which is not signed in.
func (v *Cookies) CurrentState() string {
	switch {
	case v.State != "":
		return v.State
	case v.Sealed.State != "":
		return v.Sealed.State
	default:
		return v.Keys.AnonymousState(v.OP.Issuer)
	}
}

// End ends the browser's sessions for a reason: the OP has ended its own. The browser gets the
// anonymous state, which is set, not deleted: "signed out" and "no cookie to be seen" differ for
// the check page.
//
// What the registry could not be told is owed: it is told at a later visit. The browser goes on
// under another ID, so that what it signs in to meanwhile does not end then.
func (v *Cookies) End(reason registry.Reason) {
	failed := v.endRecorded(v.browsers(), reason)
	if len(failed) == 0 && v.Sealed.Session.IsZero() && v.Keys.IsAnonymousState(v.OP.Issuer, v.State) {
		return
	}
	v.BrowserID()
	if v.isUnrecorded(len(failed) > 0) {
		v.Env.LogEnd(handlers.RecordingContext(v.Request), &registry.Session{Issuer: v.OP.Issuer, ID: v.Sealed.Session, Reason: reason})
	}
	v.Sealed = v.Sealed.SignedOut()
	if len(failed) > 0 {
		v.Sealed.Browser = sessionstate.NewBrowserID()
		v.Sealed.Owed = NewOwedEnds(append(v.Sealed.Owed.IDs(), failed...))
	}
	v.State = v.Keys.AnonymousState(v.OP.Issuer)
	v.SetSession()
	v.SetState(v.State)
}

// isUnrecorded reports whether the browser's session was in its cookie only. While the registry is
// unavailable, that is not known: what was recorded is logged when its end is recorded.
func (v *Cookies) isUnrecorded(unavailable bool) bool {
	isSession := func(ended *registry.Session) bool { return ended.ID == v.Sealed.Session }
	if unavailable || v.Sealed.Session.IsZero() || slices.ContainsFunc(v.Ended, isSession) {
		return false
	}
	state, _, err := v.Env.Registry.Resolve(handlers.RecordingContext(v.Request), registry.Ref{Session: v.Sealed.Session})
	return err == nil && state == registry.Unknown
}

// Flush tells the registry what is owed to it.
func (v *Cookies) Flush() {
	owed := v.Sealed.Owed.IDs()
	if len(owed) == 0 {
		return
	}
	v.Sealed.Owed = NewOwedEnds(v.endRecorded(owed, registry.ReasonLogout))
	v.SetSession()
}

// endRecorded ends what the registry has of the browser under the given IDs, and returns those
// that it could not be told of.
func (v *Cookies) endRecorded(browsers []sessionstate.BrowserID, reason registry.Reason) (failed []sessionstate.BrowserID) {
	for i, browser := range browsers {
		if !v.endBrowser(browser, reason) {
			return browsers[i:]
		}
	}
	return nil
}

// endBrowser ends all sessions that the registry has of a browser. It reports whether it did: the
// rest is left to a later visit.
func (v *Cookies) endBrowser(browser sessionstate.BrowserID, reason registry.Reason) bool {
	session := zap.Skip()
	if browser == v.Sealed.Browser && !v.Sealed.Session.IsZero() {
		session = zap.Stringer("session", v.Sealed.Session)
	}
	return v.Record(session, func(ctx context.Context) ([]*registry.Session, error) {
		return v.Env.Registry.End(ctx, registry.Ending{
			Place: registry.PlaceOf(v.OP.Issuer, browser), Reason: reason, Asked: v.AskedBy, AskedWait: v.AskedWait,
		})
	})
}

// Record has sessions end in the registry. It reports whether they did; if not, the log has it,
// and the field that says of which session.
func (v *Cookies) Record(session zap.Field, end func(context.Context) ([]*registry.Session, error)) bool {
	ctx := handlers.RecordingContext(v.Request)
	if v.Patient {
		ctx = registry.Patient(ctx)
	}
	ended, err := end(ctx)
	if err != nil {
		v.Env.Logger.Error("session end not recorded", zap.String("issuer", v.OP.Issuer), session, zap.String("client_id", v.AskedBy), zap.Error(err),
			zap.String("advice", "make the session registry available again: clients are notified when this browser next signs in or out"))
		return false
	}
	v.Ended = append(v.Ended, ended...)
	return true
}

// browsers are the IDs that the browser is known by: that in its sealed cookie, and those that
// tabs got which began to sign in at the same time.
func (v *Cookies) browsers() []sessionstate.BrowserID {
	var ids []sessionstate.BrowserID
	add := func(id sessionstate.BrowserID) {
		if !id.IsZero() && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	add(v.Sealed.Browser)
	for _, p := range v.Pending {
		add(p.Browser)
	}
	return ids
}

// SetSession sets the sealed cookie. It outlives its session, for the sake of the browser's ID: a
// code that is redeemed later may make the session another user's, which starts then.
func (v *Cookies) SetSession() {
	lifetime := v.Env.SessionLifetime + registry.CodeLifetime
	v.Set(v.OP.Cookies.Cookie(v.OP.Cookies.Session, v.Sealed.Seal(v.Keys, v.OP.Issuer), lifetime, false))
}

// SetState sets the browser state. It outlives its session: it is to be replaced, not to
// disappear.
func (v *Cookies) SetState(state string) {
	v.Set(v.OP.Cookies.Cookie(v.OP.Cookies.State, state, v.Env.SessionLifetime, true))
}

// Set gives the browser a cookie, in place of an earlier one with the same name.
func (v *Cookies) Set(cookie *http.Cookie) {
	for i, earlier := range v.give {
		if earlier.Name == cookie.Name {
			v.give[i] = cookie
			return
		}
	}
	v.give = append(v.give, cookie)
}

// Write adds the cookies to a response, which no cache may keep then.
func (v *Cookies) Write(header http.Header) {
	for _, cookie := range v.give {
		header.Add("Set-Cookie", cookie.String())
	}
	if len(v.give) > 0 {
		exchange.ForbidCaching(header)
	}
	v.give = nil
}
