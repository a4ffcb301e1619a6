package handlerstest

import (
	"net/url"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

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
