package guard_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

func TestCookiesThatOnlyTheServerCanSetAreCertified(t *testing.T) {
	apps := func(g *guard.Guard) {
		g.AppCookies, g.IgnoreCookies = []string{"readable", "wide"}, []string{"csrf"}
	}
	tests := []struct {
		name  string
		lines []string
		want  []string
	}{
		{"HttpOnly and host-only", []string{"session=value-1; HttpOnly; Path=/"}, []string{"session"}},
		{"attributes in other letters", []string{"session=value-1;httponly;path=/"}, []string{"session"}},
		{"an empty Domain", []string{"session=value-1; HttpOnly; Domain="}, []string{"session"}},
		{"not HttpOnly", []string{"session=value-1; Path=/"}, nil},
		{"with a Domain", []string{"session=value-1; HttpOnly; Domain=example.com"}, nil},
		{"with the host as its Domain", []string{"session=value-1; HttpOnly; Domain=app.example.com"}, nil},
		{"not HttpOnly, but an app_cookie", []string{"readable=value-1; Path=/"}, []string{"readable"}},
		{"with a Domain, but an app_cookie", []string{"wide=value-1; Domain=.Example.com; Path=/"}, []string{"wide"}},
		{"an ignore_cookie", []string{"csrf=value-1; HttpOnly"}, nil},
		{"a value like JSON", []string{`session={"id":"value-1","a b":[1]}; HttpOnly`}, []string{"session"}},
		{"a value in quotes", []string{`session="value-1"; HttpOnly`}, []string{"session"}},
		{"__Host-", []string{"__Host-session=value-1; HttpOnly; Secure; Path=/"}, []string{"__Host-session"}},
		{"__Secure-", []string{"__Secure-session=value-1; HttpOnly; Secure; Path=/x"}, []string{"__Secure-session"}},
		{"all attributes", []string{"session=value-1; Path=/cb; HttpOnly; Secure; SameSite=None; Max-Age=600; Expires=Wed, 01 Jan 2031 00:00:00 GMT; Partitioned"}, []string{"session"}},
		{"without Path", []string{"session=value-1; HttpOnly"}, []string{"session"}},
		{"several", []string{"a=value-1; HttpOnly", "b=value-2; Path=/", "c=value-3; HttpOnly; Path=/"}, []string{"a", "c"}},
		{"the first of chunks with a dot", []string{"s.0=value-1; HttpOnly", "s.1=value-2; HttpOnly", "s.2=value-3; HttpOnly"}, []string{"s.0"}},
		{"the first of chunks with a line", []string{"s_0=value-1; HttpOnly", "s_1=value-2; HttpOnly", "s_10=value-3; HttpOnly"}, []string{"s_0"}},
		{"the first of chunks that come the other way round", []string{"s.1=value-2; HttpOnly", "s.0=value-1; HttpOnly"}, []string{"s.0"}},
		{"a number without a first chunk", []string{"s.1=value-1; HttpOnly", "sid_2=value-2; HttpOnly"}, []string{"s.1", "sid_2"}},
		{"deleted in the same response", []string{"state=; HttpOnly; Max-Age=0", "session=value-1; HttpOnly"}, []string{"session"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, apps)
			b := s.signedIn("alice", tt.lines...)
			b.certified(tt.want...)
			before := len(b.jar)
			response := b.get("/cb/deep", sets())
			if response.Header["Set-Cookie"] != nil || len(b.jar) != before {
				t.Errorf("the next response sets %q", response.Header["Set-Cookie"])
			}
		})
	}
}

func TestACookieIsCertifiedByAnotherWithTheSameAttributesAsTheyCame(t *testing.T) {
	s := newSite(t)
	const attributes = `; pAtH=/;HTTPONLY;  SameSite=lax ;Max-Age=600; Priority=High; x="y"`
	response := s.browser("alice").signIn("session=value-1" + attributes)
	lines := response.Header["Set-Cookie"]
	if len(lines) != 2 || lines[0] != "session=value-1"+attributes {
		t.Fatalf("got %q", lines)
	}
	name, rest, _ := strings.Cut(lines[1], "=")
	value, rest, _ := strings.Cut(rest, ";")
	if name != certificateOf("session") || ";"+rest != attributes || len(value) > 100 {
		t.Errorf("got %q", lines[1])
	}
}

func TestTheNameOfACertificateDoesNotBeginLikeTheCookies(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", "oidc=value-1; HttpOnly", "authjs.session-token.0=value-2; HttpOnly")
	for _, name := range b.names() {
		if isCertificate(name) && strings.Contains(name, "authjs") {
			t.Errorf("a certificate is named %q", name)
		}
	}
	b.certified("oidc", "authjs.session-token.0")
}

