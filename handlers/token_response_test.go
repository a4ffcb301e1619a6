package handlers

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// idToken is an ID token with the claims, whose signature nobody looks at.
func idToken(claims string) string {
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return encode(`{"alg":"RS256"}`) + "." + encode(claims) + "." + encode("signature")
}

// claims are those of an ID token of the OP for one client.
func claims(sub, client string) string {
	return fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":%q,"sid":"sid of %s","exp":1}`, issuer, sub, client, sub)
}

func tokenResponse(claims string) string {
	return fmt.Sprintf(`{ "access_token":"a", "id_token":%q,"expires_in":3.6e3}`, idToken(claims))
}

func codeForm(code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}}
}

// redeem sends a token request.
func (w *world) redeem(t testing.TB, form url.Values, respond http.HandlerFunc) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("POST", issuer+"/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", formType)
	return w.sendToken(t, r, respond)
}

func (w *world) sendToken(t testing.TB, r *http.Request, respond http.HandlerFunc) *httptest.ResponseRecorder {
	t.Helper()
	var token Token
	token.Setup(w.env)
	recorder := httptest.NewRecorder()
	if err := token.Serve(w.op, recorder, r, handler(respond)); err != nil {
		t.Fatal(err)
	}
	return recorder
}

// subjects lists who signed in at the client in the session.
func (w *world) subjects(t testing.TB, id sessionstate.SessionID, client string) []*registry.Subject {
	t.Helper()
	if session := w.session(t, id); session != nil && session.Client(client) != nil {
		return session.Client(client).Subjects
	}
	return nil
}

func zipped(body string) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = io.WriteString(z, body)
	_ = z.Close()
	return out.Bytes()
}

func TestATokenResponseSaysWhoSignedIn(t *testing.T) {
	body := tokenResponse(claims("alice", clientID))
	tests := []struct {
		name    string
		form    url.Values
		respond http.HandlerFunc
		want    bool
	}{
		{"plain", codeForm("c"), answering(body), true},
		{"with a charset", codeForm("c"), responding(200, "application/json; charset=UTF-8", "", []byte(body)), true},
		{"compressed", codeForm("c"), responding(200, "application/json", "gzip", zipped(body)), true},
		{"for several clients", codeForm("c"), answering(tokenResponse(strings.Replace(claims("alice", clientID), `"aud":"shop"`, `"aud":["mail","shop"]`, 1))), true},

		{"refresh", url.Values{"grant_type": {"refresh_token"}, "code": {"c"}}, answering(body), false},
		{"client credentials", url.Values{"grant_type": {"client_credentials"}}, answering(body), false},
		{"no code", url.Values{"grant_type": {"authorization_code"}}, answering(body), false},
		{"too long a code", codeForm(strings.Repeat("c", maxCode+1)), answering(body), false},
		{"another code", codeForm("d"), answering(body), false},
		{"over 64 KiB of request", url.Values{"grant_type": {"authorization_code"}, "code": {"c"}, "x": {strings.Repeat("x", maxForm)}}, answering(body), false},
		{"refused", codeForm("c"), responding(400, "application/json", "", []byte(body)), false},
		{"201", codeForm("c"), responding(201, "application/json", "", []byte(body)), false},
		{"no JSON type", codeForm("c"), responding(200, "text/plain", "", []byte(body)), false},
		{"over 1 MiB", codeForm("c"), answering(body + strings.Repeat(" ", maxJSON)), false},
		{"in another coding", codeForm("c"), responding(200, "application/json", "br", []byte(body)), false},
		{"broken gzip", codeForm("c"), responding(200, "application/json", "gzip", zipped(body)[:40]), false},
		{"gzip of over 1 MiB", codeForm("c"), responding(200, "application/json", "gzip", zipped(body+strings.Repeat(" ", maxJSON))), false},
		{"no ID token", codeForm("c"), answering(`{"access_token":"a"}`), false},
		{"an ID token that is no string", codeForm("c"), answering(`{"id_token":{}}`), false},
		{"no object", codeForm("c"), answering(`[1]`), false},
		{"half an object", codeForm("c"), answering(body[:len(body)-1]), false},
		{"nothing", codeForm("c"), answering(""), false},
		{"encrypted ID token", codeForm("c"), answering(`{"id_token":"e.e.e.e.e"}`), false},
		{"garbled ID token", codeForm("c"), answering(`{"id_token":"e"}`), false},
		{"another issuer", codeForm("c"), answering(tokenResponse(strings.Replace(claims("alice", clientID), issuer, issuer+"/", 1))), false},
		{"another client", codeForm("c"), answering(tokenResponse(claims("alice", "mail"))), false},
		{"no sub", codeForm("c"), answering(tokenResponse(claims("", clientID))), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a := newAgent(t, w)
			state := a.signIn("c")
			want := httptest.NewRecorder()
			tt.respond(want, httptest.NewRequest("POST", "/token", nil))
			got := w.redeem(t, tt.form, func(rw http.ResponseWriter, r *http.Request) {
				if body := readAll(t, r.Body); body != tt.form.Encode() {
					t.Errorf("the OP read %d bytes of %d", len(body), len(tt.form.Encode()))
				}
				tt.respond(rw, r)
			})
			if got.Code != want.Code || got.Body.String() != want.Body.String() || fmt.Sprint(got.Header()) != fmt.Sprint(want.Header()) {
				t.Errorf("the response was changed: %d, %v, %d bytes", got.Code, got.Header(), got.Body.Len())
			}
			subjects := w.subjects(t, a.openS().session, clientID)
			if tt.want != (len(subjects) == 1 && subjects[0].Sub == "alice" && subjects[0].Sid == "sid of alice") || !tt.want && len(subjects) > 0 {
				t.Errorf("recorded are %v", subjects)
			}
			if got := w.check(t, pageCheck{clientID, state, rpOrigin, ""}); got != "unchanged" {
				t.Errorf("the check says %s", got)
			}
			for _, secret := range []string{idToken(claims("alice", clientID))[:30], "alice"} {
				if strings.Contains(w.logged(), secret) {
					t.Errorf("%s is in the log: %s", secret, w.logged())
				}
			}
		})
	}
}

