// Package sessionstate computes and verifies the session_state of OpenID Connect Session Management 1.0, and what it is made
// of: the origin of a redirect URI, the browser state, and the sealed values that carry them.
//
// All functions are pure. An OpenID Provider written in Go can import the package to compute the same values as the plugin:
//
//	session_state = base64url(SHA-256(client_id SP origin SP browser_state SP salt)) "." salt
package sessionstate

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
)

// Compute returns the session_state of one client at one origin (Session Management 1.0, section 3.2): the unpadded base64url
// of a SHA-256, a dot, and the salt.
//
// origin is what [Origin] returns, browserState the value of the browser state cookie. Neither these nor salt may contain a
// space: the check page splits at spaces, and session_state must not contain one (section 2). A client ID may.
func Compute(clientID, origin, browserState, salt string) string {
	sum := sha256.Sum256([]byte(clientID + " " + origin + " " + browserState + " " + salt))
	return base64.RawURLEncoding.EncodeToString(sum[:]) + "." + salt
}

// Verify tells in constant time whether sessionState is the one that [Compute] returns for the client, the origin, the browser
// state, and the salt that sessionState itself carries.
func Verify(sessionState, clientID, origin, browserState string) bool {
	_, salt, ok := Split(sessionState)
	if !ok {
		return false
	}
	want := Compute(clientID, origin, browserState, salt)
	return subtle.ConstantTimeCompare([]byte(sessionState), []byte(want)) == 1
}

// Split cuts a session_state at its first dot. ok is false when either part is empty or when it contains a space.
func Split(sessionState string) (hash, salt string, ok bool) {
	hash, salt, found := strings.Cut(sessionState, ".")
	if !found || hash == "" || salt == "" || strings.ContainsRune(sessionState, ' ') {
		return "", "", false
	}
	return hash, salt, true
}

// NewSalt draws a salt with at least 128 bits of randomness: base32 letters and digits. Session Management 1.0 (section 3.2)
// asks for a fresh one in each response, so that an End-User cannot be told across calls.
func NewSalt() string { return rand.Text() }
