package signin_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	uuid       = "0b9e2c1e-6f43-4ab1-9c59-0c1dd0a0f4d5"
	maxCookies = 3 << 10 // bytes of all cookies of an issuer in a request
)

// asClient is an authorization request of a client.
func asClient(id, state string) string { return handlerstest.Ask(state, url.Values{"client_id": {id}}) }

func TestPendingCookiesAreShort(t *testing.T) {
	for _, id := range []string{"shop", uuid, strings.Repeat("c", browser.MaxSealedID), strings.Repeat("c", browser.MaxSealedID+1), strings.Repeat("c", handlers.MaxClientID)} {
		keys := handlerstest.Keyring(t, handlerstest.FirstSecret)
		sealed := handlerstest.Pend(t, id, handlerstest.Callback, "s").Seal(keys, handlerstest.Issuer)
		if len(sealed) > 160 {
			t.Errorf("with a client ID of %d bytes, the value has %d", len(id), len(sealed))
		}
		p, ok := browser.OpenPendingRequest(keys, handlerstest.Issuer, sealed, handlerstest.Noon)
		if want := len(id) <= browser.MaxSealedID; !ok || p.Client != handlers.Hash(id) || (p.ClientID == id) != want {
			t.Errorf("with a client ID of %d bytes, it opens as %+v", len(id), p)
		}
		if again := p.Seal(keys, handlerstest.Issuer); len(again) != len(sealed) {
			t.Errorf("sealed again, it has %d bytes", len(again))
		}
	}
}

// The longest of all: names with a hash, a session with as many ends owed as there may be, and a
// pending request in each slot.
func TestThreatAllCookiesOfAnIssuerHaveABound(t *testing.T) {
	w := handlerstest.NewWorld(t)
	w.OP = handlerstest.KnownOP(t, handlerstest.Issuer+"/realm", handlers.Metadata{})
	a := handlerstest.NewAgent(t, w)
	a.SignIn("c")
	long := strings.Repeat("c", handlers.MaxClientID)
	for i := range 500 {
		for _, a.Dest = range []string{"iframe", "document"} {
			for _, id := range []string{long, long[:browser.MaxSealedID]} {
				a.Get(handlerstest.Ask(fmt.Sprint(i), url.Values{"client_id": {id}, "redirect_uri": {handlerstest.Callback + "?iss=1"}}), reply.Page)
			}
		}
	}
	if a.Pendings() != len(handlers.NavigationSlots+handlers.OtherSlots) {
		t.Fatalf("%d requests are pending", a.Pendings())
	}
	full := a.OpenS()
	full.Owed = browser.NewOwedEnds(slices.Repeat([]sessionstate.BrowserID{full.Browser}, browser.MaxOwed+1))
	a.Cookies[w.OP.Cookies.Session] = full.Seal(w.Keys, w.OP.Issuer)
	if n := a.CookieBytes(); n > maxCookies || n < maxCookies/2 {
		t.Errorf("the cookies have %d bytes", n)
	}
}

func TestThreatFramesDoNotEvictASignInUnderWay(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.Dest = "document"
	for i := range handlers.NavigationSlots { // as many as there may be
		a.Get(asClient(uuid, fmt.Sprint("mine", i)), reply.Page)
	}
	a.Dest = "iframe"
	for i := range 500 {
		w.Clock.Advance(time.Second)
		a.Get(asClient(strings.Repeat("c", handlers.MaxClientID), fmt.Sprint(i)), reply.Page)
	}
	for header, value := range map[string]string{"Sec-Purpose": "prefetch;prerender", "Sec-Fetch-Mode": "no-cors"} {
		r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+asClient("x", "prefetched"), nil)
		r.Header.Set(header, value)
		a.Dest = "document"
		a.Send(r, reply.Page)
	}
	if n := a.CookieBytes(); n > maxCookies {
		t.Errorf("the cookies have %d bytes", n)
	}
	a.B = nil // another server
	for i := range handlers.NavigationSlots {
		if handlerstest.SessionState(t, a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state="+fmt.Sprint("mine", i)))) == "" {
			t.Errorf("sign-in %d has no session_state", i)
		}
	}
}