// What apps delete cookies by: see the table of apps in the documentation of the guard.
func TestADeletionDeletesTheCertificate(t *testing.T) {
	deletions := map[string]string{
		"empty, with a past date":       "session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
		"quotes, with a past date":      `session=""; Path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0`,
		"a value, with a past date":     "session=null; path=/; expires=Thu, 01-Jan-1970 00:00:00 GMT; httponly",
		"a value, with Max-Age 0":       "session=gone-1; Path=/; Max-Age=0",
		"a value, with a past Max-Age":  "session=gone-1; Path=/; Max-Age=-1",
		"empty and nothing else":        "session=; Path=/",
		"empty, with a Max-Age to come": "session=; Path=/; Max-Age=3600",
	}
	for name, line := range deletions {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			b := s.signedIn("alice", "session=value-1; HttpOnly; Path=/", "other=value-2; HttpOnly; Path=/")
			b.get("/logout", sets(line))
			b.drop("session") // where it is empty only
			b.certified("other")
		})
	}
}

func TestTheDeletionOfACookieThatIsNoSessionCookieIsLeftAlone(t *testing.T) {
	s := newSite(t)
	response := s.browser("alice").get("/", sets("theme=; Path=/; Max-Age=0", "state=; HttpOnly; Max-Age=0"))
	if got := response.Header["Set-Cookie"]; len(got) != 2 {
		t.Errorf("got %q", got)
	}
}

func TestCookiesThatAreRotatedOrFollowWhileSignedInAreCertified(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", "session=value-1; HttpOnly; Path=/")
	for i := range 5 {
		b.get("/page", sets(fmt.Sprintf("session=rotated-%d; HttpOnly; Path=/", i)))
		b.certified("session")
		b.appGets("/", fmt.Sprintf("session=rotated-%d", i))
	}
	b.get("/user/alice/", sets("user-alice=derived-1; HttpOnly; Path=/user/alice/"))
	b.certified("session", "user-alice")
	s.end(b)
	b.appGets("/user/alice/x", "")
	if len(b.jar) != 0 {
		t.Errorf("the jar has %+v", b.jar)
	}
}

func TestARenamedCookieIsCertified(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", "session=value-1; HttpOnly; Path=/")
	b.get("/", sets("session=; Max-Age=0; Path=/", "session2=value-2; HttpOnly; Path=/"))
	b.certified("session2")
	s.end(b)
	b.appGets("/", "")
}

// PHP-like apps set a cookie once, before the sign-in.
func TestACookieThatIsKeptAtTheSignInIsCertifiedForTheWholeSite(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	b.get("/", sets("PHPSESSID=before-1; HttpOnly; Path=/"))
	b.certified()
	response := b.signIn()
	if lines := response.Header["Set-Cookie"]; len(lines) != 1 || !strings.Contains(lines[0], "; Path=/; Max-Age=34560000; HttpOnly") {
		t.Errorf("the sign-in sets %q", lines)
	}
	if got := response.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
	b.appGets("/", "PHPSESSID=before-1")
	s.end(b)
	b.appGets("/", "")
}

func TestWhatScriptsCouldHaveSetBeforeTheSignInIsNotTaken(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	b.get("/", sets("readable=before-1; Path=/", "wide=before-2; HttpOnly; Domain=example.com"))
	b.has("theme=dark-1", "_ga=analytics-1")
	b.signIn("session=value-1; HttpOnly; Path=/")
	if names := s.names(); !slices.Equal(names, []string{"session"}) {
		t.Errorf("the names are %q", names)
	}
	s.end(b)
	b.appGets("/", "readable=before-1; wide=before-2; theme=dark-1; _ga=analytics-1")
}

