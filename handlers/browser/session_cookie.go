package browser

import (
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A SessionCookie is what the sealed cookie holds: the browser and, while it is signed in, its
// session.
type SessionCookie struct {
	Browser sessionstate.BrowserID
	Session sessionstate.SessionID // zero: not signed in
	State   string                 // browser state; fixed here, so that key rotation keeps it
	Expires time.Time              // of the session, in whole seconds
	// Owed are earlier IDs of the browser, whose sessions ended while the registry was
	// unavailable.
	Owed owedEnds
}

// MaxOwed is how many earlier browser IDs a sealed cookie has at most.
const MaxOwed = 4

// owedEnds are browser IDs; the zero ones behind them are none.
type owedEnds [MaxOwed]sessionstate.BrowserID

// NewOwedEnds takes the last MaxOwed of some IDs.
func NewOwedEnds(ids []sessionstate.BrowserID) (owed owedEnds) {
	copy(owed[:], ids[max(0, len(ids)-MaxOwed):])
	return owed
}

// IDs returns those that are not zero.
func (o owedEnds) IDs() []sessionstate.BrowserID {
	n := 0
	for n < MaxOwed && !o[n].IsZero() {
		n++
	}
	return o[:n]
}

const (
	sessionPurpose  = "session cookie"
	sessionSizeNone = 16
	sessionSizeFull = 16 + 16 + 32 + 4
)

// Seal returns the cookie's value.
func (c SessionCookie) Seal(keys *sessionstate.Keyring, issuer string) string {
	value := append(make([]byte, 0, 1+16*MaxOwed+sessionSizeFull), byte(len(c.Owed.IDs())))
	for _, browser := range c.Owed.IDs() {
		value = append(value, browser[:]...)
	}
	value = append(value, c.Browser[:]...)
	state, err := base64.RawURLEncoding.DecodeString(c.State)
	if err == nil && !c.Session.IsZero() {
		value = append(value, c.Session[:]...)
		value = append(value, state...)
		value = binary.BigEndian.AppendUint32(value, uint32(c.Expires.Unix()))
	}
	return keys.Seal(sessionPurpose, issuer, value)
}

// OpenSessionCookie opens a cookie's value. ok is false when it is not ours; current is false when
// it is sealed under an older key.
func OpenSessionCookie(
	keys *sessionstate.Keyring, issuer, sealed string,
) (c SessionCookie, current, ok bool) {
	value, current, err := keys.Open(sessionPurpose, issuer, sealed)
	if err != nil || len(value) == 0 || value[0] > MaxOwed {
		return SessionCookie{}, false, false
	}
	owed, value := int(value[0]), value[1:]
	if n := len(value) - 16*owed; n != sessionSizeNone && n != sessionSizeFull {
		return SessionCookie{}, false, false
	}
	for i := range owed {
		value = value[copy(c.Owed[i][:], value):]
	}
	value = value[copy(c.Browser[:], value):]
	if len(value) == 0 {
		return c, current, true
	}
	value = value[copy(c.Session[:], value):]
	c.State = base64.RawURLEncoding.EncodeToString(value[:32])
	c.Expires = time.Unix(int64(binary.BigEndian.Uint32(value[32:])), 0).UTC()
	return c, current, true
}

// SignedOut returns the cookie of the same browser without a session.
func (c SessionCookie) SignedOut() SessionCookie {
	return SessionCookie{Browser: c.Browser, Owed: c.Owed}
}
