package sessionstate

import (
	"crypto/subtle"
	"encoding/base64"
)

// BrowserState returns the browser state (the "OP User Agent state" of Session Management 1.0, section 3.2) of a session: 256
// bits in unpadded base64url, made with the first key. It says nothing of the End-User, and the session ID cannot be had from
// it. Since it depends on the key, it is computed once per session and then kept.
func (k *Keyring) BrowserState(issuer string, id SessionID) string {
	return k.keys[0].browserState(issuer, id)
}

// AnonymousState returns the browser state of every browser that is not signed in: the same on all servers with the same first
// key.
func (k *Keyring) AnonymousState(issuer string) string {
	return k.keys[0].anonymousState(issuer)
}

// IsBrowserState tells in constant time whether a value is the browser state of a session under any of the keys.
func (k *Keyring) IsBrowserState(issuer string, id SessionID, value string) bool {
	match := 0
	for _, key := range k.keys {
		match |= subtle.ConstantTimeCompare([]byte(key.browserState(issuer, id)), []byte(value))
	}
	return match == 1
}

// IsAnonymousState tells in constant time whether a value is the anonymous state under any of the keys.
func (k *Keyring) IsAnonymousState(issuer, value string) bool {
	match := 0
	for _, key := range k.keys {
		match |= subtle.ConstantTimeCompare([]byte(key.anonymousState(issuer)), []byte(value))
	}
	return match == 1
}

// VerifyAnonymous is [Verify] for the browser state of browsers that are not signed in, under any of the keys.
func (k *Keyring) VerifyAnonymous(issuer, sessionState, clientID, origin string) bool {
	match := false
	for _, key := range k.keys {
		match = Verify(sessionState, clientID, origin, key.anonymousState(issuer)) || match
	}
	return match
}

// IsBrowserState reports whether a value has the shape of a browser state: what a browser presents may be anything.
func IsBrowserState(value string) bool {
	raw, ok := decode(value)
	return ok && len(raw) == 32
}

func (k sharedKey) browserState(issuer string, id SessionID) string {
	return encodeState(k.derive(32, "browser state", issuer, string(id[:])))
}

func (k sharedKey) anonymousState(issuer string) string {
	return encodeState(k.derive(32, "anonymous", issuer))
}

func encodeState(state []byte) string { return base64.RawURLEncoding.EncodeToString(state) }
