package tokens

import "github.com/go-jose/go-jose/v4"

// Beside returns the keys as they sign beside those of an OP, which are called by these names:
//   - A key that the OP has itself signs under the OP's own kid, or under none where the OP gives it none, by the algorithm that the OP
//     uses it for, and is not published.
//   - Any other is added, if add allows it. Its kid is its thumbprint if another key of the OP has its own, which is one of the clashes.
//   - What cannot be added signs nothing and is not published.
func (k *SigningKeys) Beside(op KeyNames, add bool) (beside *SigningKeys, clashes []string) {
	beside = new(SigningKeys)
	for _, key := range k.keys {
		name, found := op.find(key.thumbprint, string(key.algorithm))
		switch {
		case found:
			key.become(name)
		case !add:
			key.place = withheld
		case op.has(key.kid):
			clashes = append(clashes, key.kid)
			key.renamed(op.has(key.thumbprint) || k.hasKid(key.thumbprint))
		}
		beside.keys = append(beside.keys, key)
	}
	return beside, clashes
}

// become makes a key the OP's own, for what the OP uses it.
func (k *signingKey) become(name KeyName) {
	k.kid, k.place = name.ID, there
	if name.Algorithm == "" {
		return
	}
	k.algorithm = jose.SignatureAlgorithm(name.Algorithm)
	if _, err := k.signer(); err != nil {
		k.place = withheld
	}
}

// renamed gives a key the kid that no other key can have; one that has it all the same is no honest one.
func (k *signingKey) renamed(taken bool) {
	var err error
	k.kid = k.thumbprint
	if k.document, err = k.publicJWK(); err != nil || taken {
		k.place = withheld
	}
}

// AreThere reports whether an OP has one of the keys itself.
func (k *SigningKeys) AreThere(op KeyNames) bool {
	beside, _ := k.Beside(op, false)
	for _, key := range beside.keys {
		if key.place == there {
			return true
		}
	}
	return false
}