func TestAnAnsweredRequestCanBeAnsweredAgainForFiveMinutes(t *testing.T) {
	for name, forget := range map[string]bool{"on this server": false, "on another server": true} {
		w := handlerstest.NewWorld(t)
		a := handlerstest.NewAgent(t, w)
		a.Get(handlerstest.Authorize("s"), reply.Page)
		answered := func() bool {
			if forget {
				a.B = nil // another server
			}
			return handlerstest.SessionState(t, a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state=s"))) != ""
		}
		response := a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state=s"))
		for _, c := range response.Cookies() {
			if w.OP.Cookies.IsPending(c.Name) && c.MaxAge != 300 {
				t.Errorf("%s: the cookie is kept for %d s", name, c.MaxAge)
			}
		}
		w.Clock.Advance(browser.AnsweredLifetime - time.Second)
		if a.Pendings() != 1 || !answered() {
			t.Errorf("%s: going back does not work", name)
		}
		w.Clock.Advance(time.Second)
		if answered() {
			t.Errorf("%s: the request is answered after its time, which an answer must not prolong", name)
		}
	}
}

func TestAnAnsweredRequestGivesWayFirst(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.Get(handlerstest.Authorize("first"), reply.Page)
	for i := range len(handlers.NavigationSlots) - 1 {
		w.Clock.Advance(time.Second)
		a.Get(handlerstest.Authorize(fmt.Sprint(i)), reply.Page)
	}
	a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state=3"))
	a.Get(handlerstest.Authorize("more"), reply.Page)
	a.B = nil // another server
	if handlerstest.SessionState(t, a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state=first"))) == "" {
		t.Error("the oldest request gave way to one that was answered")
	}
	if handlerstest.SessionState(t, a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state=more"))) == "" {
		t.Error("the newest request is not known")
	}
}

func TestClientIDsThatDoNotFitIntoTheCookie(t *testing.T) {
	long := strings.Repeat("c", browser.MaxSealedID+1)
	answered := func(a *handlerstest.Agent) bool {
		return handlerstest.SessionState(t, a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state=s"))) != ""
	}
	tests := []struct {
		name, id                string
		otherServer, configured bool
		want                    bool
	}{
		{"short, on another server", long[1:], true, false, true},
		{"long, on this server", long, false, false, true},
		{"long, on another server", long, true, false, false},
		{"long and configured, on another server", long, true, true, true},
		{"the longest, on this server", strings.Repeat("c", handlers.MaxClientID), false, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
			if tt.configured {
				a.Knows(clients.Client{ID: "other"}, clients.Client{ID: tt.id})
			}
			a.Get(asClient(tt.id, "s"), reply.Page)
			if tt.otherServer {
				a.B = nil // another server
			}
			const location = handlerstest.Callback + "?code=c&state=s"
			response := a.Get("/login", reply.Redirect(location))
			if got := handlerstest.SessionState(t, response) != ""; got != tt.want {
				t.Errorf("answered: %v", got)
			}
			if !tt.want && (response.Header.Get("Location") != location || len(response.Cookies()) != 0) {
				t.Errorf("the response became %v", response.Header)
			}
			if tt.want && !answered(a) {
				t.Error("going back does not work")
			}
		})
	}
}

// Five apps renew at once, in frames, at an OP that answers after some redirects of its own: no
// request has the cookies of the others.
func TestRequestsThatAreSentAtOnceAreAllAnswered(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.SignIn("c")
	before := maps.Clone(a.Cookies)
	a.Dest = "iframe"
	after := maps.Clone(a.Cookies)
	for i := range 5 {
		a.Cookies = maps.Clone(before)
		a.Get(handlerstest.Ask(fmt.Sprint("renewal", i), url.Values{"prompt": {"none"}}), reply.Redirect("/hop"))
		maps.Copy(after, a.Cookies)
	}
	a.Cookies = after
	if a.Pendings() > len(handlers.OtherSlots) {
		t.Errorf("%d requests are pending", a.Pendings())
	}
	for i := range 5 {
		if handlerstest.SessionState(t, a.Get("/hop", reply.Redirect(handlerstest.Callback+"?code=c&state="+fmt.Sprint("renewal", i)))) == "" {
			t.Errorf("renewal %d has no session_state", i)
		}
	}
}

func TestAnotherBrowserCannotAnswerARequest(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, other := handlerstest.NewAgent(t, w), handlerstest.NewAgent(t, w)
	a.Get(handlerstest.Authorize("s"), reply.Page)
	other.Get(handlerstest.Authorize("t"), reply.Page)
	without := handlerstest.NewAgent(t, w)
	other.B, other.Keys, without.B, without.Keys = a.B, a.Keys, a.B, a.Keys
	for name, b := range map[string]*handlerstest.Agent{"another browser": other, "a browser without cookies": without} {
		if handlerstest.SessionState(t, b.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state=s"))) != "" {
			t.Errorf("%s answers the request", name)
		}
	}
}
