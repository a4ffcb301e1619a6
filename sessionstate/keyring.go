package sessionstate

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"sync"
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

// A Keyring holds the shared keys. The first one seals and makes new values; all of them open and verify, so that a key can be
// rotated: first new behind old on all servers, then before it, then alone.
//
// Every use has a key of its own, derived by HKDF (RFC 5869) with SHA-256 and a label that names the use. Servers with the same
// keys compute the same values. A Keyring never changes and is safe for concurrent use.
type Keyring struct {
	keys []derivedKey // never empty
}

// derivedKey is one shared key: what HKDF extracted from it.
type derivedKey struct {
	id   [4]byte
	prk  []byte
	macs *sync.Pool // of hash.Hash: HMAC-SHA256 under prk
}

// extractSalt separates this package's keys from whatever else the same secret may serve for.
const extractSalt = "caddy-oidc-session v1"

// NewKeyring makes a keyring of one or several secrets, at least [MinKeyLength] bytes each, which are taken as they are: no
// encoding is undone. It fails with ErrNoKey, ErrEmptyKey, ErrShortKey or ErrDuplicateKey; the error names the key by its
// place, never by its content.
func NewKeyring(secrets ...[]byte) (*Keyring, error) {
	if len(secrets) == 0 {
		return nil, ErrNoKey
	}
	ring := &Keyring{}
	for i, secret := range secrets {
		switch {
		case len(bytes.TrimSpace(secret)) == 0:
			return nil, fmt.Errorf("%w (key %d)", ErrEmptyKey, i+1)
		case len(secret) < MinKeyLength:
			return nil, fmt.Errorf("%w (key %d has %d bytes, at least %d are needed)", ErrShortKey, i+1, len(secret), MinKeyLength)
		}
		key, err := newDerivedKey(secret)
		if err != nil {
			return nil, err
		}
		for _, other := range ring.keys {
			if hmac.Equal(other.prk, key.prk) {
				return nil, fmt.Errorf("%w (key %d)", ErrDuplicateKey, i+1)
			}
		}
		ring.keys = append(ring.keys, key)
	}
	return ring, nil
}

func newDerivedKey(secret []byte) (derivedKey, error) {
	prk, err := hkdf.Extract(sha256.New, secret, []byte(extractSalt))
	if err != nil {
		return derivedKey{}, fmt.Errorf("deriving from the shared key: %w", err)
	}
	key := derivedKey{prk: prk, macs: &sync.Pool{New: func() any { return hmac.New(sha256.New, prk) }}}
	copy(key.id[:], key.derive(len(key.id), "key id"))
	return key, nil
}

// derive returns n bytes for one use. The parts of the label are kept apart by their lengths, so that no two lists of parts
// give the same label.
func (k derivedKey) derive(n int, parts ...string) []byte {
	label := make([]byte, 0, 128)
	for _, part := range parts {
		label = append(label, byte(len(part)>>8), byte(len(part)))
		label = append(label, part...)
	}
	return k.expand(label, n)
}

// expand is HKDF-Expand (RFC 5869, section 2.3) with SHA-256, for up to 255 hashes. crypto/hkdf sets its HMAC up anew each time, which
// costs more than the rest, and every check of a session_state derives a key.
func (k derivedKey) expand(info []byte, n int) []byte {
	if n > 255*sha256.Size {
		panic("more than HKDF can give") // a programming error
	}
	mac := k.macs.Get().(hash.Hash)
	defer k.macs.Put(mac)
	out := make([]byte, 0, n+sha256.Size)
	for counter := byte(1); len(out) < n; counter++ {
		last := out[max(0, len(out)-sha256.Size):]
		mac.Reset()
		mac.Write(last)
		mac.Write(info)
		mac.Write([]byte{counter})
		out = mac.Sum(out)
	}
	return out[:n]
}
