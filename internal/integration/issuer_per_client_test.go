package integration

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Of these OPs each client has documents of its own, and all have one authorization endpoint.
var manyIssuers = map[string]struct {
	as       traits
	settings string // the issuer, and where documents are
	below    string // the path that our endpoints are behind
}{
	"an issuer per client": {
		traits{issuers: perClient}, "issuer ISSUER/application/o/*/\n", "/application/o",
	},
	"an issuer and a key per client": {
		traits{issuers: perClient, keyPerClient: true}, "issuer ISSUER/application/o/*/\n", "/application/o",
	},
	"an issuer per client, each configured": {
		traits{issuers: perClient}, "issuer ISSUER/application/o/shop/ ISSUER/application/o/wiki/\n", "/application/o",
	},
	"an issuer per client, and a document to ask for": {
		traits{issuers: perClient},
		"issuer ISSUER/application/o/*/\n\t\tdiscovery /application/o/wiki/.well-known/openid-configuration\n", "/application/o",
	},
	"one issuer, with documents below the clients' names": {
		traits{issuers: globalIssuer},
		"issuer ISSUER/\n\t\tdiscovery /application/o/wiki/.well-known/openid-configuration /application/o/*/.well-known/openid-configuration\n", "",
	},
	"one issuer, with documents that clients find": {
		traits{issuers: globalIssuer}, "issuer ISSUER/\n\t\tdiscovery /application/o/*/.well-known/openid-configuration\n", "",
	},
}

// documentsOf is where a client finds the OP's document.
func documentsOf(s site, client string) string {
	return s.issuer + "/application/o/" + client + "/.well-known/openid-configuration"
}

// A perClientSite is Caddy in front of such an OP, with two clients.
type perClientSite struct {
	site
	op         *scriptedOP
	shop, wiki *receiver
	config     string
	storage    string
	below      string
}

func newPerClientSite(t *testing.T, name string) *perClientSite {
	t.Helper()
	tt := manyIssuers[name]
	p := &perClientSite{site: newSite(t), storage: t.TempDir(), below: tt.below}
	p.op = newScriptedOP(t, p.issuer)
	p.op.traits = tt.as
	receiverOf := func(client string) *receiver {
		r := newReceiver(t, p.site, client, jose.RS256)
		r.issuer, r.found = p.op.issuerOf(client), documentsOf(p.site, client)
		return r
	}
	p.shop, p.wiki = receiverOf("shop"), receiverOf("wiki")
	directives := strings.Replace(withReceivers("", p.shop, p.wiki), "issuer ISSUER\n", tt.settings, 1)
	p.config = p.caddyfile("oidc_session {\n\t\tstore file "+filepath.Join(p.storage, "r.db")+"\n\t}", directives+p.op.proxy())
	runCaddy(t, p.storage, p.config)
	return p
}

// start has each client fetch its document, as clients do when they start.
func (p *perClientSite) start(b *browser) {
	b.t.Helper()
	for _, client := range []string{"shop", "wiki"} {
		if got := b.elsewhere().get(documentsOf(p.site, client)); got.StatusCode != http.StatusOK {
			b.t.Fatalf("the document of %s: %s", client, got.Status)
		}
	}
}

// check asks the server what the check page would.
func (p *perClientSite) check(b *browser, a answer) string {
	b.t.Helper()
	asking := b.elsewhere()
	asking.header.Set("Origin", p.issuer)
	return asking.post(p.issuer+p.below+"/oidc/check-session", url.Values{
		"client_id": {a.clientID}, "session_state": {a.sessionState()}, "origin": {a.origin},
	}).body
}

func (p *perClientSite) expect(b *browser, when, want string, answers ...answer) {
	b.t.Helper()
	for _, a := range answers {
		if got := p.check(b, a); got != want {
			b.t.Errorf("%s, the server says %s of %s: it should be %s", when, got, a.clientID, want)
		}
	}
}

// endSession asks the endpoint for a sign-out.
func (p *perClientSite) endSession(b *browser, parameters url.Values) page {
	b.t.Helper()
	got := b.get(p.issuer + p.below + endSessionPath + "?" + parameters.Encode())
	if location := got.Header.Get("Location"); strings.HasPrefix(location, p.below+endSessionPath) {
		got = b.get(p.issuer + location)
	}
	return got
}

