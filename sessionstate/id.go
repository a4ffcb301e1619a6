package sessionstate

import (
	"crypto/rand"
	"encoding/base64"
)

// A SessionID names one sign-in of one End-User in one browser at one issuer: 128 random bits. The zero value names none.
// It is no secret by itself: nothing can be derived from it without the shared key.
type SessionID [16]byte

// A BrowserID names one browser at one issuer: 128 random bits, kept in that browser's sealed cookie. The zero value names none.
type BrowserID [16]byte

// A RegistryID names one registry (one durable record of sessions): 64 random bits, drawn when it was made. The zero value
// says that no registry knows of a session.
type RegistryID [8]byte

// A ResponseID names one authorization response: the first 128 bits of the hash of its code. The zero value stands for a
// response without a code.
type ResponseID [16]byte

// NewSessionID draws a SessionID.
func NewSessionID() SessionID { return random[SessionID]() }

// NewBrowserID draws a BrowserID.
func NewBrowserID() BrowserID { return random[BrowserID]() }

// NewRegistryID draws a RegistryID.
func NewRegistryID() RegistryID {
	var id RegistryID
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	return id
}

// IsZero reports whether the ID names no session.
func (id SessionID) IsZero() bool { return id == SessionID{} }

// IsZero reports whether the ID names no browser.
func (id BrowserID) IsZero() bool { return id == BrowserID{} }

// IsZero reports whether the ID names no registry.
func (id RegistryID) IsZero() bool { return id == RegistryID{} }

// IsZero reports whether the ID names no response.
func (id ResponseID) IsZero() bool { return id == ResponseID{} }

// String is the ID in unpadded base64url, for logs.
func (id SessionID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func random[T ~[16]byte]() T {
	var id [16]byte
	_, _ = rand.Read(id[:])
	return T(id)
}
