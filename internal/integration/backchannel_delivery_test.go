package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
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

func TestEveryClientOfASessionIsNotifiedThatItEnded(t *testing.T) {
	ends := map[string]func(b *browser, s site, hint string){
		"signing out at the endpoint": func(b *browser, s site, hint string) {
			got := b.endSession(s, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {shopBye}})
			if got.Header.Get("Location") != shopBye {
				b.t.Errorf("got %s to %q", got.Status, got.Header.Get("Location"))
			}
		},
		"signing out at the OP itself": func(b *browser, s site, _ string) { b.get(s.issuer + "/logout") },
		"another user": func(b *browser, s site, _ string) {
			b.redeem(s, b.authorize(s, "shop", "bob", url.Values{"prompt": {"login"}}))
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			op.traits.pairwise = true
			clock := setClock(t)
			shop, wiki, chat := newReceiver(t, site, "shop"), newReceiver(t, site, "wiki", jose.ES256), newReceiver(t, site, "chat", jose.EdDSA)
			quiet := newReceiver(t, site, "quiet", jose.PS256)
			runCaddy(t, t.TempDir(), site.caddyfile("", withReceivers("", shop, wiki, chat, quiet)+op.proxy()))
			b := newBrowser(t)
			first := b.authorize(site, "shop", "alice", nil)
			hint := b.hintFor(site, first)
			b.redeem(site, b.authorize(site, "shop", "", nil)) // another tab
			for _, client := range []string{"wiki", "chat"} {
				b.redeem(site, b.authorize(site, client, "", nil))
			}
			end(b, site, hint)
			clock.advance(2 * time.Second) // the client that asks is notified when its user is back
			wake(t, site)
			for _, r := range []*receiver{shop, wiki, chat} {
				token := r.notified(1)[0]
				if token.Sub != "alice at "+r.client || token.Sid == "" || token.alg != string(r.algs[0]) {
					t.Errorf("%s was notified of %+v", r.client, token)
				}
			}
			time.Sleep(100 * time.Millisecond) // for what must not come
			for r, want := range map[*receiver]int{shop: 1, wiki: 1, chat: 1, quiet: 0} {
				if got := r.attempts(); got != want {
					t.Errorf("%s was notified %d times", r.client, got)
				}
			}
		})
	}
}

// An app that is an OP itself, as a broker, ends the user's session there when it is notified, and
// has an error page for a user who comes back after that.
func TestAnAppThatIsAnOPItselfHasItsUserBackBeforeItIsNotified(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	clock := setClock(t)
	broker, wiki := newReceiver(t, site, "shop"), newReceiver(t, site, "wiki")
	runCaddy(t, t.TempDir(), site.caddyfile("", withReceivers("", broker, wiki)+op.proxy()))
	b := newBrowser(t)
	hint := b.hintFor(site, b.authorize(site, "shop", "alice", nil))
	b.redeem(site, b.authorize(site, "wiki", "", nil))
	mergedKidsAt(b, site.issuer+"/jwks") // our keys are there: no notice has to wait for them
	back := b.endSession(site, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {shopBye}})
	wake(t, site)
	if early := broker.attempts(); early != 0 {
		t.Errorf("it was notified %d times", early)
	}
	if back.Header.Get("Location") != shopBye || wiki.attempts() != 1 {
		t.Errorf("%s to %q, the other app was notified %d times", back.Status, back.Header.Get("Location"), wiki.attempts())
	}
	clock.advance(2 * time.Second)
	wake(t, site)
	if got := broker.notified(1); got[0].Sub != "alice" {
		t.Errorf("notified %+v", got)
	}
}

func TestALogoutTokenNamesWhatItsClientIsConfiguredToNeed(t *testing.T) {
	for option, want := range map[string]struct{ sub, sid bool }{
		"": {true, true}, "logout_token both": {true, true}, "logout_token sub": {true, false}, "logout_token sid": {false, true},
	} {
		t.Run(option, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			shop := newReceiver(t, site, "shop")
			directives := strings.Replace(withReceivers("", shop), "client shop {", "client shop {\n\t\t\t"+option, 1)
			runCaddy(t, t.TempDir(), site.caddyfile("", directives+op.proxy()))
			b := newBrowser(t)
			b.redeem(site, b.authorize(site, "shop", "alice", nil))
			b.get(site.issuer + "/logout")
			if got := shop.notified(1)[0]; (got.Sub == "alice") != want.sub || (got.Sid != "") != want.sid {
				t.Errorf("it names %q and %q", got.Sub, got.Sid)
			}
		})
	}
}

