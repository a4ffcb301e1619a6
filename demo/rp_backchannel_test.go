package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// testIssuer is the OP of the logout tokens.
const testIssuer = "https://op.example.com"

// logoutKeys are the keys that the OP publishes. One is of another algorithm than the app's.
type logoutKeys struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
}

func newLogoutKeys(t *testing.T) logoutKeys {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return logoutKeys{r, e}
}

// app is an app at which alice is signed in twice, and bob once. The OP signs by both algorithms,
// as it does for apps of which another one is registered.
func (k logoutKeys) app(t *testing.T) *relyingParty {
	t.Helper()
	op := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
			{Key: k.rsa.Public(), KeyID: "rsa", Algorithm: "RS256", Use: "sig"}, {Key: k.ec.Public(), KeyID: "ec", Algorithm: "ES256", Use: "sig"},
		}})
	}))
	t.Cleanup(op.Close)
	config := oidc.ProviderConfig{IssuerURL: testIssuer, JWKSURL: op.URL, Algorithms: []string{"RS256", "ES256", "PS256"}}
	return &relyingParty{
		name:     "shop",
		verifier: config.NewProvider(t.Context()).Verifier(verifierConfig("shop")),
		client:   http.DefaultClient,
		used:     make(map[string]time.Time),
		sessions: map[string]rpSession{
			"one": {user: "alice", sid: "s1"}, "two": {user: "alice", sid: "s2"}, "three": {user: "bob", sid: "s3"},
		},
	}
}

// sign returns a token with a header of the given algorithm.
func (k logoutKeys) sign(t *testing.T, algorithm jose.SignatureAlgorithm, claims map[string]any) string {
	t.Helper()
	return k.signTyped(t, algorithm, "logout+jwt", claims)
}

// signTyped is sign with a typ; nil: none.
func (k logoutKeys) signTyped(t *testing.T, algorithm jose.SignatureAlgorithm, typ any, claims map[string]any) string {
	t.Helper()
	options := new(jose.SignerOptions)
	if typ != nil {
		options.WithHeader(jose.HeaderType, typ)
	}
	key, ok := map[jose.SignatureAlgorithm]any{jose.ES256: k.ec, jose.HS256: []byte("the secret of the app, 32 bytes!")}[algorithm]
	if !ok {
		key = k.rsa
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func goodClaims() map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": testIssuer, "aud": "shop", "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": rand.Text(),
		"sub": "alice", "sid": "s1", "events": map[string]any{logoutEvent: map[string]any{}},
	}
}

