package tokens

import (
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Beside reconciles the keys with those of an OP, which have these names:
//   - A key that the OP has itself signs under the OP's kid, if it has one there, by the algorithm
//     that the OP uses it for. It is not published.
//   - Any other key is published if add allows it. If another key of the OP has its kid, which is
//     then one of the clashes, its kid becomes its thumbprint.
//   - A key that cannot be published does not sign.
func (k *SigningKeys) Beside(op KeyNames, add bool) (reconciled *SigningKeys, clashes []string) {
	reconciled = new(SigningKeys)
	for _, key := range k.keys {
		name, found := op.find(key.thumbprint, string(key.algorithm))
		switch {
		case found:
			key.adopt(name)
		case !add:
			key.status = unpublished
		case op.has(key.kid):
			clashes = append(clashes, key.kid)
			key.useThumbprint(op.has(key.thumbprint) || k.hasKid(key.thumbprint))
		}
		reconciled.keys = append(reconciled.keys, key)
	}
	return reconciled, clashes
}

// adopt gives a key the OP's name for it, and the OP's algorithm.
func (k *signingKey) adopt(name KeyName) {
	k.kid, k.status = name.ID, opOwned
	if name.Algorithm == "" {
		return
	}
	k.algorithm = jose.SignatureAlgorithm(name.Algorithm)
	if _, err := k.signer(); err != nil {
		k.status = unpublished
	}
}

// useThumbprint makes the thumbprint the key's kid. If the kid is taken, somebody chose it on
// purpose, and the key is not published.
func (k *signingKey) useThumbprint(taken bool) {
	var err error
	k.kid = k.thumbprint
	if k.document, err = k.publicJWK(); err != nil || taken {
		k.status = unpublished
	}
}

// AreThere reports whether an OP has one of the keys itself.
func (k *SigningKeys) AreThere(op KeyNames) bool {
	reconciled, _ := k.Beside(op, false)
	return slices.ContainsFunc(reconciled.keys, func(key signingKey) bool {
		return key.status == opOwned
	})
}
