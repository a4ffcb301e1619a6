package signin_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// answerWith has an OP answer a request for these by response mode.
func answerWith(a *handlerstest.Agent, mode string, values url.Values) *http.Response {
	var types, fields []string
	for name := range values {
		types, fields = append(types, name), append(fields, field(name, values.Get(name)))
	}
	respond := map[string]http.HandlerFunc{
		"query":     reply.Redirect(handlerstest.Callback + "?state=s&" + values.Encode()),
		"fragment":  reply.Redirect(handlerstest.Callback + "#state=s&" + values.Encode()),
		"form_post": handlerstest.RespondPage(handlerstest.Posted(handlerstest.Callback, field("state", "s")+strings.Join(fields, ""))),
	}[mode]
	asked := url.Values{"response_type": {strings.Join(types, " ")}, "response_mode": {mode}}
	return a.Get(handlerstest.Ask("s", asked), respond)
}

// responseOf is the response with an ID that is on record; nil: there is none.
func responseOf(t *testing.T, w *handlerstest.World, id sessionstate.ResponseID) *registry.Response {
	t.Helper()
	response, _, err := w.Env.Registry.Response(t.Context(), handlerstest.Issuer, id)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func TestAResponseWithoutACodeIsFoundByItsIDToken(t *testing.T) {
	for _, mode := range []string{"fragment", "form_post"} {
		for _, verified := range []bool{true, false} {
			w := handlerstest.NewWorld(t)
			a := handlerstest.NewAgent(t, w)
			idToken, sub := signed(t, map[string]any{"iss": handlerstest.Issuer, "aud": handlerstest.ClientID, "sub": "alice"}), ""
			if verified {
				idToken, sub = w.IDToken(t, handlerstest.ClientID, "alice"), "alice"
			}
			sent := answerWith(a, mode, url.Values{"id_token": {idToken}})
			session := a.OpenS().Session
			got := responseOf(t, w, sessionstate.NewIDTokenResponseID(idToken))
			if got == nil || got.Session != session || got.ClientID != handlerstest.ClientID || got.Origin != "https://rp.example.com" || got.Redeemed == 0 {
				t.Errorf("%s, verified %v: recorded is %+v", mode, verified, got)
			}
			if named := w.Subs(t, session); named != sub {
				t.Errorf("%s: subjects are %q", mode, named)
			}
			if mode == "fragment" {
				_, salt, _ := strings.Cut(handlerstest.SessionState(t, sent), ".")
				handle, err := w.Keys.OpenHandle(handlerstest.Issuer, salt)
				if err != nil || !handle.Response.IsZero() || handle.Session != session {
					t.Errorf("the handle is %+v, %v", handle, err)
				}
			}
			w.Redeem(t, handlerstest.CodeForm(idToken), reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("mallory", handlerstest.ClientID))))
			if named := w.Subs(t, session); named != sub || !w.Live(t, session) {
				t.Errorf("%s: redeemed as a code, it names %q", mode, named)
			}
			w.Clock.Advance(registry.CodeLifetime)
			w.Claim(t)
			if responseOf(t, w, sessionstate.NewIDTokenResponseID(idToken)) != nil || !w.Live(t, session) {
				t.Errorf("%s, verified %v: the response outlives a code, or its session is over", mode, verified)
			}
		}
	}
}

func TestAResponseWithACodeIsFoundByThatAlone(t *testing.T) {
	for _, mode := range []string{"query", "fragment", "form_post"} {
		w := handlerstest.NewWorld(t)
		a := handlerstest.NewAgent(t, w)
		idToken := w.IDToken(t, handlerstest.ClientID, "alice")
		answerWith(a, mode, url.Values{"code": {"c"}, "id_token": {idToken}})
		got := responseOf(t, w, sessionstate.NewResponseID("c"))
		if got == nil || got.Session != a.OpenS().Session || got.Redeemed != 0 {
			t.Errorf("%s: recorded is %+v", mode, got)
		}
		if responseOf(t, w, sessionstate.NewIDTokenResponseID(idToken)) != nil {
			t.Errorf("%s: it is found by its ID token", mode)
		}
	}
}

func TestResponsesThatAreFoundByNoIDToken(t *testing.T) {
	for name, tt := range map[string]struct{ mode, idToken string }{
		"in a query":                     {"query", "e30.e30.AA"},
		"in a Location that is too long": {"fragment", strings.Repeat("x", handlers.MaxLocation)},
		"on a page that is too long":     {"form_post", strings.Repeat("x", exchange.MaxPage)},
	} {
		w := handlerstest.NewWorld(t)
		a := handlerstest.NewAgent(t, w)
		answerWith(a, tt.mode, url.Values{"id_token": {tt.idToken}})
		if got := responseOf(t, w, sessionstate.NewIDTokenResponseID(tt.idToken)); got != nil {
			t.Errorf("%s: recorded is %+v", name, got)
		}
	}
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	answerWith(a, "fragment", url.Values{"access_token": {"secret"}})
	if responseOf(t, w, sessionstate.NewIDTokenResponseID("secret")) != nil || a.OpenS().Session.IsZero() {
		t.Error("an access token is taken for an ID token, or signs nobody in")
	}
}
