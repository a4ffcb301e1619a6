package logout

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	parkedPurpose       = "logout request"      // in the URL that a cross-site POST, or a sign-out that is to be seen, goes on at
	confirmationPurpose = "logout confirmation" // in the form that asks the user

	// confirmationLifetime is how long the user has to answer, and a parked request to go on.
	confirmationLifetime = 10 * time.Minute
)

// A sealedLogout is a logout request that goes on with the browser's next request.
type sealedLogout struct {
	Request logoutRequest `json:"request"`
	Expires int64         `json:"expires"` // Unix time, in seconds
	// Ended: the browser has been signed out; what is left is to see that the OP's cookies are
	// gone, and to tell the clients. Failed: but the OP's part of it has failed.
	Ended  bool `json:"ended,omitempty"`
	Failed bool `json:"failed,omitempty"`
	// Sessions are those that ended, whose clients are told. Framed says that the page which tells
	// them in frames has had its turn, Unframed that it could not be shown.
	Sessions [][]byte `json:"sessions,omitempty"`
	// Carried is how many cookies the browser had of the name of each that was cleared.
	Carried  []int `json:"carried,omitempty"`
	Framed   bool  `json:"framed,omitempty"`
	Unframed bool  `json:"unframed,omitempty"`
	// Browser is the one that was signed out, or that the user was asked in. Confirmations have
	// the Session as well, and a Value which makes the answer count once.
	Browser []byte `json:"browser,omitempty"`
	Session []byte `json:"session,omitempty"`
	Value   []byte `json:"value,omitempty"`
}

// seal returns the value for a URL or a form.
func (s sealedLogout) seal(v *browser.Cookies, purpose string) string {
	s.Expires = v.Now.Add(confirmationLifetime).Unix()
	value, _ := json.Marshal(s) // strings, bytes and numbers: it cannot fail
	return v.Keys.Seal(purpose, v.OP.Issuer, value)
}

// openLogout opens a value. ok is false when it is not ours; it may have expired.
func openLogout(v *browser.Cookies, purpose, sealed string) (s sealedLogout, ok bool) {
	value, _, err := v.Keys.Open(purpose, v.OP.Issuer, sealed)
	if err != nil || json.Unmarshal(value, &s) != nil {
		return sealedLogout{}, false
	}
	return s, true
}

func (s sealedLogout) isLive(now time.Time) bool { return now.Unix() < s.Expires }

// confirmation returns what lets the user's next answer stand for this request: in this browser,
// for this session, once.
func (l *logoutExchange) confirmation(q logoutRequest) string {
	value := make([]byte, 16)
	_, _ = rand.Read(value) // never fails: crypto/rand ends the program instead
	return sealedLogout{Request: q, Browser: l.boundBrowser(), Session: l.Sealed.Session[:], Value: value}.seal(l.Cookies, confirmationPurpose)
}

// boundBrowser is the ID of the browser, for what is sealed for it alone. A browser that has none
// is given one.
func (l *logoutExchange) boundBrowser() []byte {
	if l.Sealed.Browser.IsZero() {
		l.BrowserID()
		l.SetSession()
	}
	return l.Sealed.Browser[:]
}

// isOf reports whether a confirmation was made for the browser and its session.
func (s sealedLogout) isOf(v *browser.Cookies) bool {
	return s.isOfBrowser(v.Sealed.Browser) && bytes.Equal(s.Session, v.Sealed.Session[:]) && len(s.Value) == 16
}

func (s sealedLogout) isOfBrowser(browser sessionstate.BrowserID) bool {
	return !browser.IsZero() && bytes.Equal(s.Browser, browser[:])
}

// sessions are the IDs of the sessions that ended.
func (s sealedLogout) sessions() []sessionstate.SessionID {
	var ids []sessionstate.SessionID
	for _, id := range s.Sessions {
		if len(id) == len(sessionstate.SessionID{}) {
			ids = append(ids, sessionstate.SessionID(id))
		}
	}
	return ids
}
