package check_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func TestTheCheckPageCanBeFramedByAll(t *testing.T) {
	w := handlerstest.NewWorld(t)
	want := assets.CheckSession(w.OP.Cookies.State)
	recorder := httptest.NewRecorder()
	recorder.Header().Set("X-Frame-Options", "DENY") // what stands in front may have set
	if err := w.Checker().Serve(w.OP, recorder, httptest.NewRequest("GET", handlerstest.CheckPage, nil)); err != nil {
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
	if recorder.Code != 200 || recorder.Body.String() != string(want.Body) || !strings.Contains(recorder.Body.String(), w.OP.Cookies.State) {
		t.Errorf("got %d %s", recorder.Code, recorder.Body)
	}
}

// Go's server sends what fits its buffer of 4 KiB at once. Caddy adds Server, Date and, on https,
// Alt-Svc.
func TestTheCheckPageAndItsHeaderAreSentAtOnce(t *testing.T) {
	w := handlerstest.NewWorld(t)
	recorder := httptest.NewRecorder()
	if err := w.Checker().Serve(w.OP, recorder, httptest.NewRequest("GET", handlerstest.CheckPage, nil)); err != nil {
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
	w := handlerstest.NewWorld(t)
	page := assets.CheckSession(w.OP.Cookies.State)
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
			r := httptest.NewRequest(tt.method, handlerstest.CheckPage, nil)
			if tt.tag != "" {
				r.Header.Set("If-None-Match", tt.tag)
			}
			recorder := httptest.NewRecorder()
			if err := w.Checker().Serve(w.OP, recorder, r); err != nil || recorder.Code != tt.status || recorder.Body.Len() != tt.length {
				t.Errorf("got %d, %d bytes, %v", recorder.Code, recorder.Body.Len(), err)
			}
		})
	}
}

func TestEachIssuersPageReadsItsOwnCookie(t *testing.T) {
	w := handlerstest.NewWorld(t)
	c := w.Checker()
	for _, issuer := range []string{handlerstest.Issuer, handlerstest.Issuer + "/realm", handlerstest.Issuer} {
		op := handlerstest.KnownOP(t, issuer, handlers.Metadata{})
		recorder := httptest.NewRecorder()
		if err := c.Serve(op, recorder, httptest.NewRequest("GET", handlerstest.CheckPage, nil)); err != nil || recorder.Body.String() != string(assets.CheckSession(op.Cookies.State).Body) {
			t.Errorf("%s got another page, %v", issuer, err)
		}
	}
}

