package signin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

func TestATokenResponseSaysWhoSignedIn(t *testing.T) {
	body := handlerstest.TokenResponse(handlerstest.Claims("alice", handlerstest.ClientID))
	tests := []struct {
		name    string
		form    url.Values
		respond http.HandlerFunc
		want    bool
	}{
		{"plain", handlerstest.CodeForm("c"), reply.Answering(body), true},
		{"with a charset", handlerstest.CodeForm("c"), handlerstest.Responding(200, "application/json; charset=UTF-8", "", []byte(body)), true},
		{"compressed", handlerstest.CodeForm("c"), handlerstest.Responding(200, "application/json", "gzip", reply.Zipped(body)), true},
		{"for several clients", handlerstest.CodeForm("c"), reply.Answering(handlerstest.TokenResponse(strings.Replace(handlerstest.Claims("alice", handlerstest.ClientID), `"aud":"shop"`, `"aud":["mail","shop"]`, 1))), true},

		{"refresh", url.Values{"grant_type": {"refresh_token"}, "code": {"c"}}, reply.Answering(body), false},
		{"client credentials", url.Values{"grant_type": {"client_credentials"}}, reply.Answering(body), false},
		{"no code", url.Values{"grant_type": {"authorization_code"}}, reply.Answering(body), false},
		{"too long a code", handlerstest.CodeForm(strings.Repeat("c", handlers.MaxCode+1)), reply.Answering(body), false},
		{"another code", handlerstest.CodeForm("d"), reply.Answering(body), false},
		{"over 64 KiB of request", url.Values{"grant_type": {"authorization_code"}, "code": {"c"}, "x": {strings.Repeat("x", exchange.MaxForm)}}, reply.Answering(body), false},
		{"refused", handlerstest.CodeForm("c"), handlerstest.Responding(400, "application/json", "", []byte(body)), false},
		{"201", handlerstest.CodeForm("c"), handlerstest.Responding(201, "application/json", "", []byte(body)), false},
		{"no JSON type", handlerstest.CodeForm("c"), handlerstest.Responding(200, "text/plain", "", []byte(body)), false},
		{"over 1 MiB", handlerstest.CodeForm("c"), reply.Answering(body + strings.Repeat(" ", exchange.MaxJSON)), false},
		{"in another coding", handlerstest.CodeForm("c"), handlerstest.Responding(200, "application/json", "br", []byte(body)), false},
		{"broken gzip", handlerstest.CodeForm("c"), handlerstest.Responding(200, "application/json", "gzip", reply.Zipped(body)[:40]), false},
		{"gzip of over 1 MiB", handlerstest.CodeForm("c"), handlerstest.Responding(200, "application/json", "gzip", reply.Zipped(body+strings.Repeat(" ", exchange.MaxJSON))), false},
		{"no ID token", handlerstest.CodeForm("c"), reply.Answering(`{"access_token":"a"}`), false},
		{"an ID token that is no string", handlerstest.CodeForm("c"), reply.Answering(`{"id_token":{}}`), false},
		{"no object", handlerstest.CodeForm("c"), reply.Answering(`[1]`), false},
		{"half an object", handlerstest.CodeForm("c"), reply.Answering(body[:len(body)-1]), false},
		{"nothing", handlerstest.CodeForm("c"), reply.Answering(""), false},
		{"encrypted ID token", handlerstest.CodeForm("c"), reply.Answering(`{"id_token":"e.e.e.e.e"}`), false},
		{"garbled ID token", handlerstest.CodeForm("c"), reply.Answering(`{"id_token":"e"}`), false},
		{"another issuer", handlerstest.CodeForm("c"), reply.Answering(handlerstest.TokenResponse(strings.Replace(handlerstest.Claims("alice", handlerstest.ClientID), handlerstest.Issuer, handlerstest.Issuer+"/", 1))), false},
		{"another client", handlerstest.CodeForm("c"), reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("alice", "mail"))), false},
		{"no sub", handlerstest.CodeForm("c"), reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("", handlerstest.ClientID))), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			a := handlerstest.NewAgent(t, w)
			state := a.SignIn("c")
			want := httptest.NewRecorder()
			tt.respond(want, httptest.NewRequest("POST", "/token", nil))
			got := w.Redeem(t, tt.form, func(rw http.ResponseWriter, r *http.Request) {
				if body := reply.ReadAll(t, r.Body); body != tt.form.Encode() {
					t.Errorf("the OP read %d bytes of %d", len(body), len(tt.form.Encode()))
				}
				tt.respond(rw, r)
			})
			if got.Code != want.Code || got.Body.String() != want.Body.String() || fmt.Sprint(got.Header()) != fmt.Sprint(want.Header()) {
				t.Errorf("the response was changed: %d, %v, %d bytes", got.Code, got.Header(), got.Body.Len())
			}
			subjects := w.Subjects(t, a.OpenS().Session, handlerstest.ClientID)
			if tt.want != (len(subjects) == 1 && subjects[0].Sub == "alice" && subjects[0].Sid == "sid of alice") || !tt.want && len(subjects) > 0 {
				t.Errorf("recorded are %v", subjects)
			}
			if got := w.Check(t, handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: ""}); got != "unchanged" {
				t.Errorf("the check says %s", got)
			}
			for _, secret := range []string{handlerstest.IDToken(handlerstest.Claims("alice", handlerstest.ClientID))[:30], "alice"} {
				if strings.Contains(w.Logged(), secret) {
					t.Errorf("%s is in the log: %s", secret, w.Logged())
				}
			}
		})
	}
}

