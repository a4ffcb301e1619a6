package handlerstest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

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
