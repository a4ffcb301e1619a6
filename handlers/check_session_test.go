package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// checker is the check page's handler in the world.
func (w *world) checker() *CheckSession {
	c := &CheckSession{Path: DefaultCheckSessionPath}
	c.Setup(w.env)
	return c
}

// question is a check that the page asks.
func question(form string) *http.Request {
	r := httptest.NewRequest("POST", checkPage, strings.NewReader(form))
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Origin", issuer)
	return r
}

// A pageCheck is what the page asks of one session_state.
type pageCheck struct{ clientID, sessionState, origin, browserState string }

// checkForm is the form that the page sends.
func checkForm(q pageCheck) string {
	form := url.Values{"client_id": {q.clientID}, "session_state": {q.sessionState}, "origin": {q.origin}}
	if q.browserState != "" {
		form.Set("browser_state", q.browserState)
	}
	return form.Encode()
}

// status is that of an answer or of the error instead of it.
func status(t testing.TB, err error, recorder *httptest.ResponseRecorder) int {
	t.Helper()
	if refused, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		if recorder.Body.Len() > 0 {
			t.Errorf("beside the error, %q was sent", recorder.Body)
		}
		return refused.StatusCode
	}
	if err != nil {
		t.Errorf("an error without a status: %v", err)
	}
	return recorder.Code
}

func TestTheCheckPageCanBeFramedByAll(t *testing.T) {
	w := newWorld(t)
	want := assets.CheckSession(w.op.cookies.state)
	recorder := httptest.NewRecorder()
	recorder.Header().Set("X-Frame-Options", "DENY") // what stands in front may have set
	if err := w.checker().Serve(w.op, recorder, httptest.NewRequest("GET", checkPage, nil)); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"Content-Type":                 "text/html; charset=utf-8",
		"Content-Security-Policy":      want.ContentSecurityPolicy,
		"Cross-Origin-Resource-Policy": "cross-origin",
		"Cross-Origin-Embedder-Policy": "require-corp",
		"X-Frame-Options":              "",
		"Cache-Control":                "public, max-age=600",
		"Etag":                         want.ETag,
		"Content-Length":               fmt.Sprint(len(want.Body)),
		"Set-Cookie":                   "",
	} {
		if got := recorder.Header().Get(field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	if recorder.Code != 200 || recorder.Body.String() != string(want.Body) || !strings.Contains(recorder.Body.String(), w.op.cookies.state) {
		t.Errorf("got %d %s", recorder.Code, recorder.Body)
	}
}

// Go's server sends what fits its buffer of 4 KiB at once. Caddy adds Server, Date and, on https, Alt-Svc.
func TestTheCheckPageAndItsHeaderAreSentAtOnce(t *testing.T) {
	w := newWorld(t)
	recorder := httptest.NewRecorder()
	if err := w.checker().Serve(w.op, recorder, httptest.NewRequest("GET", checkPage, nil)); err != nil {
		t.Fatal(err)
	}
	response := recorder.Result()
	response.Header.Set("Server", "Caddy")
	response.Header.Set("Date", "Mon, 02 Jan 2006 15:04:05 GMT")
	if len(response.Header) > 9 {
		t.Errorf("%d header fields", len(response.Header))
	}
	response.Header.Set("Alt-Svc", `h3=":443"; ma=2592000`)
	whole, err := httputil.DumpResponse(response, true)
	if err != nil || len(whole) > 4096 {
		t.Errorf("%d bytes, %v", len(whole), err)
	}
}

func TestTheCheckPageAnswersConditionsAndHEAD(t *testing.T) {
	w := newWorld(t)
	page := assets.CheckSession(w.op.cookies.state)
	tests := []struct {
		name, method, tag string
		status, length    int
	}{
		{"HEAD", "HEAD", "", 200, 0},
		{"not changed", "GET", page.ETag, 304, 0},
		{"changed", "GET", `"x"`, 200, len(page.Body)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, checkPage, nil)
			if tt.tag != "" {
				r.Header.Set("If-None-Match", tt.tag)
			}
			recorder := httptest.NewRecorder()
			if err := w.checker().Serve(w.op, recorder, r); err != nil || recorder.Code != tt.status || recorder.Body.Len() != tt.length {
				t.Errorf("got %d, %d bytes, %v", recorder.Code, recorder.Body.Len(), err)
			}
		})
	}
}

