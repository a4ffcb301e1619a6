package sessionstate

import "encoding/base64"

// Pseudonym returns what stands for a user in logs: the same for the same sub at the same issuer, on
// all servers with the same first key, and another one once that is another. Without the key nobody
// can tell which sub it stands for, nor try whether it is a given one. It is the unpadded base64url
// of 16 bytes of HKDF-Expand (RFC 5869), an HMAC-SHA256 of the sub.
func (k *Keyring) Pseudonym(issuer, sub string) string {
	return base64.RawURLEncoding.EncodeToString(k.keys[0].derive(16, "pseudonym", issuer, sub))
}
