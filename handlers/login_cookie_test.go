package handlers

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// deletes reports whether the net effect of lines is that the cookie is gone.
func deletes(lines []string, name, requestPath string, now time.Time) bool {
	deleted, set := effect(lines, name, requestPath, now)
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
			if got := deletes(tt.lines, "sid", "/account/logout", noon); got != tt.want {
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
			if !deletes([]string{tt.set, tt.delete}, "sid", "/account/logout", noon) {
				t.Error("the deletion does not end what was set before it")
			}
			if deletes([]string{tt.delete, tt.set}, "sid", "/account/logout", noon) {
				t.Error("what was set after the deletion is taken to be gone")
			}
		})
	}
}

func TestTheDefaultPathOfACookie(t *testing.T) {
	for request, want := range map[string]string{"/": "/", "": "/", "/logout": "/", "/account/logout": "/account", "/account/": "/account", "logout": "/"} {
		if got := cookiePath("", request); got != want {
			t.Errorf("of %q it is %q, want %q", request, got, want)
		}
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
		gone := deletes([]string{line}, "sid", path, noon)
		c, err := http.ParseSetCookie(line)
		if gone && (err != nil || c.Name != "sid") {
			t.Fatalf("%q deletes", line)
		}
		if deletes([]string{line, "sid=new; Path=/elsewhere"}, "sid", path, noon) {
			t.Fatalf("%q deletes although there is a new value", line)
		}
		if gone && !deletes([]string{"a=b", line, line, "b=c"}, "sid", path, noon) {
			t.Fatalf("%q does not delete the second time", line)
		}
	})
}

// signOut deletes the login cookie in the way of several OPs.
func signOut(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Set-Cookie", "sid=; Path=/; Max-Age=0")
	page(w, r)
}

// signedIn is an agent that is signed in, at the OP and at one client.
func signedIn(t *testing.T, w *world) (a *agent, state string) {
	t.Helper()
	a = newAgent(t, w)
	a.login = "sid"
	state = a.signIn("c")
	a.cookies["sid"] = "v"
	return a, state
}

func TestTheDeletionOfTheLoginCookieEndsTheSession(t *testing.T) {
	for _, line := range []string{"sid=; Path=/; Max-Age=0", "sid=gone; Path=/; Max-Age=0", "sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "sid=; Expires=Fri, 01 May 2027 12:00:00 GMT"} {
		t.Run(line, func(t *testing.T) {
			w := newWorld(t)
			a, state := signedIn(t, w)
			before, stateBefore := a.openS(), a.stateCookie()
			w.clock.advance(time.Minute)
			response := a.get("/logout", func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Add("Set-Cookie", line)
				page(rw, r)
			})
			if after := a.openS(); after != before.signedOut() || a.stateCookie() != w.keys.AnonymousState(issuer) {
				t.Errorf("the cookies are %+v and %s", after, a.stateCookie())
			}
			if response.Header.Get("Cache-Control") != "no-store" || response.Header["Set-Cookie"][0] != line {
				t.Errorf("header is %v", response.Header)
			}
			if session := w.session(t, before.session); session.Reason != registry.ReasonLoginCookie || session.Ended != registry.At(w.clock.Now()) {
				t.Errorf("recorded is %+v", session)
			}
			for _, browserState := range []string{"", stateBefore, a.stateCookie()} {
				if got := w.check(t, pageCheck{clientID, state, rpOrigin, browserState}); got != "changed" {
					t.Errorf("the check says %s", got)
				}
			}
			if w.logs.FilterMessage("session ended").Len() != 1 {
				t.Errorf("logged %s", w.logged())
			}
			a.cookies["sid"] = "v"
			a.signIn("c2")
			if again := a.openS(); again.session == before.session || again.browser != before.browser || a.stateCookie() == stateBefore {
				t.Errorf("signed in again, the session is %+v", again)
			}
		})
	}
}

func TestWhatIsNoDeletionEndsNothing(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(*agent)
		respond http.HandlerFunc
	}{
		{"cookie not carried", func(a *agent) { delete(a.cookies, "sid") }, signOut},
		{"cookie carried empty", func(a *agent) { a.cookies["sid"] = "" }, signOut},
		{"another cookie with the same prefix carried", func(a *agent) { delete(a.cookies, "sid"); a.cookies["sidx"] = "v" }, signOut},
		{"another cookie with the same suffix carried", func(a *agent) { delete(a.cookies, "sid"); a.cookies["xsid"] = "v" }, signOut},
		{"in an iframe", func(a *agent) { a.dest = "iframe" }, signOut},
		{"in an embedded object", func(a *agent) { a.dest = "object" }, signOut},
		{"no login cookie configured", func(a *agent) { a.login = "" }, signOut},
		{"another login cookie configured", func(a *agent) { a.login = "other" }, signOut},
		{"changed value", nil, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Set-Cookie", "sid=rotated; Path=/")
			page(w, r)
		}},
		{"deletion, then new value", nil, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Set-Cookie", "sid=; Path=/; Max-Age=0")
			w.Header().Add("Set-Cookie", "sid=rotated; Path=/")
			page(w, r)
		}},
		{"nothing set", nil, page},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a, state := signedIn(t, w)
			if tt.prepare != nil {
				tt.prepare(a)
			}
			before, stateBefore := a.openS(), a.stateCookie()
			response := a.get("/logout", tt.respond)
			if a.openS() != before || a.stateCookie() != stateBefore || !w.live(t, before.session) || response.Header.Get("Cache-Control") != "" {
				t.Errorf("the session ended: %+v, header %v", a.openS(), response.Header)
			}
			if got := w.check(t, pageCheck{clientID, state, rpOrigin, stateBefore}); got != "unchanged" {
				t.Errorf("the check says %s", got)
			}
		})
	}
}

