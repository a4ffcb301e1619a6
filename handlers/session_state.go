package handlers

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"go.uber.org/zap"
)

// A SessionState says what becomes of a session_state that the OP itself sends. The zero value is SessionStateAuto.
type SessionState string

const (
	SessionStateAuto    SessionState = "auto"    // as the OP's document says: "own" where it names a check page, else "replace"
	SessionStateKeep    SessionState = "keep"    // it stays; ours is added where there is none
	SessionStateReplace SessionState = "replace" // ours takes its place, in responses and in the discovery document

	// sessionStateOwn is what auto means for an OP that has session management of its own: nothing of ours is added to any response.
	// Its check page knows nothing of a session_state of ours, and a client that got one for an error would ask again and again.
	sessionStateOwn SessionState = "own"
)

// Validate reports why it is none of them.
func (s SessionState) Validate() error {
	return oneOf("session_state", string(s), string(SessionStateAuto), string(SessionStateKeep), string(SessionStateReplace))
}

// at returns what is done at an OP. While its document is not known, nothing of its own is taken away.
func (s SessionState) at(op *OP) SessionState {
	switch {
	case s != "" && s != SessionStateAuto:
		return s
	case op.checksSessions:
		return sessionStateOwn
	case op.learnt:
		return SessionStateReplace
	default:
		return SessionStateKeep
	}
}

// Replaces reports whether ours takes the place of the OP's own.
func (s SessionState) Replaces(op *OP) bool { return s.at(op) == SessionStateReplace }

// mayAdd reports whether ours is to be added to a response with these parameters.
func (s SessionState) mayAdd(op *OP, values url.Values) bool {
	switch s.at(op) {
	case SessionStateReplace:
		return true
	case sessionStateOwn:
		return false
	default:
		return !values.Has("session_state")
	}
}

// withoutSessionState returns a token response without the OP's own session_state, where ours takes its place: client libraries copy
// the parameters of the token response over those of the authorization response. Nil: it stays as it came.
func (t *Token) withoutSessionState(op *OP, header http.Header, body []byte) []byte {
	if !t.SessionState.Replaces(op) {
		return nil
	}
	plain, err := decoded(header, body, maxJSON)
	if err != nil {
		t.env.Logger.Warn("cannot read a token response", zap.String("issuer", op.Issuer), zap.Error(err))
		return nil
	}
	edited, found := removeMember(plain, "session_state")
	if !found {
		return nil
	}
	header.Del("Etag")
	return edited
}

// removeMember returns a JSON object without the members of a name, all else to the letter as it was. found is false where there is
// none, or no object.
func removeMember(document []byte, name string) (edited []byte, found bool) {
	var has map[string]json.RawMessage
	if err := json.Unmarshal(document, &has); err != nil || has == nil {
		return nil, false
	}
	if _, found = has[name]; !found {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	_, _ = decoder.Token() // the brace; the document was read before, and is whole
	edited = slices.Clone(document[:decoder.InputOffset()])
	end, first := decoder.InputOffset(), true
	for decoder.More() {
		start := end
		var value json.RawMessage
		member, _ := decoder.Token()
		_ = decoder.Decode(&value)
		if end = decoder.InputOffset(); member == name {
			continue
		}
		kept := document[start:end]
		if first {
			kept = bytes.TrimPrefix(bytes.TrimLeft(kept, " \t\r\n"), []byte(","))
		}
		edited, first = append(edited, kept...), false
	}
	return append(edited, document[end:]...), true
}
