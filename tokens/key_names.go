package tokens

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// A KeyName identifies a signature key in a JWK Set (RFC 7517, section 4).
type KeyName struct {
	ID         string // kid; empty: it has none
	Thumbprint string // RFC 7638 with SHA-256, unpadded base64url; empty: unknown type of key
	Algorithm  string // alg; empty: any that fits the key
}

// KeyNames are the names of an OP's keys.
type KeyNames []KeyName

// ParseKeyNames returns the names of the signature keys in a JWK Set. Elements that are not keys
// have the zero name. Its errors wrap [ErrKeySet]: the document is not a JWK Set, or has more than
// [MaxKeys] keys.
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

// nameOf returns the name of a JWK, and its use.
func nameOf(element json.RawMessage) (name KeyName, use string) {
	var members map[string]json.RawMessage // unlike a struct, this needs the exact names
	if json.Unmarshal(element, &members) != nil {
		return KeyName{}, ""
	}
	text := func(member string) (value string) {
		_ = json.Unmarshal(members[member], &value)
		return value
	}
	name = KeyName{ID: text("kid"), Thumbprint: bareThumbprint(members), Algorithm: text("alg")}
	return name, text("use")
}

// bareThumbprint returns the thumbprint of the key alone, even if Go cannot read its certificate.
func bareThumbprint(members map[string]json.RawMessage) string {
	bare := make(map[string]json.RawMessage)
	for _, name := range []string{"kty", "n", "e", "crv", "x", "y"} {
		if member, found := members[name]; found {
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

// thumbprintOf returns the thumbprint of a key (RFC 7638) with SHA-256, in unpadded base64url.
func thumbprintOf(jwk jose.JSONWebKey) (string, error) {
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// Complete reports whether every key has a kid.
func (n KeyNames) Complete() bool { return !n.has("") }

// has reports whether a key has a kid.
func (n KeyNames) has(kid string) bool {
	return slices.ContainsFunc(n, func(name KeyName) bool { return name.ID == kid })
}

// find returns the name of a key. If there are several, it prefers one that fits the algorithm,
// then one with a kid.
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

// same reports whether two JWKs are the same key: they are equal, or their thumbprints are.
func same(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	first, _ := nameOf(a)
	second, _ := nameOf(b)
	return first.Thumbprint != "" && first.Thumbprint == second.Thumbprint
}