func TestOtherMethodsAreNotAllowedAtTheCheckPage(t *testing.T) {
	for _, method := range []string{"PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "X"} {
		w := handlerstest.NewWorld(t)
		recorder := httptest.NewRecorder()
		r := httptest.NewRequest("GET", handlerstest.CheckPage, nil)
		r.Method = method
		err := w.Checker().Serve(w.OP, recorder, r)
		if got := handlerstest.Status(t, err, recorder); got != 405 || recorder.Header().Get("Allow") != "GET, HEAD, POST" {
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
		{"with a charset", good, func(r *http.Request) { r.Header.Set("Content-Type", exchange.FormType+";charset=UTF-8") }, 200},
		{"after the handshake of what began early", good, func(r *http.Request) { r.Header.Set("Early-Data", "0") }, 200},

		{"without an Origin", good, func(r *http.Request) { r.Header.Del("Origin") }, 403},
		{"from an RP's page", good, func(r *http.Request) { r.Header.Set("Origin", handlerstest.RpOrigin) }, 403},
		{"from an opaque origin", good, func(r *http.Request) { r.Header.Set("Origin", "null") }, 403},
		{"from another port", good, func(r *http.Request) { r.Header.Set("Origin", handlerstest.Issuer+":8443") }, 403},
		{"from a host that begins alike", good, func(r *http.Request) { r.Header.Set("Origin", handlerstest.Issuer+".evil.example") }, 403},
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
		{"with too long a state", good[:len("client_id=shop&session_state=")] + strings.Repeat("x", handlers.MaxSessionState+1) + "&origin=o", nil, 400},
		{"with the longest state", good[:len("client_id=shop&session_state=")] + strings.Repeat("x", handlers.MaxSessionState) + "&origin=o", nil, 200},
		{"of the largest size", good + "&x=" + strings.Repeat("x", handlers.MaxCheck-len(good)-3), nil, 200},
		{"too large", good + "&x=" + strings.Repeat("x", handlers.MaxCheck-len(good)-2), nil, 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			r := handlerstest.Question(tt.form)
			r.TLS.HandshakeComplete = true
			if tt.change != nil {
				tt.change(r)
			}
			recorder := httptest.NewRecorder()
			err := w.Checker().Serve(w.OP, recorder, r)
			if got := handlerstest.Status(t, err, recorder); got != tt.want || recorder.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("got %d, %v", got, recorder.Header())
			}
			if tt.want == 200 && (recorder.Body.String() != "unknown" || recorder.Header().Get("Content-Type") != "text/plain; charset=utf-8" || recorder.Header().Get("Set-Cookie") != "") {
				t.Errorf("got %s, %v", recorder.Body, recorder.Header())
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	end := func(t *testing.T, w *handlerstest.World, a *handlerstest.Agent) {
		t.Helper()
		w.End(t, a.OpenS().Browser, registry.ReasonOperator)
	}
	tests := []struct {
		name   string
		change func(*testing.T, *handlerstest.World, *handlerstest.Agent, *handlerstest.PageCheck)
		want   string
	}{
		{"a live session", func(*testing.T, *handlerstest.World, *handlerstest.Agent, *handlerstest.PageCheck) {}, "unchanged"},
		{"a live session and its browser state", func(_ *testing.T, _ *handlerstest.World, a *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.BrowserState = a.StateCookie()
		}, "unchanged"},
		{"a live session and a browser state that is none", func(_ *testing.T, _ *handlerstest.World, _ *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.BrowserState = "garbage"
		}, "unchanged"},
		{"a live session after key rotation", func(t *testing.T, w *handlerstest.World, _ *handlerstest.Agent, _ *handlerstest.PageCheck) {
			w.Keys = handlerstest.Keyring(t, handlerstest.SecondSecret, handlerstest.FirstSecret)
		}, "unchanged"},
		{"a live session whose hash was changed", func(_ *testing.T, _ *handlerstest.World, _ *handlerstest.Agent, q *handlerstest.PageCheck) {
			_, salt, _ := sessionstate.Split(q.SessionState)
			q.SessionState = "x." + salt
		}, "unchanged"},
		{"just before it expires", func(t *testing.T, w *handlerstest.World, _ *handlerstest.Agent, _ *handlerstest.PageCheck) {
			w.Redeem(t, handlerstest.CodeForm("c"), reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("alice", handlerstest.ClientID))))
			w.Clock.Advance(handlerstest.Lifetime - time.Second)
		}, "unchanged"},
		{"expired", func(t *testing.T, w *handlerstest.World, _ *handlerstest.Agent, _ *handlerstest.PageCheck) {
			w.Redeem(t, handlerstest.CodeForm("c"), reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("alice", handlerstest.ClientID))))
			w.Clock.Advance(handlerstest.Lifetime)
		}, "changed"},
		{"expired and removed", func(t *testing.T, w *handlerstest.World, a *handlerstest.Agent, _ *handlerstest.PageCheck) {
			w.Clock.Advance(handlerstest.Lifetime * 3)
			if w.Claim(t); w.Session(t, a.OpenS().Session) != nil {
				t.Fatal("it is recorded still")
			}
		}, "changed"},
		{"ended", func(t *testing.T, w *handlerstest.World, a *handlerstest.Agent, _ *handlerstest.PageCheck) {
			end(t, w, a)
		}, "changed"},
		{"ended and swept", func(t *testing.T, w *handlerstest.World, a *handlerstest.Agent, _ *handlerstest.PageCheck) {
			end(t, w, a)
			w.Forget(t)
		}, "changed"},
		{"forgotten, for nobody redeemed its code here", func(t *testing.T, w *handlerstest.World, _ *handlerstest.Agent, _ *handlerstest.PageCheck) {
			w.Forget(t)
		}, "unknown"},
		{"forgotten, and its time over since", func(t *testing.T, w *handlerstest.World, _ *handlerstest.Agent, _ *handlerstest.PageCheck) {
			w.Forget(t)
			w.Clock.Advance(handlerstest.Lifetime)
		}, "changed"},
		{"forgotten, and gone on with by a later sign-in", func(t *testing.T, w *handlerstest.World, a *handlerstest.Agent, _ *handlerstest.PageCheck) {
			w.Forget(t)
			a.SignIn("d")
		}, "unchanged"},
		{"ended, whatever the browser state", func(t *testing.T, w *handlerstest.World, a *handlerstest.Agent, q *handlerstest.PageCheck) {
			end(t, w, a)
			q.BrowserState = a.StateCookie()
		}, "changed"},
		{"a browser that was told it is signed out", func(_ *testing.T, w *handlerstest.World, _ *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.BrowserState = w.Keys.AnonymousState(handlerstest.Issuer)
		}, "changed"},
		{"a browser that was told so under an older key", func(t *testing.T, w *handlerstest.World, _ *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.BrowserState = w.Keys.AnonymousState(handlerstest.Issuer)
			w.Keys = handlerstest.Keyring(t, handlerstest.SecondSecret, handlerstest.FirstSecret)
		}, "changed"},
		{"a browser that has gone on to a session of another server", func(_ *testing.T, w *handlerstest.World, _ *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.BrowserState = w.Keys.BrowserState(handlerstest.Issuer, sessionstate.SessionID{1})
		}, "unknown"},
		{"the browser state under an older key", func(t *testing.T, w *handlerstest.World, a *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.BrowserState = a.StateCookie()
			w.Keys = handlerstest.Keyring(t, handlerstest.SecondSecret, handlerstest.FirstSecret)
		}, "unchanged"},
		{"an error response, not signed in under another key", func(t *testing.T, w *handlerstest.World, _ *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.SessionState = handlerstest.SessionState(t, handlerstest.NewAgent(t, w).Get(handlerstest.Authorize("s"), reply.Redirect(handlerstest.Callback+"?error=e&state=s")))
			w.Keys = handlerstest.Keyring(t, handlerstest.SecondSecret, handlerstest.FirstSecret)
			q.BrowserState = w.Keys.AnonymousState(handlerstest.Issuer)
		}, "unchanged"},
		{"an error response of a browser that is not signed in any more", func(t *testing.T, w *handlerstest.World, a *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.SessionState = handlerstest.SessionState(t, a.Get(handlerstest.Authorize("s"), reply.Redirect(handlerstest.Callback+"?error=e&state=s")))
			q.BrowserState = w.Keys.AnonymousState(handlerstest.Issuer)
		}, "unknown"},
		{"another client", func(_ *testing.T, _ *handlerstest.World, _ *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.ClientID = "mail"
		}, "error"},
		{"another origin", func(_ *testing.T, _ *handlerstest.World, _ *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.Origin = "https://evil.example"
		}, "error"},
		{"another origin of an ended session", func(t *testing.T, w *handlerstest.World, a *handlerstest.Agent, q *handlerstest.PageCheck) {
			end(t, w, a)
			q.Origin = "https://evil.example"
		}, "error"},
		{"an error response", func(t *testing.T, _ *handlerstest.World, a *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.SessionState = handlerstest.SessionState(t, a.Get(handlerstest.Authorize("s"), reply.Redirect(handlerstest.Callback+"?error=e&state=s")))
		}, "unknown"},
		{"somebody else's state", func(_ *testing.T, _ *handlerstest.World, _ *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.SessionState = "h." + sessionstate.NewSalt()
		}, "unknown"},
		{"a state without a salt", func(_ *testing.T, _ *handlerstest.World, _ *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.SessionState = "h"
		}, "unknown"},
		{"a state with a space", func(_ *testing.T, _ *handlerstest.World, _ *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.SessionState += " "
		}, "unknown"},
		{"sealed under other keys", func(t *testing.T, w *handlerstest.World, _ *handlerstest.Agent, _ *handlerstest.PageCheck) {
			w.Keys = handlerstest.Keyring(t, handlerstest.SecondSecret)
		}, "unknown"},
		{"another issuer's", func(t *testing.T, w *handlerstest.World, _ *handlerstest.Agent, _ *handlerstest.PageCheck) {
			w.OP = handlerstest.KnownOP(t, handlerstest.Issuer+"/realm", handlers.Metadata{})
		}, "unknown"},
		{"a handle of another size", func(_ *testing.T, w *handlerstest.World, _ *handlerstest.Agent, q *handlerstest.PageCheck) {
			q.SessionState = "h." + w.Keys.Seal("handle", handlerstest.Issuer, make([]byte, 16+8+16+16+4))
		}, "unknown"},
		{"lost", func(_ *testing.T, w *handlerstest.World, _ *handlerstest.Agent, _ *handlerstest.PageCheck) { w.Lose() }, "unknown"},
		{"lost, its end too", func(t *testing.T, w *handlerstest.World, a *handlerstest.Agent, _ *handlerstest.PageCheck) {
			end(t, w, a)
			w.Lose()
		}, "unknown"},
		{"lost, and its time over since", func(_ *testing.T, w *handlerstest.World, _ *handlerstest.Agent, _ *handlerstest.PageCheck) {
			w.Lose()
			w.Clock.Advance(handlerstest.Lifetime + time.Minute)
		}, "changed"},
		{"lost, and gone on with by a later sign-in", func(_ *testing.T, w *handlerstest.World, a *handlerstest.Agent, _ *handlerstest.PageCheck) {
			w.Lose()
			a.SignIn("d")
		}, "unchanged"},
		{"the registry away", func(_ *testing.T, w *handlerstest.World, _ *handlerstest.Agent, _ *handlerstest.PageCheck) { w.Down() }, "unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			a := handlerstest.NewAgent(t, w)
			q := handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: a.SignIn("c"), Origin: handlerstest.RpOrigin, BrowserState: ""}
			tt.change(t, w, a, &q)
			if got := w.Check(t, q); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestACheckWhoseBrowserHasGoneIsNoFailure(t *testing.T) {
	w := handlerstest.NewWorld(t)
	q := handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: handlerstest.NewAgent(t, w).SignIn("c"), Origin: handlerstest.RpOrigin, BrowserState: ""}
	w.Store.Do(func(ctx context.Context, _ string, _ ...registry.Key) error { return ctx.Err() })
	ctx, leave := context.WithCancel(t.Context())
	leave()
	recorder := httptest.NewRecorder()
	err := w.Checker().Serve(w.OP, recorder, handlerstest.Question(handlerstest.CheckForm(q)).WithContext(ctx))
	if got := handlerstest.Status(t, err, recorder); got != http.StatusOK || recorder.Body.String() != "unchanged" {
		t.Errorf("got %d %s", got, recorder.Body)
	}
	if n := w.Logs.FilterMessage("a check cannot be answered").Len(); n != 0 {
		t.Errorf("the log complains %d times", n)
	}
}

