package guard_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
)

func onLogout(action guard.Action, url string) func(*guard.Guard) {
	return func(g *guard.Guard) { g.OnLogout, g.RedirectURL = action, url }
}

func TestARefusedCookieIsTakenOffAndExpiredWhereItWasSet(t *testing.T) {
	apps := func(g *guard.Guard) { g.AppCookies = []string{"wide"} }
	tests := map[string]struct {
		line, target, want string
		attributes         []string
	}{
		"of the site":        {"session=value-1; HttpOnly; Path=/", "/", "session", []string{"Path=/", "Max-Age=0", "Secure"}},
		"of a directory":     {"session=value-1; HttpOnly; Path=/app", "/app/x", "session", []string{"Path=/app", "Max-Age=0"}},
		"of the default":     {"session=value-1; HttpOnly", "/x", "session", []string{"Path=/", "Max-Age=0"}},
		"of a Domain":        {"wide=value-1; Domain=example.com; Path=/x/", "/x/y", "wide", []string{"Path=/x/", "Domain=example.com", "Max-Age=0"}},
		"with __Host-":       {"__Host-s=value-1; HttpOnly; Secure; Path=/", "/", "__Host-s", []string{"Path=/", "Secure", "Max-Age=0"}},
		"with __Secure-":     {"__Secure-s=value-1; HttpOnly; Secure; Path=/a", "/a", "__Secure-s", []string{"Path=/a", "Secure", "Max-Age=0"}},
		"of an escaped path": {"session=value-1; HttpOnly; Path=/a%20b", "/a%20b/c", "session", []string{"Path=/a%20b", "Max-Age=0"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, apps)
			b := s.browser("alice")
			b.signIn(tt.line)
			b.has("theme=dark-1")
			s.end(b)
			response := b.get(tt.target, sets())
			if response.cookies != "theme=dark-1" || !response.reached {
				t.Errorf("the app gets %q", response.cookies)
			}
			lines := response.Header["Set-Cookie"]
			if len(lines) != 2 || !strings.HasPrefix(lines[0], tt.want+"=;") || !strings.HasPrefix(lines[1], certificateOf(tt.want)+"=;") {
				t.Fatalf("set are %q", lines)
			}
			for _, line := range lines {
				attributes := strings.Split(line, "; ")
				for _, want := range tt.attributes {
					if !slices.Contains(attributes, want) {
						t.Errorf("%q has no %s", line, want)
					}
				}
			}
			if got := response.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control is %q", got)
			}
			if names := b.names(); !slices.Equal(names, []string{"theme"}) {
				t.Errorf("the jar has %q", names)
			}
			if response = b.get(tt.target, sets()); response.Header["Set-Cookie"] != nil {
				t.Errorf("the next response sets %q", response.Header["Set-Cookie"])
			}
		})
	}
}

// Where a proxy in front ends TLS, and Caddy does not trust it, the prefixes say that it is https.
func TestCookiesWithAPrefixAreExpiredAlsoBehindAProxyThatIsNotTrusted(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	behind := func(target string) *http.Request {
		r := newRequest(origin + target)
		r.TLS = nil
		return r
	}
	code := s.code(b, origin)
	b.send(behind("/cb?code="+code), s.signsIn(code, "alice", sets("__Host-s=value-1; HttpOnly; Secure; Path=/")))
	b.certified("__Host-s")
	s.end(b)
	b.send(behind("/"), sets())
	if len(b.jar) != 0 {
		t.Errorf("the jar has %+v", b.jar)
	}
}

func TestOverHTTPCookiesAreExpiredWithoutSecure(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	code := s.code(b, "http://"+host)
	b.send(newRequest("http://"+host+"/cb?code="+code), s.signsIn(code, "alice", sets(set)))
	s.end(b)
	response := b.send(newRequest("http://"+host+"/"), sets())
	if lines := strings.Join(response.Header["Set-Cookie"], "\n"); strings.Contains(lines, "Secure") || strings.Contains(lines, "SameSite") || len(b.jar) != 0 {
		t.Errorf("set are %q, the jar has %+v", lines, b.jar)
	}
}

func TestACookieThatTheAppSetsAnewIsNotExpired(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	s.end(b)
	response := b.get("/", sets("session=anonymous-1; HttpOnly; Path=/"))
	b.certified("session")
	if n := len(response.Header["Set-Cookie"]); n != 2 || response.cookies != "" {
		t.Errorf("set are %q", response.Header["Set-Cookie"])
	}
	b.appGets("/", "session=anonymous-1")
	s.signedIn("bob", set)
	b.appGets("/", "session=anonymous-1")
}

