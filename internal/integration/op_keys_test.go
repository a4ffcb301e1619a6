package integration

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-jose/go-jose/v4"
)

// An OP with one key need not name it (OpenID Connect Core 1.0, section 10.1). Clients take the one that fits then, and refuse the ID token
// when several do.
func TestAnOPWhoseIDTokensNameNoKeyKeepsItsSignIns(t *testing.T) {
	for name, unnamedKey := range map[string]bool{"the key has a kid": false, "nor has the key": true} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			op.traits.unnamedTokens, op.traits.unnamedKey = true, unnamedKey
			shop := newReceiver(t, site, "shop")
			storage := t.TempDir()
			config := site.caddyfile("", withReceivers("", shop)+op.proxy())
			runCaddy(t, storage, config)
			b := newBrowser(t)
			expect := func(when string) {
				t.Helper()
				if body := b.get(site.issuer + "/jwks").body; strings.Count(body, `"kty"`) != 1 {
					t.Errorf("%s, the OP's keys are %s", when, body)
				}
			}
			unnotified := func(when string) {
				t.Helper()
				for range 3000 { // it is recorded behind the requests
					if body := b.get(site.issuer + "/.well-known/openid-configuration").body; !strings.Contains(body, `"backchannel_logout_supported":true`) {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
				t.Errorf("%s, the document says that clients are notified", when)
			}
			expect("before any sign-in")
			b.redeem(site, b.authorize(site, "shop", "alice", nil))
			expect("after one")
			unnotified("after a sign-in")
			loadCaddy(t, storage, strings.Replace(config, "bind", "log\n\tbind", 1))
			unnotified("after a reload")
			expect("after a reload")
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
			loadCaddy(t, storage, config)
			expect("after a restart")
			unnotified("after a restart")
			b.get(site.issuer + "/logout")
			time.Sleep(200 * time.Millisecond) // for what must not come
			if shop.attempts() != 0 {
				t.Errorf("the client was notified %d times", shop.attempts())
			}
		})
	}
}

// The way out: what the OP signs by needs no adding.
func TestTheOPsOwnKeySignsForItsClients(t *testing.T) {
	for name, set := range map[string]func(*traits){
		"an OP that names it":            func(*traits) {},
		"ID tokens that do not name it":  func(t *traits) { t.unnamedTokens = true },
		"an OP that gives it no name":    func(t *traits) { t.unnamedTokens, t.unnamedKey = true, true },
		"a key without a kid in the set": func(t *traits) { t.unnamedKey = true },
	} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			clock := setClock(t)
			set(&op.traits)
			shop := newReceiver(t, site, "shop", jose.ES256)
			shop.answers(http.StatusServiceUnavailable)
			storage := t.TempDir()
			config := site.caddyfile("", strings.Replace(withReceivers("", shop), "redirect_wait", "signing_key "+opKeyFile(t)+"\n\t\t\tredirect_wait", 1)+op.proxy())
			runCaddy(t, storage, config)
			b := newBrowser(t)
			b.redeem(site, b.authorize(site, "shop", "alice", nil))
			b.get(site.issuer + "/logout")
			shop.tried(1)
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
			loadCaddy(t, storage, config)
			b.get(site.issuer + "/")       // where the OP's keys are is discovered with the first request
			clock.advance(2 * time.Second) // to the next try
			wake(t, site)
			if got := shop.notified(1); got[0].Sub != "alice" {
				t.Errorf("notified %+v", got)
			}
			if body := b.get(site.issuer + "/jwks").body; strings.Count(body, `"kty"`) != 1 {
				t.Errorf("the OP's keys are %s", body)
			}
		})
	}
}

// opKeyFile writes the OP's own key to a file, as PEM, and returns the placeholder for it.
func opKeyFile(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(opKey().Key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "op.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return "{file." + path + "}"
}

func TestAClientThatNoTokenCanBeSignedForIsOnThePageAtOnce(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	shop := newReceiver(t, site, "shop", jose.HS256)
	runCaddy(t, t.TempDir(), site.caddyfile("", withReceivers("", shop)+op.proxy()))
	b := newBrowser(t)
	hint := b.hintFor(site, b.authorize(site, "shop", "alice", nil))
	got := b.endSession(site, url.Values{"id_token_hint": {hint}})
	if _, group, found := strings.Cut(got.body, "could not be signed out of"); !found || !strings.Contains(group, "The shop") {
		t.Errorf("the page is %s", got.body)
	}
	if shop.attempts() != 0 {
		t.Errorf("the client was asked %d times", shop.attempts())
	}
}
