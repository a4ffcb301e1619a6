package signin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

func TestALoginCookieBelowAnIssuerOfTheSameOPIsItsOwn(t *testing.T) {
	a, b, other := handlerstest.Issuer+"/clients/a", handlerstest.Issuer+"/clients/b", handlerstest.Issuer+"/other"
	browser := signin.Observer{LoginCookie: "login", Issuers: func() [][]string { return [][]string{{a, b}, {handlerstest.Slugs}, {other}, nil} }}
	several, err := handlers.NewOP(a, b)
	if err != nil {
		t.Fatal(err)
	}
	open, err := handlers.NewOP(handlerstest.Slugs)
	if err != nil {
		t.Fatal(err)
	}
	// whether it is another OP's than several, and than open
	for path, theirs := range map[string][2]bool{
		"/": {false, false}, "/clients/b/x": {false, true}, "/application/o/shop/": {true, false}, "/other/": {true, true}, "/clients": {false, false},
	} {
		line := "login=; Path=" + path
		if got := [2]bool{browser.IsAnotherIssuers(several, line, "/"), browser.IsAnotherIssuers(open, line, "/")}; got != theirs {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// deletes reports whether the net effect of lines is that the cookie is gone.
func deletes(lines []string, name, requestPath string, now time.Time) bool {
	deleted, set := exchange.CookieEffect(lines, name, requestPath, now)
	return deleted && !set
}

func TestTheNetEffectOfSetCookieLines(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  bool
	}{
		{"Max-Age of zero", []string{"sid=; Max-Age=0; Path=/"}, true},
		{"Max-Age of zero with a value", []string{"sid=deleted; Max-Age=0; Path=/"}, true},
		{"negative Max-Age", []string{"sid=x; max-age=-1"}, true},
		{"past Expires", []string{"sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT"}, true},
		{"past Expires with dashes", []string{"sid=x; expires=Thu, 01-Jan-1970 00:00:01 GMT"}, true},
		{"Expires of this very second", []string{"sid=x; Expires=Fri, 01 May 2026 12:00:00 GMT"}, true},
		{"empty value", []string{"sid="}, true},
		{"empty value in quotes", []string{`sid=""`}, true},
		{"empty value with a future expiry", []string{"sid=; Expires=Fri, 01 May 2027 12:00:00 GMT"}, true},
		{"empty value with a positive Max-Age", []string{"sid=; Max-Age=60"}, true},
		{"spaces before the name", []string{"  sid=; Max-Age=0"}, true},
		{"twice at one place", []string{"sid=; Max-Age=0; Path=/", "sid=; Max-Age=0; Path=/"}, true},
		{"at two places", []string{"sid=; Max-Age=0; Path=/", "sid=; Max-Age=0; Path=/x"}, true},
		{"beside other cookies", []string{"a=b", "sid=; Max-Age=0", "sidx=y"}, true},
		{"value, then deletion", []string{"sid=x; Path=/", "sid=; Max-Age=0; Path=/"}, true},

		{"new value", []string{"sid=new; Path=/"}, false},
		{"positive Max-Age before a past Expires", []string{"sid=x; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT"}, false},
		{"future Expires", []string{"sid=x; Expires=Fri, 01 May 2026 12:00:01 GMT"}, false},
		{"Expires that is no date", []string{"sid=x; Expires=0"}, false},
		{"deletion, then new value", []string{"sid=; Max-Age=0; Path=/", "sid=new; Path=/"}, false},
		{"deletion, then new value on the default path", []string{"sid=; Max-Age=0; Path=/account", "sid=new"}, false},
		{"deletion, new value at another path", []string{"sid=; Max-Age=0; Path=/old", "sid=new; Path=/"}, false},
		{"deletion, new value at another domain", []string{"sid=; Max-Age=0; Path=/", "sid=new; Path=/; Domain=example.com"}, false},
		{"new value, deletion at another path", []string{"sid=new; Path=/", "sid=; Max-Age=0; Path=/old"}, false},
		{"deletion, then a new value that Go does not take for one", []string{"sid=; Max-Age=0; Path=/", `sid={"user":"x"}; Path=/`}, false},
		{"another cookie with the same prefix", []string{"sidx=; Max-Age=0"}, false},
		{"another cookie with the name as its value", []string{"x=sid=; Max-Age=0"}, false},
		{"a cookie in other letters", []string{"SID=; Max-Age=0"}, false},
		{"no name", []string{"=sid; Max-Age=0"}, false},
		{"nothing", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := deletes(tt.lines, "sid", "/account/logout", handlerstest.Noon); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestLinesForOnePlaceAreTakenTogether(t *testing.T) {
	tests := []struct {
		name   string
		delete string
		set    string
	}{
		{"default path", "sid=; Max-Age=0", "sid=x; Path=/account"},
		{"path that is no path", "sid=; Max-Age=0; Path=x", "sid=x; Path=/account"},
		{"domain with a dot", "sid=; Max-Age=0; Path=/; Domain=.Example.com", "sid=x; Path=/; Domain=example.com"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !deletes([]string{tt.set, tt.delete}, "sid", "/account/logout", handlerstest.Noon) {
				t.Error("the deletion does not end what was set before it")
			}
			if deletes([]string{tt.delete, tt.set}, "sid", "/account/logout", handlerstest.Noon) {
				t.Error("what was set after the deletion is taken to be gone")
			}
		})
	}
}

func FuzzDeletes(f *testing.F) {
	for _, line := range []string{
		"sid=; Max-Age=0", "sid=x; Max-Age=-1; Path=/", "sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "sid=", "sid", "sidx=", " sid = y ; =",
		`sid={"a":1}`, "sid=; Domain=.; Path=",
	} {
		f.Add(line, "/logout")
	}
	f.Fuzz(func(t *testing.T, line, path string) {
		gone := deletes([]string{line}, "sid", path, handlerstest.Noon)
		c, err := http.ParseSetCookie(line)
		if gone && (err != nil || c.Name != "sid") {
			t.Fatalf("%q deletes", line)
		}
		if deletes([]string{line, "sid=new; Path=/elsewhere"}, "sid", path, handlerstest.Noon) {
			t.Fatalf("%q deletes although there is a new value", line)
		}
		if gone && !deletes([]string{"a=b", line, line, "b=c"}, "sid", path, handlerstest.Noon) {
			t.Fatalf("%q does not delete the second time", line)
		}
	})
}

func TestTheDeletionOfTheLoginCookieEndsTheSession(t *testing.T) {
	for _, line := range []string{"sid=; Path=/; Max-Age=0", "sid=gone; Path=/; Max-Age=0", "sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "sid=; Expires=Fri, 01 May 2027 12:00:00 GMT"} {
		t.Run(line, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			a, state := handlerstest.SignedIn(t, w)
			before, stateBefore := a.OpenS(), a.StateCookie()
			w.Clock.Advance(time.Minute)
			response := a.Get("/logout", func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Add("Set-Cookie", line)
				reply.Page(rw, r)
			})
			if after := a.OpenS(); after != before.SignedOut() || a.StateCookie() != w.Keys.AnonymousState(handlerstest.Issuer) {
				t.Errorf("the cookies are %+v and %s", after, a.StateCookie())
			}
			if response.Header.Get("Cache-Control") != "no-store" || response.Header["Set-Cookie"][0] != line {
				t.Errorf("header is %v", response.Header)
			}
			if session := w.Session(t, before.Session); session.Reason != registry.ReasonLoginCookie || session.Ended != registry.At(w.Clock.Now()) {
				t.Errorf("recorded is %+v", session)
			}
			for _, browserState := range []string{"", stateBefore, a.StateCookie()} {
				if got := w.Check(t, handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: browserState}); got != "changed" {
					t.Errorf("the check says %s", got)
				}
			}
			if w.Logs.FilterMessage("session ended").Len() != 1 {
				t.Errorf("logged %s", w.Logged())
			}
			a.Cookies["sid"] = "v"
			a.SignIn("c2")
			if again := a.OpenS(); again.Session == before.Session || again.Browser != before.Browser || a.StateCookie() == stateBefore {
				t.Errorf("signed in again, the session is %+v", again)
			}
		})
	}
}

func TestWhatIsNoDeletionEndsNothing(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(*handlerstest.Agent)
		respond http.HandlerFunc
	}{
		{"cookie not carried", func(a *handlerstest.Agent) { delete(a.Cookies, "sid") }, handlerstest.SignOut},
		{"cookie carried empty", func(a *handlerstest.Agent) { a.Cookies["sid"] = "" }, handlerstest.SignOut},
		{"another cookie with the same prefix carried", func(a *handlerstest.Agent) { delete(a.Cookies, "sid"); a.Cookies["sidx"] = "v" }, handlerstest.SignOut},
		{"another cookie with the same suffix carried", func(a *handlerstest.Agent) { delete(a.Cookies, "sid"); a.Cookies["xsid"] = "v" }, handlerstest.SignOut},
		{"in an iframe", func(a *handlerstest.Agent) { a.Dest = "iframe" }, handlerstest.SignOut},
		{"in an embedded object", func(a *handlerstest.Agent) { a.Dest = "object" }, handlerstest.SignOut},
		{"no login cookie configured", func(a *handlerstest.Agent) { a.Login = "" }, handlerstest.SignOut},
		{"another login cookie configured", func(a *handlerstest.Agent) { a.Login = "other" }, handlerstest.SignOut},
		{"changed value", nil, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Set-Cookie", "sid=rotated; Path=/")
			reply.Page(w, r)
		}},
		{"deletion, then new value", nil, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Set-Cookie", "sid=; Path=/; Max-Age=0")
			w.Header().Add("Set-Cookie", "sid=rotated; Path=/")
			reply.Page(w, r)
		}},
		{"nothing set", nil, reply.Page},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			a, state := handlerstest.SignedIn(t, w)
			if tt.prepare != nil {
				tt.prepare(a)
			}
			before, stateBefore := a.OpenS(), a.StateCookie()
			response := a.Get("/logout", tt.respond)
			if a.OpenS() != before || a.StateCookie() != stateBefore || !w.Live(t, before.Session) || response.Header.Get("Cache-Control") != "" {
				t.Errorf("the session ended: %+v, header %v", a.OpenS(), response.Header)
			}
			if got := w.Check(t, handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: stateBefore}); got != "unchanged" {
				t.Errorf("the check says %s", got)
			}
		})
	}
}

