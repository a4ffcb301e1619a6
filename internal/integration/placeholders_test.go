package integration

import (
	"testing"
)

func TestPlaceholdersNameTheSessionOfASignedInBrowser(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	runCaddy(t, t.TempDir(), site.caddyfile("", directives+
		"respond /me \"<{http.oidc_session.id}> <{http.oidc_session.browser_state}>\"\n\t"+op.proxy()))
	b := newBrowser(t)
	const unknown = "<{http.oidc_session.id}> <{http.oidc_session.browser_state}>"
	if got := b.get(site.issuer + "/me").body; got != unknown {
		t.Errorf("before sign-in: %s", got)
	}
	b.authorize(site, "shop", "alice", nil)
	first := b.get(site.issuer + "/me").body
	if len(first) != len("<> <>")+22+43 || first != b.get(site.issuer+"/me").body || first[len(first)-44:len(first)-1] != b.state() {
		t.Errorf("after sign-in: %s, the cookie has %s", first, b.state())
	}
	b.get(site.issuer + "/logout")
	if got := b.get(site.issuer + "/me").body; got != unknown {
		t.Errorf("after sign-out: %s", got)
	}
	b.cookies["__Host-oidc_session"] = "forged"
	if got := b.get(site.issuer + "/me").body; got != unknown {
		t.Errorf("with a forged cookie: %s", got)
	}
}
