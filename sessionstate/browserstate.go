package sessionstate

import "crypto/subtle"

// browserStateSize is the length of a browser state before encoding, in bytes.
const browserStateSize = 32

// BrowserState returns the browser state of a session (the "OP User Agent state" of Session
// Management 1.0, section 3.2): 256 bits in unpadded base64url, derived from the first key. It
// reveals neither the End-User nor the session ID. It changes with the key, so callers compute it
// once for each session and keep it.
func (k *Keyring) BrowserState(issuer string, id SessionID) string {
	return k.keys[0].browserState(issuer, id)
}

// AnonymousState returns the browser state of every browser that is not signed in. It is the same
// on all servers with the same first key.
func (k *Keyring) AnonymousState(issuer string) string {
	return k.keys[0].anonymousState(issuer)
}

// IsBrowserState reports in constant time whether a value is the browser state of a session under
// any of the keys.
func (k *Keyring) IsBrowserState(issuer string, id SessionID, value string) bool {
	match := 0
	for _, key := range k.keys {
		match |= subtle.ConstantTimeCompare([]byte(key.browserState(issuer, id)), []byte(value))
	}
	return match == 1
}

// IsAnonymousState reports in constant time whether a value is the anonymous state under any of
// the keys.
func (k *Keyring) IsAnonymousState(issuer, value string) bool {
	match := 0
	for _, key := range k.keys {
		match |= subtle.ConstantTimeCompare([]byte(key.anonymousState(issuer)), []byte(value))
	}
	return match == 1
}

// VerifyAnonymous is [Verify] for the anonymous state under any of the keys.
func (k *Keyring) VerifyAnonymous(issuer, sessionState, clientID, origin string) bool {
	match := false
	for _, key := range k.keys {
		match = Verify(sessionState, clientID, origin, key.anonymousState(issuer)) || match
	}
	return match
}

// IsBrowserState reports whether a value has the shape of a browser state. A browser may present
// anything.
func IsBrowserState(value string) bool {
	raw, ok := decode(value)
	return ok && len(raw) == browserStateSize
}

func (k sharedKey) browserState(issuer string, id SessionID) string {
	state := k.derive(browserStateSize, "browser state", issuer, string(id[:]))
	return base64url.EncodeToString(state)
}

func (k sharedKey) anonymousState(issuer string) string {
	return base64url.EncodeToString(k.derive(browserStateSize, "anonymous", issuer))
}