func TestCookiesThatTheSignInDeletesAreNotTaken(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	b.get("/login", sets("state=before-1; HttpOnly; Path=/", "pkce=before-2; HttpOnly; Path=/cb"))
	b.signIn("state=; Path=/; Max-Age=0", "pkce=x-y-z-1; Path=/cb; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "session=value-1; HttpOnly; Path=/")
	b.certified("session")
	if names := s.names(); !slices.Equal(names, []string{"session"}) {
		t.Errorf("the names are %q", names)
	}
}

// mod_auth_openidc draws a name for each sign-in that begins.
func TestStateCookiesWithRandomNamesFillNothing(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", "session=value-1; HttpOnly; Path=/")
	toOP := func(i int) http.HandlerFunc {
		return says(302, "Location: https://op.example.com/authorize?x", fmt.Sprintf("Set-Cookie: mod_auth_openidc_state_%d=random-%d; HttpOnly; Path=/", i, i))
	}
	for i := range 100 {
		s.browser("someone").get("/login", toOP(i)) // not signed in
		b.get("/login", toOP(1000+i))
	}
	b.certified("session")
	if names := s.names(); !slices.Equal(names, []string{"session"}) {
		t.Errorf("the names are %q", names)
	}
}

func TestOfManyNamesThoseThatSignInsSetAreKept(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", "session=value-1; HttpOnly; Path=/")
	for i := range 200 {
		b.get("/", sets(fmt.Sprintf("random-%d=derived-%d; HttpOnly; Path=/; Max-Age=1", i, i)))
		s.Clock.Advance(time.Second)
	}
	names := s.names()
	if len(names) != registry.MaxNames || names[0] != "session" {
		t.Errorf("%d names, %q", len(names), names)
	}
	s.restart()
	thief := s.browser("thief")
	thief.has("session=value-1", "random-3=derived-3", "random-199=derived-199")
	thief.appGets("/", "random-3=derived-3") // it is forgotten
}

// One app may be reached under all of them.
func TestNamesAreThoseOfAllHostsOfTheGuardWithoutPortAndCase(t *testing.T) {
	s := newSite(t)
	s.signedIn("alice", "session=value-1; HttpOnly; Path=/")
	for _, target := range []string{
		"https://app.example.com/", "https://APP.Example.com/", "https://app.example.com:8443/",
		"https://other.example.com/", "https://example.com/",
	} {
		r := newRequest(target)
		r.Header.Set("Cookie", "session=value-1")
		if got := s.serve(r, sets()); got.cookies != "" {
			t.Errorf("%s: the app gets %q", target, got.cookies)
		}
	}
}

func TestOfManyHostsWithManyNamesEachKeepsItsOwn(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", "session=value-1; HttpOnly; Path=/")
	for i := range 1000 {
		b.get("/", sets(fmt.Sprintf("derived-%d=value; HttpOnly; Path=/; Max-Age=1", i)))
		s.Clock.Advance(time.Second)
	}
	bare := s.browser("bare")
	bare.has("session=value-1", "derived-1=value", "derived-999=value")
	bare.appGets("/", "derived-1=value")
}

func TestAllServersHearOfANameWithinSeconds(t *testing.T) {
	s := newSite(t)
	thief := s.another().browser("thief")
	thief.has("session=value-1")
	thief.appGets("/", "session=value-1")
	s.signedIn("alice", "session=value-1; HttpOnly; Path=/")
	s.Clock.Advance(10 * time.Second)
	thief.appGets("/", "")
}

func TestCertificatesGoOnToTheAppUnlessTheHeaderIsTooLong(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", "session=value-1; HttpOnly; Path=/")
	whole := b.get("/", sets()).cookies
	if !strings.Contains(whole, certificateOf("session")+"=") {
		t.Errorf("the app gets %q", whole)
	}
	for length, want := range map[int]bool{8 << 10: true, 8<<10 + 1: false} {
		b.drop("long")
		b.has("long=" + strings.Repeat("x", length-len(whole)-len("; long=")))
		response := b.get("/", sets())
		if got := strings.Contains(response.cookies, "oidc_guard_"); got != want {
			t.Errorf("of a header of %d bytes, the app gets certificates: %v", length, got)
		}
		if got := withoutCertificates(response.cookies); !strings.HasPrefix(got, "session=value-1; long=x") {
			t.Errorf("the app gets %q", got)
		}
	}
}

func TestARequestFromTheAppsOwnServerWithItsBrowsersCookiesPasses(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", "session=value-1; HttpOnly; Path=/")
	first := b.get("/", sets())
	r := newRequest(origin + "/api")
	r.Header.Set("Cookie", first.cookies) // as server-side rendering does
	if got := withoutCertificates(s.serve(r, sets()).cookies); got != "session=value-1" {
		t.Errorf("the app gets %q", got)
	}
}

func TestAResponseThatSaysNothingIsOneLikeOthers(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	b.signInBy(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "session=value-1; HttpOnly; Path=/")
	})
	b.certified("session")
}

// Caddy's handle_path changes the URL of the request in place.
func TestTheDefaultPathOfACookieIsThatOfTheBrowsersRequest(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	code := s.code(b, origin)
	b.get("/app/cb?code="+code, s.signsIn(code, "alice", func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/cb"
		sets("session=value-1; HttpOnly")(w, r)
	}))
	b.certified("session")
	b.appGets("/app/x", "session=value-1")
	s.end(b)
	b.appGets("/app/x", "")
	if len(b.jar) != 0 {
		t.Errorf("the jar has %+v", b.jar)
	}
}

// The registry forgets names that were not added for a year. Once forgotten, a name would be adopted
// anew.
func TestNamesAreKnownAsLongAsUsersSignIn(t *testing.T) {
	adopting := func(g *guard.Guard) { g.Adopt = 24 * time.Hour }
	s := newSite(t, adopting)
	for range 30 {
		s.signedIn("alice", "session=value-1; HttpOnly; Path=/")
		s.Clock.Advance(30 * 24 * time.Hour)
		s.restart(adopting)
	}
	thief := s.browser("thief")
	thief.has("session=value-1")
	thief.appGets("/", "")
}