func responding(status int, contentType, coding string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		if coding != "" {
			w.Header().Set("Content-Encoding", coding)
		}
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}
}

// Behind us stand `encode` and the OP, which may use whatever coding the client takes.
func TestATokenResponseIsAskedForWithoutAContentCoding(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.signIn("c")
	r := httptest.NewRequest("POST", issuer+"/token", strings.NewReader(codeForm("c").Encode()))
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Accept-Encoding", "zstd, br")
	w.sendToken(t, r, func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept-Encoding"), "zstd") {
			responding(200, "application/json", "zstd", []byte("unreadable"))(rw, r)
			return
		}
		answering(tokenResponse(claims("alice", clientID)))(rw, r)
	})
	if len(w.subjects(t, a.openS().session, clientID)) != 1 {
		t.Error("who signed in is not recorded")
	}
	if r.Header.Get("Accept-Encoding") != "zstd, br" {
		t.Error("the caller's request was changed")
	}
}

func TestOtherTokenRequestsPassAsTheyAre(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{"GET", "OPTIONS", "PUT"} {
		r := httptest.NewRequest(method, issuer+"/token?"+codeForm("c").Encode(), strings.NewReader("body"))
		r.Header.Set("Content-Type", formType)
		r.Header.Set("Accept-Encoding", "br")
		w.sendToken(t, r, func(_ http.ResponseWriter, got *http.Request) {
			if got != r {
				t.Errorf("%s was changed", method)
			}
		})
	}
}

func TestATokenResponseIsReleasedAfterItWasRecorded(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.signIn("c")
	recorder := httptest.NewRecorder()
	recorded := false
	w.store.do(func(_ context.Context, call string, _ ...registry.Key) error {
		if recorder.Body.Len() > 0 || recorder.Flushed || recorder.Result().StatusCode != 200 {
			t.Error("a part of the response was released before")
		}
		recorded = recorded || call == "edit"
		return nil
	})
	var token Token
	token.Setup(w.env)
	r := httptest.NewRequest("POST", issuer+"/token", strings.NewReader(codeForm("c").Encode()))
	r.Header.Set("Content-Type", formType)
	err := token.Serve(w.op, recorder, r, handler(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		body := tokenResponse(claims("alice", clientID))
		_, _ = io.WriteString(rw, body[:20])
		_ = http.NewResponseController(rw).Flush()
		_, _ = io.Copy(rw, plainReader(body[20:]))
	}))
	if err != nil || !recorded || recorder.Body.String() != tokenResponse(claims("alice", clientID)) {
		t.Errorf("recorded: %v, %v, released %s", recorded, err, recorder.Body)
	}
}

