package handlers

import (
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// sessionCookie is what the sealed cookie holds: the browser and, while it is signed in, its session.
type sessionCookie struct {
	browser sessionstate.BrowserID
	session sessionstate.SessionID // zero: not signed in
	state   string                 // the session's browser state, fixed here so that key rotation changes nothing
	expires time.Time              // of the session, in whole seconds
	// owed are earlier IDs of the browser, whose sessions ended while the registry could not be told.
	owed owedEnds
}

// owedEnds are browser IDs, at most maxOwed; the zero ones behind them are none.
type owedEnds [maxOwed]sessionstate.BrowserID

// newOwedEnds takes the last of the IDs.
func newOwedEnds(ids []sessionstate.BrowserID) (owed owedEnds) {
	copy(owed[:], ids[max(0, len(ids)-maxOwed):])
	return owed
}

func (o owedEnds) ids() []sessionstate.BrowserID {
	n := 0
	for n < maxOwed && !o[n].IsZero() {
		n++
	}
	return o[:n]
}

const (
	sessionPurpose  = "session cookie"
	sessionSizeNone = 16
	sessionSizeFull = 16 + 16 + 32 + 4
	maxOwed         = 4
)

// seal returns the cookie's value.
func (c sessionCookie) seal(keys *sessionstate.Keyring, issuer string) string {
	value := append(make([]byte, 0, 1+16*maxOwed+sessionSizeFull), byte(len(c.owed.ids())))
	for _, browser := range c.owed.ids() {
		value = append(value, browser[:]...)
	}
	value = append(value, c.browser[:]...)
	if state, err := base64.RawURLEncoding.DecodeString(c.state); !c.session.IsZero() && err == nil {
		value = append(value, c.session[:]...)
		value = append(value, state...)
		value = binary.BigEndian.AppendUint32(value, uint32(c.expires.Unix()))
	}
	return keys.Seal(sessionPurpose, issuer, value)
}

// openSessionCookie opens a cookie's value. ok is false when it is not ours; current, when it is sealed under an older key.
func openSessionCookie(keys *sessionstate.Keyring, issuer, sealed string) (c sessionCookie, current, ok bool) {
	value, current, err := keys.Open(sessionPurpose, issuer, sealed)
	if err != nil || len(value) == 0 || value[0] > maxOwed || len(value) < 1+16*int(value[0]) {
		return sessionCookie{}, false, false
	}
	owed, value := int(value[0]), value[1:]
	for i := range owed {
		value = value[copy(c.owed[i][:], value):]
	}
	if n := len(value); n != sessionSizeNone && n != sessionSizeFull {
		return sessionCookie{}, false, false
	}
	value = value[copy(c.browser[:], value):]
	if len(value) == 0 {
		return c, current, true
	}
	value = value[copy(c.session[:], value):]
	c.state = base64.RawURLEncoding.EncodeToString(value[:32])
	c.expires = time.Unix(int64(binary.BigEndian.Uint32(value[32:])), 0).UTC()
	return c, current, true
}

// signedOut is the cookie of the same browser without a session.
func (c sessionCookie) signedOut() sessionCookie {
	return sessionCookie{browser: c.browser, owed: c.owed}
}
