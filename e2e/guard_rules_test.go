package e2e

import "testing"

func TestTryApps(t *testing.T) {
	s := startGuardedSite(t, "adopt 0", guardedApps()...)
	alice := s.newSurfer(t, "alice")
	for _, app := range s.apps {
		if err := alice.signIn(app); err != nil {
			t.Error(err)
		}
		for _, c := range alice.cookies(t, app) {
			t.Log(app.name, c.Name, len(c.Value))
		}
	}
	t.Log(alice.passwords.Load())
	if err := alice.signOut(); err != nil {
		t.Error(err)
	}
	for _, app := range s.apps {
		page, err := alice.private(app)
		t.Log(app.name, shows(page, "alice"), err)
	}
}
