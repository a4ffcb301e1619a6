package handlers

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

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	uuid       = "0b9e2c1e-6f43-4ab1-9c59-0c1dd0a0f4d5"
	maxCookies = 3 << 10 // bytes of all cookies of an issuer in a request
)

// asClient is an authorization request of a client.
func asClient(id, state string) string { return ask(state, url.Values{"client_id": {id}}) }

// cookieBytes counts the bytes of our cookies in a request.
func (a *agent) cookieBytes() int {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for name, value := range a.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return len(r.Header.Get("Cookie"))
}

func TestPendingCookiesAreShort(t *testing.T) {
	for _, id := range []string{"shop", uuid, strings.Repeat("c", maxSealedID), strings.Repeat("c", maxSealedID+1), strings.Repeat("c", maxClientID)} {
		keys := keyring(t, firstSecret)
		sealed := pend(t, id, callback, "s").seal(keys, issuer)
		if len(sealed) > 160 {
			t.Errorf("with a client ID of %d bytes, the value has %d", len(id), len(sealed))
		}
		p, ok := openPendingRequest(keys, issuer, sealed, noon)
		if want := len(id) <= maxSealedID; !ok || p.client != hash16(id) || (p.clientID == id) != want {
			t.Errorf("with a client ID of %d bytes, it opens as %+v", len(id), p)
		}
		if again := p.seal(keys, issuer); len(again) != len(sealed) {
			t.Errorf("sealed again, it has %d bytes", len(again))
		}
	}
}

// The longest of all: names with a hash, a session with as many ends owed as there may be, and a pending request in each slot.
func TestThreatAllCookiesOfAnIssuerHaveABound(t *testing.T) {
	w := newWorld(t)
	w.op = knownOP(t, issuer+"/realm", metadata{})
	a := newAgent(t, w)
	a.signIn("c")
	long := strings.Repeat("c", maxClientID)
	for i := range 500 {
		for _, a.dest = range []string{"iframe", "document"} {
			for _, id := range []string{long, long[:maxSealedID]} {
				a.get(ask(fmt.Sprint(i), url.Values{"client_id": {id}, "redirect_uri": {callback + "?iss=1"}}), page)
			}
		}
	}
	if a.pendings() != len(navigationSlots+otherSlots) {
		t.Fatalf("%d requests are pending", a.pendings())
	}
	full := a.openS()
	full.owed = newOwedEnds(slices.Repeat([]sessionstate.BrowserID{full.browser}, maxOwed+1))
	a.cookies[w.op.cookies.session] = full.seal(w.keys, w.op.Issuer)
	if n := a.cookieBytes(); n > maxCookies || n < maxCookies/2 {
		t.Errorf("the cookies have %d bytes", n)
	}
}

func TestThreatFramesDoNotEvictASignInUnderWay(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.dest = "document"
	for i := range navigationSlots { // as many as there may be
		a.get(asClient(uuid, fmt.Sprint("mine", i)), page)
	}
	a.dest = "iframe"
	for i := range 500 {
		w.clock.advance(time.Second)
		a.get(asClient(strings.Repeat("c", maxClientID), fmt.Sprint(i)), page)
	}
	for header, value := range map[string]string{"Sec-Purpose": "prefetch;prerender", "Sec-Fetch-Mode": "no-cors"} {
		r := httptest.NewRequest(http.MethodGet, issuer+asClient("x", "prefetched"), nil)
		r.Header.Set(header, value)
		a.dest = "document"
		a.send(r, page)
	}
	if n := a.cookieBytes(); n > maxCookies {
		t.Errorf("the cookies have %d bytes", n)
	}
	a.b = nil // another server
	for i := range navigationSlots {
		if sessionState(t, a.get("/login", redirect(callback+"?code=c&state="+fmt.Sprint("mine", i)))) == "" {
			t.Errorf("sign-in %d has no session_state", i)
		}
	}
}

