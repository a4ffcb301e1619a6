package handlers

import (
	"net/url"
)

// A SessionState says what becomes of a session_state that the OP itself sends. The zero value is
// SessionStateAuto.
type SessionState string

const (
	SessionStateAuto    SessionState = "auto"    // as the OP's document says: "own" where it names a check page, else "replace"
	SessionStateKeep    SessionState = "keep"    // it stays; ours is added where there is none
	SessionStateReplace SessionState = "replace" // ours takes its place, in responses and in the discovery document

	// SessionStateOwn is what auto means for an OP that has session management of its own: nothing
	// of ours is added to any response. Its check page knows nothing of a session_state of ours,
	// and a client that got one for an error would ask again and again.
	SessionStateOwn SessionState = "own"
)

// Validate reports why it is none of them.
func (s SessionState) Validate() error {
	return OneOf("session_state", string(s), string(SessionStateAuto), string(SessionStateKeep), string(SessionStateReplace))
}

// At returns what is done at an OP. While its document is not known, nothing of its own is taken
// away.
func (s SessionState) At(op *OP) SessionState {
	switch {
	case s != "" && s != SessionStateAuto:
		return s
	case op.HasCheckSession():
		return SessionStateOwn
	case op.Discovered:
		return SessionStateReplace
	default:
		return SessionStateKeep
	}
}

// Replaces reports whether ours takes the place of the OP's own.
func (s SessionState) Replaces(op *OP) bool { return s.At(op) == SessionStateReplace }

// MayAdd reports whether ours is to be added to a response with these parameters.
func (s SessionState) MayAdd(op *OP, values url.Values) bool {
	switch s.At(op) {
	case SessionStateReplace:
		return true
	case SessionStateOwn:
		return false
	default:
		return !values.Has("session_state")
	}
}
