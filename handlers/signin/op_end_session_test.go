package signin_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// The OP has an end_session endpoint of its own, and no login cookie that is known.
func withNativeLogout(t *testing.T) *handlerstest.Agent {
	w := handlerstest.NewWorld(t)
	w.OP = handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{EndSessionEndpoint: handlerstest.Issuer + "/end"})
	a := handlerstest.NewAgent(t, w)
	a.SignIn("c1")
	return a
}

func endPath(parameters ...string) string {
	return "/end?" + handlerstest.Values(parameters...).Encode()
}

func TestASignOutAtTheOPIsSeenByTheRedirectThatWasAskedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		steps func(a *handlerstest.Agent)
		ended bool
	}{
		"at once": {func(a *handlerstest.Agent) {
			a.Get(endPath("post_logout_redirect_uri", handlerstest.Bye, "state", "1"), reply.Redirect(handlerstest.Bye+"?state=1"))
		}, true},
		"after the OP's question": {func(a *handlerstest.Agent) {
			a.Get(endPath("post_logout_redirect_uri", handlerstest.Bye, "state", "1"), reply.Page)
			a.Send(httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/end/confirm", nil), reply.Redirect(handlerstest.Bye+"?state=1"))
		}, true},
		"by POST": {func(a *handlerstest.Agent) {
			r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/end", strings.NewReader(handlerstest.Values("post_logout_redirect_uri", handlerstest.Bye).Encode()))
			r.Header.Set("Content-Type", exchange.FormType)
			a.Send(r, reply.Redirect(handlerstest.Bye))
		}, true},
		"not by the route alone": {func(a *handlerstest.Agent) { a.Get(endPath("post_logout_redirect_uri", handlerstest.Bye), reply.Page) }, false},
		"not without a redirect": {func(a *handlerstest.Agent) { a.Get("/end", reply.Page) }, false},
		"not by another address": {func(a *handlerstest.Agent) {
			a.Get(endPath("post_logout_redirect_uri", handlerstest.Bye), reply.Redirect("https://op.example.com/error"))
		}, false},
		"not by another state": {func(a *handlerstest.Agent) {
			a.Get(endPath("post_logout_redirect_uri", handlerstest.Bye, "state", "1"), reply.Redirect(handlerstest.Bye+"?state=2"))
		}, false},
		"not without the state": {func(a *handlerstest.Agent) {
			a.Get(endPath("post_logout_redirect_uri", handlerstest.Bye, "state", "1"), reply.Redirect(handlerstest.Bye))
		}, false},
		"not in a frame": {func(a *handlerstest.Agent) {
			a.Dest = "iframe"
			a.Get(endPath("post_logout_redirect_uri", handlerstest.Bye), reply.Redirect(handlerstest.Bye))
		}, false},
		"not by a redirector": {func(a *handlerstest.Agent) {
			a.Get(endPath("post_logout_redirect_uri", handlerstest.Bye), reply.Page)
			a.Get("/leave?to="+url.QueryEscape(handlerstest.Bye), reply.Redirect(handlerstest.Bye))
		}, false},
		"not by a redirect that nobody asked for": {func(a *handlerstest.Agent) { a.Get("/x", reply.Redirect(handlerstest.Bye)) }, false},
		"not where the login cookie is known": {func(a *handlerstest.Agent) {
			a.Login, a.Cookies["login"] = "login", "alice"
			a.Get(endPath("post_logout_redirect_uri", handlerstest.Bye), reply.Redirect(handlerstest.Bye)) // the user chose to stay
		}, false},
		"but by the deletion of that": {func(a *handlerstest.Agent) {
			a.Login, a.Cookies["login"] = "login", "alice"
			a.Get(endPath("post_logout_redirect_uri", handlerstest.Bye), func(w http.ResponseWriter, r *http.Request) {
				http.SetCookie(w, &http.Cookie{Name: "login", MaxAge: -1})
				reply.Redirect(handlerstest.Bye)(w, r)
			})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := withNativeLogout(t)
			id := a.OpenS().Session
			tt.steps(a)
			if ended := !a.W.Live(t, id); ended != tt.ended {
				t.Errorf("ended: %v, want %v", ended, tt.ended)
			}
			if tt.ended && !a.W.Keys.IsAnonymousState(handlerstest.Issuer, a.StateCookie()) {
				t.Error("the browser does not have the anonymous state")
			}
		})
	}
}

func TestASignOutThatWasAskedForEndsOneSessionOnly(t *testing.T) {
	a := withNativeLogout(t)
	a.Get(endPath("post_logout_redirect_uri", handlerstest.Bye), reply.Page)
	a.Get("/end/confirm", reply.Redirect(handlerstest.Bye))
	a.SignIn("c2")
	a.Get("/end/confirm", reply.Redirect(handlerstest.Bye)) // reloaded
	if !a.W.Live(t, a.OpenS().Session) {
		t.Error("the next session has ended, too")
	}
}

func TestALogoutRequestIsNoAuthorizationRequest(t *testing.T) {
	a := withNativeLogout(t)
	a.Get(endPath("post_logout_redirect_uri", handlerstest.Callback, "state", "l"), reply.Page)
	got := a.Get("/x", reply.Redirect(handlerstest.Callback+"?code=c&state=l"))
	if strings.Contains(got.Header.Get("Location"), "session_state") {
		t.Error("it got a session_state")
	}
	if session := a.W.Session(t, a.OpenS().Session); session != nil && session.Reason != "" && session.Reason != registry.ReasonLogout {
		t.Errorf("the reason is %q", session.Reason)
	}
}
