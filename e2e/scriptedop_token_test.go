package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// A tokenSigner signs ID tokens.
type tokenSigner struct {
	jose.Signer
	public jose.JSONWebKeySet
}

func newTokenSigner(t *testing.T) tokenSigner {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := jose.JSONWebKey{Key: private, KeyID: "1", Algorithm: string(jose.ES256), Use: "sig"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tokenSigner{signer, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}}
}

// token redeems a code, once.
func (o *scriptedOP) token(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	granted, ok := o.codes[r.PostFormValue("code")]
	delete(o.codes, r.PostFormValue("code"))
	o.mu.Unlock()
	if !ok || granted.client != r.PostFormValue("client_id") {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	now := time.Now()
	claims := map[string]any{
		"iss": o.issuer, "sub": granted.user, "aud": granted.client, "sid": granted.sid,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	if granted.nonce != "" {
		claims["nonce"] = granted.nonce
	}
	token, err := jwt.Signed(o.signer).Claims(claims).Serialize()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 3600, "id_token": token})
}
