package signin_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// A probe is an authorization request of a browser whose OP has set its login cookie by a line,
// answered with an error.
type probe struct {
	line       string // of Set-Cookie
	carried    []string
	parameters url.Values // more of them
	site, dest string
	method     string
	path       string
	location   string
}

// probed sends it, and returns whether the session has ended.
func (p probe) probed(t *testing.T, w *handlerstest.World, a *handlerstest.Agent) bool {
	t.Helper()
	session := a.OpenS().Session
	w.Clock.Advance(signin.RotationGrace)
	if p.line != "" {
		a.Get("/login", func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Set-Cookie", p.line)
			reply.Page(rw, r)
		})
	}
	delete(a.Cookies, "sid")
	query := url.Values{"response_type": {"code"}, "scope": {"openid"}, "client_id": {handlerstest.ClientID}, "redirect_uri": {handlerstest.Callback}, "state": {"p"}, "prompt": {"none"}}
	maps.Copy(query, p.parameters)
	r := httptest.NewRequest(p.method, handlerstest.Issuer+p.path+"?"+query.Encode(), nil)
	for _, value := range p.carried {
		r.AddCookie(&http.Cookie{Name: "sid", Value: value})
	}
	for field, value := range map[string]string{"Sec-Fetch-Site": p.site, "Sec-Fetch-Dest": p.dest, "Sec-Fetch-Mode": "navigate"} {
		if value != "" {
			r.Header.Set(field, value)
		}
	}
	a.Send(r, reply.Redirect(p.location))
	w.Store.Do(nil) // to look
	ended := !w.Live(t, session)
	if recorded := w.Session(t, session); ended && recorded.Reason != registry.ReasonOPEnded {
		t.Errorf("recorded is %+v", recorded)
	}
	return ended
}

func TestLoginRequiredEndsTheSessionThatTheOPHasEnded(t *testing.T) {
	const lax, none, strict = "sid=v; Path=/; SameSite=Lax", "sid=v; Path=/; Secure; SameSite=None", "sid=v; Path=/; SameSite=Strict"
	one := []string{"v"}
	base := probe{line: none, carried: one, site: "cross-site", dest: "iframe", method: "GET", path: "/authorize", location: handlerstest.Callback + "?error=login_required&state=p"}
	in := func(change func(*probe)) probe {
		p := base
		change(&p)
		return p
	}
	also := func(name, value string) probe {
		return in(func(p *probe) { p.parameters = url.Values{name: {value}} })
	}
	for name, tt := range map[string]struct {
		probe probe
		ends  bool
	}{
		"a frame that gets the cookie": {base, true},
		"with all that changes nothing": {in(func(p *probe) {
			p.parameters = handlerstest.Values("nonce", "n", "code_challenge", "c", "code_challenge_method", "S256", "ui_locales", "de", "response_mode", "query")
		}), true},
		"a frame of a host of the site":                   {in(func(p *probe) { p.line, p.site = lax, "same-site" }), true},
		"a tab that brings the cookie":                    {in(func(p *probe) { p.line, p.dest = lax, "document" }), true},
		"a tab that has lost the cookie":                  {in(func(p *probe) { p.line, p.dest, p.carried = lax, "document", nil }), true},
		"a tab of the OP that has lost a strict cookie":   {in(func(p *probe) { p.line, p.dest, p.site, p.carried = strict, "document", "same-origin", nil }), true},
		"another error":                                   {in(func(p *probe) { p.location = handlerstest.Callback + "?error=interaction_required&state=p" }), false},
		"to another address":                              {in(func(p *probe) { p.location = "https://evil.example/cb?error=login_required&state=p" }), false},
		"with another state":                              {in(func(p *probe) { p.location = handlerstest.Callback + "?error=login_required&state=q" }), false},
		"with max_age":                                    {also("max_age", "1"), false},
		"with acr_values":                                 {also("acr_values", "2"), false},
		"with claims":                                     {also("claims", "{}"), false},
		"with id_token_hint":                              {also("id_token_hint", "x"), false},
		"with login_hint":                                 {also("login_hint", "bob"), false},
		"with a parameter that nobody knows":              {also("tenant", "b"), false},
		"with prompt none and another":                    {also("prompt", "none login"), false},
		"without prompt":                                  {also("prompt", ""), false},
		"with scope twice":                                {in(func(p *probe) { p.parameters = url.Values{"scope": {"openid", "openid acr"}} }), false},
		"by a client that takes no part":                  {also("client_id", "evil"), false},
		"a frame that does not get the cookie":            {in(func(p *probe) { p.carried = nil }), false},
		"a frame whose cookie is empty":                   {in(func(p *probe) { p.carried = []string{""} }), false},
		"a frame that gets a parent domain's cookie":      {in(func(p *probe) { p.line = lax }), false},
		"two cookies of the name":                         {in(func(p *probe) { p.carried = []string{"v", "tossed"} }), false},
		"a tab that may be withheld a strict cookie":      {in(func(p *probe) { p.line, p.dest, p.carried = strict, "document", nil }), false},
		"a form of another site, without a lax cookie":    {in(func(p *probe) { p.line, p.dest, p.carried, p.method = lax, "document", nil, "POST" }), false},
		"an old engine without the cookie":                {in(func(p *probe) { p.dest, p.site, p.carried = "", "", nil }), false},
		"an old engine, a lax cookie that may be another": {in(func(p *probe) { p.line, p.dest, p.site = lax, "", "" }), false},
		"a cookie that was never seen to be set":          {in(func(p *probe) { p.line = "" }), false},
		"a cookie for another part of the site":           {in(func(p *probe) { p.line, p.dest, p.carried = "sid=v; Path=/account", "document", nil }), false},
		"by a redirector": {in(func(p *probe) {
			p.path = "/go"
			p.parameters = handlerstest.Values("to", handlerstest.Callback+"?error=login_required&state=p")
		}), false},
	} {
		t.Run(name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			a, _ := handlerstest.SignedIn(t, w)
			if tt.probe.path == "/go" {
				a.Get("/authorize?"+handlerstest.Values("response_type", "code", "scope", "openid", "client_id", handlerstest.ClientID, "redirect_uri", handlerstest.Callback, "state", "p", "prompt", "none").Encode(), reply.Page)
			}
			if got := tt.probe.probed(t, w, a); got != tt.ends {
				t.Errorf("the session has ended: %v", got)
			}
			if signedOut := a.StateCookie() == w.Keys.AnonymousState(handlerstest.Issuer); signedOut != tt.ends {
				t.Errorf("the browser is signed out: %v", signedOut)
			}
		})
	}
}