// Values with quotes, as of JSON, are no cookie values to Go, but browsers send them and OPs take
// them.
func TestALoginCookieMayHaveAnyValue(t *testing.T) {
	for _, value := range []string{`{"user":"x"}`, `"quoted"`, "a b,c", "ü", "a=b=c"} {
		w := handlerstest.NewWorld(t)
		a, _ := handlerstest.SignedIn(t, w)
		delete(a.Cookies, "sid")
		before := a.OpenS()
		r := httptest.NewRequest("GET", handlerstest.Issuer+"/logout", nil)
		for name, value := range a.Cookies {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		r.Header.Set("Cookie", r.Header.Get("Cookie")+"; sid="+value+"; x=y")
		a.Cookies = map[string]string{}
		a.Send(r, handlerstest.SignOut)
		if w.Live(t, before.Session) {
			t.Errorf("with the value %s the sign-out was not seen", value)
		}
	}
}

func TestASignOutByScriptCounts(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, _ := handlerstest.SignedIn(t, w)
	a.Dest = "empty"
	before := a.OpenS()
	a.Get("/api/logout", handlerstest.SignOut)
	if w.Live(t, before.Session) {
		t.Error("the session lives")
	}
}

func TestASignOutEndsAllSessionsOfTheBrowser(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, _ := handlerstest.SignedIn(t, w)
	first := a.OpenS()
	// as when it had to sign in again
	a.Cookies[w.OP.Cookies.Session] = first.SignedOut().Seal(w.Keys, handlerstest.Issuer)
	a.SignIn("c2")
	second := a.OpenS()
	other, _ := handlerstest.SignedIn(t, w)
	a.Get("/logout", handlerstest.SignOut)
	if first.Session == second.Session || w.Live(t, first.Session) || w.Live(t, second.Session) {
		t.Error("a session of the browser lives")
	}
	if !w.Live(t, other.OpenS().Session) {
		t.Error("the session of another browser ended")
	}
}

func TestASignOutOfNobodySetsNothing(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, _ := handlerstest.SignedIn(t, w)
	a.Get("/logout", handlerstest.SignOut)
	a.Cookies["sid"] = "v"
	response := a.Get("/logout", handlerstest.SignOut)
	if lines := response.Header["Set-Cookie"]; len(lines) != 1 || response.Header.Get("Cache-Control") != "" {
		t.Errorf("header is %v", response.Header)
	}
}

func TestASignOutOfAnUnknownBrowserGivesItTheAnonymousState(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.Login, a.Cookies["sid"] = "sid", "v"
	a.Get("/logout", handlerstest.SignOut)
	if a.StateCookie() != w.Keys.AnonymousState(handlerstest.Issuer) || !a.OpenS().Session.IsZero() {
		t.Errorf("the browser has %v", a.Cookies)
	}
}

func TestWithoutTheRegistryASignOutIsInTheCookies(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, state := handlerstest.SignedIn(t, w)
	up := w.Down()
	a.Get("/logout", handlerstest.SignOut)
	if !a.OpenS().Session.IsZero() || a.StateCookie() != w.Keys.AnonymousState(handlerstest.Issuer) || w.Logs.FilterMessageSnippet("session end not recorded").Len() != 1 {
		t.Errorf("the browser has %v, logged %s", a.Cookies, w.Logged())
	}
	up() // it does not know that the session ended, but the browser does
	if got := w.Check(t, handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: a.StateCookie()}); got != "changed" {
		t.Errorf("the check says %s", got)
	}
}

