package tokens_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"

	"github.com/oidc-session/caddy-oidc-session/tokens"
)

const issuer = "https://op.example.com"

var advertised = []string{"RS256", "PS256", "ES256", "EdDSA", "HS256", "none"}

func signed(t testing.TB, algorithm jose.SignatureAlgorithm, key any, claims map[string]any, header map[jose.HeaderKey]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, &jose.SignerOptions{ExtraHeaders: header})
	if err != nil {
		t.Fatal(err)
	}
	token, err := josejwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func of(issuer, sub string, audience any) map[string]any {
	return map[string]any{"iss": issuer, "sub": sub, "aud": audience, "sid": "s", "exp": 1, "nonce": "n"}
}

// setOf is a key set document with the public part of keys, by kid.
func setOf(t testing.TB, keys map[string]any) tokens.KeySet {
	t.Helper()
	var set jose.JSONWebKeySet
	for kid, key := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key, KeyID: kid, Use: "sig"})
	}
	document, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := tokens.ParseKeySet(document)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func verify(token string, keys tokens.KeySet) (tokens.IDToken, error) {
	parsed, err := tokens.ParseHint(token, advertised)
	if err != nil {
		return tokens.IDToken{}, err
	}
	return parsed.Verify(issuer, keys)
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAHintByEachAlgorithmOfAnOP(t *testing.T) {
	rsaKey := rsaKey(t, 2048)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := setOf(t, map[string]any{"rsa": rsaKey.Public(), "ec": ecKey.Public(), "ed": edPublic})
	for _, tt := range []struct {
		algorithm jose.SignatureAlgorithm
		kid       string
		key       any
	}{{jose.RS256, "rsa", rsaKey}, {jose.PS256, "rsa", rsaKey}, {jose.ES256, "ec", ecKey}, {jose.EdDSA, "ed", edKey}} {
		for _, kid := range []string{tt.kid, ""} {
			token := signed(t, tt.algorithm, jose.JSONWebKey{Key: tt.key, KeyID: kid}, of(issuer, "alice", "shop"), nil)
			hint, err := verify(token, keys)
			if err != nil || hint.Subject != "alice" || hint.SessionID != "s" || !hint.IsFor("shop") || hint.ClientID() != "shop" {
				t.Errorf("%s with kid %q: %+v, %v", tt.algorithm, kid, hint, err)
			}
		}
	}
	if _, err := tokens.ParseHint(signed(t, jose.RS256, rsaKey, of(issuer, "alice", "shop"), nil), []string{"ES256"}); !errors.Is(err, tokens.ErrHintInvalid) {
		t.Errorf("an algorithm that is not advertised: %v", err)
	}
	if _, err := tokens.ParseHint(signed(t, jose.RS256, rsaKey, of(issuer, "alice", "shop"), nil), nil); err != nil {
		t.Errorf("RS256 where nothing is advertised: %v", err)
	}
	if _, err := tokens.ParseHint(signed(t, jose.ES256, ecKey, of(issuer, "alice", "shop"), nil), nil); !errors.Is(err, tokens.ErrHintInvalid) {
		t.Errorf("ES256 where nothing is advertised: %v", err)
	}
}

// The OP's public key is no secret: who signs with it as if it were one (HS256) is nobody.
func TestThreatAlgorithmConfusion(t *testing.T) {
	key := rsaKey(t, 2048)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	keys := setOf(t, map[string]any{"1": key.Public()})
	for name, secret := range map[string][]byte{"DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})} {
		token := signed(t, jose.HS256, jose.JSONWebKey{Key: secret, KeyID: "1"}, of(issuer, "alice", "shop"), nil)
		if _, err := verify(token, keys); !errors.Is(err, tokens.ErrHintInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClientsOfAHint(t *testing.T) {
	for name, tt := range map[string]struct {
		hint   tokens.IDToken
		client string
		isFor  []string
	}{
		"one audience":            {tokens.IDToken{Audience: []string{"shop"}}, "shop", []string{"shop"}},
		"two audiences":           {tokens.IDToken{Audience: []string{"shop", "api"}}, "", []string{"shop", "api"}},
		"two and a party":         {tokens.IDToken{Audience: []string{"shop", "api"}, AuthorizedParty: "shop"}, "shop", []string{"shop"}},
		"one and another's party": {tokens.IDToken{Audience: []string{"api"}, AuthorizedParty: "shop"}, "shop", []string{"shop"}},
	} {
		if got := tt.hint.ClientID(); got != tt.client {
			t.Errorf("%s: the client is %q, want %q", name, got, tt.client)
		}
		for _, client := range []string{"shop", "api", "wiki", ""} {
			if got := tt.hint.IsFor(client); got != slices.Contains(tt.isFor, client) {
				t.Errorf("%s: is for %q: %v", name, client, got)
			}
		}
	}
}

func TestAKeySetPassesOverWhatItCannotUse(t *testing.T) {
	good := rsaKey(t, 2048)
	private := rsaKey(t, 2048)
	document, err := json.Marshal(map[string]any{"keys": []any{
		jose.JSONWebKey{Key: good.Public(), KeyID: "good"},
		jose.JSONWebKey{Key: good.Public(), KeyID: "for encryption", Use: "enc"},
		jose.JSONWebKey{Key: private, KeyID: "private"},
		jose.JSONWebKey{Key: []byte("symmetric"), KeyID: "symmetric"},
		map[string]any{"kty": "OKP", "crv": "X25519", "x": "AA", "kid": "no curve for signatures"},
		map[string]any{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "small"},
		map[string]any{"kty": "FUTURE", "kid": "of the future"},
		"no key at all", 1, nil,
	}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := tokens.ParseKeySet(document)
	if err != nil || set.Len() != 1 || !set.Has("good") {
		t.Errorf("got %v, %v", set, err)
	}
	for _, bad := range []string{"", "{}", "[]", `{"keys": 1}`, "null", `{"keys": null}`, "<html>"} {
		if _, err := tokens.ParseKeySet([]byte(bad)); !errors.Is(err, tokens.ErrKeySet) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAKeySetIsBounded(t *testing.T) {
	var keys []jose.JSONWebKey
	for range tokens.MaxKeys + 10 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, jose.JSONWebKey{Key: public, KeyID: rand.Text()})
	}
	document, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if set, err := tokens.ParseKeySet(document); err != nil || set.Len() != tokens.MaxKeys {
		t.Errorf("%v, %v", set, err)
	}
}

func TestKeysThatWereKeptVerifyAsBefore(t *testing.T) {
	key := rsaKey(t, 2048)
	set := setOf(t, map[string]any{"1": key.Public()})
	kept := set.Keys()
	thumbprint, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil || len(kept) != 1 || kept[0].ID == "" || len(thumbprint) == 0 || strings.Contains(string(kept[0].JWK), `"d"`) {
		t.Fatalf("kept %v, %v", kept, err)
	}
	again := tokens.NewKeySet(append(kept, tokens.Key{ID: "broken", JWK: []byte("{")}))
	token := signed(t, jose.RS256, jose.JSONWebKey{Key: key, KeyID: "1"}, of(issuer, "alice", "shop"), nil)
	if _, err := verify(token, again); err != nil || again.Len() != 1 {
		t.Errorf("%v, %v", again, err)
	}
	if both := set.With(again); both.Len() != 1 {
		t.Errorf("both sets have %d keys", both.Len())
	}
	// An OP that gives a new key the old one's kid.
	other := rsaKey(t, 2048)
	renewed := setOf(t, map[string]any{"1": other.Public()})
	if _, err := verify(token, renewed); !errors.Is(err, tokens.ErrHintInvalid) {
		t.Errorf("by the new key alone: %v", err)
	}
	if _, err := verify(token, renewed.With(set)); err != nil {
		t.Errorf("with the old one kept: %v", err)
	}
}

func FuzzParseHint(f *testing.F) {
	key := rsaKey(f, 2048)
	keys := setOf(f, map[string]any{"1": key.Public()})
	good := signed(f, jose.RS256, jose.JSONWebKey{Key: key, KeyID: "1"}, of(issuer, "alice", []string{"shop"}), nil)
	for _, seed := range []string{
		good, "", ".", "..", "...", "a.b.c", "a.b.c.d.e", strings.Repeat("A", tokens.MaxHint+1), good + ".", good[:len(good)-2],
		"eyJhbGciOiJub25lIn0.e30.", `{"payload":"e30","protected":"eyJhbGciOiJSUzI1NiJ9","signature":"AA"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		hint, err := verify(token, keys)
		switch {
		case err == nil && (hint.Subject == "" || len(hint.Audience) == 0):
			t.Errorf("a hint for nobody: %+v", hint)
		case err == nil && token[strings.LastIndex(token, ".")+1:] != good[strings.LastIndex(good, ".")+1:]:
			t.Errorf("a signature of nobody is good: %q", token)
		case err != nil && !errors.Is(err, tokens.ErrHintInvalid) && !errors.Is(err, tokens.ErrHintUnknownKey):
			t.Errorf("an error of another kind: %v", err)
		case err != nil && len(token) > 20 && strings.Contains(err.Error(), token):
			t.Errorf("the error has the token: %v", err)
		}
	})
}

// pkcs8PEM is a private key as openssl writes it.
func pkcs8PEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
