package signin_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
)

// What is observed of a response is observed by the path that the browser sent, not by the
// stripped one.
func TestAResponseIsJudgedByThePathThatTheBrowserSent(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, _ := handlerstest.SignedIn(t, w)
	a.Browser().OPLogouts = []signin.OPLogout{{Paths: []string{"/auth/logout"}}}
	session := a.OpenS().Session
	p := new(handlers.Paths)
	p.Setup(w.Env)
	r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/logout", nil)
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, *httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/auth/logout", nil)))
	for n, v := range a.Cookies {
		r.AddCookie(&http.Cookie{Name: n, Value: v})
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	way := p.Restore(r, reply.Handler(renewing(302, "/")))
	rec := httptest.NewRecorder()
	err := way.Serve(rec, r, func(rw http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
		if !a.B.Involved(w.OP, r) {
			t.Error("not involved")
		}
		return a.B.Serve(w.OP, rw, r, next)
	})
	if err != nil || w.Live(t, session) {
		t.Errorf("the session lives on, %v", err)
	}
}

// An old engine's image in a page without a referrer, by a GET without the OP's cookie.
func TestAnOldEnginesImageWithoutTheLoginCookieEndsNothing(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, _ := handlerstest.SignedIn(t, w)
	a.Browser().OPLogouts = []signin.OPLogout{{Method: "GET", Paths: []string{"/leave"}}}
	session := a.OpenS().Session
	delete(a.Cookies, "sid") // Lax: not sent with an image
	r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/leave", nil)
	r.Header.Set("Accept", "image/*")
	a.Send(r, renewing(302, "/login"))
	if !w.Live(t, session) {
		t.Error("an image of another site has ended the session")
	}
}

// The OP renews its login cookie by another request (re-authentication), and a silent one crosses
// that.
func TestASilentRequestThatCrossesALoginEndsNothing(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, _ := handlerstest.SignedIn(t, w)
	w.Redeem(t, handlerstest.CodeForm("c"), reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("alice", handlerstest.ClientID)))) // or it is forgotten soon
	renew := func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Set-Cookie", "sid=new; Path=/; Secure; SameSite=None")
		reply.Page(rw, r)
	}
	a.Get("/login", renew)
	w.Clock.Advance(time.Hour)
	session := a.OpenS().Session
	old := a.Cookies["sid"]
	a.Get("/login", func(rw http.ResponseWriter, r *http.Request) { // signs in again
		rw.Header().Set("Set-Cookie", "sid=newer; Path=/; Secure; SameSite=None")
		reply.Page(rw, r)
	})
	a.Cookies["sid"] = old // and a silent request that was sent before that arrived
	a.Dest = "iframe"
	w.Clock.Advance(time.Second)
	a.Get("/authorize?"+handlerstest.Values("response_type", "code", "scope", "openid", "client_id", handlerstest.ClientID, "redirect_uri", handlerstest.Callback, "state", "p", "prompt", "none").Encode(),
		reply.Redirect(handlerstest.Callback+"?error=login_required&state=p"))
	if !w.Live(t, session) {
		t.Error("ended by a request that crossed a new login cookie")
	}
	a.Cookies["sid"] = "newer"
	a.Get("/authorize?"+handlerstest.Values("response_type", "code", "scope", "openid", "client_id", handlerstest.ClientID, "redirect_uri", handlerstest.Callback, "state", "p", "prompt", "none").Encode(),
		reply.Redirect(handlerstest.Callback+"?error=login_required&state=p"))
	if w.Live(t, session) {
		t.Error("the session lives on although the OP has ended it")
	}
}

// A frame asks for the same as an app that sends no state, as another client: the OP refuses that,
// by a page.
func TestAFrameTakesNoAnswerFromASignIn(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	ask := func(client string) string {
		return "/authorize?" + handlerstest.Values("response_type", "code", "scope", "openid", "client_id", client, "redirect_uri", handlerstest.Callback).Encode()
	}
	a.Dest = "document"
	a.Get(ask(handlerstest.ClientID), reply.Page)
	w.Clock.Advance(2 * time.Second)
	a.Dest = "iframe"
	a.Get(ask("evil"), reply.Page)
	a.Dest = "document"
	a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c"))
	if joined := w.Clients(t, a.OpenS().Session); len(joined) != 1 || joined[0].ID != handlerstest.ClientID {
		t.Errorf("the sign-in is that of %+v", joined)
	}
}