func TestAnAnsweredRequestCanBeAnsweredAgainForFiveMinutes(t *testing.T) {
	for name, forget := range map[string]bool{"on this server": false, "on another server": true} {
		w := newWorld(t)
		a := newAgent(t, w)
		a.get(authorize("s"), page)
		answered := func() bool {
			if forget {
				a.b = nil // another server
			}
			return sessionState(t, a.get("/login", redirect(callback+"?code=c&state=s"))) != ""
		}
		response := a.get("/login", redirect(callback+"?code=c&state=s"))
		for _, c := range response.Cookies() {
			if w.op.cookies.isPending(c.Name) && c.MaxAge != 300 {
				t.Errorf("%s: the cookie is kept for %d s", name, c.MaxAge)
			}
		}
		w.clock.advance(answeredLifetime - time.Second)
		if a.pendings() != 1 || !answered() {
			t.Errorf("%s: going back does not work", name)
		}
		w.clock.advance(time.Second)
		if answered() {
			t.Errorf("%s: the request is answered after its time, which an answer must not prolong", name)
		}
	}
}

func TestAnAnsweredRequestGivesWayFirst(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.get(authorize("first"), page)
	for i := range len(navigationSlots) - 1 {
		w.clock.advance(time.Second)
		a.get(authorize(fmt.Sprint(i)), page)
	}
	a.get("/login", redirect(callback+"?code=c&state=3"))
	a.get(authorize("more"), page)
	a.b = nil // another server
	if sessionState(t, a.get("/login", redirect(callback+"?code=c&state=first"))) == "" {
		t.Error("the oldest request gave way to one that was answered")
	}
	if sessionState(t, a.get("/login", redirect(callback+"?code=c&state=more"))) == "" {
		t.Error("the newest request is not known")
	}
}

func TestClientIDsThatDoNotFitIntoTheCookie(t *testing.T) {
	long := strings.Repeat("c", maxSealedID+1)
	answered := func(a *agent) bool {
		return sessionState(t, a.get("/login", redirect(callback+"?code=c&state=s"))) != ""
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
		{"the longest, on this server", strings.Repeat("c", maxClientID), false, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAgent(t, newWorld(t))
			if tt.configured {
				a.knows(Client{ID: "other"}, Client{ID: tt.id})
			}
			a.get(asClient(tt.id, "s"), page)
			if tt.otherServer {
				a.b = nil // another server
			}
			const location = callback + "?code=c&state=s"
			response := a.get("/login", redirect(location))
			if got := sessionState(t, response) != ""; got != tt.want {
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

// Five apps renew at once, in frames, at an OP that answers after some redirects of its own: no request has the cookies of the others.
func TestRequestsThatAreSentAtOnceAreAllAnswered(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.signIn("c")
	before := maps.Clone(a.cookies)
	a.dest = "iframe"
	after := maps.Clone(a.cookies)
	for i := range 5 {
		a.cookies = maps.Clone(before)
		a.get(ask(fmt.Sprint("renewal", i), url.Values{"prompt": {"none"}}), redirect("/hop"))
		maps.Copy(after, a.cookies)
	}
	a.cookies = after
	if a.pendings() > len(otherSlots) {
		t.Errorf("%d requests are pending", a.pendings())
	}
	for i := range 5 {
		if sessionState(t, a.get("/hop", redirect(callback+"?code=c&state="+fmt.Sprint("renewal", i)))) == "" {
			t.Errorf("renewal %d has no session_state", i)
		}
	}
}

func TestAnotherBrowserCannotAnswerARequest(t *testing.T) {
	w := newWorld(t)
	a, other := newAgent(t, w), newAgent(t, w)
	a.get(authorize("s"), page)
	other.get(authorize("t"), page)
	without := newAgent(t, w)
	other.b, other.keys, without.b, without.keys = a.b, a.keys, a.b, a.keys
	for name, b := range map[string]*agent{"another browser": other, "a browser without cookies": without} {
		if sessionState(t, b.get("/login", redirect(callback+"?code=c&state=s"))) != "" {
			t.Errorf("%s answers the request", name)
		}
	}
}