// Behind us stand `encode` and the OP, which may use whatever coding the client takes.
func TestATokenResponseIsAskedForWithoutAContentCoding(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.SignIn("c")
	r := httptest.NewRequest("POST", handlerstest.Issuer+"/token", strings.NewReader(handlerstest.CodeForm("c").Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	r.Header.Set("Accept-Encoding", "zstd, br")
	w.SendToken(t, r, func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept-Encoding"), "zstd") {
			handlerstest.Responding(200, "application/json", "zstd", []byte("unreadable"))(rw, r)
			return
		}
		reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("alice", handlerstest.ClientID)))(rw, r)
	})
	if len(w.Subjects(t, a.OpenS().Session, handlerstest.ClientID)) != 1 {
		t.Error("who signed in is not recorded")
	}
	if r.Header.Get("Accept-Encoding") != "zstd, br" {
		t.Error("the caller's request was changed")
	}
}

func TestOtherTokenRequestsPassAsTheyAre(t *testing.T) {
	w := handlerstest.NewWorld(t)
	for _, method := range []string{"GET", "OPTIONS", "PUT"} {
		r := httptest.NewRequest(method, handlerstest.Issuer+"/token?"+handlerstest.CodeForm("c").Encode(), strings.NewReader("body"))
		r.Header.Set("Content-Type", exchange.FormType)
		r.Header.Set("Accept-Encoding", "br")
		w.SendToken(t, r, func(_ http.ResponseWriter, got *http.Request) {
			if got != r {
				t.Errorf("%s was changed", method)
			}
		})
	}
}

func TestATokenResponseIsReleasedAfterItWasRecorded(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.SignIn("c")
	recorder := httptest.NewRecorder()
	recorded := false
	w.Store.Do(func(_ context.Context, call string, _ ...registry.Key) error {
		if recorder.Body.Len() > 0 || recorder.Flushed || recorder.Result().StatusCode != 200 {
			t.Error("a part of the response was released before")
		}
		recorded = recorded || call == "edit"
		return nil
	})
	var token signin.Observer
	token.Setup(w.Env)
	r := httptest.NewRequest("POST", handlerstest.Issuer+"/token", strings.NewReader(handlerstest.CodeForm("c").Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	err := token.ServeToken(w.OP, recorder, r, reply.Handler(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		body := handlerstest.TokenResponse(handlerstest.Claims("alice", handlerstest.ClientID))
		_, _ = io.WriteString(rw, body[:20])
		_ = http.NewResponseController(rw).Flush()
		_, _ = io.Copy(rw, reply.PlainReader(body[20:]))
	}))
	if err != nil || !recorded || recorder.Body.String() != handlerstest.TokenResponse(handlerstest.Claims("alice", handlerstest.ClientID)) {
		t.Errorf("recorded: %v, %v, released %s", recorded, err, recorder.Body)
	}
}

func TestATokenResponseIsReleasedThoughItCannotBeRecorded(t *testing.T) {
	body := handlerstest.TokenResponse(handlerstest.Claims("alice", handlerstest.ClientID))
	tests := []struct {
		name string
		err  error
	}{
		{"registry away", registry.ErrUnavailable},
		{"registry too slow", fmt.Errorf("%w: %w", registry.ErrUnavailable, context.DeadlineExceeded)},
		{"a value out of bounds", registry.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			w.Store.Do(func(context.Context, string, ...registry.Key) error { return tt.err })
			if got := w.Redeem(t, handlerstest.CodeForm("c"), reply.Answering(body)); got.Code != 200 || got.Body.String() != body {
				t.Errorf("released %d %s", got.Code, got.Body)
			}
			if w.Logs.FilterMessageSnippet("not recorded").Len() != 1 {
				t.Errorf("logged %s", w.Logged())
			}
		})
	}
}