func TestASignOutThatAlsoAnswersARequestStartsANewSession(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, state := handlerstest.SignedIn(t, w)
	before := a.OpenS()
	response := a.Get(handlerstest.Authorize("s"), func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Add("Set-Cookie", "sid=; Path=/; Max-Age=0")
		reply.Redirect(handlerstest.Callback+"?code=c2&state=s")(rw, r)
	})
	after := a.OpenS()
	if after.Session == before.Session || after.Session.IsZero() || w.Live(t, before.Session) || !w.Live(t, after.Session) {
		t.Errorf("the session was %+v and is %+v", before, after)
	}
	names := make(map[string]int)
	for _, c := range response.Cookies() {
		names[c.Name]++
	}
	for name, n := range names {
		if n != 1 {
			t.Errorf("%s is set %d times", name, n)
		}
	}
	if w.Check(t, handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: ""}) != "changed" {
		t.Error("the check does not say that the old session changed")
	}
}

func TestAServerErrorMaySignOutToo(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, _ := handlerstest.SignedIn(t, w)
	before := a.OpenS()
	a.Get("/logout", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Add("Set-Cookie", "sid=; Path=/; Max-Age=0")
		rw.WriteHeader(http.StatusInternalServerError)
	})
	if w.Live(t, before.Session) || strings.Contains(w.Logged(), "sid=") {
		t.Errorf("the session lives, or a cookie is in the log: %s", w.Logged())
	}
}

