package tokens

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// namesOf returns the names in a JWK Set.
func namesOf(t *testing.T, keys ...jose.JSONWebKey) KeyNames {
	t.Helper()
	names, err := ParseKeyNames(must(json.Marshal(jose.JSONWebKeySet{Keys: keys})))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// publicJWK returns the public part of a key, with a name.
func publicJWK(key any, kid, alg string) jose.JSONWebKey {
	private := jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: alg, Use: "sig"}
	return private.Public()
}

func TestKeysAreReconciledWithTheOPs(t *testing.T) {
	ours := must(ParseSigningKeys(
		jwkOf(jose.JSONWebKey{Key: rsaTestKey(), KeyID: "rsa"}), jwkOf(jose.JSONWebKey{Key: p256TestKey(), KeyID: "ec"}),
	))
	rsaThumbprint := must(thumbprintOf(publicJWK(rsaTestKey(), "", "")))
	for name, tt := range map[string]struct {
		op        []jose.JSONWebKey
		add       bool
		signs     string // alg and kid, or "unpublished"
		published string
		clashes   string
	}{
		"beside others":            {[]jose.JSONWebKey{publicJWK(edTestKey(), "1", "")}, true, "RS256 rsa, ES256 ec", "rsa ec", ""},
		"where nothing is added":   {[]jose.JSONWebKey{publicJWK(edTestKey(), "1", "")}, false, "RS256 unpublished, ES256 unpublished", "", ""},
		"one of the OP's":          {[]jose.JSONWebKey{publicJWK(rsaTestKey(), "1", "")}, true, "RS256 1, ES256 ec", "ec", ""},
		"one of the OP's alone":    {[]jose.JSONWebKey{publicJWK(rsaTestKey(), "1", "")}, false, "RS256 1, ES256 unpublished", "", ""},
		"one without a kid":        {[]jose.JSONWebKey{publicJWK(rsaTestKey(), "", "")}, false, "RS256 , ES256 unpublished", "", ""},
		"one for an algorithm":     {[]jose.JSONWebKey{publicJWK(rsaTestKey(), "rsa", "RS256")}, true, "RS256 rsa, ES256 ec", "ec", ""},
		"one for another one":      {[]jose.JSONWebKey{publicJWK(rsaTestKey(), "rsa", "PS256")}, true, "PS256 rsa, ES256 ec", "ec", ""},
		"one that is there twice":  {[]jose.JSONWebKey{publicJWK(rsaTestKey(), "", ""), publicJWK(rsaTestKey(), "1", "")}, false, "RS256 1, ES256 unpublished", "", ""},
		"a kid that the OP has":    {[]jose.JSONWebKey{publicJWK(edTestKey(), "rsa", "")}, true, "RS256 " + rsaThumbprint + ", ES256 ec", rsaThumbprint + " ec", "rsa"},
		"a thumbprint it has, too": {[]jose.JSONWebKey{publicJWK(edTestKey(), "rsa", ""), publicJWK(edTestKey(), rsaThumbprint, "")}, true, "RS256 unpublished, ES256 ec", "ec", "rsa"},
	} {
		t.Run(name, func(t *testing.T) {
			reconciled, clashes := ours.Beside(namesOf(t, tt.op...), tt.add)
			var signs, published []string
			for _, alg := range []string{"RS256", "PS256", "ES256"} {
				if reconciled.supports(alg) {
					signs = append(signs, alg+" "+kidOf(t, reconciled, alg))
				}
			}
			for _, key := range reconciled.Published() {
				published = append(published, key.ID)
				var jwk jose.JSONWebKey
				if err := jwk.UnmarshalJSON(key.JWK); err != nil || jwk.KeyID != key.ID || !jwk.IsPublic() {
					t.Errorf("%s is published as %s", key.ID, key.JWK)
				}
			}
			if got := strings.Join(signs, ", "); got != tt.signs {
				t.Errorf("they sign by %s", got)
			}
			if got := strings.Join(published, " "); got != tt.published || strings.Join(clashes, " ") != tt.clashes {
				t.Errorf("published are %s, clashes %q", got, clashes)
			}
			if _, err := reconciled.Sign(aLogoutToken(), "HS256"); !errors.Is(err, ErrNoSigningKey) {
				t.Errorf("by HS256: %v", err)
			}
		})
	}
	if got := kidOf(t, ours, "RS256"); got != "rsa" || len(ours.Published()) != 2 {
		t.Errorf("the keys themselves have changed: %s", got)
	}
}

