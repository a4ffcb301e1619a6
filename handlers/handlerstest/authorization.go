package handlerstest

import (
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
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
