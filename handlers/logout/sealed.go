package logout

import (
	"crypto/rand"
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	parkedParameter     = "request"             // of our own URL that a request goes on at
	parkedPurpose       = "logout request"      // seals that
	confirmationPurpose = "logout confirmation" // seals a field of the form that asks the user

	// confirmationLifetime is how long the user has to answer, and a parked request to go on.
	confirmationLifetime = 10 * time.Minute

	// maxEnded is how many sessions one receipt is about: browsers have one, or a few that began
	// at once.
	maxEnded = 8
)

// A sealedLogout is a logout request that goes on with the browser's next request.
type sealedLogout struct {
	Request logoutRequest `json:"request"`
	Expires int64         `json:"expires"` // Unix time, in seconds

	// Ended: the browser has been signed out. What is left is to see that the OP's cookies are
	// gone, and to notify the clients. Failed: but the OP's part of it has failed.
	Ended  bool `json:"ended,omitempty"`
	Failed bool `json:"failed,omitempty"`
	// Sessions are those that ended, at most maxEnded.
	Sessions []sessionstate.SessionID `json:"sessions,omitempty"`
	// Carried is how many cookies the browser had of the name of each that was cleared.
	Carried []int `json:"carried,omitempty"`
	// Framed: the page that notifies in frames has had its turn. Unframed: but it could not be
	// shown.
	Framed   bool `json:"framed,omitempty"`
	Unframed bool `json:"unframed,omitempty"`

	// Browser is the one that was signed out, or that the user was asked in. Confirmations have
	// its Session as well, and a Value which makes the answer count once.
	Browser sessionstate.BrowserID `json:"browser,omitzero"`
	Session sessionstate.SessionID `json:"session,omitzero"`
	Value   [16]byte               `json:"value,omitzero"`
}

// addEnded adds sessions that ended.
func (s *sealedLogout) addEnded(sessions ...*registry.Session) {
	for _, session := range sessions {
		if len(s.Sessions) < maxEnded && !slices.Contains(s.Sessions, session.ID) {
			s.Sessions = append(s.Sessions, session.ID)
		}
	}
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

// isOf reports whether a confirmation was made for the browser and its session.
func (s sealedLogout) isOf(v *browser.Cookies) bool {
	return s.isOfBrowser(v.Sealed.Browser) && s.Session == v.Sealed.Session
}

func (s sealedLogout) isOfBrowser(browser sessionstate.BrowserID) bool {
	return !browser.IsZero() && s.Browser == browser
}

// boundBrowser is the ID of the browser, for what is sealed for it alone. A browser that has none
// is given one.
func (l *logoutExchange) boundBrowser() sessionstate.BrowserID {
	if l.Sealed.Browser.IsZero() {
		l.BrowserID()
		l.SetSession()
	}
	return l.Sealed.Browser
}

// addForm puts on a page the form by which the user's answer stands for this request: in this
// browser, for this session, once.
func (e *EndSession) addForm(l *logoutExchange, page *assets.View) {
	question := sealedLogout{
		Request: l.request, Browser: l.boundBrowser(), Session: l.Sealed.Session,
	}
	_, _ = rand.Read(question.Value[:]) // never fails: crypto/rand ends the program instead
	page.Confirmation = question.seal(l.Cookies, confirmationPurpose)
	page.Action = e.PathAt(l.op) + handlers.ConfirmSuffix
}

// redirectToSelf has the browser come back with all of its cookies.
func (e *EndSession) redirectToSelf(l *logoutExchange, s sealedLogout) {
	l.redirect(e.parkedURL(l, s))
}

// parkedURL is where the browser goes on. A URL which says that the browser has been signed out is
// for this browser alone. A parked request is for any: a POST of another site comes without
// cookies.
func (e *EndSession) parkedURL(l *logoutExchange, s sealedLogout) string {
	if s.Ended {
		s.Browser = l.boundBrowser()
	}
	query := url.Values{parkedParameter: {s.seal(l.Cookies, parkedPurpose)}}
	return e.PathAt(l.op) + "?" + query.Encode()
}
