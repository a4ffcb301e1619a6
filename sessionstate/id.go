package sessionstate

import "crypto/rand"

// A SessionID names one sign-in of one End-User in one browser at one issuer. The registry
// generates it: the first 80 bits name the browser's record, the others are random. The zero value
// names no session. The ID is not a secret: nothing can be derived from it without the shared key.
type SessionID [16]byte

// A BrowserID names one browser at one issuer: 128 random bits, kept in that browser's sealed
// cookie. The zero value names no browser.
type BrowserID [16]byte

// A ResponseID names one authorization response: the first 128 bits of the hash of its code or, if
// it has none, of its ID token. The zero value stands for a response without either.
type ResponseID [16]byte

// NewBrowserID returns a random BrowserID.
func NewBrowserID() BrowserID {
	var id BrowserID
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	return id
}

// IsZero reports whether the ID names no session.
func (id SessionID) IsZero() bool { return id == SessionID{} }

// IsZero reports whether the ID names no browser.
func (id BrowserID) IsZero() bool { return id == BrowserID{} }

// IsZero reports whether the ID names no response.
func (id ResponseID) IsZero() bool { return id == ResponseID{} }

// String returns the ID in unpadded base64url, for logs.
func (id SessionID) String() string { return base64url.EncodeToString(id[:]) }