func TestACookieThatTheAppDeletesIsDeletedOnce(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	s.end(b)
	if response := b.get("/", sets("session=; Path=/; Max-Age=0")); len(response.Header["Set-Cookie"]) != 2 || len(b.jar) != 0 {
		t.Errorf("set are %q, the jar has %+v", response.Header["Set-Cookie"], b.jar)
	}
}

func TestACookieWithoutCertificateIsExpiredWhereverItMayHaveBeenSet(t *testing.T) {
	for _, action := range []func(*guard.Guard){onLogout(guard.Strip, ""), onLogout(guard.Deny, ""), onLogout(guard.Redirect, "/out")} {
		for _, path := range []string{"/", "/a", "/a/", "/a/b", "/a/b/"} {
			s := newSite(t, action)
			s.signedIn("bob", set)
			b := s.browser("alice")
			b.keep("session=bare-1; Path="+path, host, "/", true)
			b.appGets("/a/b/c", "") // stripped in any case
			if len(b.jar) != 0 {
				t.Errorf("%s: the jar has %+v", path, b.jar)
			}
		}
	}
}

func TestALongPathIsAnsweredWithBoundedLines(t *testing.T) {
	s := newSite(t)
	s.signedIn("bob", set)
	b := s.browser("alice")
	b.has("session=bare-1")
	if n := len(b.get(strings.Repeat("/a", 1000), sets()).Header["Set-Cookie"]); n > 40 {
		t.Errorf("%d cookies are set", n)
	}
}

func TestARefusalMayBeAPage(t *testing.T) {
	s := newSite(t, onLogout(guard.Deny, ""))
	b := s.signedIn("alice", set)
	b.appGets("/", "session=value-1")
	s.end(b)
	r := newRequest(origin + "/page?x=1")
	r.Header.Set("Accept-Language", "de")
	response := b.send(r, sets())
	if response.reached || response.StatusCode != 401 || !strings.Contains(response.body, "Ihre Sitzung ist beendet.") || !strings.Contains(response.body, host) {
		t.Errorf("reached: %v, status %d, %s", response.reached, response.StatusCode, response.body)
	}
	for field, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Www-Authenticate": "Cookie", "X-Content-Type-Options": "nosniff",
	} {
		if got := response.Header.Get(field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	if policy := response.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("the policy is %q", policy)
	}
	if response.facts.Refused != "session" || len(b.jar) != 0 {
		t.Errorf("refused is %q, the jar has %+v", response.facts.Refused, b.jar)
	}
	b.appGets("/page?x=1", "") // once
}

func TestARefusalMayBeLeftToHandleErrors(t *testing.T) {
	s := newSite(t, onLogout(guard.Deny, ""))
	b := s.signedIn("alice", set)
	s.end(b)
	server := &caddyhttp.Server{Errors: &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{{}}}}
	s.context = context.WithValue(t.Context(), caddyhttp.ServerCtxKey, server)
	response := b.get("/", sets())
	if response.err == nil || response.StatusCode != 401 || response.body != "" || response.reached {
		t.Errorf("got %v, %q", response.err, response.body)
	}
	if response.facts.Refused != "session" || response.Header.Get("Www-Authenticate") == "" || len(b.jar) != 0 {
		t.Errorf("refused is %q, the jar has %+v", response.facts.Refused, b.jar)
	}
	b.appGets("/", "")
}

func TestARefusalMayLeadElsewhere(t *testing.T) {
	s := newSite(t, onLogout(guard.Redirect, "https://op.example.com/signed-out?by={method}"))
	b := s.signedIn("alice", set)
	s.end(b)
	response := b.get("/", sets())
	if got := response.Header.Get("Location"); response.reached || response.StatusCode != 303 || got != "https://op.example.com/signed-out?by=GET" {
		t.Errorf("reached: %v, status %d, Location %q", response.reached, response.StatusCode, got)
	}
	if got := response.Header.Get("Cache-Control"); got != "no-store" || len(b.jar) != 0 {
		t.Errorf("Cache-Control is %q, the jar has %+v", got, b.jar)
	}
	b.appGets("/", "") // once
}

// One that cannot be expired would be refused for ever.
func TestWhatCannotBeExpiredIsStripped(t *testing.T) {
	long := "/" + strings.Repeat("x", 300)
	for _, action := range []func(*guard.Guard){onLogout(guard.Deny, ""), onLogout(guard.Redirect, "/out")} {
		s := newSite(t, action)
		b := s.signedIn("alice", "session=value-1; HttpOnly; Path="+long)
		b.appGets(long+"/y", "session=value-1")
		s.end(b)
		b.appGets(long+"/y", "")
		b.appGets(long+"/y", "")
		if len(b.jar) != 0 {
			t.Errorf("the jar has %+v", b.jar)
		}
	}
}

