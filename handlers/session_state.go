package handlers

import "net/url"

// A SessionState says what is done with a session_state that the OP itself sends. The zero value is
// SessionStateAuto.
type SessionState string

// The values of the option session_state, and what auto may mean.
const (
	// SessionStateAuto goes by the OP's document: it is SessionStateOwn if that names a check page,
	// else SessionStateReplace.
	SessionStateAuto SessionState = "auto"
	// SessionStateKeep keeps it; ours is added where there is none.
	SessionStateKeep SessionState = "keep"
	// SessionStateReplace puts ours in its place, in responses and in the discovery document.
	SessionStateReplace SessionState = "replace"

	// SessionStateOwn, which cannot be configured, adds nothing of ours to any response. The OP's
	// own check page knows nothing of a session_state of ours, and a client that got one for an
	// error would ask again and again.
	SessionStateOwn SessionState = "own"
)

// Validate reports why the option cannot have this value.
func (s SessionState) Validate() error {
	return OneOf("session_state", string(s),
		string(SessionStateAuto), string(SessionStateKeep), string(SessionStateReplace))
}

// At returns what is done at an OP. Before its document is discovered, nothing of its own is
// removed.
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
