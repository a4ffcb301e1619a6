package handlerstest

import (
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Check asks the server about a session_state.
func (w *World) Check(t testing.TB, q PageCheck) string {
	t.Helper()
	var c check.Endpoint
	c.Setup(w.Env)
	form := url.Values{"client_id": {q.ClientID}, "session_state": {q.SessionState}, "origin": {q.Origin}}
	if q.BrowserState != "" {
		form.Set("browser_state", q.BrowserState)
	}
	recorder := httptest.NewRecorder()
	r := httptest.NewRequest("POST", w.OP.Origin+handlers.DefaultCheckSessionPath, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", w.OP.Origin)
	if err := c.Serve(w.OP, recorder, r); err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(recorder.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// SignOut deletes the login cookie in the way of several OPs.
func SignOut(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Set-Cookie", "sid=; Path=/; Max-Age=0")
	reply.Page(w, r)
}

// SignedIn is an agent that is signed in, at the OP and at one client.
func SignedIn(t *testing.T, w *World) (a *Agent, state string) {
	t.Helper()
	a = NewAgent(t, w)
	a.Login = "sid"
	state = a.SignIn("c")
	a.Cookies["sid"] = "v"
	return a, state
}

var Noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func Pend(t testing.TB, clientID, redirectURI, state string) browser.PendingRequest {
	t.Helper()
	p, ok := browser.NewPendingRequest(clientID, redirectURI, state, Noon)
	if !ok {
		t.Fatalf("%q cannot be noted", redirectURI)
	}
	return p
}

// CookieBytes counts the bytes of our cookies in a request.
func (a *Agent) CookieBytes() int {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for name, value := range a.Cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return len(r.Header.Get("Cookie"))
}

// Ask is an authorization request with more parameters than usual, or others.
func Ask(state string, more url.Values) string {
	path, raw, _ := strings.Cut(Authorize(state), "?")
	query, _ := url.ParseQuery(raw)
	maps.Copy(query, more)
	return path + "?" + query.Encode()
}

// Posted is the page by which an OP answers.
func Posted(target, fields string) string {
	return `<!doctype html><html><body onload="document.forms[0].submit()"><form method="post" action="` + html.EscapeString(target) + `">` +
		fields + `<noscript><button>Continue</button></noscript></form></body></html>`
}

func RespondPage(page string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "script-src 'nonce-x'")
		_, _ = io.WriteString(w, page)
	}
}

// CurrentState is the state that the check page would read, or that of nobody.
func (a *Agent) CurrentState() string {
	if state := a.StateCookie(); state != "" {
		return state
	}
	return a.W.Keys.AnonymousState(a.W.OP.Issuer)
}

// Subs are the subs of a session.
func (w *World) Subs(t testing.TB, id sessionstate.SessionID) string {
	t.Helper()
	var subs []string
	for _, client := range w.Clients(t, id) {
		for _, s := range client.Subjects {
			subs = append(subs, s.Sub)
		}
	}
	return strings.Join(subs, " ")
}

// IDToken is an ID token with the claims, whose signature nobody looks at.
func IDToken(claims string) string {
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return encode(`{"alg":"RS256"}`) + "." + encode(claims) + "." + encode("signature")
}

// Claims are those of an ID token of the OP for one client.
func Claims(sub, client string) string {
	return fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":%q,"sid":"sid of %s","exp":1}`, Issuer, sub, client, sub)
}

func TokenResponse(claims string) string {
	return fmt.Sprintf(`{ "access_token":"a", "id_token":%q,"expires_in":3.6e3}`, IDToken(claims))
}

func CodeForm(code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {Callback}}
}

// Redeem sends a token request.
func (w *World) Redeem(t testing.TB, form url.Values, respond http.HandlerFunc) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("POST", Issuer+"/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	return w.SendToken(t, r, respond)
}

func (w *World) SendToken(t testing.TB, r *http.Request, respond http.HandlerFunc) *httptest.ResponseRecorder {
	t.Helper()
	var token signin.Observer
	token.Setup(w.Env)
	recorder := httptest.NewRecorder()
	if err := token.ServeToken(w.OP, recorder, r, reply.Handler(respond)); err != nil {
		t.Fatal(err)
	}
	return recorder
}

// Subjects lists who signed in at the client in the session.
func (w *World) Subjects(t testing.TB, id sessionstate.SessionID, client string) []*registry.Subject {
	t.Helper()
	if session := w.Session(t, id); session != nil && session.Client(client) != nil {
		return session.Client(client).Subjects
	}
	return nil
}

func Responding(status int, contentType, coding string, body []byte) http.HandlerFunc {
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

// What counts as said by the OP: each test has somebody else say it.

// Fresh are the claims of an ID token that the OP has just issued.
func (w *World) Fresh(client, user string) map[string]any {
	c := IDClaims(client, user)
	c["iat"], c["exp"] = w.Clock.Now().Unix(), w.Clock.Now().Add(Lifetime).Unix()
	return c
}

// IDToken is an ID token that the OP has just issued.
func (w *World) IDToken(t testing.TB, client, user string) string {
	t.Helper()
	return Sign(t, w.Key, w.Fresh(client, user), nil)
}

// Untouched fails the test unless alice's session lives on, hers alone, and nothing was noted of
// the OP.
func (w *World) Untouched(t *testing.T, a *Agent, session sessionstate.SessionID) {
	t.Helper()
	if got := w.Subs(t, session); got != "alice" || !w.Live(t, session) || a.OpenS().Session != session {
		t.Errorf("the session of alice is one of %q, live: %v", got, w.Live(t, session))
	}
	if len(w.Seen) > 0 {
		t.Errorf("noted of the OP: %q", w.Seen)
	}
}

// AnswerHybrid has the OP answer with a code and an ID token.
func (w *World) AnswerHybrid(a *Agent, mode, idToken string) {
	w.Clock.Advance(1e9)
	respond := reply.Redirect(Callback + "#code=c3&state=s&id_token=" + idToken)
	if mode == "form_post" {
		respond = RespondPage(Posted(Callback, `<input name=code value=c3><input name=state value=s><input name=id_token value="`+idToken+`">`))
	}
	a.Get(Ask("s", url.Values{"response_type": {"code id_token"}, "response_mode": {mode}}), respond)
}
