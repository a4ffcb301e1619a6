package e2e

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestWhatBecomesOfSessionsBehindTheGuard is about the rules that decide, with browsers without
// pages: there are many of them.
func TestWhatBecomesOfSessionsBehindTheGuard(t *testing.T) {
	t.Parallel()
	needPackages(t)
	s := startGuardedSite(t, "adopt 0", guardedApps()...)
	// From here on the guard knows the names of the cookies.
	s.newSignedIn(t, "alice", s.apps...)
	for name, test := range map[string]func(*testing.T, *guardedSite){
		"a user switch at one app ends the old user's session at the others": userSwitch,
		"of two tabs that sign in at once both are signed out":               twoTabs,
		"cookies that change with each response are never refused":           rotation,
		"requests on the way at a sign-out bring nothing back":               underway,
		"a local sign-in is none of its business":                            localSignIn,
		"a callback that is sent twice binds both":                           callbackTwice,
		"who is led to another's code keeps the own session":                 anothersCode,
		"a code that is redeemed already binds nothing":                      redeemedCode,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// newSignedIn returns a surfer who is signed in to apps.
func (s *guardedSite) newSignedIn(t *testing.T, user string, apps ...*runningApp) *surfer {
	t.Helper()
	b := s.newSurfer(t, user)
	for _, app := range apps {
		if err := b.signIn(app); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// expectIn expects that apps know a surfer as a user.
func (b *surfer) expectIn(t *testing.T, when, user string, apps ...*runningApp) {
	t.Helper()
	for _, app := range apps {
		if page, err := b.private(app); err != nil || !shows(page, user) {
			t.Errorf("%s: %s shows %.200q, want that it is %s (%v)", when, app.name, page, user, err)
		}
	}
}

// expectOut expects that apps do not know a surfer.
func (b *surfer) expectOut(t *testing.T, when string, apps ...*runningApp) {
	t.Helper()
	for _, app := range apps {
		if page, err := b.private(app); err != nil || strings.Contains(page, "user: ") {
			t.Errorf("%s: %s shows %.200q, want nobody (%v)", when, app.name, page, err)
		}
	}
}

func (b *surfer) mustSignOut(t *testing.T) {
	t.Helper()
	if err := b.signOut(); err != nil {
		t.Fatal(err)
	}
}

// authorization stops a surfer before the authorization request, which it returns then.
func (b *surfer) authorization(t *testing.T, app *runningApp) string {
	t.Helper()
	page, err := b.openUntil(app.origin+app.signIn, func(r *http.Request) bool {
		return strings.HasPrefix(r.URL.String(), b.site.issuer+"/auth?")
	})
	if err != nil {
		t.Fatal(err)
	}
	return page.Header.Get("Location")
}

// callback stops a surfer before the request to the redirect URI, which it returns then.
func (b *surfer) callback(t *testing.T, app *runningApp) string {
	t.Helper()
	page, err := b.openUntil(app.origin+app.signIn, func(r *http.Request) bool {
		return strings.HasPrefix(r.URL.String(), app.origin+app.callback+"?")
	})
	if err != nil {
		t.Fatal(err)
	}
	return page.Header.Get("Location")
}

// userSwitch has alice sign in to some apps, and bob in place of her at one. An app that keeps what it
// needs for the sign-in in its session loses that with hers, so that he has to begin once more.
func userSwitch(t *testing.T, s *guardedSite) {
	other := s.newSignedIn(t, "alice", s.apps...)
	for i, at := range s.apps {
		apps := slices.Concat(s.apps[i:], s.apps[:i])[:min(4, len(s.apps))] // each with each takes minutes
		b := s.newSignedIn(t, "alice", apps...)
		authorization := b.authorization(t, at)
		if authorization == "" {
			t.Logf("%s asks nobody to sign in who is signed in", at.name)
			continue
		}
		b.user = "bob"
		if _, err := b.open(authorization + "&prompt=login"); err != nil {
			t.Log(err)
		}
		b.expectOut(t, "after the switch at "+at.name, apps[1:]...)
		page, err := b.private(at)
		if shows(page, "alice") || err != nil {
			t.Errorf("after the switch %s still shows alice (%v)", at.name, err)
		}
		t.Logf("%s shows bob at once: %t", at.name, shows(page, "bob"))
		for _, app := range apps {
			if err := b.signIn(app); err != nil {
				t.Error(err)
			}
		}
		if n := b.passwords.Load(); n != 2 {
			t.Errorf("there were %d sign-ins at the OP", n)
		}
	}
	other.expectIn(t, "after the switch in another browser", "alice", s.apps...)
}

// twoTabs show the OP's login page both, each for another app, before the user enters anything.
func twoTabs(t *testing.T, s *guardedSite) {
	b := s.newSurfer(t, "")
	apps := []*runningApp{s.app(t, "go-scs"), s.app(t, "php-like"), s.app(t, "eoc")}
	var tabs []visited
	for _, app := range apps {
		page, err := b.open(app.origin + app.signIn)
		if err != nil {
			t.Fatal(err)
		}
		tabs = append(tabs, page)
	}
	b.user = "alice"
	for _, page := range tabs {
		if _, err := b.goOn(page); err != nil {
			t.Fatal(err)
		}
	}
	b.expectIn(t, "after both sign-ins", "alice", apps...)
	b.mustSignOut(t)
	b.expectOut(t, "after the sign-out", apps...)
}

func rotation(t *testing.T, s *guardedSite) {
	const requests, atOnce = 200, 8
	for _, name := range []string{"eoc", "eoc-chunked", "eoc-id-token", "go-gorilla"} {
		app := s.app(t, name)
		b := s.newSignedIn(t, "alice", app)
		values := sync.Map{}
		jobs := make(chan int)
		var workers sync.WaitGroup
		for range atOnce {
			workers.Go(func() {
				for i := range jobs {
					if page, err := b.private(app); err != nil || !shows(page, "alice") {
						t.Errorf("request %d to %s shows %.200q (%v)", i, name, page, err)
					}
					for _, cookie := range b.cookies(t, app) {
						if cookie.Name == app.cookie {
							values.Store(cookie.Value, nil)
						}
					}
				}
			})
		}
		for i := range requests {
			jobs <- i
		}
		close(jobs)
		workers.Wait()
		n := 0
		values.Range(func(any, any) bool { n++; return true })
		if n < 2 {
			t.Errorf("%s: the cookie has had %d values: this test shows nothing", name, n)
		}
		b.mustSignOut(t)
		b.expectOut(t, "after the sign-out", app)
	}
}

// underway signs out while requests are answered, each with a new cookie.
func underway(t *testing.T, s *guardedSite) {
	for _, name := range []string{"eoc", "eoc-chunked", "go-gorilla"} {
		app := s.app(t, name)
		b := s.newSignedIn(t, "alice", app)
		var signedOut, over atomic.Bool
		var workers sync.WaitGroup
		for range 8 {
			workers.Go(func() {
				for !over.Load() {
					was := signedOut.Load()
					page, err := b.private(app)
					if err != nil || was && shows(page, "alice") {
						t.Errorf("%s shows %.200q to a request after the sign-out (%v)", name, page, err)
					}
				}
			})
		}
		err := b.signOut()
		signedOut.Store(true)
		for range 20 {
			b.expectOut(t, "while requests are on the way", app)
		}
		over.Store(true)
		workers.Wait()
		if err != nil {
			t.Error(err)
		}
		b.expectOut(t, "when all are answered", app)
		if err := b.signIn(app); err != nil {
			t.Error(err)
		}
	}
}

func localSignIn(t *testing.T, s *guardedSite) {
	for _, name := range []string{"go-scs", "go-gorilla"} {
		app := s.app(t, name)
		alice, carol := s.newSignedIn(t, "alice", app), s.newSurfer(t, "")
		if _, err := carol.open(app.origin + "/local?user=carol"); err != nil {
			t.Fatal(err)
		}
		carol.expectIn(t, "beside a session of the OP's", "carol", app)
		alice.mustSignOut(t)
		alice.expectOut(t, "after the sign-out", app)
		carol.expectIn(t, "after a sign-out of another", "carol", app)
		if _, err := alice.open(app.origin + "/local?user=dave"); err != nil {
			t.Fatal(err)
		}
		alice.expectIn(t, "after a local sign-in in place of the OP's", "dave", app)
		if err := alice.signIn(s.app(t, "php-like")); err != nil {
			t.Fatal(err)
		}
		alice.mustSignOut(t)
		alice.expectIn(t, "after a sign-out that is none of the local user's", "dave", app)
		carol.expectIn(t, "in the end", "carol", app)
	}
}

// callbackTwice sends the callback twice, both at once, as an impatient user does.
func callbackTwice(t *testing.T, s *guardedSite) {
	for _, app := range s.apps {
		if app.responseType != "" {
			continue
		}
		b := s.newSurfer(t, "alice")
		callback := b.callback(t, app)
		var both sync.WaitGroup
		jars := []*surfer{b.copy(t, app), b.copy(t, app)} // else one overwrites what the other got
		for _, one := range jars {
			both.Go(func() {
				if _, err := one.open(callback); err != nil {
					t.Logf("%s: %v", app.name, err) // one may well fail
				}
			})
		}
		both.Wait()
		in := 0
		for _, one := range jars {
			if page, err := one.private(app); err == nil && shows(page, "alice") {
				in++
			}
		}
		// The OP withdraws the access token of a code that comes twice, which may be before it is used.
		if in == 0 && !app.userinfo {
			t.Errorf("%s: neither is signed in", app.name)
		}
		t.Logf("%s: %d of 2 are signed in", app.name, in)
		b.mustSignOut(t)
		for _, one := range jars {
			one.expectOut(t, "after the sign-out", app)
		}
	}
}

// anothersCode has mallory lead alice to an app with a code of his own.
func anothersCode(t *testing.T, s *guardedSite) {
	for _, app := range s.apps {
		if app.responseType != "" {
			continue
		}
		alice, mallory := s.newSignedIn(t, "alice", app), s.newSurfer(t, "bob")
		callback := mallory.callback(t, app)
		_, _ = alice.open(callback) // which the app answers by an error
		alice.expectIn(t, "after the attack", "alice", app)
		mallory.mustSignOut(t)
		alice.expectIn(t, "after the attacker's sign-out", "alice", app)
		alice.mustSignOut(t)
		alice.expectOut(t, "after her own sign-out", app)
	}
}

// redeemedCode has mallory use his code himself before.
func redeemedCode(t *testing.T, s *guardedSite) {
	for _, app := range s.apps {
		if app.responseType != "" {
			continue
		}
		alice, mallory := s.newSignedIn(t, "alice", app), s.newSurfer(t, "bob")
		callback := mallory.callback(t, app)
		if _, err := mallory.open(callback); err != nil {
			t.Fatal(err)
		}
		_, _ = alice.open(callback)
		alice.expectIn(t, "after the attack", "alice", app)
		mallory.mustSignOut(t)
		mallory.expectOut(t, "after his sign-out", app)
		alice.expectIn(t, "after the attacker's sign-out", "alice", app)
		alice.mustSignOut(t)
		alice.expectOut(t, "after her own sign-out", app)
	}
}