// Values with quotes, as of JSON, are no cookie values to Go, but browsers send them and OPs take them.
func TestALoginCookieMayHaveAnyValue(t *testing.T) {
	for _, value := range []string{`{"user":"x"}`, `"quoted"`, "a b,c", "ü", "a=b=c"} {
		w := newWorld(t)
		a, _ := signedIn(t, w)
		delete(a.cookies, "sid")
		before := a.openS()
		r := httptest.NewRequest("GET", issuer+"/logout", nil)
		for name, value := range a.cookies {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		r.Header.Set("Cookie", r.Header.Get("Cookie")+"; sid="+value+"; x=y")
		a.cookies = map[string]string{}
		a.send(r, signOut)
		if w.live(t, before.session) {
			t.Errorf("with the value %s the sign-out was not seen", value)
		}
	}
}

func TestASignOutByScriptCounts(t *testing.T) {
	w := newWorld(t)
	a, _ := signedIn(t, w)
	a.dest = "empty"
	before := a.openS()
	a.get("/api/logout", signOut)
	if w.live(t, before.session) {
		t.Error("the session lives")
	}
}

func TestASignOutEndsAllSessionsOfTheBrowser(t *testing.T) {
	w := newWorld(t)
	a, _ := signedIn(t, w)
	first := a.openS()
	a.cookies[w.op.cookies.session] = first.signedOut().seal(w.keys, issuer) // as when it had to sign in again
	a.signIn("c2")
	second := a.openS()
	other, _ := signedIn(t, w)
	a.get("/logout", signOut)
	if first.session == second.session || w.live(t, first.session) || w.live(t, second.session) {
		t.Error("a session of the browser lives")
	}
	if !w.live(t, other.openS().session) {
		t.Error("the session of another browser ended")
	}
}

func TestASignOutOfNobodySetsNothing(t *testing.T) {
	w := newWorld(t)
	a, _ := signedIn(t, w)
	a.get("/logout", signOut)
	a.cookies["sid"] = "v"
	response := a.get("/logout", signOut)
	if lines := response.Header["Set-Cookie"]; len(lines) != 1 || response.Header.Get("Cache-Control") != "" {
		t.Errorf("header is %v", response.Header)
	}
}

func TestASignOutOfAnUnknownBrowserGivesItTheAnonymousState(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.login, a.cookies["sid"] = "sid", "v"
	a.get("/logout", signOut)
	if a.stateCookie() != w.keys.AnonymousState(issuer) || !a.openS().session.IsZero() {
		t.Errorf("the browser has %v", a.cookies)
	}
}

func TestWithoutTheRegistryASignOutIsInTheCookies(t *testing.T) {
	w := newWorld(t)
	a, state := signedIn(t, w)
	up := w.down()
	a.get("/logout", signOut)
	if !a.openS().session.IsZero() || a.stateCookie() != w.keys.AnonymousState(issuer) || w.logs.FilterMessageSnippet("session end not recorded").Len() != 1 {
		t.Errorf("the browser has %v, logged %s", a.cookies, w.logged())
	}
	up() // it does not know that the session ended, but the browser does
	if got := w.check(t, pageCheck{clientID, state, rpOrigin, a.stateCookie()}); got != "changed" {
		t.Errorf("the check says %s", got)
	}
}

func TestASignOutThatAlsoAnswersARequestStartsANewSession(t *testing.T) {
	w := newWorld(t)
	a, state := signedIn(t, w)
	before := a.openS()
	response := a.get(authorize("s"), func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Add("Set-Cookie", "sid=; Path=/; Max-Age=0")
		redirect(callback+"?code=c2&state=s")(rw, r)
	})
	after := a.openS()
	if after.session == before.session || after.session.IsZero() || w.live(t, before.session) || !w.live(t, after.session) {
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
	if w.check(t, pageCheck{clientID, state, rpOrigin, ""}) != "changed" {
		t.Error("the check does not say that the old session changed")
	}
}

func TestAServerErrorMaySignOutToo(t *testing.T) {
	w := newWorld(t)
	a, _ := signedIn(t, w)
	before := a.openS()
	a.get("/logout", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Add("Set-Cookie", "sid=; Path=/; Max-Age=0")
		rw.WriteHeader(http.StatusInternalServerError)
	})
	if w.live(t, before.session) || strings.Contains(w.logged(), "sid=") {
		t.Errorf("the session lives, or a cookie is in the log: %s", w.logged())
	}
}