func TestStoredDataIsClearedWithARefusalIfConfigured(t *testing.T) {
	for _, action := range []func(*guard.Guard){onLogout(guard.Strip, ""), onLogout(guard.Deny, ""), onLogout(guard.Redirect, "/out")} {
		for _, on := range []bool{true, false} {
			s := newSite(t, action, func(g *guard.Guard) { g.ClearSiteData = on })
			b := s.signedIn("alice", set)
			if got := b.get("/", sets()).Header.Get("Clear-Site-Data"); got != "" {
				t.Errorf("before the end it is %q", got)
			}
			s.end(b)
			if got := b.get("/", sets()).Header.Get("Clear-Site-Data"); (got == `"cache", "storage"`) != on {
				t.Errorf("it is %q", got)
			}
			if got := b.get("/", sets()).Header.Get("Clear-Site-Data"); got != "" {
				t.Errorf("afterwards it is %q", got)
			}
		}
	}
}

func TestPagesOfASignedInUserAreNotShownFromTheCache(t *testing.T) {
	tests := map[string]struct {
		fields []string
		want   string
	}{
		"a page":                    {[]string{"Content-Type: text/html; charset=utf-8"}, "private, no-cache"},
		"a page with Cache-Control": {[]string{"Content-Type: text/html", "Cache-Control: max-age=5"}, "max-age=5"},
		"a page with Expires":       {[]string{"Content-Type: text/html", "Expires: Wed, 01 Jan 2031 00:00:00 GMT"}, ""},
		"a picture":                 {[]string{"Content-Type: image/png"}, ""},
		"anything":                  {nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			b := s.signedIn("alice", set)
			if got := b.get("/", says(200, tt.fields...)).Header.Get("Cache-Control"); got != tt.want {
				t.Errorf("Cache-Control is %q, want %q", got, tt.want)
			}
			own := strings.TrimPrefix(strings.Join(tt.fields, ""), "Content-Type: text/htmlCache-Control: ")
			for _, other := range []*browser{s.browser("nobody"), localUser(s)} {
				if got := other.get("/", says(200, tt.fields...)).Header.Get("Cache-Control"); got != "" && got != own {
					t.Errorf("%s: Cache-Control is %q", other.name, got)
				}
			}
		})
	}
}

// localUser is a browser that has signed in at the app itself.
func localUser(s *site) *browser {
	b := s.browser("local")
	b.get("/login", sets(set))
	return b
}

func TestCachingOfWhatTheAppSetsItselfIsTheAppsMatter(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	if got := b.signIn(set).Header.Get("Cache-Control"); got != "" {
		t.Errorf("Cache-Control is %q", got)
	}
}

func TestARequestIsRefusedAlsoIfTheAppFails(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	s.end(b)
	response := b.get("/", says(502))
	if response.cookies != "" || len(b.jar) != 0 || response.StatusCode != 502 {
		t.Errorf("the app gets %q, the jar has %+v", response.cookies, b.jar)
	}
}

func TestASignInIsNotRefusedForWhatTheBrowserStillHasOfTheLastSession(t *testing.T) {
	for _, action := range []func(*guard.Guard){onLogout(guard.Strip, ""), onLogout(guard.Deny, ""), onLogout(guard.Redirect, "/out")} {
		s := newSite(t, action)
		b := s.signedIn("alice", set)
		s.end(b)
		if response := b.signIn("session=value-2; HttpOnly; Path=/"); response.cookies != "" {
			t.Errorf("the app gets %q", response.cookies)
		}
		b.appGets("/", "session=value-2")
		b.certified("session")
	}
}

func TestACookieWithAPrefixAndWithoutCertificateIsExpiredWhereItMustBe(t *testing.T) {
	s := newSite(t)
	s.signedIn("bob", "__Host-s=value-1; HttpOnly; Secure; Path=/")
	b := s.browser("alice")
	b.keep("__Host-s=bare-1; Secure; Path=/", host, "/", true)
	response := b.appGets("/a/b", "")
	if got := response.Header["Set-Cookie"]; len(got) != 2 || len(b.jar) != 0 {
		t.Errorf("set are %q, the jar has %+v", got, b.jar)
	}
}

func TestChunksOfALiveCookieStayWhereAnotherFirstOneIsRefused(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", "s.0=part-0; HttpOnly; Path=/", "s.1=part-1; HttpOnly; Path=/")
	b.keep("s.0=planted-0; Path=/x", host, "/", true)
	b.appGets("/x", "s.0=part-0; s.1=part-1")
}