// Apps of which the codes are redeemed past Caddy, at an internal address of the OP's, are signed
// in by each other's sessions all day.
func TestAppsWhoseCodesNobodyRedeemsHereSeeNoChange(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, state := handlerstest.SignedIn(t, w)
	states := []string{state}
	cookie, session := a.StateCookie(), a.OpenS().Session
	check := func(i int) {
		t.Helper()
		for _, state := range states { // as the page judges it
			got := w.Check(t, handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: a.StateCookie()})
			if got != "unchanged" && got != "unknown" || !sessionstate.Verify(state, handlerstest.ClientID, handlerstest.RpOrigin, a.StateCookie()) {
				t.Fatalf("at sign-in %d the check says %s", i, got)
			}
		}
	}
	for i := range 20 {
		w.Forget(t)
		check(i)
		states = append(states, a.SignIn(fmt.Sprint(i)))
		if a.StateCookie() != cookie || a.OpenS().Session != session {
			t.Fatalf("at sign-in %d the browser has another session", i)
		}
		check(i)
	}
	w.Forget(t)
	a.Get("/logout", handlerstest.SignOut)
	for _, state := range states {
		if sessionstate.Verify(state, handlerstest.ClientID, handlerstest.RpOrigin, a.StateCookie()) {
			t.Error("after the sign-out a session_state still fits the cookie")
		}
	}
}

