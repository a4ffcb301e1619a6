package oidcsession

import (
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// signingKeyName is where the generated keys that sign logout tokens are kept in Caddy's storage: a JWK Set of private keys.
const signingKeyName = "oidc_session/signing_keys"

// newSigningKeySource returns the source of the configured keys, or of generated ones when there are none.
func newSigningKeySource(documents [][]byte, storage keyStorage, logger *zap.Logger) (*keySource[*tokens.SigningKeys], error) {
	k := &keySource[*tokens.SigningKeys]{
		storage: storage, name: signingKeyName, logger: logger, now: time.Now,
		without: "the keys that sign logout tokens cannot be had from Caddy's storage; clients are told of sign-outs when they can",
		parse:   func(document []byte) (*tokens.SigningKeys, error) { return tokens.ParseSigningKeys(document) },
		generate: func() ([]byte, error) {
			_, document, err := tokens.GenerateSigningKeys()
			return document, err
		},
	}
	if len(documents) == 0 {
		return k, nil
	}
	keys, err := tokens.ParseSigningKeys(documents...)
	if err != nil {
		return nil, err
	}
	k.keys, k.has = keys, true
	return k, nil
}
