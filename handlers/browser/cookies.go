package browser

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Cookies are our cookies of one request: what the browser presented, and what it gets. They are
// not safe for concurrent use.
type Cookies struct {
	Env     handlers.Env
	OP      *handlers.OP
	Keys    *sessionstate.Keyring
	Request *http.Request
	Now     time.Time

	Sealed  SessionCookie             // zero: the browser presented none of ours
	State   string                    // the browser state; empty: it presented none
	Pending map[string]PendingRequest // by the name of the cookie
	Ended   []*registry.Session       // by this request

	// Patient: no sign-in waits for this request, so the registry may take its time to end
	// sessions.
	Patient   bool
	AskedBy   string        // the client that asks for the end of the sessions; empty: none
	AskedWait time.Duration // after which that client is notified

	given []*http.Cookie
}

// ReadCookies opens our cookies of a request. Those that do not open count as absent; an expired
// session is signed out.
func ReadCookies(
	env handlers.Env, op *handlers.OP, keys *sessionstate.Keyring, r *http.Request,
) *Cookies {
	c := &Cookies{
		Env: env, OP: op, Keys: keys, Request: r, Now: env.Now(),
		Pending: make(map[string]PendingRequest),
	}
	opened := 0
	for _, cookie := range r.Cookies() {
		switch name := cookie.Name; {
		case name == op.Cookies.Session:
			c.openSession(cookie.Value)
		case name == op.Cookies.State && sessionstate.IsBrowserState(cookie.Value):
			c.State = cookie.Value
		case op.Cookies.IsPending(name) && opened < maxOpened:
			opened++
			c.openPending(cookie)
		}
	}
	return c
}

func (c *Cookies) openSession(value string) {
	sealed, current, ok := OpenSessionCookie(c.Keys, c.OP.Issuer, value)
	if !ok {
		return
	}
	if !c.Now.Before(sealed.Expires) {
		sealed = sealed.SignedOut()
	}
	c.Sealed = sealed
	if !current {
		c.SetSession() // key rotation: sealed anew on sight
	}
}

// openPending opens a pending cookie, or deletes it when it does not open or has expired.
func (c *Cookies) openPending(cookie *http.Cookie) {
	p, ok := OpenPendingRequest(c.Keys, c.OP.Issuer, cookie.Value, c.Now)
	if !ok {
		c.set(c.OP.Cookies.Deletion(cookie.Name))
		return
	}
	c.Pending[cookie.Name] = p
}

// TopLevel reports whether the request is a navigation of a whole tab (Fetch Metadata, section
// 2.1). The cookies of a frame in another site's page may be in a jar of their own, which is not
// the browser's. Engines without that header count as top-level.
func (c *Cookies) TopLevel() bool {
	dest := c.Request.Header.Get("Sec-Fetch-Dest")
	return dest == "" || dest == "document"
}

// BrowserID returns the browser's ID. If its sealed cookie has none, it gets that of the newest
// pending request, or a new one.
func (c *Cookies) BrowserID() sessionstate.BrowserID {
	id := &c.Sealed.Browser
	if id.IsZero() {
		*id = c.newestBrowser()
	}
	if id.IsZero() {
		*id = sessionstate.NewBrowserID()
	}
	return *id
}

// CurrentState returns the browser state that a response is computed over: what the browser
// presented or got since, else the session's, else that of a browser which is not signed in.
func (c *Cookies) CurrentState() string {
	if presented := cmp.Or(c.State, c.Sealed.State); presented != "" {
		return presented
	}
	return c.Keys.AnonymousState(c.OP.Issuer)
}

// SetSession sets the sealed cookie. It outlives its session, for the sake of the browser's ID: a
// code that is redeemed later may make the session another user's, which starts then.
func (c *Cookies) SetSession() {
	lifetime := c.Env.SessionLifetime + registry.CodeLifetime
	sealed := c.Sealed.Seal(c.Keys, c.OP.Issuer)
	c.set(c.OP.Cookies.Cookie(c.OP.Cookies.Session, sealed, lifetime, false))
}

// SetState sets the browser state. It outlives its session: it is replaced and never deleted.
func (c *Cookies) SetState(state string) {
	c.set(c.OP.Cookies.Cookie(c.OP.Cookies.State, state, c.Env.SessionLifetime, true))
}

// set gives the browser a cookie, in place of an earlier one with the same name.
func (c *Cookies) set(cookie *http.Cookie) {
	c.given = slices.DeleteFunc(c.given, func(earlier *http.Cookie) bool {
		return earlier.Name == cookie.Name
	})
	c.given = append(c.given, cookie)
}

// Write adds what the browser gets to the header of a response, which no cache may keep then.
func (c *Cookies) Write(header http.Header) {
	for _, cookie := range c.given {
		header.Add("Set-Cookie", cookie.String())
	}
	if len(c.given) > 0 {
		exchange.ForbidCaching(header)
	}
	c.given = nil
}
