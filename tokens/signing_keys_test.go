package tokens

import (
	"bytes"
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
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

var (
	rsaTestKey  = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	p256TestKey = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	edTestKey   = sync.OnceValue(func() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)) })
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(key any) []byte { return pemOf("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))) }

func jwkOf(key jose.JSONWebKey) []byte { return must(json.Marshal(key)) }

func TestSigningKeysInAllForms(t *testing.T) {
	for name, tt := range map[string]struct {
		documents [][]byte
		want      string
	}{
		"PKCS #8, RSA":       {[][]byte{pkcs8(rsaTestKey())}, "RS256"},
		"PKCS #1":            {[][]byte{pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaTestKey()))}, "RS256"},
		"SEC 1":              {[][]byte{pemOf("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p256TestKey())))}, "ES256"},
		"openssl's ecparam":  {[][]byte{append(pemOf("EC PARAMETERS", []byte{6, 0}), pemOf("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p256TestKey())))...)}, "ES256"},
		"Ed25519":            {[][]byte{pkcs8(edTestKey())}, "EdDSA"},
		"several blocks":     {[][]byte{append(pkcs8(p256TestKey()), pkcs8(edTestKey())...)}, "ES256 EdDSA"},
		"several documents":  {[][]byte{pkcs8(p256TestKey()), pkcs8(edTestKey())}, "ES256 EdDSA"},
		"with spaces around": {[][]byte{append([]byte("\n "), append(pkcs8(edTestKey()), "\n\n"...)...)}, "EdDSA"},
		"a JWK":              {[][]byte{jwkOf(jose.JSONWebKey{Key: p256TestKey(), KeyID: "mine", Use: "sig"})}, "ES256"},
		"a JWK for one alg":  {[][]byte{jwkOf(jose.JSONWebKey{Key: rsaTestKey(), Algorithm: "PS256"})}, "PS256"},
		"a JWK Set":          {[][]byte{must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p256TestKey()}, {Key: edTestKey()}}}))}, "ES256 EdDSA"},
		"one key twice":      {[][]byte{pkcs8(edTestKey()), pkcs8(edTestKey())}, "EdDSA"},
		"P-384":              {[][]byte{pkcs8(must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)))}, "ES384"},
		"P-521":              {[][]byte{pkcs8(must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)))}, "ES512"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := ParseSigningKeys(tt.documents...)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(keys.Algorithms(), " "); got != tt.want {
				t.Errorf("they sign by %s", got)
			}
			for _, alg := range keys.Algorithms() {
				signed, err := keys.Sign(aLogoutToken(), alg)
				if err != nil {
					t.Fatal(err)
				}
				verified(t, keys, signed, alg)
			}
			if len(keys.Published()) != len(keys.Algorithms()) {
				t.Errorf("%d keys are published", len(keys.Published()))
			}
		})
	}
}

func TestTheFirstKeyThatFitsSignsAndAllArePublished(t *testing.T) {
	other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	keys := must(ParseSigningKeys(jwkOf(jose.JSONWebKey{Key: other, KeyID: "new"}), jwkOf(jose.JSONWebKey{Key: p256TestKey(), KeyID: "old"})))
	signed := must(keys.Sign(aLogoutToken(), "ES256"))
	if parsed := must(jose.ParseSignedCompact(signed, []jose.SignatureAlgorithm{jose.ES256})); parsed.Signatures[0].Header.KeyID != "new" {
		t.Errorf("signed by %q", parsed.Signatures[0].Header.KeyID)
	}
	var ids []string
	for _, key := range keys.Published() {
		ids = append(ids, key.ID)
	}
	if !slices.Equal(ids, []string{"new", "old"}) {
		t.Errorf("published are %q", ids)
	}
}

