package handlers

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// What is observed of a response is observed by the path that the browser sent, not by the stripped one.
func TestAResponseIsJudgedByThePathThatTheBrowserSent(t *testing.T) {
	w := newWorld(t)
	a, _ := signedIn(t, w)
	a.browser().OPLogouts = []OPLogout{{Paths: []string{"/auth/logout"}}}
	session := a.openS().session
	p := new(Paths)
	p.Setup(w.env)
	r := httptest.NewRequest(http.MethodPost, issuer+"/logout", nil)
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, *httptest.NewRequest(http.MethodPost, issuer+"/auth/logout", nil)))
	for n, v := range a.cookies {
		r.AddCookie(&http.Cookie{Name: n, Value: v})
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	way := p.Way(r, handler(renewing(302, "/")))
	rec := httptest.NewRecorder()
	err := way.Serve(rec, r, func(rw http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
		if !a.b.Involved(w.op, r) {
			t.Error("not involved")
		}
		return a.b.Serve(w.op, rw, r, next)
	})
	if err != nil || w.live(t, session) {
		t.Errorf("the session lives on, %v", err)
	}
}

// An old engine's image in a page without a referrer, by a GET without the OP's cookie.
func TestAnOldEnginesImageWithoutTheLoginCookieEndsNothing(t *testing.T) {
	w := newWorld(t)
	a, _ := signedIn(t, w)
	a.browser().OPLogouts = []OPLogout{{Method: "GET", Paths: []string{"/leave"}}}
	session := a.openS().session
	delete(a.cookies, "sid") // Lax: not sent with an image
	r := httptest.NewRequest(http.MethodGet, issuer+"/leave", nil)
	r.Header.Set("Accept", "image/*")
	a.send(r, renewing(302, "/login"))
	if !w.live(t, session) {
		t.Error("an image of another site has ended the session")
	}
}

// The OP renews its login cookie by another request (re-authentication), and a silent one crosses that.
func TestASilentRequestThatCrossesALoginEndsNothing(t *testing.T) {
	w := newWorld(t)
	a, _ := signedIn(t, w)
	w.redeem(t, codeForm("c"), answering(tokenResponse(claims("alice", clientID)))) // or it is forgotten soon
	renew := func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Set-Cookie", "sid=new; Path=/; Secure; SameSite=None")
		page(rw, r)
	}
	a.get("/login", renew)
	w.clock.advance(time.Hour)
	session := a.openS().session
	old := a.cookies["sid"]
	a.get("/login", func(rw http.ResponseWriter, r *http.Request) { // signs in again
		rw.Header().Set("Set-Cookie", "sid=newer; Path=/; Secure; SameSite=None")
		page(rw, r)
	})
	a.cookies["sid"] = old // and a silent request that was sent before that arrived
	a.dest = "iframe"
	w.clock.advance(time.Second)
	a.get("/authorize?"+values("response_type", "code", "scope", "openid", "client_id", clientID, "redirect_uri", callback, "state", "p", "prompt", "none").Encode(),
		redirect(callback+"?error=login_required&state=p"))
	if !w.live(t, session) {
		t.Error("ended by a request that crossed a new login cookie")
	}
	a.cookies["sid"] = "newer"
	a.get("/authorize?"+values("response_type", "code", "scope", "openid", "client_id", clientID, "redirect_uri", callback, "state", "p", "prompt", "none").Encode(),
		redirect(callback+"?error=login_required&state=p"))
	if w.live(t, session) {
		t.Error("the session lives on although the OP has ended it")
	}
}

// A frame asks for the same as an app that sends no state, as another client: the OP refuses that, by a page.
func TestAFrameTakesNoAnswerFromASignIn(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	ask := func(client string) string {
		return "/authorize?" + values("response_type", "code", "scope", "openid", "client_id", client, "redirect_uri", callback).Encode()
	}
	a.dest = "document"
	a.get(ask(clientID), page)
	w.clock.advance(2 * time.Second)
	a.dest = "iframe"
	a.get(ask("evil"), page)
	a.dest = "document"
	a.get("/login", redirect(callback+"?code=c"))
	if joined := w.clients(t, a.openS().session); len(joined) != 1 || joined[0].ID != clientID {
		t.Errorf("the sign-in is that of %+v", joined)
	}
}