// The scripted OP signs by ES256.
func TestAClientIsNotifiedByTheAlgorithmOfItsIDTokens(t *testing.T) {
	for name, mode := range map[string]url.Values{"code": nil, "hybrid": {"response_type": {"code id_token"}}, "implicit": {"response_type": {"id_token"}}} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			shop := newReceiver(t, site, "shop", jose.ES256)
			config := strings.Replace(withReceivers("", shop), "\t\t\tid_token_signed_response_alg ES256\n", "", 1)
			runCaddy(t, t.TempDir(), site.caddyfile("", config+op.proxy()))
			b := newBrowser(t)
			a := b.authorize(site, "shop", "alice", mode)
			if name == "code" {
				b.redeem(site, a)
			}
			b.get(site.issuer + "/logout")
			if got := shop.notified(1)[0]; got.alg != "ES256" || got.Sub != "alice" {
				t.Errorf("notified by %+v", got)
			}
		})
	}
}

func TestAClientThatIsDownIsNotifiedWhenItIsBack(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	shop := newReceiver(t, site, "shop")
	clock := setClock(t)
	shop.answers(http.StatusServiceUnavailable)
	config := site.caddyfile("", withReceivers("", shop)+op.proxy())
	runCaddy(t, t.TempDir(), config)
	b := newBrowser(t)
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	b.get(site.issuer + "/logout")
	shop.tried(1)
	awaitOutcome(t, site)
	clock.advance(2 * time.Second) // to the next try
	wake(t, site)
	shop.notified(1)
	if shop.attempts() != 2 {
		t.Errorf("it was tried %d times", shop.attempts())
	}
}

func TestNoticesOutlastReloadsAndRestarts(t *testing.T) {
	for name, again := range map[string]func(t *testing.T, storage, config string){
		"a reload": func(t *testing.T, storage, config string) {
			loadCaddy(t, storage, strings.Replace(config, "bind", "log\n\tbind", 1))
		},
		"a restart": func(t *testing.T, storage, config string) {
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
			loadCaddy(t, storage, config)
		},
	} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			clock := setClock(t)
			shop := newReceiver(t, site, "shop")
			shop.answers(http.StatusInternalServerError)
			storage := t.TempDir()
			config := site.caddyfile("", withReceivers("", shop)+op.proxy())
			runCaddy(t, storage, config)
			b := newBrowser(t)
			b.redeem(site, b.authorize(site, "shop", "alice", nil))
			b.get(site.issuer + "/logout")
			shop.tried(1)
			awaitOutcome(t, site)
			again(t, storage, config)
			b.get(site.issuer + "/")       // where the OP's keys are is discovered with the first request
			clock.advance(2 * time.Second) // to the next try
			wake(t, site)
			if got := shop.notified(1); got[0].Sub != "alice" {
				t.Errorf("notified %+v", got)
			}
		})
	}
}

// A session may expire while no server runs: its clients are notified when one does again.
func TestClientsOfASessionThatExpiredAreNotified(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	clock := setClock(t)
	shop := newReceiver(t, site, "shop")
	storage := t.TempDir()
	config := site.caddyfile("", withReceivers("\t\tsession_lifetime 1h\n", shop)+op.proxy())
	runCaddy(t, storage, config)
	b := newBrowser(t)
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	b.get(site.issuer + "/jwks") // the client verifies its ID token
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	clock.advance(61 * time.Minute)
	loadCaddy(t, storage, config)
	b.get(site.issuer + "/jwks")
	if got := shop.notified(1); got[0].Sub != "alice" || got[0].Sid == "" {
		t.Errorf("notified %+v", got)
	}
}

func TestTheReceiptSaysWhoWasNotified(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	shop, wiki, chat := newReceiver(t, site, "shop"), newReceiver(t, site, "wiki"), newReceiver(t, site, "chat")
	wiki.answers(http.StatusServiceUnavailable, http.StatusServiceUnavailable, http.StatusServiceUnavailable)
	chat.answers(http.StatusBadRequest)
	runCaddy(t, t.TempDir(), site.caddyfile("", withReceivers("", shop, wiki, chat)+op.proxy()))
	b := newBrowser(t)
	hint := b.hintFor(site, b.authorize(site, "shop", "alice", nil))
	for _, client := range []string{"wiki", "chat", "plain"} {
		b.redeem(site, b.authorize(site, client, "", nil))
	}
	mergedKidsAt(b, site.issuer+"/jwks") // our keys are there: no notice has to wait for them
	got := b.endSession(site, url.Values{"id_token_hint": {hint}})
	if got.StatusCode != http.StatusOK {
		t.Fatalf("got %s", got.Status)
	}
	position := 0
	for _, name := range []string{"The shop", "The wiki", "The chat", "plain"} { // notified, still tried, refused, not to be notified
		found := strings.Index(got.body[position:], name)
		if found < 0 {
			t.Fatalf("%s is missing, or in another place: %s", name, got.body)
		}
		position += found
	}
}