func TestANameThatCouldNotBeRecordedIsKnownHereAndRecordedLater(t *testing.T) {
	s := newSite(t)
	s.Store.Do(func(_ context.Context, call string, keys ...registry.Key) error {
		if call == "edit" && keys[0][0] == 'd' {
			return registry.ErrUnavailable
		}
		return nil
	})
	s.signedIn("alice", "session=value-1; HttpOnly; Path=/")
	if logged := s.logged("the name of a session cookie is not recorded"); len(logged) != 1 {
		t.Errorf("logged: %v", logged)
	}
	s.Store.Do(nil)
	s.Clock.Advance(time.Minute)
	thief := s.browser("thief")
	thief.has("session=value-1")
	thief.appGets("/", "")
	s.signedIn("alice", "session=value-2; HttpOnly; Path=/")
	if names := s.names(); !slices.Equal(names, []string{"session"}) {
		t.Errorf("the names are %q", names)
	}
}

// The guard may stand behind a rewrite, too.
func TestTheDefaultPathIsThatBeforeAllRewrites(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	code := s.code(b, origin)
	asked := newRequest(origin + "/app/cb?code=" + code)
	s.context = context.WithValue(t.Context(), caddyhttp.OriginalRequestCtxKey, *asked)
	b.send(newRequest(origin+"/cb?code="+code), s.signsIn(code, "alice", sets("session=value-1; HttpOnly")))
	for i := range b.jar {
		b.jar[i].path = "/app" // where a browser has them that asked for that
	}
	s.context = t.Context()
	s.end(b)
	b.get("/app/x", sets())
	if len(b.jar) != 0 {
		t.Errorf("the jar has %+v", b.jar)
	}
}

func TestLinesThatSetNoCookiePassAsTheyAre(t *testing.T) {
	s := newSite(t)
	lines := []string{"=value-1; HttpOnly", "alone; HttpOnly", "; HttpOnly", "", "  ", "a=b; HttpOnly; Domain=" + strings.Repeat("d", 300), "\x00=\x01; HttpOnly; Path=\xff; Max-Age=x; Expires=x"}
	response := s.browser("alice").signInBy(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Set-Cookie"] = slices.Clone(lines)
		w.WriteHeader(200)
	})
	if got := response.Header["Set-Cookie"]; len(got) < len(lines) || !slices.Equal(got[:len(lines)], lines) {
		t.Errorf("set are %q", got)
	}
}

func TestStateCookiesThatASignInLeavesBehindPushNoSessionCookieOut(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	for i := range registry.MaxNames + 10 {
		name := fmt.Sprintf("state_%d", i)
		b.get("/login", says(302, "Location: https://op.example.com/", "Set-Cookie: "+name+"=x; Path=/; HttpOnly"))
		b.signInBy(says(400))
	}
	s.restart()
	bare := s.browser("bare")
	bare.has("session=value-1")
	bare.appGets("/", "")
}

// A sibling site can set a cookie of the same name, which browsers send beside the app's own.
func TestACookieThatIsAdoptedTakesNoCertificateAway(t *testing.T) {
	s := newSite(t, func(g *guard.Guard) { g.Adopt = 24 * time.Hour })
	b := s.signedIn("alice", set)
	sent := b.cookiesFor(newRequest(origin+"/")) + "; session=planted"
	r := newRequest(origin + "/")
	r.Header.Set("Cookie", sent)
	if response := s.serve(r, sets()); len(response.Header["Set-Cookie"]) != 0 {
		t.Errorf("set are %q", response.Header["Set-Cookie"])
	}
	b.appGets("/", "session=value-1")
}

// Browsers ignore it, and keep the cookie that was there.
func TestACookieThatIsTooLongHasNoCertificate(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	response := b.get("/", sets("session="+strings.Repeat("x", 4090)+"; HttpOnly; Path=/"))
	if len(response.Header["Set-Cookie"]) != 1 {
		t.Errorf("set are %d cookies", len(response.Header["Set-Cookie"]))
	}
}

func TestAPartitionedCookieIsExpiredInItsPartition(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", "session=value-1; HttpOnly; Path=/; Secure; SameSite=None; Partitioned")
	s.end(b)
	response := b.get("/", sets())
	for _, line := range response.Header["Set-Cookie"] {
		if !strings.Contains(line, "; Partitioned") {
			t.Errorf("%q", line)
		}
	}
	if len(response.Header["Set-Cookie"]) != 2 {
		t.Errorf("set are %q", response.Header["Set-Cookie"])
	}
}
