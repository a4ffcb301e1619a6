package integration

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

func TestCodesRedeemedOutOfOrderLeaveTheUserWhoCameLast(t *testing.T) {
	b, site, _ := directOP(t, traits{})
	alice := b.authorize(site, "shop", "alice", nil)
	bob := b.authorize(site, "shop", "bob", again)
	b.redeem(site, bob)
	b.redeem(site, alice)
	b.expect(site, "after both", "changed", alice)
	b.expect(site, "after both", "unchanged", bob)
}

func TestACodeRedeemedLateIsOfItsOwnTime(t *testing.T) {
	b, site, _ := directOP(t, traits{})
	b.signIn(site, "shop", "alice", nil)
	bob := b.authorize(site, "shop", "bob", again)
	back := b.signIn(site, "wiki", "alice", again)
	if got := b.redeem(site, bob); got.StatusCode != http.StatusOK {
		t.Fatalf("the late code is answered with %s", got.Status)
	}
	b.expect(site, "after the late code", "changed", bob)
	b.expect(site, "after the late code", "unchanged", back)
}

func TestALateCodeOfTheNewUserJoinsTheNewSession(t *testing.T) {
	b, site, _ := directOP(t, traits{})
	alice := b.signIn(site, "shop", "alice", nil)
	early := b.authorize(site, "wiki", "bob", again)
	bob := b.signIn(site, "shop", "", nil)
	b.redeem(site, early)
	b.expect(site, "after bob's first code", "changed", alice)
	b.expect(site, "after bob's first code", "unchanged", early, bob)
}

func TestACodeRedeemedTwiceChangesNothing(t *testing.T) {
	b, site, _ := directOP(t, traits{})
	shop := b.signIn(site, "shop", "alice", nil)
	if got := b.redeem(site, shop); got.StatusCode != http.StatusBadRequest {
		t.Fatalf("the second time, the OP says %s", got.Status)
	}
	b.expect(site, "after the second time", "unchanged", shop)
}

func TestACodeThatIsNeverRedeemedTakesPartInTheSession(t *testing.T) {
	b, site, op := directOP(t, traits{})
	shop := b.authorize(site, "shop", "alice", nil)
	wiki := b.signIn(site, "wiki", "", nil)
	b.expect(site, "while alice is signed in", "unchanged", shop, wiki)
	b.signOut(site, op)
	b.expect(site, "after sign-out", "changed", shop, wiki)
}

func TestACodeThatTheOPRefusesSaysNothing(t *testing.T) {
	refusals := map[string]struct {
		as       traits
		verifier string
	}{
		"for its verifier": {verifier: "another"},
		"for its age":      {as: traits{codeLifetime: time.Nanosecond}, verifier: "mine"},
	}
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			b, site, op := directOP(t, traits{})
			alice := b.signIn(site, "shop", "alice", nil)
			op.traits.codeLifetime = refusal.as.codeLifetime
			bob := b.authorize(site, "shop", "bob", url.Values{"prompt": {"login"}, "code_challenge": {challengeOf("mine")}})
			if got := b.redeemWith(site, bob, refusal.verifier); got.StatusCode != http.StatusBadRequest {
				t.Fatalf("the OP says %s", got.Status)
			}
			b.expect(site, "after the refusal", "unchanged", alice, bob)
			op.traits.codeLifetime = 0
			next := b.signIn(site, "shop", "", nil)
			b.expect(site, "after a code that counts", "changed", alice)
			b.expect(site, "after a code that counts", "unchanged", next)
		})
	}
}

// An app may redeem its codes at an internal address of the OP, past Caddy.
func TestAClientWhoseCodesAreRedeemedElsewhereIsLogged(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	clock := setClock(t)
	log := runLogged(t, t.TempDir(), site.caddyfile("", directives+op.proxy()))
	b := newBrowser(t)
	for range 4 {
		clock.advance(11 * time.Minute)
		b.signIn(site, "shop", "alice", nil)
		b.authorize(site, "wiki", "", nil)
	}
	lines := log.lines(t, "codes of a client are not redeemed through this Caddy")
	if len(lines) != 1 || lines[0]["client_id"] != "wiki" {
		t.Errorf("logged %v", lines)
	}
}
