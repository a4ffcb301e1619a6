package tokens

import (
	"crypto/rsa"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// A KeySet holds public keys of an OP (RFC 7517, section 5). It never changes. The zero value is
// empty.
type KeySet struct {
	keys     []setKey
	tooLarge int
}

type setKey struct {
	id  string // the thumbprint (RFC 7638) with SHA-256, unpadded base64url
	jwk jose.JSONWebKey
}

// A Key is a public key in a form that can be stored.
type Key struct {
	ID  string // its thumbprint (RFC 7638) with SHA-256, unpadded base64url
	JWK []byte // the public key as JSON (RFC 7517)
}

// MaxKeys is how many keys of one document are used. The others are ignored.
const MaxKeys = 64

// maxSetKeys is how many keys a set holds, those of several documents together.
const maxSetKeys = 4 * MaxKeys

// Bounds of RSA keys. RFC 7518, section 3.3, requires at least 2048 bits. With more than 4096,
// verification is too slow.
const (
	minRSABits = 2048
	maxRSABits = 4096
	maxModulus = maxRSABits/8*4/3 + 1 // characters of base64url
)

// ErrKeySet says that a document is not a key set.
var ErrKeySet = errors.New("no JSON Web Key Set")

// ParseKeySet reads a document with public keys. It ignores keys that are private, symmetric,
// invalid, not for signatures, too small or too large. Its only error is [ErrKeySet].
func ParseKeySet(document []byte) (KeySet, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &raw); err != nil || raw.Keys == nil {
		return KeySet{}, ErrKeySet
	}
	var set KeySet
	for _, one := range raw.Keys[:min(len(raw.Keys), MaxKeys)] {
		set.add(one)
	}
	return set, nil
}

// NewKeySet returns a set of stored keys. It ignores those that cannot be read.
func NewKeySet(keys []Key) KeySet {
	var set KeySet
	for _, key := range keys {
		set.add(key.JWK)
	}
	return set
}

func (s *KeySet) add(document []byte) {
	var size struct {
		Modulus string `json:"n"`
	}
	if json.Unmarshal(document, &size) == nil && len(size.Modulus) > maxModulus {
		s.tooLarge++
		return
	}
	var jwk jose.JSONWebKey
	if jwk.UnmarshalJSON(document) != nil || !isUsable(jwk) || len(s.keys) >= maxSetKeys {
		return
	}
	thumbprint, err := thumbprintOf(jwk)
	if err != nil {
		return
	}
	s.keys = append(s.keys, setKey{thumbprint, jwk})
}

func isUsable(jwk jose.JSONWebKey) bool {
	if !jwk.Valid() || !jwk.IsPublic() || jwk.Use != "" && jwk.Use != "sig" {
		return false
	}
	if key, isRSA := jwk.Key.(*rsa.PublicKey); isRSA {
		return key.N.BitLen() >= minRSABits
	}
	return true
}

// TooLarge returns how many RSA keys were ignored because they have more than 4096 bits.
func (s KeySet) TooLarge() int { return s.tooLarge }

// Len returns the number of keys.
func (s KeySet) Len() int { return len(s.keys) }

// Has reports whether a key has the kid.
func (s KeySet) Has(kid string) bool {
	return slices.ContainsFunc(s.keys, func(key setKey) bool { return key.jwk.KeyID == kid })
}

// Keys returns the keys in a form that can be stored.
func (s KeySet) Keys() []Key {
	var keys []Key
	for _, key := range s.keys {
		bare := jose.JSONWebKey{ // without certificates
			Key: key.jwk.Key, KeyID: key.jwk.KeyID, Algorithm: key.jwk.Algorithm, Use: key.jwk.Use,
		}
		if document, err := bare.MarshalJSON(); err == nil {
			keys = append(keys, Key{ID: key.id, JWK: document})
		}
	}
	return keys
}

// With returns the keys of both sets, each once, those of s first.
func (s KeySet) With(more KeySet) KeySet {
	both := KeySet{keys: append([]setKey(nil), s.keys...)}
	for _, key := range more.keys {
		if !both.holds(key.id, key.jwk.KeyID) && len(both.keys) < maxSetKeys {
			both.keys = append(both.keys, key)
		}
	}
	return both
}

func (s KeySet) holds(id, kid string) bool {
	return slices.ContainsFunc(s.keys, func(key setKey) bool {
		return key.id == id && key.jwk.KeyID == kid
	})
}

// maxTried is how many keys are tried for one signature.
const maxTried = 8

// candidates returns the keys that may have signed: those of the kid, or all if the token has
// none.
func (s KeySet) candidates(kid string, algorithm jose.SignatureAlgorithm) []jose.JSONWebKey {
	var fitting []jose.JSONWebKey
	for _, key := range s.keys {
		named := kid == "" || key.jwk.KeyID == kid
		fits := key.jwk.Algorithm == "" || key.jwk.Algorithm == string(algorithm)
		if named && fits && len(fitting) < maxTried {
			fitting = append(fitting, key.jwk)
		}
	}
	return fitting
}