func TestWithoutKeysTheCheckIsNotAnswered(t *testing.T) {
	w := handlerstest.NewWorld(t)
	state := handlerstest.NewAgent(t, w).SignIn("c")
	w.WithoutKeys()
	recorder := httptest.NewRecorder()
	err := w.Checker().Serve(w.OP, recorder, handlerstest.Question(handlerstest.CheckForm(handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: ""})))
	if got := handlerstest.Status(t, err, recorder); got != 503 || !errors.Is(err, handlerstest.ErrNoKeys) {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestTheServerAsksNoMoreThanItMust(t *testing.T) {
	w := handlerstest.NewWorld(t)
	w.Env.Registry = nil // a question that its handle answers does not reach it
	for _, state := range []string{"h." + sessionstate.NewSalt(), "h." + w.Keys.SealHandle(handlerstest.Issuer, sessionstate.NewHandle("mail", handlerstest.RpOrigin))} {
		if got := w.Check(t, handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: ""}); got == "changed" || got == "unchanged" {
			t.Errorf("got %s", got)
		}
	}
}

func TestTooManyQuestionsAreRefused(t *testing.T) {
	w := handlerstest.NewWorld(t)
	c := w.Checker()
	ask := func(address, state string) int {
		r := handlerstest.Question(handlerstest.CheckForm(handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: ""}))
		r.RemoteAddr = address
		r.TLS.HandshakeComplete = true
		recorder := httptest.NewRecorder()
		got := handlerstest.Status(t, c.Serve(w.OP, recorder, r), recorder)
		if (got == 429) != (recorder.Header().Get("Retry-After") != "") || got != 429 && got != 200 {
			t.Errorf("got %d, %v", got, recorder.Header())
		}
		return got
	}
	for range check.BurstPerHandle {
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
	w.Clock.Advance(time.Second / 2)
	if ask("192.0.2.1:1", "h.one") != 200 || ask("192.0.2.1:1", "h.one") != 429 {
		t.Error("a handle may be asked about twice a second")
	}
	for i := range check.BurstPerAddress {
		if ask("198.51.100.1:1", fmt.Sprint("h.", i)) != 200 {
			t.Fatal("refused within the burst of an address")
		}
	}
	if ask("198.51.100.1:2", "h.last") != 429 || ask("198.51.100.2:1", "h.last") != 200 {
		t.Error("taken beyond the burst of an address, or another address was refused")
	}
	w.Clock.Advance(time.Second)
	for range int(check.PerAddress) {
		if ask("198.51.100.1:1", "h."+sessionstate.NewSalt()) != 200 {
			t.Fatal("refused within the rate of an address")
		}
	}
	if ask("198.51.100.1:1", "h.last") != 429 {
		t.Error("taken beyond the rate of an address")
	}
}