// The app that asked has no session any more. That is no failure; of another app, it is.
func TestTheReceiptDoesNotSayThatTheAppWhichAskedRefused(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	shop, wiki := newReceiver(t, site, "shop"), newReceiver(t, site, "wiki")
	shop.answers(http.StatusBadRequest)
	wiki.answers(http.StatusBadRequest)
	runCaddy(t, t.TempDir(), site.caddyfile("", withReceivers("", shop, wiki)+op.proxy()))
	b := newBrowser(t)
	hint := b.hintFor(site, b.authorize(site, "shop", "alice", nil))
	b.redeem(site, b.authorize(site, "wiki", "", nil))
	mergedKidsAt(b, site.issuer+"/jwks") // our keys are there: no notice has to wait for them
	page := b.endSession(site, url.Values{"id_token_hint": {hint}}).body
	_, failed, found := strings.Cut(page, "could not be signed out of")
	if !found || !strings.Contains(failed, "The wiki") || strings.Contains(failed, "The shop") || !strings.Contains(page, "The shop") {
		t.Errorf("the page is %s", page)
	}
}

func TestDiscoveryNamesBackChannelLogout(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	shop := newReceiver(t, site, "shop")
	storage, config := t.TempDir(), site.caddyfile("", withReceivers("", shop)+op.proxy())
	runCaddy(t, storage, config)
	b := newBrowser(t)
	document := func() (got map[string]any) {
		if err := json.Unmarshal([]byte(b.get(site.issuer+"/.well-known/openid-configuration").body), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := document(); got["backchannel_logout_supported"] != true || got["backchannel_logout_session_supported"] != nil {
		t.Errorf("before any ID token: %v", got)
	}
	named := func(when string) {
		t.Helper()
		for range 3000 { // it is recorded behind the requests
			if document()["backchannel_logout_session_supported"] == true {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("%s: %v", when, document())
	}
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	named("after an ID token with a sid")
	loadCaddy(t, storage, strings.Replace(config, "bind", "log\n\tbind", 1))
	named("after a reload")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	loadCaddy(t, storage, config)
	named("after a restart")
}

func TestAnOPThatNotifiesItsClientsIsLeftToIt(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	op.traits.notifiesClients = true
	shop := newReceiver(t, site, "shop")
	runCaddy(t, t.TempDir(), site.caddyfile("", withReceivers("", shop)+op.proxy()))
	b := newBrowser(t)
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	if body := b.get(site.issuer + "/jwks").body; strings.Count(body, `"kid"`) != 1 {
		t.Errorf("the OP's keys are %s", body)
	}
	b.get(site.issuer + "/logout")
	time.Sleep(200 * time.Millisecond) // for what must not come
	if shop.attempts() != 0 {
		t.Errorf("the client was notified %d times", shop.attempts())
	}
}

// A key that signs no more stays published while tokens live that it signed.
func TestAReplacedSigningKeyStaysPublished(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	shop := newReceiver(t, site, "shop", jose.ES256)
	storage := t.TempDir()
	config := func(key string) string {
		return site.caddyfile("", strings.Replace(withReceivers("", shop), "redirect_wait", "signing_key "+key+"\n\t\t\tredirect_wait", 1)+op.proxy())
	}
	first, second := pemKey(t), pemKey(t)
	runCaddy(t, storage, config(first))
	b := newBrowser(t)
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	kids := func() []string {
		var keys jose.JSONWebKeySet
		if err := json.Unmarshal([]byte(b.get(site.issuer+"/jwks").body), &keys); err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, key := range keys.Keys {
			if !key.IsPublic() {
				t.Errorf("a private key is published")
			}
			all = append(all, key.KeyID)
		}
		return all
	}
	before := kids()
	loadCaddy(t, storage, config(second))
	after := kids()
	if len(before) != 2 || len(after) != 3 || after[2] != before[1] {
		t.Errorf("published were %v, and then %v", before, after)
	}
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	b.get(site.issuer + "/logout")
	shop.notified(1)
}

// pemKey writes an EC key to a file, and returns the placeholder for it.
func pemKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return "{file." + path + "}"
}
