package tokens_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidc-session/caddy-oidc-session/tokens"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// issued are the claims of an ID token that expires at a time.
func issued(expires time.Time) map[string]any {
	claims := of(issuer, "alice", "shop")
	claims["exp"] = expires.Unix()
	return claims
}

func TestVerifyIDToken(t *testing.T) {
	key := rsaKey(t, 2048)
	keys := setOf(t, map[string]any{"1": key.Public()})
	named := jose.JSONWebKey{Key: key, KeyID: "1"}
	fresh := noon.Add(time.Hour)
	for name, tt := range map[string]struct {
		token string
		want  error // nil: it is good
	}{
		"good":                       {signed(t, jose.RS256, named, issued(fresh), nil), nil},
		"without a kid":              {signed(t, jose.RS256, key, issued(fresh), nil), nil},
		"expired a moment ago":       {signed(t, jose.RS256, named, issued(noon.Add(-4*time.Minute)), nil), nil},
		"expired":                    {signed(t, jose.RS256, named, issued(noon.Add(-6*time.Minute)), nil), errAny},
		"without an expiry":          {signed(t, jose.RS256, named, map[string]any{"iss": issuer, "sub": "alice", "aud": "shop"}, nil), errAny},
		"by another key":             {signed(t, jose.RS256, jose.JSONWebKey{Key: rsaKey(t, 2048), KeyID: "1"}, issued(fresh), nil), tokens.ErrSignature},
		"by an unknown key":          {signed(t, jose.RS256, jose.JSONWebKey{Key: rsaKey(t, 2048), KeyID: "2"}, issued(fresh), nil), tokens.ErrUnknownKey},
		"by a secret":                {signed(t, jose.HS256, []byte(strings.Repeat("k", 32)), issued(fresh), nil), tokens.ErrUnreadable},
		"by nobody":                  {jwt(`{"alg":"none"}`, `{"iss":"i","sub":"alice","aud":"shop","exp":1e10}`), tokens.ErrUnreadable},
		"an access token":            {signed(t, jose.RS256, named, issued(fresh), map[jose.HeaderKey]any{"typ": "at+jwt"}), tokens.ErrUnreadable},
		"with a critical extension":  {signed(t, jose.RS256, named, issued(fresh), map[jose.HeaderKey]any{"crit": []string{"x"}, "x": 1}), tokens.ErrUnreadable},
		"with a header of its own":   {signed(t, jose.RS256, named, issued(fresh), map[jose.HeaderKey]any{"x": strings.Repeat("x", 4<<10)}), tokens.ErrUnreadable},
		"with the longest of groups": {signed(t, jose.RS256, named, with(issued(fresh), "groups", strings.Repeat("g", 18<<10)), nil), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := keys.VerifyIDToken(tt.token, noon)
			switch {
			case tt.want == nil && (err != nil || got.Subject != "alice" || got.Algorithm != "RS256" || !got.IsFor("shop")):
				t.Errorf("got %+v, %v", got, err)
			case tt.want != nil && (err == nil || !errors.Is(tt.want, errAny) && !errors.Is(err, tt.want) || got.Subject != ""):
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

var errAny = errors.New("any")

func with(claims map[string]any, name string, value any) map[string]any {
	claims[name] = value
	return claims
}

// Two readers must not read two things in one token: the OP's library takes exact names, another
// the last of several.
func TestThreatClaimsAreReadByExactNamesAndOnce(t *testing.T) {
	key := rsaKey(t, 2048)
	keys := setOf(t, map[string]any{"1": key.Public()})
	for payload, good := range map[string]bool{
		`{"iss":"%s","sub":"alice","aud":"shop","exp":1e10}`:                                 true,
		`{"iss":"%s","sub":"alice","aud":"shop","exp":1e10,"SUB":"bob","Sid":"x","AZP":"y"}`: true,
		`{"iss":"%s","sub":"alice","aud":"shop","exp":1e10,"sub":"bob"}`:                     false,
		`{"iss":"%s","SUB":"alice","aud":"shop","exp":1e10}`:                                 false,
		`{"ISS":"%s","sub":"alice","aud":"shop","exp":1e10,"iss":"a","iss":"b"}`:             false,
		`{"iss":"%s","sub":"alice","AUD":"shop","exp":1e10}`:                                 false,
	} {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		object, err := signer.Sign([]byte(fmt.Sprintf(payload, issuer)))
		if err != nil {
			t.Fatal(err)
		}
		token, err := object.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		hint, hintErr := verify(token, keys)
		verified, err := keys.VerifyIDToken(token, noon)
		read, readErr := tokens.ReadIDToken(token)
		for reading, got := range map[string]tokens.IDToken{"hint": hint, "verified": verified, "read": read} {
			if (got.Subject == "alice") != good || got.SessionID != "" || got.AuthorizedParty != "" {
				t.Errorf("%s, %s: %+v (%v, %v, %v)", payload, reading, got, hintErr, err, readErr)
			}
		}
	}
}

func TestThreatKeySetsAreReadByExactNamesAndOnce(t *testing.T) {
	key, err := json.Marshal(jose.JSONWebKey{Key: rsaKey(t, 2048).Public(), KeyID: "1"})
	if err != nil {
		t.Fatal(err)
	}
	for document, want := range map[string]int{
		`{"keys":[%s]}`:              1,
		`{"KEYS":[%s]}`:              0,
		`{"keys":[],"keys":[%s]}`:    0,
		`{"keys":[%s],"Keys":[{}]}`:  1,
		`{"keys":[{"kty":"x"}, %s]}`: 1,
	} {
		set, _ := tokens.ParseKeySet([]byte(fmt.Sprintf(document, key)))
		if set.Len() != want {
			t.Errorf("%s: %d keys", document, set.Len())
		}
	}
}

func TestThreatAKeySignsByItsOwnAlgorithmOnly(t *testing.T) {
	key := rsaKey(t, 2048)
	document, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "RS256"}}})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := tokens.ParseKeySet(document)
	if err != nil {
		t.Fatal(err)
	}
	for algorithm, good := range map[jose.SignatureAlgorithm]bool{jose.RS256: true, jose.PS256: false, jose.RS384: false} {
		for _, kid := range []string{"1", ""} {
			token := signed(t, algorithm, jose.JSONWebKey{Key: key, KeyID: kid}, issued(noon.Add(time.Hour)), nil)
			if _, err := keys.VerifyIDToken(token, noon); (err == nil) != good {
				t.Errorf("%s with kid %q: %v", algorithm, kid, err)
			}
			if parsed, err := tokens.ParseHint(token, []string{"RS256", "RS384", "PS256"}); err != nil {
				t.Errorf("%s with kid %q: %v", algorithm, kid, err)
			} else if _, err := parsed.Verify(issuer, keys); (err == nil) != good {
				t.Errorf("the hint, %s with kid %q: %v", algorithm, kid, err)
			}
		}
	}
}