func TestValidateThePathOfTheCheckPage(t *testing.T) {
	for path, valid := range map[string]bool{
		handlers.DefaultCheckSessionPath: true, "/a/b": true, "": true, "a": false, "//a": false, "/a?b": false, "/a#b": false, "/a%20b": false,
		"https://op.example.com/a": false, "/a b": false, "/ä": false, "/a:b@c!": true,
	} {
		if err := (&check.CheckSession{Path: path}).Validate(); (err == nil) != valid || err != nil && !errors.Is(err, handlers.ErrPath) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func FuzzReadQuestion(f *testing.F) {
	form := func(q check.Question) string {
		clientID, sessionState, origin, browserState := q.Form()
		return handlerstest.CheckForm(handlerstest.PageCheck{
			ClientID: clientID, SessionState: sessionState, Origin: origin, BrowserState: browserState,
		})
	}
	f.Add("client_id=shop&session_state=h.s&origin=https%3A%2F%2Frp.example.com&browser_state=b", exchange.FormType)
	f.Add("client_id=a&client_id=b&session_state=s&origin=o", exchange.FormType)
	f.Add("client_id=a;session_state=s", exchange.FormType+"; charset=x")
	f.Add("%zz", "text/plain")
	f.Fuzz(func(t *testing.T, body, contentType string) {
		r := httptest.NewRequest("POST", handlerstest.CheckPage, strings.NewReader(body))
		r.Header["Content-Type"] = []string{contentType}
		q, err := check.ReadQuestion(httptest.NewRecorder(), r)
		if err != nil {
			if q != (check.Question{}) {
				t.Fatalf("refused, but %+v", q)
			}
			return
		}
		clientID, sessionState, origin, _ := q.Form()
		if clientID == "" || sessionState == "" || origin == "" || len(sessionState) > handlers.MaxSessionState || len(body) > handlers.MaxCheck {
			t.Fatalf("%q was read as %+v", body, q)
		}
		again, err := check.ReadQuestion(httptest.NewRecorder(), handlerstest.Question(form(q)))
		if err != nil && len(form(q)) <= handlers.MaxCheck || err == nil && again != q {
			t.Fatalf("%+v is %+v after it was written again, %v", q, again, err)
		}
	})
}
