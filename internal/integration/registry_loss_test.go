package integration

import (
	"os"
	"path/filepath"
	"testing"
)

func TestALostRegistryIsNoFalseChanged(t *testing.T) {
	site, storage := newSite(t), t.TempDir()
	op := newScriptedOP(t, site.issuer)
	file := filepath.Join(t.TempDir(), "registry.db")
	config := site.caddyfile("oidc_session {\n\t\tstore file "+file+"\n\t}", directives+op.proxy())
	b := newBrowser(t)
	var shop answer
	t.Run("before", func(t *testing.T) {
		runCaddy(t, storage, config)
		shop = b.signIn(site, "shop", "alice", nil)
		b.expect(site, "before", "unchanged", shop)
	})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	t.Run("after", func(t *testing.T) {
		runCaddy(t, storage, config)
		polls := func(want, wantHidden string) {
			t.Helper()
			for readable, want := range map[bool]string{true: want, false: wantHidden} {
				frame := checkFrame{b: b, s: site, readable: readable, answers: make(map[string]checked)}
				for range 2 {
					if got, _ := frame.poll(shop); got != want {
						t.Errorf("cookie readable: %v: the page says %q, not %q", readable, got, want)
					}
				}
			}
		}
		b.expect(site, "after the loss", "unknown", shop)
		polls("unchanged", "")
		wiki := b.signIn(site, "wiki", "", nil) // which goes on with the session
		b.expect(site, "after the loss", "unchanged", shop, wiki)
		polls("unchanged", "unchanged")
		b.signOut(site, op)
		b.expect(site, "after sign-out", "changed", shop, wiki)
		polls("changed", "changed")
	})
}