func TestATokenResponseIsReleasedThoughItCannotBeRecorded(t *testing.T) {
	body := tokenResponse(claims("alice", clientID))
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
			w := newWorld(t)
			w.store.do(func(context.Context, string, ...registry.Key) error { return tt.err })
			if got := w.redeem(t, codeForm("c"), answering(body)); got.Code != 200 || got.Body.String() != body {
				t.Errorf("released %d %s", got.Code, got.Body)
			}
			if w.logs.FilterMessageSnippet("not recorded").Len() != 1 {
				t.Errorf("logged %s", w.logged())
			}
		})
	}
}

func TestAFullSessionIsLoggedOnce(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	for i := range registry.MaxSubjects + 3 {
		code := fmt.Sprint(i)
		a.signIn(code)
		w.redeem(t, codeForm(code), answering(tokenResponse(strings.Replace(claims("alice", clientID), "sid of", code, 1))))
	}
	if w.logs.FilterMessageSnippet("more clients or subjects").Len() != 1 {
		t.Errorf("logged %s", w.logged())
	}
}

func TestAnErrorBehindTheTokenEndpointStaysThatError(t *testing.T) {
	w := newWorld(t)
	behind := caddyhttp.Error(http.StatusBadGateway, errors.New("dial failed"))
	var token Token
	token.Setup(w.env)
	r := httptest.NewRequest("POST", issuer+"/token", strings.NewReader(codeForm("c").Encode()))
	r.Header.Set("Content-Type", formType)
	recorder := httptest.NewRecorder()
	err := token.Serve(w.op, recorder, r, caddyhttp.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) error {
		answering(tokenResponse(claims("alice", clientID)))(rw, r)
		return behind
	}))
	if err != error(behind) || recorder.Body.Len() != 0 { //nolint:errorlint // the very same value
		t.Errorf("got %v, sent %s", err, recorder.Body)
	}
}

func TestARequestBodyThatBreaksOffIsReplayedWithItsError(t *testing.T) {
	w := newWorld(t)
	broken := errors.New("connection reset")
	r := httptest.NewRequest("POST", issuer+"/token", brokenReader{strings.NewReader("grant_type=auth"), broken})
	r.Header.Set("Content-Type", formType)
	w.sendToken(t, r, func(_ http.ResponseWriter, r *http.Request) {
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
		{"another user at the same client", nil, clientID, "alice", clientID, "bob", true},
		{"the same user at the same client", nil, clientID, "alice", clientID, "alice", false},
		{"another sub at another client", nil, "mail", "alice", clientID, "bob", false},
		{"another sub at another client, subjects are pairwise too", []string{"public", "pairwise"}, "mail", "alice", clientID, "bob", false},
		{"another user at another client, subjects are public", []string{"public"}, "mail", "alice", clientID, "bob", true},
		{"the same user at another client, subjects are public", []string{"public"}, "mail", "alice", clientID, "alice", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.op = knownOP(t, issuer, metadata{SubjectTypesSupported: tt.subjectTypes})
			a := newAgent(t, w)
			signIn := func(client, code string) string {
				return sessionState(t, a.get(strings.Replace(authorize("s"), clientID, client, 1), redirect(callback+"?state=s&code="+code)))
			}
			first := signIn(tt.firstClient, "c1")
			before := a.openS()
			w.redeem(t, codeForm("c1"), answering(tokenResponse(claims(tt.firstSub, tt.firstClient))))
			second := signIn(tt.secondClient, "c2")
			w.redeem(t, codeForm("c2"), answering(tokenResponse(claims(tt.secondSub, tt.secondClient))))

			want := map[bool]string{true: "changed", false: "unchanged"}[tt.want]
			if got := w.check(t, pageCheck{tt.firstClient, first, rpOrigin, ""}); got != want {
				t.Errorf("the check says %s of the first sign-in", got)
			}
			if got := w.check(t, pageCheck{tt.secondClient, second, rpOrigin, ""}); got != "unchanged" {
				t.Errorf("the check says %s of the second sign-in", got)
			}
			signIn(tt.secondClient, "c3")
			if after := a.openS(); (after.session != before.session) != tt.want || after.browser != before.browser || !w.live(t, after.session) {
				t.Errorf("the session was %+v and is %+v", before, after)
			}
			if got := w.logs.FilterMessage("session ended").Len() == 1; got != tt.want {
				t.Errorf("logged %s", w.logged())
			}
		})
	}
}
