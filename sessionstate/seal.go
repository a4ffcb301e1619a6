package sessionstate

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"
)

// ErrSeal says that a sealed value was not made by these keys for this purpose and issuer, or was
// changed since. It does not say which: the sender must not learn more.
var ErrSeal = errors.New("not sealed here for this use")

// MaxSealed is the longest sealed value that [Keyring.Open] accepts, in characters. Cookies are
// shorter (browsers keep 4096); a value in a form or URL may be as long.
const MaxSealed = 32 << 10

// A sealed value is the format (1 byte), a random nonce, and the XChaCha20-Poly1305 ciphertext.
// With nonces of 192 bits, one key can seal any number of values.
const (
	sealFormat   = 2
	sealText     = 1 + chacha20poly1305.NonceSizeX
	sealOverhead = sealText + chacha20poly1305.Overhead
)

// base64url is unpadded. Each value has one encoding only, except that line ends are ignored.
var base64url = base64.RawURLEncoding.Strict()

// Seal encrypts and authenticates a value under the first key: unpadded base64url, 41 bytes longer
// than the value before encoding. Only [Keyring.Open] with the same purpose and issuer opens it.
func (k *Keyring) Seal(purpose, issuer string, value []byte) string {
	out := make([]byte, sealText, sealOverhead+len(value))
	out[0] = sealFormat
	_, _ = rand.Read(out[1:]) // never fails: crypto/rand ends the program instead
	out = k.aeads(purpose, issuer)[0].Seal(out, out[1:], value, nil)
	return base64url.EncodeToString(out)
}

// Open returns the value that was sealed for the purpose and the issuer under any of the keys.
// current reports whether that was the first of them; a value under another should be sealed anew.
// Its only error is [ErrSeal].
func (k *Keyring) Open(purpose, issuer, sealed string) (value []byte, current bool, err error) {
	if len(sealed) > MaxSealed {
		return nil, false, ErrSeal
	}
	raw, ok := decode(sealed)
	if !ok || len(raw) < sealOverhead || raw[0] != sealFormat {
		return nil, false, ErrSeal
	}
	aeads := k.aeads(purpose, issuer)
	for i, aead := range aeads {
		var into []byte
		if i == len(aeads)-1 {
			into = raw[sealText:sealText] // in place: no other key is tried
		}
		value, err = aead.Open(into, raw[1:sealText], raw[sealText:], nil)
		if err == nil {
			return value, i == 0, nil
		}
	}
	return nil, false, ErrSeal
}

// A sealUse has sealing keys of its own, so that a value sealed for one use opens for no other.
type sealUse struct{ purpose, issuer string }

// maxSealUses bounds how many uses have their ciphers kept. Beyond it, ciphers are derived anew.
const maxSealUses = 256

// aeads returns one cipher for each shared key, in their order.
func (k *Keyring) aeads(purpose, issuer string) []cipher.AEAD {
	use := sealUse{purpose, issuer}
	k.mu.RLock()
	aeads, ok := k.sealing[use]
	k.mu.RUnlock()
	if ok {
		return aeads
	}
	for _, key := range k.keys {
		sealing := key.derive(chacha20poly1305.KeySize, "seal", purpose, issuer)
		aead, err := chacha20poly1305.NewX(sealing)
		if err != nil {
			panic(err) // only for a wrong key length: NewKeyring has tried
		}
		aeads = append(aeads, aead)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.sealing) >= maxSealUses {
		clear(k.sealing)
	}
	k.sealing[use] = aeads
	return aeads
}

// decode decodes base64url, and rejects line ends.
func decode(text string) (value []byte, ok bool) {
	value, err := base64url.DecodeString(text)
	return value, err == nil && len(text) == base64url.EncodedLen(len(value))
}
