package guard_test

import (
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
)

// The rows of the list of threats that concern the guard, by their names there.

// A session that was logged out was still valid: the old cookie, sent again, must be refused, at
// each server.
func TestThreatCVE202421492(t *testing.T) {
	for name, lines := range map[string][]string{
		"one cookie":     {set},
		"several":        {set, "second=value-2; HttpOnly; Path=/"},
		"a chunked one":  {"s.0=part-0; HttpOnly; Path=/", "s.1=part-1; HttpOnly; Path=/"},
		"a constant one": {"session=always-the-same; HttpOnly; Path=/"},
	} {
		for _, action := range []guard.Action{guard.Strip, guard.Deny} {
			t.Run(name+" "+string(action), func(t *testing.T) {
				s := newSite(t, onLogout(action, ""))
				second := s.another(onLogout(action, ""))
				b := s.signedIn("alice", lines...)
				copied := b.copyOf("copy")
				bare := b.copyOf("copy of the app's cookies")
				for _, c := range b.jar {
					if isCertificate(c.name) {
						bare.drop(c.name)
					}
				}
				if got := copied.copyOf("x").at(second).get("/", sets()); withoutCertificates(got.cookies) == "" {
					t.Error("before the end, the second server refuses it")
				}
				s.end(b)
				b.signIn(lines...) // signing in again makes no copy valid
				third := s.another(onLogout(action, ""))
				for _, server := range []*site{s, second, third} {
					for _, thief := range []*browser{copied, bare} {
						for range 2 {
							if got := thief.copyOf(thief.name).at(server).get("/", sets()); withoutCertificates(got.cookies) != "" {
								t.Errorf("%s: the app gets %q", thief.name, got.cookies)
							}
						}
					}
				}
				if got := b.get("/", sets()); withoutCertificates(got.cookies) == "" {
					t.Error("after the next sign-in, it is refused")
				}
			})
		}
	}
}

// A huge integer in a cookie took the CPU: what is read of cookies is bounded.
func TestThreatCVE202424814(t *testing.T) {
	s := newSite(t)
	s.signedIn("alice", set)
	b := s.browser("mallory")
	for _, value := range []string{"99999999999999999999", "-1", "9e99", "s.18446744073709551616"} {
		b.has("session="+value, value+"=x", "s.99999999999999999999=x", certificateOf("session")+"="+value)
		b.get("/", sets("n=x; HttpOnly; Max-Age="+value+"; Path=/", value+"=x; HttpOnly"))
	}
	if got := b.get("/", sets()); !got.reached || got.StatusCode != 200 {
		t.Errorf("reached: %v, status %d", got.reached, got.StatusCode)
	}
}

// A victim led to the callback with an attacker's code kept the attacker's session: see also
// TestAVictimLedToACodeOfAnAttackerKeepsItsSession. Responses with an error end nothing.
func TestThreatLogoutCSRFThroughASignIn(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	for _, target := range []string{"/cb?error=login_required&state=s", "/cb?code=made-up-code", "/cb?id_token=made.up.token", "/?oidc_guard=1"} {
		b.get(target, says(302, "Location: /"))
		b.appGets("/", "session=value-1")
	}
}

// A registry that was emptied reads as "not recorded": the guard refuses, and says nothing of a
// sign-out; the user signs in once more.
func TestThreatARegistryThatWasEmptied(t *testing.T) {
	s := newSite(t)
	b, local := s.signedIn("alice", set), localUser(s)
	s.Lose()
	s.restart()
	b.appGets("/", "")
	local.appGets("/", "session=value-1")
}