func forManyIssuers(t *testing.T, test func(t *testing.T, p *perClientSite, b *browser)) {
	for name := range manyIssuers {
		t.Run(name, func(t *testing.T) {
			p := newPerClientSite(t, name)
			b := newBrowser(t)
			p.start(b)
			test(t, p, b)
		})
	}
}

// With a block for each issuer, both took each answer, and one of two apps got "changed"
// for ever.
func TestTwoAppsWithIssuersOfTheirOwnShareOneSession(t *testing.T) {
	forManyIssuers(t, func(t *testing.T, p *perClientSite, b *browser) {
		shop := b.signIn(p.site, "shop", "alice", nil)
		wiki := b.signIn(p.site, "wiki", "", nil)
		again := b.authorize(p.site, "shop", "", url.Values{"prompt": {"none"}})
		p.expect(b, "after both signed in", "unchanged", shop, wiki, again)
		if !b.matches(shop) || !b.matches(wiki) || !b.matches(again) {
			t.Error("a session_state does not match the one cookie")
		}
		if n := strings.Count(b.cookieNames(), "oidc_session"); n != 1 {
			t.Errorf("the browser has %d sessions: %s", n, b.cookieNames())
		}
	})
}

func TestAUserSwitchAtOneIssuerIsOneAtAll(t *testing.T) {
	forManyIssuers(t, func(t *testing.T, p *perClientSite, b *browser) {
		shop, wiki := b.signIn(p.site, "shop", "alice", nil), b.signIn(p.site, "wiki", "", nil)
		bob := b.signIn(p.site, "shop", "bob", again)
		p.expect(b, "after bob signed in", "changed", shop, wiki)
		p.expect(b, "after bob signed in", "unchanged", bob)
		for _, r := range []*receiver{p.shop, p.wiki} {
			if got := r.notified(1); got[0].Sub != "alice" {
				t.Errorf("%s is notified of %s", r.client, got[0].Sub)
			}
		}
	})
}

// Each receiver verifies that the token has the issuer of the client's own ID tokens, by the
// keys of the client's own document.
func TestASignOutWithAHintOfAnyIssuerNotifiesEachClientInItsOwn(t *testing.T) {
	for _, asking := range []string{"shop", "wiki"} {
		t.Run(asking, func(t *testing.T) {
			forManyIssuers(t, func(t *testing.T, p *perClientSite, b *browser) {
				answers := make(map[string]answer)
				hints := make(map[string]string)
				for _, client := range []string{"shop", "wiki"} {
					answers[client] = b.authorize(p.site, client, "alice", nil)
					hints[client] = b.hintFor(p.site, answers[client])
				}
				got := p.endSession(b, url.Values{"id_token_hint": {hints[asking]}, "post_logout_redirect_uri": {shopBye}})
				if got.Header.Get("Location") != shopBye {
					t.Fatalf("got %s to %q: %s", got.Status, got.Header.Get("Location"), got.body)
				}
				p.expect(b, "after the sign-out", "changed", answers["shop"], answers["wiki"])
				other := map[string]*receiver{"shop": p.wiki, "wiki": p.shop}[asking] // the one that asks is notified later
				if got := other.notified(1); got[0].Sub != "alice" || got[0].Sid == "" {
					t.Errorf("%s is notified of %+v", other.client, got[0])
				}
			})
		})
	}
}

// A hint of an issuer that is none of the OP's is a bad request, whatever key it is signed by.
func TestAHintOfAnIssuerThatIsNoneOfTheOPs(t *testing.T) {
	p := newPerClientSite(t, "an issuer per client")
	b := newBrowser(t)
	p.start(b)
	shop := b.signIn(p.site, "shop", "alice", nil)
	for _, issuer := range []string{p.issuer, p.issuer + "/application/o/", p.issuer + "/application/o/a/b/", "https://evil.example/application/o/shop/"} {
		foreign := scriptOP(issuer)
		got := p.endSession(b, url.Values{"id_token_hint": {foreign.idToken(grant{user: "alice", clientID: "shop"})}, "post_logout_redirect_uri": {shopBye}})
		if got.StatusCode != http.StatusBadRequest || p.check(b, shop) != "unchanged" {
			t.Errorf("%s: %s, and then the server says %s", issuer, got.Status, p.check(b, shop))
		}
	}
}