func TestAFullSessionIsLoggedOnce(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	for i := range registry.MaxSubjects + 3 {
		code := fmt.Sprint(i)
		a.SignIn(code)
		w.Redeem(t, handlerstest.CodeForm(code), reply.Answering(handlerstest.TokenResponse(strings.Replace(handlerstest.Claims("alice", handlerstest.ClientID), "sid of", code, 1))))
	}
	if w.Logs.FilterMessageSnippet("more clients or subjects").Len() != 1 {
		t.Errorf("logged %s", w.Logged())
	}
}

func TestAnErrorBehindTheTokenEndpointStaysThatError(t *testing.T) {
	w := handlerstest.NewWorld(t)
	behind := caddyhttp.Error(http.StatusBadGateway, errors.New("dial failed"))
	var token signin.Observer
	token.Setup(w.Env)
	r := httptest.NewRequest("POST", handlerstest.Issuer+"/token", strings.NewReader(handlerstest.CodeForm("c").Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	recorder := httptest.NewRecorder()
	err := token.ServeToken(w.OP, recorder, r, caddyhttp.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) error {
		reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("alice", handlerstest.ClientID)))(rw, r)
		return behind
	}))
	if err != error(behind) || recorder.Body.Len() != 0 { //nolint:errorlint // the very same value
		t.Errorf("got %v, sent %s", err, recorder.Body)
	}
}

func TestARequestBodyThatBreaksOffIsReplayedWithItsError(t *testing.T) {
	w := handlerstest.NewWorld(t)
	broken := errors.New("connection reset")
	r := httptest.NewRequest("POST", handlerstest.Issuer+"/token", reply.BrokenReader{Reader: strings.NewReader("grant_type=auth"), Err: broken})
	r.Header.Set("Content-Type", exchange.FormType)
	w.SendToken(t, r, func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); string(body) != "grant_type=auth" || !errors.Is(err, broken) {
			t.Errorf("the OP read %q, %v", body, err)
		}
	})
}

func TestAUserSwitchEndsTheSession(t *testing.T) {
	tests := []struct {
		name                    string
		subjectTypes            []string
		firstClient, firstSub   string
		secondClient, secondSub string
		want                    bool
	}{
		{"another user at the same client", nil, handlerstest.ClientID, "alice", handlerstest.ClientID, "bob", true},
		{"the same user at the same client", nil, handlerstest.ClientID, "alice", handlerstest.ClientID, "alice", false},
		{"another sub at another client", nil, "mail", "alice", handlerstest.ClientID, "bob", false},
		{"another sub at another client, subjects are pairwise too", []string{"public", "pairwise"}, "mail", "alice", handlerstest.ClientID, "bob", false},
		{"another user at another client, subjects are public", []string{"public"}, "mail", "alice", handlerstest.ClientID, "bob", true},
		{"the same user at another client, subjects are public", []string{"public"}, "mail", "alice", handlerstest.ClientID, "alice", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			w.OP = handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{SubjectTypesSupported: tt.subjectTypes})
			a := handlerstest.NewAgent(t, w)
			signIn := func(client, code string) string {
				return handlerstest.SessionState(t, a.Get(strings.Replace(handlerstest.Authorize("s"), handlerstest.ClientID, client, 1), reply.Redirect(handlerstest.Callback+"?state=s&code="+code)))
			}
			first := signIn(tt.firstClient, "c1")
			before := a.OpenS()
			w.Redeem(t, handlerstest.CodeForm("c1"), reply.Answering(handlerstest.TokenResponse(handlerstest.Claims(tt.firstSub, tt.firstClient))))
			second := signIn(tt.secondClient, "c2")
			w.Redeem(t, handlerstest.CodeForm("c2"), reply.Answering(handlerstest.TokenResponse(handlerstest.Claims(tt.secondSub, tt.secondClient))))

			want := map[bool]string{true: "changed", false: "unchanged"}[tt.want]
			if got := w.Check(t, handlerstest.PageCheck{ClientID: tt.firstClient, SessionState: first, Origin: handlerstest.RpOrigin, BrowserState: ""}); got != want {
				t.Errorf("the check says %s of the first sign-in", got)
			}
			if got := w.Check(t, handlerstest.PageCheck{ClientID: tt.secondClient, SessionState: second, Origin: handlerstest.RpOrigin, BrowserState: ""}); got != "unchanged" {
				t.Errorf("the check says %s of the second sign-in", got)
			}
			signIn(tt.secondClient, "c3")
			if after := a.OpenS(); (after.Session != before.Session) != tt.want || after.Browser != before.Browser || !w.Live(t, after.Session) {
				t.Errorf("the session was %+v and is %+v", before, after)
			}
			if got := w.Logs.FilterMessage("session ended").Len() == 1; got != tt.want {
				t.Errorf("logged %s", w.Logged())
			}
		})
	}
}
