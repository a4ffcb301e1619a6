package handlers

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// The OP has an end_session endpoint of its own, and no login cookie that is known.
func withNativeLogout(t *testing.T) *agent {
	w := newWorld(t)
	w.op = knownOP(t, issuer, metadata{EndSessionEndpoint: issuer + "/end"})
	a := newAgent(t, w)
	a.signIn("c1")
	return a
}

func endPath(parameters ...string) string { return "/end?" + values(parameters...).Encode() }

func TestASignOutAtTheOPIsSeenByTheRedirectThatWasAskedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		steps func(a *agent)
		ended bool
	}{
		"at once": {func(a *agent) {
			a.get(endPath("post_logout_redirect_uri", bye, "state", "1"), redirect(bye+"?state=1"))
		}, true},
		"after the OP's question": {func(a *agent) {
			a.get(endPath("post_logout_redirect_uri", bye, "state", "1"), page)
			a.send(httptest.NewRequest(http.MethodPost, issuer+"/end/confirm", nil), redirect(bye+"?state=1"))
		}, true},
		"by POST": {func(a *agent) {
			r := httptest.NewRequest(http.MethodPost, issuer+"/end", strings.NewReader(values("post_logout_redirect_uri", bye).Encode()))
			r.Header.Set("Content-Type", formType)
			a.send(r, redirect(bye))
		}, true},
		"not by the route alone": {func(a *agent) { a.get(endPath("post_logout_redirect_uri", bye), page) }, false},
		"not without a redirect": {func(a *agent) { a.get("/end", page) }, false},
		"not by another address": {func(a *agent) {
			a.get(endPath("post_logout_redirect_uri", bye), redirect("https://op.example.com/error"))
		}, false},
		"not by another state": {func(a *agent) {
			a.get(endPath("post_logout_redirect_uri", bye, "state", "1"), redirect(bye+"?state=2"))
		}, false},
		"not without the state": {func(a *agent) { a.get(endPath("post_logout_redirect_uri", bye, "state", "1"), redirect(bye)) }, false},
		"not in a frame":        {func(a *agent) { a.dest = "iframe"; a.get(endPath("post_logout_redirect_uri", bye), redirect(bye)) }, false},
		"not by a redirector": {func(a *agent) {
			a.get(endPath("post_logout_redirect_uri", bye), page)
			a.get("/leave?to="+url.QueryEscape(bye), redirect(bye))
		}, false},
		"not by a redirect that nobody asked for": {func(a *agent) { a.get("/x", redirect(bye)) }, false},
		"not where the login cookie is known": {func(a *agent) {
			a.login, a.cookies["login"] = "login", "alice"
			a.get(endPath("post_logout_redirect_uri", bye), redirect(bye)) // the user chose to stay
		}, false},
		"but by the deletion of that": {func(a *agent) {
			a.login, a.cookies["login"] = "login", "alice"
			a.get(endPath("post_logout_redirect_uri", bye), func(w http.ResponseWriter, r *http.Request) {
				http.SetCookie(w, &http.Cookie{Name: "login", MaxAge: -1})
				redirect(bye)(w, r)
			})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := withNativeLogout(t)
			id := a.openS().session
			tt.steps(a)
			if ended := !a.w.live(t, id); ended != tt.ended {
				t.Errorf("ended: %v, want %v", ended, tt.ended)
			}
			if tt.ended && !a.w.keys.IsAnonymousState(issuer, a.stateCookie()) {
				t.Error("the browser does not have the anonymous state")
			}
		})
	}
}

func TestASignOutThatWasAskedForEndsOneSessionOnly(t *testing.T) {
	a := withNativeLogout(t)
	a.get(endPath("post_logout_redirect_uri", bye), page)
	a.get("/end/confirm", redirect(bye))
	a.signIn("c2")
	a.get("/end/confirm", redirect(bye)) // reloaded
	if !a.w.live(t, a.openS().session) {
		t.Error("the next session has ended, too")
	}
}

func TestALogoutRequestIsNoAuthorizationRequest(t *testing.T) {
	a := withNativeLogout(t)
	a.get(endPath("post_logout_redirect_uri", callback, "state", "l"), page)
	got := a.get("/x", redirect(callback+"?code=c&state=l"))
	if strings.Contains(got.Header.Get("Location"), "session_state") {
		t.Error("it got a session_state")
	}
	if session := a.w.session(t, a.openS().session); session != nil && session.Reason != "" && session.Reason != registry.ReasonLogout {
		t.Errorf("the reason is %q", session.Reason)
	}
}