func TestEachIssuersPageReadsItsOwnCookie(t *testing.T) {
	w := newWorld(t)
	c := w.checker()
	for _, issuer := range []string{issuer, issuer + "/realm", issuer} {
		op := knownOP(t, issuer, metadata{})
		recorder := httptest.NewRecorder()
		if err := c.Serve(op, recorder, httptest.NewRequest("GET", checkPage, nil)); err != nil || recorder.Body.String() != string(assets.CheckSession(op.cookies.state).Body) {
			t.Errorf("%s got another page, %v", issuer, err)
		}
	}
}

func TestOtherMethodsAreNotAllowedAtTheCheckPage(t *testing.T) {
	for _, method := range []string{"PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "X"} {
		w := newWorld(t)
		recorder := httptest.NewRecorder()
		r := httptest.NewRequest("GET", checkPage, nil)
		r.Method = method
		err := w.checker().Serve(w.op, recorder, r)
		if got := status(t, err, recorder); got != 405 || recorder.Header().Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("%s: %d, %v", method, got, recorder.Header())
		}
	}
}

func TestWhichQuestionsAreTaken(t *testing.T) {
	good := "client_id=shop&session_state=h.s&origin=https%3A%2F%2Frp.example.com"
	tests := []struct {
		name   string
		form   string
		change func(*http.Request)
		want   int
	}{
		{"a question", good, nil, 200},
		{"with the browser state", good + "&browser_state=x", nil, 200},
		{"with an empty browser state", good + "&browser_state=", nil, 200},
		{"with more", good + "&x=y&x=z", nil, 200},
		{"with a charset", good, func(r *http.Request) { r.Header.Set("Content-Type", formType+";charset=UTF-8") }, 200},
		{"after the handshake of what began early", good, func(r *http.Request) { r.Header.Set("Early-Data", "0") }, 200},

		{"without an Origin", good, func(r *http.Request) { r.Header.Del("Origin") }, 403},
		{"from an RP's page", good, func(r *http.Request) { r.Header.Set("Origin", rpOrigin) }, 403},
		{"from an opaque origin", good, func(r *http.Request) { r.Header.Set("Origin", "null") }, 403},
		{"from another port", good, func(r *http.Request) { r.Header.Set("Origin", issuer+":8443") }, 403},
		{"from a host that begins alike", good, func(r *http.Request) { r.Header.Set("Origin", issuer+".evil.example") }, 403},
		{"in early data", good, func(r *http.Request) { r.Header.Set("Early-Data", "1") }, 425},
		{"before the handshake is complete", good, func(r *http.Request) { r.TLS.HandshakeComplete = false }, 425},
		{"as JSON", good, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 400},
		{"as plain text", good, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 400},
		{"without a type", good, func(r *http.Request) { r.Header.Del("Content-Type") }, 400},
		{"empty", "", nil, 400},
		{"without a client", "session_state=h.s&origin=o", nil, 400},
		{"with an empty client", "client_id=&session_state=h.s&origin=o", nil, 400},
		{"without a state", "client_id=c&origin=o", nil, 400},
		{"with an empty state", "client_id=c&session_state=&origin=o", nil, 400},
		{"without an origin in the form", "client_id=c&session_state=h.s", nil, 400},
		{"with an empty origin in the form", "client_id=c&session_state=h.s&origin=", nil, 400},
		{"with the client twice", good + "&client_id=shop", nil, 400},
		{"with the state twice", good + "&session_state=h.s", nil, 400},
		{"with the origin twice", good + "&origin=o", nil, 400},
		{"with the browser state twice", good + "&browser_state=x&browser_state=x", nil, 400},
		{"that cannot be read", good + "&x=%zz", nil, 400},
		{"that can be read in two ways", good + ";client_id=x", nil, 400},
		{"with parameters in the URL only", "", func(r *http.Request) { r.URL.RawQuery = good }, 400},
		{"with too long a state", good[:len("client_id=shop&session_state=")] + strings.Repeat("x", maxSessionState+1) + "&origin=o", nil, 400},
		{"with the longest state", good[:len("client_id=shop&session_state=")] + strings.Repeat("x", maxSessionState) + "&origin=o", nil, 200},
		{"of the largest size", good + "&x=" + strings.Repeat("x", maxCheck-len(good)-3), nil, 200},
		{"too large", good + "&x=" + strings.Repeat("x", maxCheck-len(good)-2), nil, 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			r := question(tt.form)
			r.TLS.HandshakeComplete = true
			if tt.change != nil {
				tt.change(r)
			}
			recorder := httptest.NewRecorder()
			err := w.checker().Serve(w.op, recorder, r)
			if got := status(t, err, recorder); got != tt.want || recorder.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("got %d, %v", got, recorder.Header())
			}
			if tt.want == 200 && (recorder.Body.String() != "unknown" || recorder.Header().Get("Content-Type") != "text/plain; charset=utf-8" || recorder.Header().Get("Set-Cookie") != "") {
				t.Errorf("got %s, %v", recorder.Body, recorder.Header())
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	end := func(t *testing.T, w *world, a *agent) {
		t.Helper()
		w.end(t, a.openS().browser, registry.ReasonOperator)
	}
	tests := []struct {
		name   string
		change func(*testing.T, *world, *agent, *pageCheck)
		want   string
	}{
		{"a live session", func(*testing.T, *world, *agent, *pageCheck) {}, "unchanged"},
		{"a live session and its browser state", func(_ *testing.T, _ *world, a *agent, q *pageCheck) { q.browserState = a.stateCookie() }, "unchanged"},
		{"a live session and a browser state that is none", func(_ *testing.T, _ *world, _ *agent, q *pageCheck) { q.browserState = "garbage" }, "unchanged"},
		{"a live session after key rotation", func(t *testing.T, w *world, _ *agent, _ *pageCheck) { w.keys = keyring(t, secondSecret, firstSecret) }, "unchanged"},
		{"a live session whose hash was changed", func(_ *testing.T, _ *world, _ *agent, q *pageCheck) {
			_, salt, _ := sessionstate.Split(q.sessionState)
			q.sessionState = "x." + salt
		}, "unchanged"},
		{"just before it expires", func(t *testing.T, w *world, _ *agent, _ *pageCheck) {
			w.redeem(t, codeForm("c"), answering(tokenResponse(claims("alice", clientID))))
			w.clock.advance(lifetime - time.Second)
		}, "unchanged"},
		{"expired", func(t *testing.T, w *world, _ *agent, _ *pageCheck) {
			w.redeem(t, codeForm("c"), answering(tokenResponse(claims("alice", clientID))))
			w.clock.advance(lifetime)
		}, "changed"},
		{"expired and removed", func(t *testing.T, w *world, a *agent, _ *pageCheck) {
			w.clock.advance(lifetime * 3)
			if w.claim(t); w.session(t, a.openS().session) != nil {
				t.Fatal("it is recorded still")
			}
		}, "changed"},
		{"ended", func(t *testing.T, w *world, a *agent, _ *pageCheck) { end(t, w, a) }, "changed"},
		{"ended and swept", func(t *testing.T, w *world, a *agent, _ *pageCheck) {
			end(t, w, a)
			w.forget(t)
		}, "changed"},
		{"forgotten, for nobody redeemed its code here", func(t *testing.T, w *world, _ *agent, _ *pageCheck) { w.forget(t) }, "unknown"},
		{"forgotten, and its time over since", func(t *testing.T, w *world, _ *agent, _ *pageCheck) {
			w.forget(t)
			w.clock.advance(lifetime)
		}, "changed"},
		{"forgotten, and gone on with by a later sign-in", func(t *testing.T, w *world, a *agent, _ *pageCheck) {
			w.forget(t)
			a.signIn("d")
		}, "unchanged"},
		{"ended, whatever the browser state", func(t *testing.T, w *world, a *agent, q *pageCheck) {
			end(t, w, a)
			q.browserState = a.stateCookie()
		}, "changed"},
		{"a browser that was told it is signed out", func(_ *testing.T, w *world, _ *agent, q *pageCheck) {
			q.browserState = w.keys.AnonymousState(issuer)
		}, "changed"},
		{"a browser that was told so under an older key", func(t *testing.T, w *world, _ *agent, q *pageCheck) {
			q.browserState = w.keys.AnonymousState(issuer)
			w.keys = keyring(t, secondSecret, firstSecret)
		}, "changed"},
		{"a browser that has gone on to a session of another server", func(_ *testing.T, w *world, _ *agent, q *pageCheck) {
			q.browserState = w.keys.BrowserState(issuer, sessionstate.SessionID{1})
		}, "unknown"},
		{"the browser state under an older key", func(t *testing.T, w *world, a *agent, q *pageCheck) {
			q.browserState = a.stateCookie()
			w.keys = keyring(t, secondSecret, firstSecret)
		}, "unchanged"},
		{"an error response, not signed in under another key", func(t *testing.T, w *world, _ *agent, q *pageCheck) {
			q.sessionState = sessionState(t, newAgent(t, w).get(authorize("s"), redirect(callback+"?error=e&state=s")))
			w.keys = keyring(t, secondSecret, firstSecret)
			q.browserState = w.keys.AnonymousState(issuer)
		}, "unchanged"},
		{"an error response of a browser that is not signed in any more", func(t *testing.T, w *world, a *agent, q *pageCheck) {
			q.sessionState = sessionState(t, a.get(authorize("s"), redirect(callback+"?error=e&state=s")))
			q.browserState = w.keys.AnonymousState(issuer)
		}, "unknown"},
		{"another client", func(_ *testing.T, _ *world, _ *agent, q *pageCheck) { q.clientID = "mail" }, "error"},
		{"another origin", func(_ *testing.T, _ *world, _ *agent, q *pageCheck) { q.origin = "https://evil.example" }, "error"},
		{"another origin of an ended session", func(t *testing.T, w *world, a *agent, q *pageCheck) {
			end(t, w, a)
			q.origin = "https://evil.example"
		}, "error"},
		{"an error response", func(t *testing.T, _ *world, a *agent, q *pageCheck) {
			q.sessionState = sessionState(t, a.get(authorize("s"), redirect(callback+"?error=e&state=s")))
		}, "unknown"},
		{"somebody else's state", func(_ *testing.T, _ *world, _ *agent, q *pageCheck) { q.sessionState = "h." + sessionstate.NewSalt() }, "unknown"},
		{"a state without a salt", func(_ *testing.T, _ *world, _ *agent, q *pageCheck) { q.sessionState = "h" }, "unknown"},
		{"a state with a space", func(_ *testing.T, _ *world, _ *agent, q *pageCheck) { q.sessionState += " " }, "unknown"},
		{"sealed under other keys", func(t *testing.T, w *world, _ *agent, _ *pageCheck) { w.keys = keyring(t, secondSecret) }, "unknown"},
		{"another issuer's", func(t *testing.T, w *world, _ *agent, _ *pageCheck) { w.op = knownOP(t, issuer+"/realm", metadata{}) }, "unknown"},
		{"a handle of another size", func(_ *testing.T, w *world, _ *agent, q *pageCheck) {
			q.sessionState = "h." + w.keys.Seal("handle", issuer, make([]byte, 16+8+16+16+4))
		}, "unknown"},
		{"lost", func(_ *testing.T, w *world, _ *agent, _ *pageCheck) { w.lose() }, "unknown"},
		{"lost, its end too", func(t *testing.T, w *world, a *agent, _ *pageCheck) {
			end(t, w, a)
			w.lose()
		}, "unknown"},
		{"lost, and its time over since", func(_ *testing.T, w *world, _ *agent, _ *pageCheck) {
			w.lose()
			w.clock.advance(lifetime + time.Minute)
		}, "changed"},
		{"lost, and gone on with by a later sign-in", func(_ *testing.T, w *world, a *agent, _ *pageCheck) {
			w.lose()
			a.signIn("d")
		}, "unchanged"},
		{"the registry away", func(_ *testing.T, w *world, _ *agent, _ *pageCheck) { w.down() }, "unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a := newAgent(t, w)
			q := pageCheck{clientID, a.signIn("c"), rpOrigin, ""}
			tt.change(t, w, a, &q)
			if got := w.check(t, q); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestACheckWhoseBrowserHasGoneIsNoFailure(t *testing.T) {
	w := newWorld(t)
	q := pageCheck{clientID, newAgent(t, w).signIn("c"), rpOrigin, ""}
	w.store.do(func(ctx context.Context, _ string, _ ...registry.Key) error { return ctx.Err() })
	ctx, leave := context.WithCancel(t.Context())
	leave()
	recorder := httptest.NewRecorder()
	err := w.checker().Serve(w.op, recorder, question(checkForm(q)).WithContext(ctx))
	if got := status(t, err, recorder); got != http.StatusOK || recorder.Body.String() != "unchanged" {
		t.Errorf("got %d %s", got, recorder.Body)
	}
	if n := w.logs.FilterMessage("a check cannot be answered").Len(); n != 0 {
		t.Errorf("the log complains %d times", n)
	}
}

// forget lets the time pass after which a session is forgotten none of whose codes was redeemed.
func (w *world) forget(t *testing.T) {
	t.Helper()
	w.clock.advance(registry.CodeLifetime)
	w.claim(t)
}

// Apps of which the codes are redeemed past Caddy, at an internal address of the OP's, are signed
// in by each other's sessions all day.
func TestAppsWhoseCodesNobodyRedeemsHereSeeNoChange(t *testing.T) {
	w := newWorld(t)
	a, state := signedIn(t, w)
	states := []string{state}
	cookie, session := a.stateCookie(), a.openS().session
	check := func(i int) {
		t.Helper()
		for _, state := range states { // as the page judges it
			got := w.check(t, pageCheck{clientID, state, rpOrigin, a.stateCookie()})
			if got != "unchanged" && got != "unknown" || !sessionstate.Verify(state, clientID, rpOrigin, a.stateCookie()) {
				t.Fatalf("at sign-in %d the check says %s", i, got)
			}
		}
	}
	for i := range 20 {
		w.forget(t)
		check(i)
		states = append(states, a.signIn(fmt.Sprint(i)))
		if a.stateCookie() != cookie || a.openS().session != session {
			t.Fatalf("at sign-in %d the browser has another session", i)
		}
		check(i)
	}
	w.forget(t)
	a.get("/logout", signOut)
	for _, state := range states {
		if sessionstate.Verify(state, clientID, rpOrigin, a.stateCookie()) {
			t.Error("after the sign-out a session_state still fits the cookie")
		}
	}
}

func TestWithoutKeysTheCheckIsNotAnswered(t *testing.T) {
	w := newWorld(t)
	state := newAgent(t, w).signIn("c")
	w.withoutKeys()
	recorder := httptest.NewRecorder()
	err := w.checker().Serve(w.op, recorder, question(checkForm(pageCheck{clientID, state, rpOrigin, ""})))
	if got := status(t, err, recorder); got != 503 || !errors.Is(err, errNoKeys) {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestTheServerAsksNoMoreThanItMust(t *testing.T) {
	w := newWorld(t)
	w.env.Registry = nil // a question that its handle answers does not reach it
	for _, state := range []string{"h." + sessionstate.NewSalt(), "h." + w.keys.SealHandle(issuer, sessionstate.NewHandle("mail", rpOrigin))} {
		if got := w.check(t, pageCheck{clientID, state, rpOrigin, ""}); got == "changed" || got == "unchanged" {
			t.Errorf("got %s", got)
		}
	}
}

func TestTooManyQuestionsAreRefused(t *testing.T) {
	w := newWorld(t)
	c := w.checker()
	ask := func(address, state string) int {
		r := question(checkForm(pageCheck{clientID, state, rpOrigin, ""}))
		r.RemoteAddr = address
		r.TLS.HandshakeComplete = true
		recorder := httptest.NewRecorder()
		got := status(t, c.Serve(w.op, recorder, r), recorder)
		if (got == 429) != (recorder.Header().Get("Retry-After") != "") || got != 429 && got != 200 {
			t.Errorf("got %d, %v", got, recorder.Header())
		}
		return got
	}
	for range burstPerHandle {
		if ask("192.0.2.1:1", "h.one") != 200 {
			t.Fatal("refused within the burst of a handle")
		}
	}
	if ask("192.0.2.1:1", "x.one") != 429 || ask("192.0.2.2:1", "h.one") != 429 {
		t.Error("taken beyond the burst of a handle")
	}
	if ask("192.0.2.1:1", "h.two") != 200 {
		t.Error("another handle was refused")
	}
	w.clock.advance(time.Second / 2)
	if ask("192.0.2.1:1", "h.one") != 200 || ask("192.0.2.1:1", "h.one") != 429 {
		t.Error("a handle may be asked about twice a second")
	}
	for i := range burstPerAddress {
		if ask("198.51.100.1:1", fmt.Sprint("h.", i)) != 200 {
			t.Fatal("refused within the burst of an address")
		}
	}
	if ask("198.51.100.1:2", "h.last") != 429 || ask("198.51.100.2:1", "h.last") != 200 {
		t.Error("taken beyond the burst of an address, or another address was refused")
	}
	w.clock.advance(time.Second)
	for range int(checksPerAddress) {
		if ask("198.51.100.1:1", "h."+sessionstate.NewSalt()) != 200 {
			t.Fatal("refused within the rate of an address")
		}
	}
	if ask("198.51.100.1:1", "h.last") != 429 {
		t.Error("taken beyond the rate of an address")
	}
}

func TestTheAddressThatQuestionsAreCountedBy(t *testing.T) {
	tests := []struct {
		name, remote string
		clientIP     any
		want         string
	}{
		{"the connection's", "192.0.2.1:4711", nil, "192.0.2.1"},
		{"the client IP as Caddy sees it", "192.0.2.1:4711", "203.0.113.9", "203.0.113.9"},
		{"an unknown client IP", "192.0.2.1:4711", "", "192.0.2.1"},
		{"a client IP of another type", "192.0.2.1:4711", 7, "192.0.2.1"},
		{"the network of an IPv6 address", "[2001:db8:1:2:3:4:5:6]:4711", nil, "2001:db8:1:2::"},
		{"the network of another", "[2001:db8:1:2:ffff::1]:4711", nil, "2001:db8:1:2::"},
		{"the network of an IPv6 client IP", "192.0.2.1:4711", "2001:db8:1:3::1", "2001:db8:1:3::"},
		{"an IPv4 address as IPv6", "[::ffff:192.0.2.1]:4711", nil, "::ffff:192.0.2.1"},
		{"none", "@", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", nil)
			r.RemoteAddr = tt.remote
			if tt.clientIP != nil {
				vars := map[string]any{caddyhttp.ClientIPVarKey: tt.clientIP}
				r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars))
			}
			if got := clientAddress(r); got != tt.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestTheLimiterKeepsABoundedNumber(t *testing.T) {
	w := newWorld(t)
	l := newLimiter(w.clock.Now)
	for i := range 2*maxLimited + 5 {
		if !l.allow(fmt.Sprint(i), fmt.Sprint(i)) {
			t.Fatal("the first check of an address was refused")
		}
	}
	if addresses, handles := l.addresses.kept.Len(), l.handles.kept.Len(); addresses > maxLimited || handles > maxLimited {
		t.Errorf("%d and %d are kept", addresses, handles)
	}
}

func TestTheLimiterDoesNotForgetWhoKeepsAsking(t *testing.T) {
	l := newLimiter(newWorld(t).clock.Now)
	taken := 0
	for i := range 2 * maxLimited {
		if i%(maxLimited/4) == 0 {
			for range burstPerHandle {
				if l.handles.get(1).AllowN(l.now(), 1) {
					taken++
				}
			}
		}
		l.handles.get(uint64(i) + 2)
	}
	if taken != burstPerHandle {
		t.Errorf("%d checks were taken while no time passed", taken)
	}
}

func TestValidateThePathOfTheCheckPage(t *testing.T) {
	for path, valid := range map[string]bool{
		DefaultCheckSessionPath: true, "/a/b": true, "": true, "a": false, "//a": false, "/a?b": false, "/a#b": false, "/a%20b": false,
		"https://op.example.com/a": false, "/a b": false, "/ä": false, "/a:b@c!": true,
	} {
		if err := (&CheckSession{Path: path}).Validate(); (err == nil) != valid || err != nil && !errors.Is(err, ErrPath) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func FuzzReadCheck(f *testing.F) {
	f.Add(checkForm(pageCheck{clientID, "h.s", rpOrigin, "b"}), formType)
	f.Add("client_id=a&client_id=b&session_state=s&origin=o", formType)
	f.Add("client_id=a;session_state=s", formType+"; charset=x")
	f.Add("%zz", "text/plain")
	f.Fuzz(func(t *testing.T, body, contentType string) {
		r := httptest.NewRequest("POST", checkPage, strings.NewReader(body))
		r.Header["Content-Type"] = []string{contentType}
		q, err := readCheck(httptest.NewRecorder(), r)
		if err != nil {
			if q != (check{}) {
				t.Fatalf("refused, but %+v", q)
			}
			return
		}
		if q.clientID == "" || q.sessionState == "" || q.origin == "" || len(q.sessionState) > maxSessionState || len(body) > maxCheck {
			t.Fatalf("%q was read as %+v", body, q)
		}
		again, err := readCheck(httptest.NewRecorder(), question(checkForm(pageCheck{q.clientID, q.sessionState, q.origin, q.browserState})))
		if err != nil && len(checkForm(pageCheck{q.clientID, q.sessionState, q.origin, q.browserState})) <= maxCheck || err == nil && again != q {
			t.Fatalf("%+v is %+v after it was written again, %v", q, again, err)
		}
	})
}
