package sessionstate

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
)

// MinKeyLength is the least length of a shared key, in bytes.
const MinKeyLength = 32

// Errors of [NewKeyring].
var (
	ErrNoKey        = errors.New("no shared key")
	ErrEmptyKey     = errors.New("shared key is empty")
	ErrShortKey     = errors.New("shared key is too short")
	ErrDuplicateKey = errors.New("shared key is given twice")
)

// A Keyring holds the shared keys. The first one seals and makes new values; all of them open and
// verify. To rotate a key, add the new one behind the old one on all servers, then move it to the
// front, then remove the old one.
//
// Each use has a key of its own, derived by HKDF (RFC 5869) with SHA-256 and a label that names
// the use. Servers with the same keys compute the same values. A Keyring is safe for concurrent
// use.
type Keyring struct {
	keys []sharedKey // never empty

	mu      sync.RWMutex
	sealing map[sealUse][]cipher.AEAD // derived, for speed
}

// A sharedKey is what HKDF extracted from one secret.
type sharedKey []byte

// extractSalt separates this package's keys from other uses of the same secret.
const extractSalt = "caddy-oidc-session v1"

// NewKeyring returns a keyring of one or several secrets of at least [MinKeyLength] bytes. They
// are used as they are, without any decoding. It fails with ErrNoKey, ErrEmptyKey, ErrShortKey or
// ErrDuplicateKey. The error names the key by its position, never by its content.
func NewKeyring(secrets ...[]byte) (*Keyring, error) {
	if len(secrets) == 0 {
		return nil, ErrNoKey
	}
	ring := &Keyring{sealing: make(map[sealUse][]cipher.AEAD)}
	for i, secret := range secrets {
		switch {
		case len(bytes.TrimSpace(secret)) == 0:
			return nil, fmt.Errorf("%w (key %d)", ErrEmptyKey, i+1)
		case len(secret) < MinKeyLength:
			return nil, fmt.Errorf("%w (key %d has %d bytes, at least %d are needed)",
				ErrShortKey, i+1, len(secret), MinKeyLength)
		}
		key, err := newSharedKey(secret)
		if err != nil {
			return nil, err
		}
		for _, other := range ring.keys {
			if hmac.Equal(other, key) {
				return nil, fmt.Errorf("%w (key %d)", ErrDuplicateKey, i+1)
			}
		}
		ring.keys = append(ring.keys, key)
	}
	return ring, nil
}

func newSharedKey(secret []byte) (sharedKey, error) {
	key, err := hkdf.Extract(sha256.New, secret, []byte(extractSalt))
	if err != nil {
		return nil, fmt.Errorf("deriving from the shared key: %w", err)
	}
	if _, err := chacha20poly1305.NewX(key); err != nil { // GODEBUG=fips140=only forbids it
		return nil, fmt.Errorf("sealing with the shared key: %w", err)
	}
	return key, nil
}

// derive returns n bytes for one use. The parts of the label are kept apart by their lengths, so
// that no two lists of parts give the same label.
func (k sharedKey) derive(n int, parts ...string) []byte {
	label := make([]byte, 0, 128)
	for _, part := range parts {
		label = binary.BigEndian.AppendUint16(label, uint16(len(part)))
		label = append(label, part...)
	}
	out, err := hkdf.Expand(sha256.New, k, string(label), n)
	if err != nil {
		panic(err) // only for more bytes than HKDF can give: a programming error
	}
	return out
}