// One key, one purpose: a client that takes RS256 must not be shown what the same key signed by
// PS256.
func TestThreatNoKeySignsByTwoAlgorithms(t *testing.T) {
	generated := must(ParseSigningKeys(func() []byte { _, document, _ := GenerateSigningKeys(); return document }()))
	for name, keys := range map[string]*SigningKeys{
		"generated": generated,
		"PEM":       must(ParseSigningKeys(pkcs8(rsaTestKey()))),
		"a JWK":     must(ParseSigningKeys(jwkOf(jose.JSONWebKey{Key: rsaTestKey(), Algorithm: "PS256"}))),
	} {
		seen := make(map[string]string)
		for _, key := range keys.keys {
			if other, twice := seen[key.thumbprint]; twice {
				t.Errorf("%s: one key signs by %s and %s", name, other, key.algorithm)
			}
			seen[key.thumbprint] = string(key.algorithm)
		}
	}
	one := func(alg string) []byte {
		return jwkOf(jose.JSONWebKey{Key: rsaTestKey(), KeyID: "for " + alg, Algorithm: alg})
	}
	if _, err := ParseSigningKeys(one("RS256"), one("PS256")); !errors.Is(err, ErrSigningKey) || !strings.Contains(err.Error(), "RS256 and PS256") {
		t.Errorf("one key for both: %v", err)
	}
}

func TestGeneratedKeysAreReadBack(t *testing.T) {
	keys, document, err := GenerateSigningKeys()
	if err != nil {
		t.Fatal(err)
	}
	again := must(ParseSigningKeys(document))
	for i, key := range again.Published() {
		if string(key.JWK) != string(keys.Published()[i].JWK) {
			t.Errorf("key %d is another", i)
		}
	}
	if got := strings.Join(again.Algorithms(), " "); got != "ES256 EdDSA PS256 RS256" || !slices.Equal(again.Algorithms(), GeneratedAlgorithms()) {
		t.Errorf("they sign by %s", got)
	}
}

// The keys of others are no use, and what is wrong with one is said without showing it.
func TestDocumentsThatHoldNoSigningKey(t *testing.T) {
	weak := must(x509.MarshalPKCS8PrivateKey(weakRSA()))
	for name, document := range map[string][]byte{
		"nothing":                nil,
		"text":                   []byte("hunter2, a text"),
		"an empty set":           []byte(`{"keys":[]}`),
		"broken JSON":            []byte(`{"keys":`),
		"a symmetric key":        []byte(`{"kty":"oct","k":"aHVudGVyMg"}`),
		"a public JWK":           jwkOf(jose.JSONWebKey{Key: p256TestKey().Public()}),
		"a public key":           pemOf("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(p256TestKey().Public()))),
		"a certificate":          pemOf("CERTIFICATE", []byte("hunter2")),
		"an encrypted key":       pemOf("ENCRYPTED PRIVATE KEY", []byte("hunter2")),
		"weak RSA":               pemOf("PRIVATE KEY", weak),
		"a key for encryption":   jwkOf(jose.JSONWebKey{Key: p256TestKey(), Use: "enc"}),
		"another algorithm's":    jwkOf(jose.JSONWebKey{Key: p256TestKey(), Algorithm: "RS256"}),
		"P-224":                  pkcs8(must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))),
		"something behind a key": append(pkcs8(edTestKey()), "hunter2"...),
		"a broken block":         pemOf("PRIVATE KEY", []byte("hunter2")),
		"more than the bound":    bytes.Repeat([]byte("-----BEGIN "), maxSigningDocument/11+1),
		"two keys with one kid":  must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p256TestKey(), KeyID: "1"}, {Key: edTestKey(), KeyID: "1"}}})),
		"too many keys":          must(json.Marshal(jose.JSONWebKeySet{Keys: slices.Repeat([]jose.JSONWebKey{{Key: edTestKey()}}, maxSigningKeys+1)})),
		"parts of two keys":      []byte(`{"kty":"EC","crv":"P-256","x":"26GXZVGvQD3Ql0Gp59bb54xWgpE2Fypbac9Xf3pa2ZQ","y":"aMHeIBZsYM-EKa_bw2gqawHJioCMssHrWKxdUAoKAPY","d":"0000000000000000000000000000000000000000000"}`),
		"an array":               []byte(`[{"kty":"OKP"}]`),
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := ParseSigningKeys(document)
			if !errors.Is(err, ErrSigningKey) || keys != nil {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "aHVudGVyMg") {
				t.Errorf("the error shows the document: %v", err)
			}
		})
	}
}