func TestTheDocumentsAndKeysOfEachIssuerAreEdited(t *testing.T) {
	forManyIssuers(t, func(t *testing.T, p *perClientSite, b *browser) {
		b.signIn(p.site, "shop", "alice", nil)
		b.signIn(p.site, "wiki", "", nil)
		for _, client := range []string{"shop", "wiki"} {
			var document struct {
				Issuer     string `json:"issuer"`
				Check      string `json:"check_session_iframe"`
				EndSession string `json:"end_session_endpoint"`
				Tells      bool   `json:"backchannel_logout_supported"`
				Sids       bool   `json:"backchannel_logout_session_supported"`
				JWKS       string `json:"jwks_uri"`
			}
			if err := json.Unmarshal([]byte(b.get(documentsOf(p.site, client)).body), &document); err != nil {
				t.Fatal(err)
			}
			if document.Issuer != p.op.issuerOf(client) || document.Check != p.issuer+p.below+"/oidc/check-session" ||
				document.EndSession != p.issuer+p.below+endSessionPath || !document.Tells || !document.Sids {
				t.Errorf("the document of %s is %+v", client, document)
			}
			if names := mergedKidsAt(b, document.JWKS); len(names) < 2 || !slices.Contains(names, p.op.keyOf(client).KeyID) {
				t.Errorf("the keys of %s are %v", client, names)
			}
			if got := b.get(document.Check); got.StatusCode != http.StatusOK || !strings.Contains(got.body, "<script>") {
				t.Errorf("the check page is %s", got.Status)
			}
		}
	})
}

// mergedKidsAt are the kids of a JWK Set that ours are to be in. They are generated at first use,
// which takes a busy machine longer than a request waits for it.
func mergedKidsAt(b *browser, uri string) (kids []string) {
	b.t.Helper()
	for range 3000 {
		if kids = kidsAt(b, uri); len(kids) > 1 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return kids
}

// kidsAt are the kids of a JWK Set.
func kidsAt(b *browser, uri string) (kids []string) {
	b.t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(b.get(uri).body), &set); err != nil {
		b.t.Fatal(err)
	}
	for _, key := range set.Keys {
		kids = append(kids, key.KeyID)
	}
	return kids
}

// Clients keep their documents while Caddy is started again: nobody fetches one, but all goes on.
func TestAfterARestartNothingNeedsADocumentToBeFetchedAgain(t *testing.T) {
	forManyIssuers(t, func(t *testing.T, p *perClientSite, b *browser) {
		shop := b.authorize(p.site, "shop", "alice", nil)
		hint := b.hintFor(p.site, shop)
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		loadCaddy(t, p.storage, p.config)
		wiki := b.signIn(p.site, "wiki", "", nil)
		p.expect(b, "after a restart", "unchanged", shop, wiki)
		if !b.matches(shop) || !b.matches(wiki) {
			t.Error("the session is another one")
		}
		for _, client := range []string{"shop", "wiki"} {
			if kids := mergedKidsAt(b, p.issuer+"/application/o/"+client+"/jwks/"); len(kids) < 2 {
				t.Errorf("the keys of %s are %v", client, kids)
			}
		}
		if got := p.endSession(b, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {shopBye}}); got.Header.Get("Location") != shopBye {
			t.Errorf("got %s: %s", got.Status, got.body)
		}
		p.wiki.notified(1) // the one that asks is notified later
	})
}

// The registry is all that remembers where a document is, if none is configured. Without it,
// nothing is said that is not known.
func TestBeforeAnyDocumentIsSeenSignInPasses(t *testing.T) {
	p := newPerClientSite(t, "an issuer per client")
	b := newBrowser(t)
	a := b.authorize(p.site, "shop", "alice", nil)
	if got := b.redeem(p.site, a); got.StatusCode != http.StatusOK || a.sessionState() != "" {
		t.Errorf("the token response is %s, the session_state %q", got.Status, a.sessionState())
	}
	p.start(b)
	shop := b.signIn(p.site, "shop", "", nil)
	p.expect(b, "once a document was seen", "unchanged", shop)
}

