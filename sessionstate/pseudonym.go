package sessionstate

import "encoding/base64"

// Pseudonym returns what stands for a user in logs: one value for one sub at one issuer, on all
// servers with the same first key. Without the key, nobody can compute it for a sub and compare. It
// is the unpadded base64url of 16 bytes by HKDF-Expand (RFC 5869), that is, of an HMAC-SHA256.
func (k *Keyring) Pseudonym(issuer, sub string) string {
	return base64.RawURLEncoding.EncodeToString(k.keys[0].derive(16, "pseudonym", issuer, sub))
}
