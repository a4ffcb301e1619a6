package sessionstate

// Pseudonym returns a value that stands for a user in logs. It is the same for one sub at one
// issuer on all servers with the same first key, and cannot be computed for a sub without the key.
// It is 16 bytes of HKDF-Expand (RFC 5869), which is one HMAC-SHA256, in unpadded base64url.
func (k *Keyring) Pseudonym(issuer, sub string) string {
	return base64url.EncodeToString(k.keys[0].derive(16, "pseudonym", issuer, sub))
}