func TestTwoBlocksForOneAuthorizationEndpointAreAnErrorAndTheSecondDoesNothing(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	op.traits = traits{issuers: perClient}
	block := func(client string) string {
		return "oidc_session {\n\t\tissuer ISSUER/application/o/" + client + "/\n\t\tlogin_cookie login\n\t}\n\t"
	}
	caddy := startCaddy(t, site.caddyfile("oidc_session {\n\t\tstore memory\n\t}", block("shop")+block("wiki")+op.proxy()))
	p := &perClientSite{site: site, op: op, below: "/application/o/shop"}
	b := newBrowser(t)
	p.start(b)
	shop := b.signIn(site, "shop", "alice", nil)
	wiki := b.authorize(site, "wiki", "", nil)
	for range 3 {
		p.expect(b, "after both signed in", "unchanged", shop, wiki)
		wiki = b.authorize(site, "wiki", "", url.Values{"prompt": {"none"}})
		shop = b.authorize(site, "shop", "", url.Values{"prompt": {"none"}})
	}
	if n := strings.Count(b.cookieNames(), "oidc_session"); n != 1 {
		t.Errorf("the browser has %d sessions: %s", n, b.cookieNames())
	}
	if body := b.get(documentsOf(site, "wiki")).body; strings.Contains(body, "check_session_iframe") {
		t.Errorf("the second block edits its document: %s", body)
	}
	if n := strings.Count(caddy.log.String(), "two oidc_session blocks are for one OP"); n != 1 {
		t.Errorf("the log has the error %d times:\n%s", n, caddy.log)
	}
}

// cookieNames are the names of a browser's cookies.
func (b *browser) cookieNames() string {
	var names []string
	for name := range b.cookies {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// A client's issuer may have keys of its own: none of another issuer's says anything of it.
func TestAKeyOfOneIssuerSignsForNoOther(t *testing.T) {
	p := newPerClientSite(t, "an issuer and a key per client")
	b := newBrowser(t)
	p.start(b)
	shop, wiki := b.signIn(p.site, "shop", "alice", nil), b.signIn(p.site, "wiki", "", nil)
	for _, client := range []string{"shop", "wiki"} { // both sets are known
		kidsAt(b, p.issuer+"/application/o/"+client+"/jwks/")
	}
	for name, kid := range map[string]string{"under its own name": "of wiki", "under the other's": "of shop"} {
		key := p.op.keyOf("wiki")
		key.KeyID = kid
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jwt.Signed(signer).Claims(map[string]any{
			"iss": p.op.issuerOf("shop"), "sub": "alice", "aud": "shop", "exp": time.Now().Add(time.Hour).Unix(),
		}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		got := p.endSession(b, url.Values{"id_token_hint": {token}, "post_logout_redirect_uri": {shopBye}})
		if got.Header.Get("Location") == shopBye {
			t.Errorf("%s, the user is signed out", name)
		}
		p.expect(b, name, "unchanged", shop, wiki)
	}
}

// Each issuer's set has the OP's one key: nothing need be added for clients to verify logout
// tokens.
func TestTheOPsOwnKeyNotifiesTheClientsOfEachIssuer(t *testing.T) {
	p := &perClientSite{site: newSite(t), storage: t.TempDir()}
	p.op = newScriptedOP(t, p.issuer)
	p.op.traits = traits{issuers: perClient, unnamedTokens: true, unnamedKey: true}
	var receivers []*receiver
	for _, client := range []string{"shop", "wiki"} {
		r := newReceiver(t, p.site, client, jose.ES256)
		r.issuer, r.found = p.op.issuerOf(client), documentsOf(p.site, client)
		receivers = append(receivers, r)
	}
	directives := strings.Replace(withReceivers("", receivers...), "issuer ISSUER\n", "issuer ISSUER/application/o/*/\n", 1)
	directives = strings.Replace(directives, "redirect_wait", "signing_key "+opKeyFile(t)+"\n\t\t\tredirect_wait", 1)
	p.config = p.caddyfile("oidc_session {\n\t\tstore file "+filepath.Join(p.storage, "r.db")+"\n\t}", directives+p.op.proxy())
	runCaddy(t, p.storage, p.config)
	b := newBrowser(t)
	p.start(b)
	for _, r := range receivers {
		r.answers(http.StatusServiceUnavailable)
		b.signIn(p.site, r.client, "alice", nil)
	}
	b.get(p.issuer + "/logout")
	for _, r := range receivers {
		r.tried(1)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	loadCaddy(t, p.storage, p.config)
	p.start(b) // where the keys are is discovered with the first request
	for _, r := range receivers {
		if got := r.notified(1); got[0].Sub != "alice" {
			t.Errorf("notified %+v", got)
		}
		if kids := kidsAt(b, p.issuer+"/application/o/"+r.client+"/jwks/"); len(kids) != 1 {
			t.Errorf("the keys of %s are %q", r.client, kids)
		}
	}
}
