package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// forge makes an ID token that names whom the forger likes, signed by a key of his own under the name of the OP's.
func forge(t *testing.T, s site, clientID, sub string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: opKey().KeyID}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": s.issuer, "sub": sub, "aud": clientID, "sid": "forged", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// answerTo has a browser follow the OP's redirects until it answers an authorization request.
func answerTo(b *browser, s site, query url.Values) {
	b.t.Helper()
	got := b.get(s.issuer + "/authorize?" + query.Encode())
	for range 5 {
		next, err := got.Location()
		if err != nil || next.Scheme+"://"+next.Host != s.issuer {
			break
		}
		got = b.get(next.String())
	}
	if !strings.Contains(got.Header.Get("Location"), "code=") && !strings.Contains(got.body, `name="code"`) {
		b.t.Errorf("the OP answers %s to %s, %s", got.Status, got.Header.Get("Location"), got.body)
	}
}

// A page of evil's sends alice's browser to the OP in hidden frames, for clients of its own and for the shop.
func TestThreatNothingForgedEndsASessionOrMakesALogoutToken(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	op.traits.cookie = oneHopEarlier // the request that is answered does not show where the answer goes
	shop, evil := newReceiver(t, site, "shop", jose.ES256), newReceiver(t, site, "evil", jose.ES256)
	runCaddy(t, t.TempDir(), site.caddyfile("", withReceivers("", shop, evil)+op.proxy()))
	alice := newBrowser(t)
	signedIn := alice.signIn(site, "shop", "alice", nil)
	forged := forge(t, site, "evil", "bob")
	own := func(query string) url.Values { return url.Values{"redirect_uri": {"https://evil.example/cb?" + query}} }
	with := func(v url.Values, name, value string) url.Values {
		v.Set(name, value)
		return v
	}
	attacks := map[string]url.Values{
		"its redirect URI has a token":            own("id_token=" + forged),
		"its redirect URI has a token and a code": own("id_token=" + forged + "&code=x"),
		"silently":                                 with(own("id_token="+forged), "prompt", "none"),
		"the answer is in the fragment":            with(own("id_token="+forged), "response_mode", "fragment"),
		"the answer is in a form":                  with(own("id_token="+forged), "response_mode", "form_post"),
		"its redirect URI has an error":            own("error=login_required&id_token=" + forged),
		"its redirect URI has a token of the shop": own("id_token=" + forge(t, site, "shop", "bob")),
	}
	frame := alice.frame()
	for name, extra := range attacks {
		query := url.Values{"client_id": {"evil"}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s"}}
		maps.Copy(query, extra)
		answerTo(frame, site, query)
		alice.expect(site, name, "unchanged", signedIn)
		if !alice.matches(signedIn) {
			t.Fatalf("%s: the browser state is another", name)
		}
	}

	alice.get(site.issuer + "/logout")
	for _, token := range shop.notified(1) {
		if token.Sub != "alice" || token.Sid == "forged" {
			t.Errorf("the shop was notified of %+v", token)
		}
	}
	time.Sleep(100 * time.Millisecond) // for what must not come
	if n := evil.attempts(); n != 0 {
		t.Errorf("evil got %d logout tokens, the first of %+v", n, evil.notified(1))
	}
}

// evil's own session with its own user is real: what it forges adds nobody to it.
func TestThreatAForgedSubjectGetsNoLogoutToken(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	op.traits.cookie = oneHopEarlier
	evil := newReceiver(t, site, "evil", jose.ES256)
	runCaddy(t, t.TempDir(), site.caddyfile("", withReceivers("", evil)+op.proxy()))
	mallory := newBrowser(t)
	mallory.signIn(site, "evil", "mallory", nil)
	query := url.Values{
		"client_id": {"evil"}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s"},
		"redirect_uri": {"https://evil.example/cb?id_token=" + forge(t, site, "evil", "alice")},
	}
	answerTo(mallory, site, query)
	mallory.get(site.issuer + "/logout")
	if got := evil.notified(1)[0]; got.Sub != "mallory" || got.Sid == "forged" {
		t.Errorf("evil was notified of %+v", got)
	}
}