// kidOf returns the kid of a token signed by an algorithm.
func kidOf(t *testing.T, keys *SigningKeys, alg string) string {
	t.Helper()
	signed, err := keys.Sign(aLogoutToken(), alg)
	if errors.Is(err, ErrWithheld) {
		return "unpublished"
	}
	parsed, err := jose.ParseSignedCompact(signed, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Signatures[0].Header.KeyID
}

func TestAreThereReportsWhetherTheOPHasAKey(t *testing.T) {
	other := jose.JSONWebKey{Key: edTestKey(), KeyID: "new"}
	ours := must(ParseSigningKeys(jwkOf(other), jwkOf(jose.JSONWebKey{Key: p256TestKey(), KeyID: "a"})))
	for name, want := range map[string]bool{"the OP's": true, "another": false} {
		op := publicJWK(rsaTestKey(), "1", "")
		if want {
			op = publicJWK(p256TestKey(), "1", "")
		}
		if got := ours.AreThere(namesOf(t, op)); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestParseKeyNames(t *testing.T) {
	thumbprint := must(thumbprintOf(publicJWK(edTestKey(), "", "")))
	var bare map[string]any
	if err := json.Unmarshal(jwkOf(publicJWK(edTestKey(), "", "")), &bare); err != nil {
		t.Fatal(err)
	}
	with := func(member string, value any) string {
		all := map[string]any{"x5c": []string{"no certificate"}}
		maps.Copy(all, bare)
		all[member] = value
		return `{"keys":[` + string(must(json.Marshal(all))) + `]}`
	}
	for name, tt := range map[string]struct {
		document string
		want     KeyNames
	}{
		"a kid":                   {with("kid", "1"), KeyNames{{"1", thumbprint, ""}}},
		"none":                    {with("kid", ""), KeyNames{{"", thumbprint, ""}}},
		"an algorithm":            {with("alg", "EdDSA"), KeyNames{{"", thumbprint, "EdDSA"}}},
		"a kid of another type":   {with("kid", 1), KeyNames{{"", thumbprint, ""}}},
		"a member that is no kid": {with("KID", "1"), KeyNames{{"", thumbprint, ""}}},
		"a key for encryption":    {with("use", "enc"), nil},
		"a key of another kind":   {`{"keys":[{"kty":"X","kid":"1"}]}`, KeyNames{{"1", "", ""}}},
		"what is no key":          {`{"keys":[1,null,"a",[]]}`, KeyNames{{}, {}, {}, {}}},
		"nothing":                 {`{"keys":[]}`, nil},
	} {
		if got, err := ParseKeyNames([]byte(tt.document)); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, document := range []string{"", "[]", `{"keys":{}}`, `{"keys":[` + strings.Repeat("{},", MaxKeys) + `{}]}`} {
		if _, err := ParseKeyNames([]byte(document)); !errors.Is(err, ErrKeySet) {
			t.Errorf("%.20s: %v", document, err)
		}
	}
}

func FuzzParseKeyNames(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"1"},1]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		names, err := ParseKeyNames(document)
		if err != nil {
			return
		}
		reconciled, _ := generated().Beside(names, names.Complete())
		if _, err := MergeKeys(document, reconciled.Published()); err != nil {
			t.Errorf("it has names, and cannot be merged: %v", err)
		}
	})
}