func TestLoginRequiredEndsNothingWhereItIsNotKnownWhatItMeans(t *testing.T) {
	p := probe{
		line: "sid=v; Path=/; Secure; SameSite=None", carried: []string{"v"}, site: "cross-site", dest: "iframe", method: "GET", path: "/authorize",
		location: handlerstest.Callback + "?error=login_required&state=p",
	}
	for name, change := range map[string]func(*handlerstest.World, *handlerstest.Agent){
		"no login cookie is configured": func(_ *handlerstest.World, a *handlerstest.Agent) { a.Login = "" },
		"requests may be in what cannot be read": func(w *handlerstest.World, _ *handlerstest.Agent) {
			w.OP = handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{RequestURIParameter: true})
			p.parameters = handlerstest.Values("request_uri", "urn:x")
		},
		"the registry is unavailable": func(w *handlerstest.World, a *handlerstest.Agent) {
			w.Down()
			p.parameters = nil
		},
		"the client has registered itself": func(w *handlerstest.World, a *handlerstest.Agent) {
			w.Register(t, handlerstest.ClientID, `{"client_id":"`+handlerstest.ClientID+`"}`)
			a.Clients = new(clients.Clients)
			if err := a.Clients.Setup(w.Env); err != nil {
				t.Fatal(err)
			}
			p.parameters = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			a, _ := handlerstest.SignedIn(t, w)
			p.parameters = nil
			change(w, a)
			if p.probed(t, w, a) {
				t.Error("the session has ended")
			}
		})
	}
}

// Five apps of one browser ask at once, of an OP that sets a new login cookie each time.
func TestRequestsThatCrossANewLoginCookieEndNothing(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, _ := handlerstest.SignedIn(t, w)
	a.Dest = "iframe"
	a.Get("/login", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Set-Cookie", "sid=v; Path=/; Secure; SameSite=None")
		reply.Page(rw, r)
	})
	silently := handlerstest.Ask("p", url.Values{"prompt": {"none"}})
	w.Clock.Advance(time.Hour)
	a.Get(silently, reply.Redirect(handlerstest.Callback+"?code=fresh&state=p"))
	session := a.OpenS().Session
	for range 4 {
		w.Clock.Advance(time.Second)
		if a.Get(silently, reply.Redirect(handlerstest.Callback+"?error=login_required&state=p")); !w.Live(t, session) {
			t.Fatal("the session has ended")
		}
	}
	w.Clock.Advance(signin.RotationGrace)
	if a.Get(silently, reply.Redirect(handlerstest.Callback+"?error=login_required&state=p")); w.Live(t, session) {
		t.Error("the session lives on although the OP has ended it")
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
