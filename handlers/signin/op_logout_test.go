package signin_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// renewing is an OP that gives the browser a new login cookie at sign-out.
func renewing(status int, location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "sid=fresh; Path=/")
		if location != "" {
			w.Header().Set("Location", location)
		}
		w.WriteHeader(status)
	}
}

func TestTheOPsOwnSignOutRequestsEndTheSession(t *testing.T) {
	sameOrigin := map[string]string{"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
	tab := map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
	with := func(fields map[string]string, pairs ...string) map[string]string {
		fields = maps.Clone(fields)
		for i := 0; i < len(pairs); i += 2 {
			fields[pairs[i]] = pairs[i+1]
		}
		return fields
	}
	for _, tt := range []struct {
		name, method, path string
		fields             map[string]string
		status             int
		location           string
		ends               bool
	}{
		{"a form of a page of the OP", "POST", "/logout", with(tab, "Sec-Fetch-Site", "same-origin"), 302, "/bye", true},
		{"a script of the OP", "POST", "/logout", sameOrigin, 204, "", true},
		{"a frame in a page of the OP", "POST", "/logout", with(sameOrigin, "Sec-Fetch-Dest", "iframe"), 200, "", true},
		{"a link of an app", "GET", "/leave", with(tab, "Sec-Fetch-Site", "cross-site"), 303, "https://rp.example.com/bye?state=s", true},
		{"typed in", "GET", "/leave", with(tab, "Sec-Fetch-Site", "none"), 200, "", true},
		{"the second path", "GET", "/leave/all", tab, 200, "", true},
		{"an old engine", "POST", "/logout", nil, 302, "/", true},
		{"an old engine, from a page of the OP", "POST", "/logout", map[string]string{"Origin": handlerstest.Issuer, "Referer": handlerstest.Issuer + "/x"}, 302, "/", true},

		{"another method", "GET", "/logout", tab, 200, "", false},
		{"another path", "POST", "/logout/", tab, 200, "", false},
		{"refused", "POST", "/logout", sameOrigin, 403, "", false},
		{"failed", "POST", "/logout", tab, 502, "", false},
		{"a frame in another site's page", "GET", "/leave", with(tab, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "iframe"), 200, "", false},
		{"an image in another site's page", "GET", "/leave", with(tab, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "image", "Sec-Fetch-Mode", "no-cors"), 200, "", false},
		{"a script of another host", "POST", "/logout", with(sameOrigin, "Sec-Fetch-Site", "same-site"), 200, "", false},
		{"prefetched by a page of the OP", "GET", "/leave", with(sameOrigin, "Sec-Purpose", "prefetch"), 200, "", false},
		{"prerendered", "GET", "/leave", with(tab, "Sec-Purpose", "prefetch;prerender"), 200, "", false},
		{"an old engine, from another origin", "POST", "/logout", map[string]string{"Origin": "https://evil.example"}, 302, "/", false},
		{"an old engine, from another page", "GET", "/leave", map[string]string{"Referer": "https://op.example.com.evil.example/"}, 302, "/", false},
		{"an old engine, from an origin that is hidden", "POST", "/logout", map[string]string{"Origin": "null"}, 302, "/", false},
		{"answered with a code", "GET", "/leave", tab, 302, "https://rp.example.com/other?code=c", false},
		{"answered with an error", "POST", "/logout", sameOrigin, 302, "/login?error=csrf", false},
		{"answered with an ID token", "GET", "/leave", tab, 302, "https://rp.example.com/other#id_token=t", false},
		{"answered with an address that cannot be read", "GET", "/leave", tab, 302, "https://%zz/", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			a, _ := handlerstest.SignedIn(t, w)
			a.Browser().OPLogouts = []signin.OPLogout{{Paths: []string{"/logout"}}, {Method: "GET", Paths: []string{"/leave", "/leave/all"}}}
			session := a.OpenS().Session
			r := httptest.NewRequest(tt.method, handlerstest.Issuer+tt.path, strings.NewReader(""))
			for name, value := range tt.fields {
				r.Header.Set(name, value)
			}
			a.Send(r, renewing(tt.status, tt.location))
			if recorded := w.Session(t, session); w.Live(t, session) == tt.ends || tt.ends && recorded.Reason != registry.ReasonLogout {
				t.Errorf("recorded is %+v", recorded)
			}
			if signedOut := a.StateCookie() == w.Keys.AnonymousState(handlerstest.Issuer); signedOut != tt.ends {
				t.Errorf("the browser is signed out: %v", signedOut)
			}
		})
	}
}

// Another site's link reaches the OP without its Lax cookie, as a stranger's: it can sign out
// nobody then. Another site's form may have been refused, whatever cookies it brought, and the
// browser sent elsewhere.
func TestAnotherSitesSignOutEndsNothingThatTheOPMayHaveRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		login, method string
		cookie, ends  bool
	}{
		"a form":                               {"sid", http.MethodPost, true, false},
		"a form, no login cookie known":        {"", http.MethodPost, true, false},
		"a link without the cookie":            {"sid", http.MethodGet, false, false},
		"a link":                               {"sid", http.MethodGet, true, true},
		"a link, where no login cookie is set": {"", http.MethodGet, false, true},
	} {
		w := handlerstest.NewWorld(t)
		a, _ := handlerstest.SignedIn(t, w)
		a.Login = tt.login
		a.Browser().OPLogouts = []signin.OPLogout{{Method: tt.method, Paths: []string{"/logout"}}}
		session := a.OpenS().Session
		if !tt.cookie {
			delete(a.Cookies, "sid")
		}
		r := httptest.NewRequest(tt.method, handlerstest.Issuer+"/logout", nil)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Sec-Fetch-Dest", "document")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		a.Send(r, renewing(302, "/login"))
		if w.Live(t, session) == tt.ends {
			t.Errorf("%s: the session lives: %v", name, w.Live(t, session))
		}
	}
}

func TestClearSiteDataDeletesTheLoginCookie(t *testing.T) {
	for _, tt := range []struct {
		value, line string
		frame, ends bool
	}{
		{`"cookies"`, "", false, true},
		{`"*"`, "", false, true},
		{`"cache", "cookies" , "storage"`, "", false, true},
		{`"cookies"`, "other=1", false, true},
		{`"cookies"`, "sid=; Max-Age=0; Path=/", false, true},
		{`"cookies"`, "sid=fresh; Path=/", false, false},
		{`"cookies"`, "", true, false},
		{`"cache", "storage"`, "", false, false},
		{`cookies`, "", false, false},
		{`"Cookies"`, "", false, false},
	} {
		for _, carried := range []bool{true, false} {
			w := handlerstest.NewWorld(t)
			a, _ := handlerstest.SignedIn(t, w)
			session := a.OpenS().Session
			if !carried {
				a.Cookies["sid"] = ""
			}
			if tt.frame {
				a.Dest = "iframe"
			}
			a.Get("/bye", func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Clear-Site-Data", tt.value)
				if tt.line != "" {
					rw.Header().Set("Set-Cookie", tt.line)
				}
				reply.Page(rw, r)
			})
			if ends := !w.Live(t, session); ends != (tt.ends && carried) {
				t.Errorf("%s with %q, frame %v, carried %v: it ends: %v", tt.value, tt.line, tt.frame, carried, ends)
			}
		}
	}
}

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
