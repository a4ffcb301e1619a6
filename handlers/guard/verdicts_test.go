package guard_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

func adopting(d time.Duration) func(*guard.Guard) { return func(g *guard.Guard) { g.Adopt = d } }

func TestWhatACertificateSaysDecides(t *testing.T) {
	const day = 24 * time.Hour
	tests := map[string]struct {
		adopt   time.Duration
		present func(s *site) *browser // with session=value-1
		want    bool                   // the app gets it
	}{
		"its session lives": {0, func(s *site) *browser { return s.signedIn("alice", set) }, true},
		"its session lives, and it is another server": {0, func(s *site) *browser {
			b := s.signedIn("alice", set)
			return b.at(s.another())
		}, true},
		"its session lives, on the last moment": {0, func(s *site) *browser {
			b := s.signedIn("alice", set)
			s.Clock.Advance(handlerstest.Lifetime - 2*time.Second)
			return b
		}, true},
		"no session: a local sign-in": {0, func(s *site) *browser {
			s.signedIn("bob", set)
			b := s.browser("alice")
			b.get("/login", sets(set))
			return b
		}, true},
		"no session, for ever": {0, func(s *site) *browser {
			s.signedIn("bob", set)
			b := s.browser("alice")
			b.get("/login", sets(set))
			s.Clock.Advance(300 * day)
			return b
		}, true},
		"no session, which was bound since to one that lives": {0, func(s *site) *browser {
			s.signedIn("bob", set)
			b := s.browser("alice")
			b.get("/login", sets(set))
			copied := b.copyOf("copy")
			b.signIn()
			return copied
		}, true},
		"its session has ended": {0, func(s *site) *browser {
			b := s.signedIn("alice", set)
			s.end(b)
			return b
		}, false},
		"its session has ended, within adopt": {day, func(s *site) *browser {
			b := s.signedIn("alice", set)
			s.end(b)
			return b
		}, false},
		"its session has expired": {0, func(s *site) *browser {
			b := s.signedIn("alice", set)
			s.Clock.Advance(handlerstest.Lifetime)
			return b
		}, false},
		"its session is not recorded": {0, func(s *site) *browser {
			b := s.signedIn("alice", set)
			s.Lose()
			s.restart()
			return b
		}, false},
		"there is none": {0, func(s *site) *browser {
			b := s.signedIn("alice", set)
			b.drop(certificateOf("session"))
			return b
		}, false},
		"there is none, and the session has ended": {0, func(s *site) *browser {
			b := s.signedIn("alice", set)
			s.end(b)
			b.drop(certificateOf("session"))
			return b
		}, false},
		"there is none, within adopt": {day, func(s *site) *browser {
			s.signedIn("bob", set)
			s.Clock.Advance(day - time.Second)
			b := s.browser("alice")
			b.has("session=value-1")
			return b
		}, true},
		"there is none, after adopt": {day, func(s *site) *browser {
			s.signedIn("bob", set)
			s.Clock.Advance(day)
			b := s.browser("alice")
			b.has("session=value-1")
			return b
		}, false},
		"there is none, after adopt, at a server that starts": {day, func(s *site) *browser {
			s.signedIn("bob", set)
			s.Clock.Advance(day)
			s.signedIn("carol", set)
			s.restart(adopting(day))
			b := s.browser("alice")
			b.has("session=value-1")
			return b
		}, false},
		"another user's certificate": {0, func(s *site) *browser {
			s.signedIn("alice", set)
			b := s.signedIn("mallory", "session=value-2; HttpOnly; Path=/")
			b.drop("session")
			b.has("session=value-1")
			return b
		}, false},
		"another cookie's certificate": {0, func(s *site) *browser {
			b := s.signedIn("mallory", "other=value-1; HttpOnly; Path=/", set)
			c, _ := b.find(certificateOf("other"))
			b.drop("other", certificateOf("other"), certificateOf("session"))
			b.has(certificateOf("session") + "=" + c.value)
			return b
		}, false},
		"one of another host": {0, func(s *site) *browser {
			b := s.browser("alice")
			code := s.code(b, "https://other.example.com")
			b.send(newRequest("https://other.example.com/cb?code="+code), s.signsIn(code, "alice", sets(set)))
			s.signedIn("bob", set)
			for _, c := range b.jar {
				b.has(c.name + "=" + c.value)
			}
			return b
		}, false},
		"one of other keys": {0, func(s *site) *browser {
			b := s.signedIn("alice", set)
			s.Keys = handlerstest.Keyring(s.t, handlerstest.SecondSecret)
			return b
		}, false},
		"one of an older key": {0, func(s *site) *browser {
			b := s.signedIn("alice", set)
			s.Keys = handlerstest.Keyring(s.t, handlerstest.SecondSecret, handlerstest.FirstSecret)
			return b
		}, true},
		"none that opens": {0, func(s *site) *browser {
			b := s.signedIn("alice", set)
			b.has(certificateOf("session") + "=x")
			return b
		}, false},
		"several that fit, of which one lives": {0, func(s *site) *browser {
			b := s.signedIn("alice", set)
			old, _ := b.find(certificateOf("session"))
			s.end(b)
			b.get("/", sets())
			b.signIn(set)
			b.keep(old.name+"="+old.value+"; Path=/a", host, "/", true)
			return b
		}, true},
		"the name is lost, and none fits, within adopt": {day, func(s *site) *browser {
			b := s.signedIn("alice", "session=value-2; HttpOnly; Path=/")
			b.drop("session")
			b.has("session=value-1")
			s.Lose()
			s.restart(adopting(day))
			return b
		}, false},
		"several, of which one fits": {0, func(s *site) *browser {
			b := s.signedIn("alice", set)
			for i := range 5 {
				b.keep(fmt.Sprintf("%s=x%d; Path=/a%s", certificateOf("session"), i, strings.Repeat("/a", i)), host, "/", true)
			}
			return b
		}, true},
		"the name is lost, its session has ended": {0, func(s *site) *browser {
			b := s.signedIn("alice", set)
			s.end(b)
			s.Lose()
			s.restart()
			return b
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, adopting(tt.adopt))
			b := tt.present(s)
			want := ""
			if tt.want {
				want = "session=value-1"
			}
			for range 2 {
				present := b.copyOf(b.name) // the jar stays
				present.appGets("/a/a/a/a/a/a", want)
			}
		})
	}
}

