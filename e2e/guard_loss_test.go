package e2e

import (
	"net/http"
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
