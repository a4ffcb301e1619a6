package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// An op is the least of an OpenID Provider: it has a discovery document and signs everybody in at
// once.
type op struct {
	issuer  string
	address string // host:port
	server  *http.Server
	key     jose.JSONWebKey // that it signs with: RSA with 2048 bits
}

// startOP starts an OP for an issuer.
func startOP(issuer string) (*op, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	o := &op{issuer: issuer, address: listener.Addr().String(), key: jose.JSONWebKey{Key: key, KeyID: "1", Algorithm: "RS256", Use: "sig"}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+discoveryPath, o.discovery)
	mux.HandleFunc("GET /authorize", authorize)
	mux.HandleFunc("GET /jwks", o.jwks)
	o.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = o.server.Serve(listener) }()
	return o, nil
}

func (o *op) stop() { _ = o.server.Close() }

const discoveryPath = "/.well-known/openid-configuration"

func (o *op) discovery(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"issuer":                  o.issuer,
		"authorization_endpoint":  o.issuer + "/authorize",
		"token_endpoint":          o.issuer + "/token",
		"subject_types_supported": []string{"public"},
		"jwks_uri":                o.issuer + "/jwks",
	})
}

func (o *op) jwks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{o.key.Public()}})
}

// hint returns an ID token of the shop's.
func (o *op) hint() (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: o.key}, nil)
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(map[string]any{
		"iss": o.issuer, "sub": "alice", "aud": "shop", "sid": "a session of the OP", "nonce": "a nonce",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}).Serialize()
}

func authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	answer := url.Values{"code": {"a code"}, "state": {query.Get("state")}}
	http.Redirect(w, r, query.Get("redirect_uri")+"?"+answer.Encode(), http.StatusFound)
}

// signIn signs in at the site that is reached at an address, for one client, and returns the
// session_state of the answer.
func (o *op) signIn(address string) (string, error) {
	query := url.Values{
		"client_id": {"shop"}, "redirect_uri": {"https://shop.example/cb"}, "response_type": {"code"}, "scope": {"openid"}, "state": {"a state"},
	}
	response, err := get(o.issuer, address, "/authorize?"+query.Encode())
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	location, err := response.Location()
	if err != nil {
		return "", err
	}
	state := location.Query().Get("session_state")
	if state == "" {
		return "", errors.New("the answer has no session_state")
	}
	return state, nil
}

// get asks a site at an address, under the issuer's name, which resolvers need not know. Redirects
// are not followed.
func get(issuer, address, target string) (*http.Response, error) {
	named, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Timeout:       20 * time.Second,
		Transport:     &http.Transport{IdleConnTimeout: time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequest(http.MethodGet, "http://"+address+target, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Host = named.Host
	return client.Do(request)
}