func TestOtherCookiesAreNoneOfOurBusiness(t *testing.T) {
	s := newSite(t)
	s.signedIn("alice", set)
	const header = `a=1; session2=value-1;  b="x y"; =nothing; alone; session.1=x; {}=[]; c=`
	r := newRequest(origin + "/")
	r.Header["Cookie"] = []string{header, "d=4"}
	if got := s.serve(r, sets()); got.cookies != header+"; d=4" || len(got.Header["Set-Cookie"]) != 0 {
		t.Errorf("the app gets %q, the browser %q", got.cookies, got.Header["Set-Cookie"])
	}
}

func TestTheOtherCookiesOfARequestStayAsTheyCame(t *testing.T) {
	s := newSite(t)
	s.signedIn("alice", set)
	r := newRequest(origin + "/")
	r.Header["Cookie"] = []string{`a=1; session=bare-1; b="x y"; {}=[]; c=`, "session=bare-2; d=4"}
	if got := s.serve(r, sets()).cookies; got != `a=1; b="x y"; {}=[]; c=; d=4` {
		t.Errorf("the app gets %q", got)
	}
}

func TestSeveralCookiesOfOneNameAreJudgedEachByItself(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set, "session=below-1; HttpOnly; Path=/below")
	b.keep("session=planted-1; Path=/below/x", host, "/", true)
	response := b.appGets("/below/x", "session=below-1; session=value-1")
	if got := response.Header["Set-Cookie"]; len(got) != 0 {
		t.Errorf("set are %q", got) // it is not known which one could be hit
	}
	s.end(b)
	b.appGets("/below/x", "")
}

