package tokens_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/tokens"
)

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// jwt returns a JWT whose signature is not verified.
func jwt(header, claims string) string {
	return encode(header) + "." + encode(claims) + "." + encode("signature")
}

const header = `{"alg":"RS256","kid":"1"}`

func TestReadIDToken(t *testing.T) {
	want := tokens.IDToken{Issuer: "https://op.example.com", Subject: "alice", Audience: []string{"shop"}, SessionID: "1"}
	withoutSID, two := want, want
	withoutSID.SessionID = ""
	two.Audience = []string{"shop", "mail"}
	longest := want
	longest.Subject = strings.Repeat("a", 255)
	tests := []struct {
		name, token string
		want        tokens.IDToken
	}{
		{"with sid", jwt(header, `{"iss":"https://op.example.com","sub":"alice","aud":"shop","sid":"1"}`), want},
		{"without sid", jwt(header, `{"iss":"https://op.example.com","sub":"alice","aud":"shop"}`), withoutSID},
		{"with an audience in an array", jwt(header, `{"iss":"https://op.example.com","sub":"alice","aud":["shop"],"sid":"1"}`), want},
		{"for two clients", jwt(header, `{"iss":"https://op.example.com","sub":"alice","aud":["shop","mail"],"sid":"1"}`), two},
		{"with the longest sub", jwt(header, `{"iss":"https://op.example.com","sub":"`+longest.Subject+`","aud":"shop","sid":"1"}`), longest},
		{
			"with all that an OP may add",
			jwt(`{"alg":"ES256","typ":"JWT","x5t":"x"}`, `{"iss":"https://op.example.com","sub":"alice","aud":"shop","sid":"1","exp":1700000000,"iat":1.7e9,"nonce":"n","amr":["pwd"],"address":{"x":[1e400]}}`),
			want,
		},
		{"signed with a client's secret", jwt(`{"alg":"HS256"}`, `{"iss":"https://op.example.com","sub":"alice","aud":"shop","sid":"1"}`), want},
		{"signed with EdDSA", jwt(`{"alg":"EdDSA"}`, `{"iss":"https://op.example.com","sub":"alice","aud":"shop","sid":"1"}`), want},
		{"long expired", jwt(header, `{"iss":"https://op.example.com","sub":"alice","aud":"shop","sid":"1","exp":1}`), want},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tokens.ReadIDToken(tt.token)
			if err != nil || !equal(got, tt.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestReadIDTokenReturnsTheKeyID(t *testing.T) {
	for header, want := range map[string]tokens.IDToken{
		`{"alg":"RS256","kid":"1"}`: {KeyID: "1"}, `{"alg":"ES256"}`: {}, `{"alg":"EdDSA","kid":""}`: {}, `{"alg":"PS256","KID":"1"}`: {},
		`{"alg":"HS256"}`: {Algorithm: "HS256"}, `{"alg":"HS512","kid":"1"}`: {KeyID: "1", Algorithm: "HS512"},
	} {
		got, err := tokens.ReadIDToken(jwt(header, `{"iss":"i","sub":"alice","aud":"shop"}`))
		if err != nil || got.KeyID != want.KeyID || got.Symmetric() != want.Symmetric() {
			t.Errorf("%s: got %+v, %v", header, got, err)
		}
	}
}

func equal(a, b tokens.IDToken) bool {
	return a.Issuer == b.Issuer && a.Subject == b.Subject && a.SessionID == b.SessionID && slices.Equal(a.Audience, b.Audience)
}

func TestReadIDTokenRefuses(t *testing.T) {
	good := jwt(header, `{"iss":"i","sub":"alice-the-secret","aud":"shop"}`)
	tests := []struct{ name, token string }{
		{"nothing", ""},
		{"no JWT", "alice-the-secret"},
		{"two parts", strings.Join(strings.Split(good, ".")[:2], ".")},
		{"four parts", good + ".x"},
		{"encryption", encode(`{"alg":"RSA-OAEP","enc":"A256GCM"}`) + ".a.b.c.d"},
		{"no signature algorithm", jwt(`{"alg":"none"}`, `{"iss":"i","sub":"alice-the-secret","aud":"shop"}`)},
		{"no algorithm", jwt(`{}`, `{"iss":"i","sub":"alice-the-secret","aud":"shop"}`)},
		{"an unknown algorithm", jwt(`{"alg":"X"}`, `{"iss":"i","sub":"alice-the-secret","aud":"shop"}`)},
		{"JWS in JSON", `{"payload":"` + encode(`{"sub":"alice-the-secret"}`) + `","protected":"` + encode(header) + `","signature":""}`},
		{"claims that are no object", jwt(header, `["alice-the-secret"]`)},
		{"claims that are no JSON", jwt(header, `{"sub":"alice-the-secret"`)},
		{"no sub", jwt(header, `{"iss":"i","aud":"shop"}`)},
		{"an empty sub", jwt(header, `{"iss":"i","sub":"","aud":"shop"}`)},
		{"a sub that is a number", jwt(header, `{"iss":"i","sub":4711,"aud":"shop"}`)},
		{"too long a sub", jwt(header, `{"iss":"i","sub":"`+strings.Repeat("s", 256)+`","aud":"shop"}`)},
		{"too long a sid", jwt(header, `{"iss":"i","sub":"s","aud":"shop","sid":"`+strings.Repeat("s", 256)+`"}`)},
		{"a sid that is a number", jwt(header, `{"iss":"i","sub":"s","aud":"shop","sid":1}`)},
		{"no aud", jwt(header, `{"iss":"i","sub":"alice-the-secret"}`)},
		{"an empty aud", jwt(header, `{"iss":"i","sub":"alice-the-secret","aud":[]}`)},
		{"an aud of numbers", jwt(header, `{"iss":"i","sub":"alice-the-secret","aud":[1]}`)},
		{"a token that is too long", jwt(header, `{"iss":"i","sub":"s","aud":"shop","x":"`+strings.Repeat("x", tokens.MaxIDToken)+`"}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tokens.ReadIDToken(tt.token)
			if !errors.Is(err, tokens.ErrUnreadable) || !equal(got, tokens.IDToken{}) {
				t.Errorf("got %+v, %v", got, err)
			}
			if strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("the token is in the error: %v", err)
			}
		})
	}
}

func FuzzReadIDToken(f *testing.F) {
	f.Add(header, `{"iss":"i","sub":"s","aud":"shop","sid":"1"}`)
	f.Add(header, `{"iss":"i","sub":"s","aud":["a","b"],"exp":1e300}`)
	f.Add(`{"alg":"none"}`, `{}`)
	f.Add(`{"alg":"HS256","crit":["x"]}`, `{"sub":"a","sub":"b","aud":"c"}`)
	f.Fuzz(func(t *testing.T, header, claims string) {
		for _, token := range []string{jwt(header, claims), header + "." + claims, claims} {
			got, err := tokens.ReadIDToken(token)
			switch {
			case err != nil:
				if !errors.Is(err, tokens.ErrUnreadable) || !equal(got, tokens.IDToken{}) {
					t.Fatalf("%q gave %+v, %v", token, got, err)
				}
			case got.Subject == "" || len(got.Subject) > 255 || len(got.SessionID) > 255 || len(got.Audience) == 0:
				t.Fatalf("%q gave %+v", token, got)
			}
		}
	})
}