func (rp *relyingParty) post(token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, backchannelPath, strings.NewReader(url.Values{"logout_token": {token}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	rp.backchannelLogout(w, r.WithContext(context.Background()))
	return w
}

func TestALogoutTokenEndsWhatItNames(t *testing.T) {
	keys := newLogoutKeys(t)
	for name, test := range map[string]struct {
		change map[string]any // of the claims; nil: without it
		left   []string
	}{
		"a user's session":            {nil, []string{"two", "three"}},
		"a session":                   {map[string]any{"sub": nil}, []string{"two", "three"}},
		"all of a user's sessions":    {map[string]any{"sid": nil}, []string{"three"}},
		"a session of another user":   {map[string]any{"sub": "bob"}, []string{"one", "two", "three"}},
		"a session that is not there": {map[string]any{"sid": "s9"}, []string{"one", "two", "three"}},
		"with a member not known":     {map[string]any{"trace_id": 1}, []string{"two", "three"}},
	} {
		t.Run(name, func(t *testing.T) {
			rp := keys.app(t)
			w := rp.post(keys.sign(t, jose.RS256, changed(test.change)))
			if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("answered with %d, %v", w.Code, w.Header())
			}
			for _, value := range test.left {
				delete(rp.sessions, value)
			}
			if len(rp.sessions) != 0 || w.Code != http.StatusOK {
				t.Errorf("left besides %v: %v", test.left, rp.sessions)
			}
		})
	}
}

func changed(change map[string]any) map[string]any {
	claims := goodClaims()
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

func TestThreatALogoutTokenThatIsNoneEndsNothing(t *testing.T) {
	keys := newLogoutKeys(t)
	now := time.Now()
	for name, test := range map[string]struct {
		algorithm jose.SignatureAlgorithm
		change    map[string]any
	}{
		"by another algorithm that the OP has": {jose.ES256, nil},
		"by the app's secret":                  {jose.HS256, nil},
		"by another RSA algorithm":             {jose.PS256, nil},
		"for another app":                      {jose.RS256, map[string]any{"aud": "mail"}},
		"of another OP":                        {jose.RS256, map[string]any{"iss": "https://evil.example"}},
		"that has expired":                     {jose.RS256, map[string]any{"exp": now.Add(-time.Minute).Unix()}},
		"that never expires":                   {jose.RS256, map[string]any{"exp": nil}},
		"without an iat":                       {jose.RS256, map[string]any{"iat": nil}},
		"of the future":                        {jose.RS256, map[string]any{"iat": now.Add(time.Hour).Unix(), "exp": now.Add(2 * time.Hour).Unix()}},
		"without a jti":                        {jose.RS256, map[string]any{"jti": nil}},
		"of nobody":                            {jose.RS256, map[string]any{"sub": nil, "sid": nil}},
		"without events, as an ID token":       {jose.RS256, map[string]any{"events": nil}},
		"with an event that is null":           {jose.RS256, map[string]any{"events": map[string]any{logoutEvent: nil}}},
		"with an event that is a list":         {jose.RS256, map[string]any{"events": map[string]any{logoutEvent: []int{}}}},
		"with events that are a list":          {jose.RS256, map[string]any{"events": []string{logoutEvent}}},
		"with another event":                   {jose.RS256, map[string]any{"events": map[string]any{"https://example.com/other": map[string]any{}}}},
		"with a nonce":                         {jose.RS256, map[string]any{"nonce": "n"}},
		"with an empty nonce":                  {jose.RS256, map[string]any{"nonce": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			rp := keys.app(t)
			w := rp.post(keys.sign(t, test.algorithm, changed(test.change)))
			if w.Code != http.StatusBadRequest || len(rp.sessions) != 3 || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("answered with %d, %d of 3 sessions are left", w.Code, len(rp.sessions))
			}
		})
	}
	for name, token := range map[string]string{"nothing": "", "rubbish": "a.b.c", "unsigned": unsigned(t, keys)} {
		rp := keys.app(t)
		if w := rp.post(token); w.Code != http.StatusBadRequest || len(rp.sessions) != 3 {
			t.Errorf("%s: answered with %d", name, w.Code)
		}
	}
}

// unsigned is a good token with alg none.
func unsigned(t *testing.T, keys logoutKeys) string {
	parts := strings.Split(keys.sign(t, jose.RS256, goodClaims()), ".")
	return "eyJhbGciOiJub25lIn0." + parts[1] + "."
}

func TestThreatATokenOfAnotherTypeIsNoLogoutToken(t *testing.T) {
	keys := newLogoutKeys(t)
	for typ, want := range map[any]int{
		"logout+jwt": http.StatusOK, "application/logout+jwt": http.StatusOK, "JWT": http.StatusOK, nil: http.StatusOK,
		"at+jwt": http.StatusBadRequest, "secevent+jwt": http.StatusBadRequest, "": http.StatusBadRequest, 1: http.StatusBadRequest,
	} {
		if w := keys.app(t).post(keys.signTyped(t, jose.RS256, typ, goodClaims())); w.Code != want {
			t.Errorf("typ %v: answered with %d, want %d", typ, w.Code, want)
		}
	}
}

func TestThreatALogoutTokenCountsOnce(t *testing.T) {
	keys := newLogoutKeys(t)
	rp := keys.app(t)
	token := keys.sign(t, jose.RS256, goodClaims())
	if w := rp.post(token); w.Code != http.StatusOK {
		t.Fatalf("answered with %d", w.Code)
	}
	rp.sessions["again"] = rpSession{user: "alice", sid: "s1"}
	if w := rp.post(token); w.Code != http.StatusBadRequest || len(rp.sessions) != 3 {
		t.Errorf("answered with %d, %d sessions are left", w.Code, len(rp.sessions))
	}
	// a retry has a jti of its own
	if w := rp.post(keys.sign(t, jose.RS256, goodClaims())); w.Code != http.StatusOK || len(rp.sessions) != 2 {
		t.Errorf("answered with %d, %d sessions are left", w.Code, len(rp.sessions))
	}
}
