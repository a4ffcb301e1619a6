// Package sessionstate computes and verifies the session_state of OpenID Connect Session
// Management 1.0 and its parts: the origin of a redirect URI, the browser state, and the sealed
// values that carry them.
//
// It does no I/O. An OpenID Provider written in Go can import it to compute the plugin's values:
//
//	session_state = base64url(SHA-256(client_id SP origin SP browser_state SP salt)) "." salt
package sessionstate

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
)

// Compute returns the session_state of one client at one origin (Session Management 1.0, section
// 3.2): the unpadded base64url of a SHA-256, a dot, and the salt.
//
// The origin is a result of [Origin], browserState the value of the browser state cookie. A client
// ID may contain spaces, but the others must not: the check page splits at spaces, and section 2
// forbids them in a session_state.
func Compute(clientID, origin, browserState, salt string) string {
	sum := sha256.Sum256([]byte(clientID + " " + origin + " " + browserState + " " + salt))
	return base64url.EncodeToString(sum[:]) + "." + salt
}

// Verify reports in constant time whether [Compute] returns sessionState for the client, the
// origin, the browser state, and the salt in sessionState.
func Verify(sessionState, clientID, origin, browserState string) bool {
	_, salt, ok := Split(sessionState)
	if !ok {
		return false
	}
	want := Compute(clientID, origin, browserState, salt)
	return subtle.ConstantTimeCompare([]byte(sessionState), []byte(want)) == 1
}

// Split cuts a session_state at its first dot. ok is false when a part is empty or contains a
// space.
func Split(sessionState string) (hash, salt string, ok bool) {
	hash, salt, found := strings.Cut(sessionState, ".")
	if !found || hash == "" || salt == "" || strings.ContainsRune(sessionState, ' ') {
		return "", "", false
	}
	return hash, salt, true
}

// NewSalt returns a random salt of at least 128 bits, in base32. Session Management 1.0, section
// 3.2, asks for a new one in each response, so that calls cannot be linked to one End-User.
func NewSalt() string { return rand.Text() }