// observedPaths is what is observed of Set-Cookie lines in a response of a realm's OP.
func observedPaths(t *testing.T, lines ...string) *browser.LoginCookiePaths {
	t.Helper()
	w := handlerstest.NewWorld(t)
	w.OP = handlerstest.KnownOP(t, handlerstest.Issuer+"/realms/a", handlers.Metadata{})
	b := signin.Observer{LoginCookie: "login", Issuers: func() [][]string {
		return [][]string{{handlerstest.Issuer + "/realms/a"}, {handlerstest.Issuer + "/realms/b"}}
	}}
	b.Setup(w.Env)
	r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/realms/a/login", nil)
	err := b.Serve(w.OP, httptest.NewRecorder(), r, reply.Handler(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header()["Set-Cookie"] = lines
		rw.WriteHeader(http.StatusOK)
	}))
	if err != nil {
		t.Fatal(err)
	}
	return b.LoginCookiePaths()
}

func TestWhereTheLoginCookieIsSet(t *testing.T) {
	const endpoint = "/realms/a" + handlers.DefaultEndSessionPath
	for _, tt := range []struct {
		name   string
		lines  []string
		missed bool
	}{
		{"nowhere yet", nil, false},
		{"for the realm", []string{"login=x; Path=/realms/a/"}, false},
		{"for the host", []string{"login=x; Path=/"}, false},
		{"without a path, by a page of the realm", []string{"login=x"}, false},
		{"for another part", []string{"login=x; Path=/account"}, true},
		{"for a path that begins alike", []string{"login=x; Path=/realms/a/oid"}, true},
		{"at two places, of which one reaches", []string{"login=x; Path=/account", "login=x; Path=/realms/a"}, false},
		{"for another realm", []string{"login=x; Path=/realms/b/"}, false},
		{"deleted elsewhere", []string{"login=; Path=/account; Max-Age=0"}, false},
		{"another cookie", []string{"logins=x; Path=/account", "a=b; Path=/account"}, false},
	} {
		if err := observedPaths(t, tt.lines...).Missed(endpoint); (err != nil) != tt.missed {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