func TestACookieIsJudgedAlsoIfItLooksLikeAChunk(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", "sid_1=value-1; HttpOnly; Path=/")
	b.certified("sid_1")
	s.end(b)
	b.drop(certificateOf("sid_1"))
	b.has("sid_0=made-up-by-the-user")
	b.appGets("/", "sid_0=made-up-by-the-user")
}

func TestACookieIsCertifiedAlsoIfTheBrowserSaysThatItIsAChunk(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	b.has("sid_0=made-up-by-the-user")
	b.signIn("sid_1=value-1; HttpOnly; Path=/")
	b.certified("sid_1")
}

func TestChunksGoWithTheFirst(t *testing.T) {
	s := newSite(t)
	lines := []string{"s.0=part-0; HttpOnly; Path=/", "s.1=part-1; HttpOnly; Path=/", "s.2=part-2; HttpOnly; Path=/"}
	b := s.signedIn("alice", lines...)
	b.appGets("/", "s.0=part-0; s.1=part-1; s.2=part-2")
	b.get("/", sets("s.1=part-one; HttpOnly; Path=/")) // one is rotated
	b.certified("s.0")
	b.appGets("/", "s.0=part-0; s.1=part-one; s.2=part-2")
	thief := b.copyOf("thief")
	thief.drop(certificateOf("s.0"))
	thief.appGets("/", "")
	s.end(b)
	b.appGets("/", "")
	if len(b.jar) != 0 {
		t.Errorf("the jar has %+v", b.jar)
	}
}

func TestAdoptedCookiesGetACertificateWithoutSession(t *testing.T) {
	s := newSite(t, adopting(24*time.Hour))
	s.signedIn("bob", set)
	b := s.browser("alice")
	b.has("session=value-1", "other=value-2")
	response := b.appGets("/", "session=value-1; other=value-2")
	b.drop("other")
	if got := response.Header.Get("Cache-Control"); len(response.Header["Set-Cookie"]) != 1 || got != "no-store" {
		t.Errorf("Cache-Control is %q, set are %q", got, response.Header["Set-Cookie"])
	}
	if c, _ := b.find(certificateOf("session")); c.path != "/" || !c.secure || c.expires.Sub(s.Clock.Now()) != 400*24*time.Hour {
		t.Errorf("the certificate is %+v", c)
	}
	s.Clock.Advance(100 * 24 * time.Hour)
	b.appGets("/", "session=value-1")
	b.signIn("session=value-2; HttpOnly; Path=/")
	s.end(b)
	b.appGets("/", "")
}

func TestAnAdoptedCookieIsBoundAtTheSignInThatKeepsIt(t *testing.T) {
	s := newSite(t, adopting(24*time.Hour))
	s.signedIn("bob", set)
	b := s.browser("alice")
	b.has("session=value-1")
	b.appGets("/", "session=value-1")
	copied := b.copyOf("thief")
	b.signIn()
	s.end(b)
	b.appGets("/", "")
	copied.appGets("/", "")
}

// Each has a serial of its own: what happens to one must not happen to all.
func TestCookiesThatAreAdoptedBesideALiveSessionHaveNothingInCommon(t *testing.T) {
	s := newSite(t, adopting(24*time.Hour))
	s.signedIn("zoe", set, "second=value-2; HttpOnly; Path=/")
	var browsers []*browser
	for _, name := range []string{"alice", "carol"} {
		b := s.signedIn(name, set)
		b.has("second=value-2")
		b.appGets("/", "session=value-1; second=value-2")
		b.drop("session", certificateOf("session"))
		browsers = append(browsers, b)
	}
	alice, carol := browsers[0], browsers[1]
	alice.signIn(set) // by which what alice has belongs to her session
	s.end(alice)
	alice.appGets("/", "")
	carol.appGets("/", "second=value-2")
}