// weakRSA is a key of 1024 bits, which Go refuses to generate.
func weakRSA() *rsa.PrivateKey {
	block, _ := pem.Decode([]byte(weakRSAKey))
	return must(x509.ParsePKCS1PrivateKey(block.Bytes))
}

func isPublic(t testing.TB, document []byte) {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(document, &members); err != nil {
		t.Fatal(err)
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k", "oth"} {
		if _, there := members[private]; there {
			t.Errorf("a private member %q is published", private)
		}
	}
}

func TestNothingPrivateIsPublished(t *testing.T) {
	for _, key := range generated().Published() {
		isPublic(t, key.JWK)
	}
}

func FuzzParseSigningKeys(f *testing.F) {
	f.Add(pkcs8(edTestKey()))
	f.Add(jwkOf(jose.JSONWebKey{Key: p256TestKey(), KeyID: "1"}))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"","d":""}]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		keys, err := ParseSigningKeys(document)
		if err != nil {
			if !errors.Is(err, ErrSigningKey) {
				t.Errorf("error %v", err)
			}
			return
		}
		for _, key := range keys.Published() {
			isPublic(t, key.JWK)
		}
		for _, alg := range keys.Algorithms() {
			if signed, err := keys.Sign(aLogoutToken(), alg); err == nil {
				verified(t, keys, signed, alg)
			}
		}
	})
}

// weakRSAKey is of 1024 bits, and protects nothing.
const weakRSAKey = `-----BEGIN RSA PRIVATE KEY-----
MIICXgIBAAKBgQC86venTvTR4yhvWw6ffqND6xsSJ4JZuE9yEFi12rrokuPMAPhN
dd51EsZLocsvsng3M9dn81fA/xAo7NBfk6oK8ajR3Jp0rIzTg2PGQODJ0LOtLNyP
3N1cW7lfgx67BHGQ9eFHYrvXDjBhghUPYCops0r82040xBuyWgDWSMWx2wIDAQAB
AoGBALOAFnuz+86JpdvYixZkv0BDXV9shuA0zde1THTONZXSK/ukWElRW2OlySAH
xQW2756T9XHht1m7gGFCUeLebUt/ZVLnb7vspO2bWFIMKo37ryfd1h1AE2yD262P
VamyhP2kinBV7Ds2/YgM8nH9sCDROLiYkY4hUsHb/eOBG6JhAkEA+fouA71r2J76
Y6ByXHqrJ7wHpWgyqafDqMSGKkhBZcADYh/5sMHxNNoiN8MwJDyiPp019YN60u7+
f3XM5hTLIwJBAMF4Lsq8JeiOI9jJ7KjkVsra1nBy4Sy6Oi/ox/gfYKoi2Mva79hK
ID8kTyYqHRCe5+ObcSrEjoh+T9Orm2q8ZekCQQDS17ZqByHooybUUydCY2DrccgN
NpbMzCjWt3PmQ+2NEeiIoimrcdmt13LXD7YSSmYaY+V4QD6fnV9hSI3bXpx7AkAv
WSFifm9snbTKLojbwJ45IRuQA512G9F3vimKYOuAV+zk3x0JuwJvUYyJU48vbSRl
QLqOc/JKF1ej/wCXO6pZAkEAqGArkcw7FHu/daytr30pXwsGTY2sKjr1Tf8Fv58w
UjDIyn2kwNZM0Vq7THfdnoamhkrJ0dsOmpFG3zvUr30IVQ==
-----END RSA PRIVATE KEY-----
`