func TestThreatKeysThatTakeLongAreNotUsed(t *testing.T) {
	large := rsaKey(t, 4097)
	set := setOf(t, map[string]any{"large": large.Public(), "1": rsaKey(t, 2048).Public()})
	if set.Len() != 1 || set.TooLarge() != 1 || set.Has("large") {
		t.Errorf("%d keys, %d of them too large", set.Len(), set.TooLarge())
	}
	if _, err := tokens.ParseSigningKeys(pkcs8PEM(t, large)); !errors.Is(err, tokens.ErrSigningKey) {
		t.Errorf("as a signing key: %v", err)
	}
}

// A header of 13 KiB with nested objects took 6 ms.
func TestThreatAHeaderIsBoundedBeforeItIsRead(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	nested := strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000)
	token := jwt(`{"alg":"ES256","x":`+nested+`}`, `{"iss":"i","sub":"alice","aud":"shop"}`)
	keys := setOf(t, map[string]any{"1": key.Public()})
	for reading, read := range map[string]func() error{
		"hint":     func() error { _, err := verify(token, keys); return err },
		"verified": func() error { _, err := keys.VerifyIDToken(token, noon); return err },
		"read":     func() error { _, err := tokens.ReadIDToken(token); return err },
		"request":  func() error { _, err := tokens.ReadRequestObject(token); return err },
	} {
		if err := read(); err == nil || !strings.Contains(err.Error(), "its header is too long") {
			t.Errorf("%s: %v", reading, err)
		}
	}
}
