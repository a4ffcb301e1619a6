package tokens

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// A KeyName is what a JWK Set calls one of its keys for signatures (RFC 7517, section 4).
type KeyName struct {
	ID         string // kid; empty: it has none
	Thumbprint string // RFC 7638 with SHA-256, unpadded base64url; empty: of a kind that is not known here
	Algorithm  string // alg; empty: any that fits it
}

// KeyNames are those of the keys of an OP.
type KeyNames []KeyName

// ParseKeyNames reads what a JWK Set calls its keys for signatures. What is in the set and no key has no name. Its errors wrap ErrKeySet:
// it is none, or has more than MaxKeys keys.
func ParseKeyNames(document []byte) (KeyNames, error) {
	elements, _, err := keysMember(document)
	if err != nil {
		return nil, err
	}
	if len(elements) > MaxKeys {
		return nil, fmt.Errorf("%w of at most %d keys", ErrKeySet, MaxKeys)
	}
	var names KeyNames
	for _, element := range elements {
		if name, use := nameOf(element); use == "" || use == "sig" {
			names = append(names, name)
		}
	}
	return names, nil
}

// nameOf reads what a key is called and what it is for.
func nameOf(element json.RawMessage) (name KeyName, use string) {
	var members map[string]json.RawMessage // not a struct: the names are to be exact
	if json.Unmarshal(element, &members) != nil {
		return KeyName{}, ""
	}
	text := func(member string) (value string) {
		_ = json.Unmarshal(members[member], &value)
		return value
	}
	return KeyName{ID: text("kid"), Thumbprint: bareThumbprint(members), Algorithm: text("alg")}, text("use")
}

// bareThumbprint is that of the key alone: a certificate beside it that Go cannot read makes it no other key.
func bareThumbprint(members map[string]json.RawMessage) string {
	bare := make(map[string]json.RawMessage)
	for _, name := range []string{"kty", "n", "e", "crv", "x", "y"} {
		if member, there := members[name]; there {
			bare[name] = member
		}
	}
	document, err := json.Marshal(bare)
	if err != nil {
		return ""
	}
	var jwk jose.JSONWebKey
	if jwk.UnmarshalJSON(document) != nil {
		return ""
	}
	thumbprint, _ := thumbprintOf(jwk)
	return thumbprint
}

// thumbprintOf is the thumbprint of a key (RFC 7638) with SHA-256, unpadded base64url.
func thumbprintOf(jwk jose.JSONWebKey) (string, error) {
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// Complete reports whether every key has a kid.
func (n KeyNames) Complete() bool {
	for _, name := range n {
		if name.ID == "" {
			return false
		}
	}
	return true
}

// has reports whether a key has a kid.
func (n KeyNames) has(kid string) bool {
	for _, name := range n {
		if name.ID == kid {
			return true
		}
	}
	return false
}

// find returns what a key is called; if it is there more than once, the entry that fits an algorithm and has a kid, as far as there
// is one.
func (n KeyNames) find(thumbprint, algorithm string) (found KeyName, ok bool) {
	best := -1
	for _, name := range n {
		if name.Thumbprint != thumbprint || thumbprint == "" {
			continue
		}
		fits := 0
		if name.Algorithm == "" || name.Algorithm == algorithm {
			fits += 2
		}
		if name.ID != "" {
			fits++
		}
		if fits > best {
			found, ok, best = name, true, fits
		}
	}
	return found, ok
}

// same reports whether two JWKs are one key: equal byte for byte, or by their thumbprints, in whatever order their members are.
func same(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	first, _ := nameOf(a)
	second, _ := nameOf(b)
	return first.Thumbprint != "" && first.Thumbprint == second.Thumbprint
}
