package handlerstest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// Checker is the check page's handler in the world.
func (w *World) Checker() *check.Endpoint {
	c := &check.Endpoint{Path: handlers.DefaultCheckSessionPath}
	c.Setup(w.Env)
	return c
}

// Question is a check that the page asks.
func Question(form string) *http.Request {
	r := httptest.NewRequest("POST", CheckPage, strings.NewReader(form))
	r.Header.Set("Content-Type", exchange.FormType)
	r.Header.Set("Origin", Issuer)
	return r
}

// A PageCheck is what the page asks of one session_state.
type PageCheck struct{ ClientID, SessionState, Origin, BrowserState string }

// CheckForm is the form that the page sends.
func CheckForm(q PageCheck) string {
	form := url.Values{"client_id": {q.ClientID}, "session_state": {q.SessionState}, "origin": {q.Origin}}
	if q.BrowserState != "" {
		form.Set("browser_state", q.BrowserState)
	}
	return form.Encode()
}

// Status is that of an answer or of the error instead of it.
func Status(t testing.TB, err error, recorder *httptest.ResponseRecorder) int {
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

// Forget lets the time pass after which a session is forgotten none of whose codes was redeemed.
func (w *World) Forget(t *testing.T) {
	t.Helper()
	w.Clock.Advance(registry.CodeLifetime)
	w.Claim(t)
}