func TestAdoptBeginsWithTheFirstSignInAlsoForNamesThatAreConfigured(t *testing.T) {
	s := newSite(t, adopting(time.Hour), func(g *guard.Guard) { g.AppCookies = []string{"configured"} })
	b := s.browser("alice")
	b.has("configured=value-1")
	s.Clock.Advance(100 * time.Hour)
	b.copyOf("before").appGets("/", "configured=value-1")
	s.signedIn("bob", "configured=value-2; Path=/")
	s.Clock.Advance(time.Hour - time.Second)
	b.copyOf("within").appGets("/", "configured=value-1")
	s.Clock.Advance(time.Second)
	b.copyOf("after").appGets("/", "")
}

func TestWithoutAdoptNamesThatAreConfiguredAreStrictAtOnce(t *testing.T) {
	s := newSite(t, func(g *guard.Guard) { g.AppCookies = []string{"configured"} })
	b := s.browser("alice")
	b.has("configured=value-1")
	b.appGets("/", "")
}

func TestIgnoredCookiesPassAlsoWhereTheyWereCertifiedBefore(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	s.end(b)
	s.restart(func(g *guard.Guard) { g.IgnoreCookies = []string{"session"} })
	b.appGets("/", "session=value-1")
}

func TestOtherUsersAndOtherBrowsersNeverNotice(t *testing.T) {
	s := newSite(t)
	alice, second, bob := s.signedIn("alice", set), s.signedIn("alice", set), s.signedIn("bob", set)
	s.end(alice)
	alice.appGets("/", "")
	for range 3 {
		second.appGets("/", "session=value-1")
		bob.appGets("/", "session=value-1")
	}
}

func TestACookieOfADomainIsCertifiedForAllItsSites(t *testing.T) {
	apps := func(g *guard.Guard) { g.AppCookies = []string{"wide"} }
	s := newSite(t, apps)
	b := s.signedIn("alice", "wide=value-1; Domain=example.com; Path=/")
	there := "https://other.example.com/"
	if got := b.send(newRequest(there), sets()); withoutCertificates(got.cookies) != "wide=value-1" {
		t.Errorf("the other site gets %q", got.cookies)
	}
	if r := newRequest("https://notexample.com/"); true {
		r.Header.Set("Cookie", b.cookiesFor(newRequest(origin+"/")))
		if got := s.serve(r, sets()); withoutCertificates(got.cookies) != "" {
			t.Errorf("a site of another domain gets %q", got.cookies)
		}
	}
	s.end(b)
	if got := b.send(newRequest(there), sets()); got.cookies != "" || len(b.jar) != 0 {
		t.Errorf("after the end, the other site gets %q, the jar has %+v", got.cookies, b.jar)
	}
}

func TestManyCookiesAreRefused(t *testing.T) {
	for n, want := range map[int]int{512: 200, 513: 431} {
		s := newSite(t)
		r := newRequest(origin + "/")
		r.Header.Set("Cookie", strings.TrimSuffix(strings.Repeat("a=1; ", n), "; "))
		if got := s.serve(r, sets()); got.StatusCode != want {
			t.Errorf("%d cookies: status %d", n, got.StatusCode)
		}
	}
}

func TestAnExpiredSessionIsRefusedWithoutAnybodysDoing(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	b.appGets("/", "session=value-1") // which is remembered
	s.Clock.Advance(handlerstest.Lifetime)
	b.appGets("/", "")
}

func TestNoSignInLastsLongerThanItsSession(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	s.End(t, b.id, registry.ReasonExpiry)
	b.appGets("/", "")
	if exchange.HasCookie(s.request, "session") {
		t.Error("the app gets it")
	}
}
