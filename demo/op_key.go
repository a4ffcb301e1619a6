package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// signingKey signs the OP's ID tokens; a new one at each start. It implements op.SigningKey.
type signingKey struct {
	id      string
	private *rsa.PrivateKey
}

func newSigningKey() (signingKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return signingKey{}, fmt.Errorf("generating the OP's signing key: %w", err)
	}
	return signingKey{id: rand.Text(), private: private}, nil
}

func (k signingKey) ID() string                                  { return k.id }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k signingKey) Key() any                                    { return k.private }

// verificationKey is its public half, as the OP publishes it. It implements op.Key.
type verificationKey struct{ signingKey }

func (k verificationKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k verificationKey) Use() string                        { return "sig" }
func (k verificationKey) Key() any                           { return &k.private.PublicKey }

// SigningKey returns the key that signs ID tokens.
func (s *opStore) SigningKey(context.Context) (op.SigningKey, error) { return s.key, nil }

// KeySet returns the keys that verify them.
func (s *opStore) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{verificationKey{s.key}}, nil
}

// SignatureAlgorithms returns the algorithms they are signed with.
func (s *opStore) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}
