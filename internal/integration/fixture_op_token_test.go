package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// token redeems a code once, whatever becomes of it: one that is tried with a wrong verifier is lost (RFC 7636, section 4.6).
func (op *scriptedOP) token(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("grant_type") == "refresh_token" {
		w.Header().Set("Content-Type", "application/json")
		op.give(w, map[string]any{})
		return
	}
	op.mu.Lock()
	g, ok := op.codes[r.FormValue("code")]
	delete(op.codes, r.FormValue("code"))
	op.mu.Unlock()
	expired := !g.expires.IsZero() && !op.now().Before(g.expires)
	w.Header().Set("Content-Type", "application/json")
	if !ok || expired || r.FormValue("grant_type") != "authorization_code" || g.challenge != "" && g.challenge != challengeOf(r.FormValue("code_verifier")) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant"}`)
		return
	}
	op.give(w, map[string]any{"id_token": op.idToken(g), "refresh_token": rand.Text()})
}

// give gives tokens.
func (op *scriptedOP) give(w http.ResponseWriter, response map[string]any) {
	response["access_token"], response["token_type"] = rand.Text(), "Bearer"
	if op.traits.ownSessionState || op.traits.ownCheckPage {
		response["session_state"] = ownSessionState
	}
	_ = json.NewEncoder(w).Encode(response)
}

// challengeOf is the code challenge of a verifier (RFC 7636, section 4.2).
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// opKey is what scripted OPs sign with.
var opKey = sync.OnceValue(func() jose.JSONWebKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: "of the OP", Algorithm: "ES256", Use: "sig"}
})

// rollOver replaces the key that the OP signs with.
func (op *scriptedOP) rollOver() {
	op.keysMu.Lock()
	defer op.keysMu.Unlock()
	op.rolled = true
}

// keyOf is what the OP signs a client's ID tokens with.
func (op *scriptedOP) keyOf(client string) jose.JSONWebKey {
	op.keysMu.Lock()
	defer op.keysMu.Unlock()
	if !op.traits.keyPerClient && op.rolled {
		client = "rolled over"
	} else if !op.traits.keyPerClient {
		return opKey()
	}
	key, found := op.keys[client]
	if !found {
		fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		key = jose.JSONWebKey{Key: fresh, KeyID: "of " + client, Algorithm: "ES256", Use: "sig"}
		op.keys[client] = key
	}
	return key
}

func (op *scriptedOP) jwks(w http.ResponseWriter, r *http.Request) {
	key := op.keyOf(r.PathValue("client"))
	public := key.Public()
	if op.traits.unnamedKey {
		public.KeyID = ""
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}})
	op.keysServed.Add(1)
}

func (op *scriptedOP) idToken(g grant) string {
	key := op.keyOf(g.clientID)
	if op.traits.unnamedTokens {
		key.KeyID = ""
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		panic(err)
	}
	claims := map[string]any{
		"iss": op.issuerOf(g.clientID), "sub": op.sub(g), "aud": g.clientID, "sid": g.sid, "iat": op.now().Unix(), "exp": op.now().Add(time.Hour).Unix(),
	}
	if op.traits.noSid {
		delete(claims, "sid")
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		panic(err)
	}
	return token
}

// sub is what a client knows a user by.
func (op *scriptedOP) sub(g grant) string {
	if op.traits.pairwise {
		return g.user + " at " + g.clientID
	}
	return g.user
}

// userOf is the user that a sub stands for.
func (*scriptedOP) userOf(sub string) string {
	user, _, _ := strings.Cut(sub, " at ")
	return user
}

// answered is the user that an authorization response is for, which nobody but the OP knows before its code is redeemed; empty for
// an error.
func (op *scriptedOP) answered(a answer) string {
	op.mu.Lock()
	defer op.mu.Unlock()
	if g, ok := op.codes[a.values.Get("code")]; ok {
		return g.user
	}
	return op.userOf(subOf(a.values.Get("id_token")))
}

// subOf is the sub of an ID token.
func subOf(idToken string) string {
	var claims struct {
		Sub string `json:"sub"`
	}
	if parts := strings.Split(idToken, "."); len(parts) == 3 {
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(payload, &claims)
	}
	return claims.Sub
}
