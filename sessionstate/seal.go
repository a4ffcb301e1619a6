package sessionstate

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
)

// ErrSeal says that a sealed value was not made by these keys for this purpose and issuer, or not at all. It does not say more:
// whoever sent the value must not learn more.
var ErrSeal = errors.New("not sealed here for this use")

// MaxSealed is the longest sealed value that [Keyring.Open] looks at, in characters. Cookies are shorter (browsers keep 4096); what
// waits in a form or a URL for the user's answer may be as long.
const MaxSealed = 32 << 10

// A sealed value is version (1 byte), key ID (4), salt (16), AES-256-GCM ciphertext and tag (16). The salt is random and makes
// key and nonce of each value its own, so that a shared key never wears out (GCM's 96-bit nonces alone would allow 2^32 values).
const (
	sealVersion = 1
	sealSalt    = 1 + 4
	sealText    = sealSalt + 16
	sealTag     = 16
)

// Seal encrypts and authenticates a value under the first key: unpadded base64url, 37 bytes longer than the value before
// encoding. Only [Keyring.Open] with the same purpose and issuer opens it.
func (k *Keyring) Seal(purpose, issuer string, value []byte) string {
	key := k.keys[0]
	out := make([]byte, sealText, sealText+len(value)+sealTag)
	out[0] = sealVersion
	copy(out[1:], key.id[:])
	_, _ = rand.Read(out[sealSalt:sealText]) // never fails: crypto/rand ends the program instead
	aead, nonce := key.aead(purpose, out[sealSalt:sealText])
	out = aead.Seal(out, nonce, value, sealContext(purpose, issuer, out[:sealText]))
	return base64.RawURLEncoding.EncodeToString(out)
}

// Open returns the value that was sealed for the purpose and the issuer under any of the keys. current reports whether that was
// the first of them; a value under another should be sealed anew when there is an occasion. Its only error is [ErrSeal].
func (k *Keyring) Open(purpose, issuer, sealed string) (value []byte, current bool, err error) {
	if len(sealed) > MaxSealed {
		return nil, false, ErrSeal
	}
	raw, ok := decode(sealed)
	if !ok || len(raw) < sealText+sealTag || raw[0] != sealVersion {
		return nil, false, ErrSeal
	}
	for i, key := range k.keys {
		if string(key.id[:]) != string(raw[1:sealSalt]) {
			continue
		}
		aead, nonce := key.aead(purpose, raw[sealSalt:sealText])
		value, err = aead.Open(nil, nonce, raw[sealText:], sealContext(purpose, issuer, raw[:sealText]))
		if err == nil {
			return value, i == 0, nil
		}
	}
	return nil, false, ErrSeal
}

func (k derivedKey) aead(purpose string, salt []byte) (cipher.AEAD, []byte) {
	material := k.derive(32+12, "seal", purpose, string(salt))
	block, err := aes.NewCipher(material[:32])
	if err != nil {
		panic(err) // only for a wrong key length: a programming error
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // only for a wrong block size
	}
	return aead, material[32:]
}

// sealContext is the additional data: what is sealed for one purpose or issuer opens for no other.
func sealContext(purpose, issuer string, head []byte) []byte {
	context := make([]byte, 0, len(head)+len(purpose)+1+len(issuer))
	context = append(context, head...)
	context = append(context, purpose...)
	context = append(context, 0)
	return append(context, issuer...)
}

// decode undoes unpadded base64url, each value of which has one text only: Go's decoder alone would pass over line ends.
func decode(text string) (value []byte, ok bool) {
	value, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return value, err == nil && len(text) == base64.RawURLEncoding.EncodedLen(len(value))
}
