package e2e

import (
	"net/http"
	"regexp"
	"testing"
	"time"
)

// TestTheGuardKnowsWhatItKnewAfterARestart is about restarts and reloads, each before and after a
// sign-out, and with requests on the way.
func TestTheGuardKnowsWhatItKnewAfterARestart(t *testing.T) {
	t.Parallel()
	needPackages(t)
	for name, renew := range map[string]func(*testing.T, *guardedSite){
		"restart": func(t *testing.T, s *guardedSite) { s.restart(t, func() {}) },
		"reload":  func(t *testing.T, s *guardedSite) { s.reload(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startGuardedSite(t, "adopt 0", expressOpenIDConnect("eoc", "code", "appSession"), phpLikeApp(), scsApp(), gorillaApp())
			s.careless = true // copies without certificates, and a registry that is still to be opened
			alice, bob := s.newSignedIn(t, "alice", s.apps...), s.newSignedIn(t, "bob", s.apps...)
			bare := make(map[string]string)
			for _, app := range s.apps {
				bare[app.name] = withoutCertificates(alice.cookies(t, app))
			}
			renew(t, s)
			alice.expectIn(t, "after it", "alice", s.apps...)
			bob.expectIn(t, "after it", "bob", s.apps...)
			for _, app := range s.apps {
				if s.replay(t, app, bare[app.name], "alice") {
					t.Errorf("after it %s lets in a copy without certificates", app.name)
				}
			}
			alice.mustSignOut(t)
			renew(t, s)
			alice.expectOut(t, "after the sign-out and another", s.apps...)
			bob.expectIn(t, "after another's sign-out and another", "bob", s.apps...)
			for _, app := range s.apps {
				if s.replay(t, app, bare[app.name], "alice") {
					t.Errorf("in the end %s lets in a copy without certificates", app.name)
				}
				if err := alice.signIn(app); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func withoutCertificates(cookies []*http.Cookie) (line string) {
	r := http.Request{Header: make(http.Header)}
	for _, cookie := range cookies {
		if !isCertificate(cookie.Name) {
			r.AddCookie(cookie)
		}
	}
	return r.Header.Get("Cookie")
}

func TestReloadsRefuseNobody(t *testing.T) {
	t.Parallel()
	needPackages(t)
	s := startGuardedSite(t, "adopt 0", scsApp(), gorillaApp())
	alice := s.newSignedIn(t, "alice", s.apps...)
	over, asked := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-over:
				asked <- n
				return
			default:
				alice.expectIn(t, "meanwhile", "alice", s.apps...)
			}
		}
	}()
	for range 3 {
		s.reload(t)
		time.Sleep(200 * time.Millisecond)
	}
	close(over)
	if n := <-asked; n < 10 {
		t.Errorf("there were %d requests meanwhile: this test shows nothing", n)
	}
}

// TestWhoIsSignedOutStaysOutWhenTheRegistryIsLost is about a registry whose file is gone after a
// restart: no cookie comes back to life, and who is signed in signs in once more.
func TestWhoIsSignedOutStaysOutWhenTheRegistryIsLost(t *testing.T) {
	t.Parallel()
	needPackages(t)
	s := startGuardedSite(t, "adopt 0", expressOpenIDConnect("eoc", "code", "appSession"), phpLikeApp(), scsApp(), gorillaApp())
	s.careless = true
	alice, bob := s.newSignedIn(t, "alice", s.apps...), s.newSignedIn(t, "bob", s.apps...)
	carol := s.newSurfer(t, "")
	local := s.app(t, "go-scs")
	if _, err := carol.open(local.origin + "/local?user=carol"); err != nil {
		t.Fatal(err)
	}
	bare := make(map[string]string)
	for _, app := range s.apps {
		bare[app.name] = withoutCertificates(alice.cookies(t, app))
	}
	alice.mustSignOut(t)
	s.restart(t, func() { remove(t, s.registry) })
	alice.expectOut(t, "after the loss", s.apps...)
	bob.expectOut(t, "after the loss", s.apps...)
	carol.expectIn(t, "whom no registry knew", "carol", local)
	for _, app := range s.apps {
		if err := bob.signIn(app); err != nil {
			t.Error(err)
		}
		if s.replay(t, app, bare[app.name], "alice") {
			t.Errorf("%s lets in a copy without certificates", app.name)
		}
	}
	if n := bob.passwords.Load(); n != 1 {
		t.Errorf("bob had to sign in at the OP %d times", n)
	}
	bob.mustSignOut(t)
	bob.expectOut(t, "after the sign-out", s.apps...)
}

// TestSwitchingTheGuardOnSignsNobodyOut is about sessions from before there was a guard, and the
// time in which they are adopted.
func TestSwitchingTheGuardOnSignsNobodyOut(t *testing.T) {
	t.Parallel()
	needPackages(t)
	const adopt = 8 * time.Second
	s := startGuardedSite(t, "adopt "+adopt.String(), expressOpenIDConnect("eoc", "code", "appSession"), phpLikeApp(), scsApp())
	s.careless = true
	guarded := s.caddyfile
	s.caddyfile = regexp.MustCompile(`oidc_guard \{[^}]*\}`).ReplaceAllString(guarded, "")
	s.reload(t)
	alice, carol := s.newSignedIn(t, "alice", s.apps...), s.newSignedIn(t, "alice", s.apps...)
	s.caddyfile = guarded
	s.reload(t)
	alice.expectIn(t, "before any name is known", "alice", s.apps...)
	s.newSignedIn(t, "bob", s.apps...)
	known := time.Now()
	alice.expectIn(t, "while sessions are adopted", "alice", s.apps...)
	time.Sleep(time.Until(known.Add(adopt)))
	alice.expectIn(t, "afterwards", "alice", s.apps...)
	carol.expectOut(t, "who came too late", s.apps...)
	for _, app := range s.apps {
		if err := carol.signIn(app); err != nil {
			t.Error(err)
		}
	}
	carol.mustSignOut(t)
	carol.expectOut(t, "after the sign-out", s.apps...)
}
