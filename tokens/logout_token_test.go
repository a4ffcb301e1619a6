package tokens

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// generated are generated once, since RSA keys take long.
var generated = sync.OnceValue(func() *SigningKeys {
	keys, _, err := GenerateSigningKeys()
	if err != nil {
		panic(err)
	}
	return keys
})

var signedAt = time.Date(2026, 5, 1, 12, 0, 0, 900_000_000, time.UTC)

func aLogoutToken() LogoutToken {
	return LogoutToken{Issuer: "https://op.example.com", ClientID: "shop", Subject: "alice", SessionID: "1", IssuedAt: signedAt}
}

// verified verifies a token with the published keys only, and returns its claims.
func verified(t testing.TB, keys *SigningKeys, token, alg string) map[string]any {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		t.Fatal(err)
	}
	header := parsed.Headers[0]
	if header.Algorithm != alg || header.ExtraHeaders["typ"] != "logout+jwt" || len(header.ExtraHeaders) != 1 {
		t.Errorf("the header is %+v", header)
	}
	for _, published := range keys.Published() {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(published.JWK); err != nil {
			t.Fatal(err)
		}
		if key.KeyID != header.KeyID {
			continue
		}
		claims := make(map[string]any)
		if err := parsed.Claims(key, &claims); err != nil || key.Algorithm != alg || key.Use != "sig" || key.KeyID != published.ID {
			t.Errorf("by the key %s of %s for %q: %v", key.KeyID, key.Algorithm, key.Use, err)
		}
		return claims
	}
	t.Fatalf("no published key has the kid %q", header.KeyID)
	return nil
}

func TestLogoutTokensHaveTheClaimsOfTheSpecification(t *testing.T) {
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		for name, tt := range map[string]struct {
			change func(*LogoutToken)
			want   string
		}{
			"sub and sid": {func(*LogoutToken) {}, "aud,events,exp,iat,iss,jti,sid,sub"},
			"sub alone":   {func(l *LogoutToken) { l.SessionID = "" }, "aud,events,exp,iat,iss,jti,sub"},
			"sid alone":   {func(l *LogoutToken) { l.Subject = "" }, "aud,events,exp,iat,iss,jti,sid"},
		} {
			t.Run(alg+" "+name, func(t *testing.T) {
				token := aLogoutToken()
				tt.change(&token)
				signed, err := generated().Sign(token, alg)
				if err != nil {
					t.Fatal(err)
				}
				claims := verified(t, generated(), signed, alg)
				if got := strings.Join(slices.Sorted(maps.Keys(claims)), ","); got != tt.want {
					t.Errorf("the claims are %s", got)
				}
				events, _ := json.Marshal(claims["events"])
				if claims["iss"] != token.Issuer || claims["aud"] != token.ClientID || string(events) != `{"http://schemas.openid.net/event/backchannel-logout":{}}` {
					t.Errorf("the claims are %v", claims)
				}
				if issued, expires := claims["iat"].(float64), claims["exp"].(float64); int64(issued) != signedAt.Unix() || expires-issued != 120 {
					t.Errorf("it is valid from %v to %v", issued, expires)
				}
			})
		}
	}
}

// Threat 9: a retry has a new jti.
func TestThreatEachTokenHasAnIDOfItsOwn(t *testing.T) {
	seen := make(map[any]bool)
	for range 100 {
		signed, err := generated().Sign(aLogoutToken(), "ES256")
		if err != nil {
			t.Fatal(err)
		}
		id := verified(t, generated(), signed, "ES256")["jti"]
		if len(id.(string)) != len(rand.Text()) || seen[id] {
			t.Fatalf("jti %v again, or of another length", id)
		}
		seen[id] = true
	}
}

func TestTheDefaultAlgorithmIsRS256(t *testing.T) {
	signed, err := generated().Sign(aLogoutToken(), "")
	if err != nil {
		t.Fatal(err)
	}
	verified(t, generated(), signed, "RS256")
	if !generated().supports("") || generated().supports("none") {
		t.Error("what is supported is another thing than what is signed")
	}
}

func TestTokensThatCannotBeSigned(t *testing.T) {
	for _, alg := range []string{"none", "HS256", "RS384", "ES384", "rs256", "ES256 "} {
		if signed, err := generated().Sign(aLogoutToken(), alg); !errors.Is(err, ErrNoSigningKey) || signed != "" || !strings.Contains(err.Error(), "ES256, EdDSA, PS256, RS256") {
			t.Errorf("%s: %v", alg, err)
		}
	}
	for name, change := range map[string]func(*LogoutToken){
		"no issuer": func(l *LogoutToken) { l.Issuer = "" }, "no client": func(l *LogoutToken) { l.ClientID = "" },
		"neither sub nor sid": func(l *LogoutToken) { l.Subject, l.SessionID = "", "" },
	} {
		token := aLogoutToken()
		change(&token)
		if _, err := generated().Sign(token, ""); !errors.Is(err, ErrLogoutToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			for b.Loop() {
				if _, err := generated().Sign(aLogoutToken(), alg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
