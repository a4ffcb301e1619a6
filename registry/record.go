package registry

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A Time is an instant in whole milliseconds since 1970, UTC; zero: none.
type Time int64

// At returns t as a Time.
func At(t time.Time) Time {
	if t.IsZero() {
		return 0
	}
	return Time(t.UnixMilli())
}

// Time returns t as a time.Time; the zero time for zero.
func (t Time) Time() time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(t)).UTC()
}

// Add returns t + d.
func (t Time) Add(d time.Duration) Time { return t + Time(d.Milliseconds()) }

// A Place names the record of one browser at one issuer. The ID of each of its sessions begins
// with it, so that the session ID alone leads to the record. 80 bits: two of 10^9 browsers share
// a record with a probability of 4 in 10^7, and then nothing worse follows.
type Place [10]byte

// PlaceOf returns the place of a browser's record.
func PlaceOf(issuer string, browser sessionstate.BrowserID) Place {
	sum := sha256.Sum256(append([]byte(issuer+"\x00"), browser[:]...))
	return Place(sum[:10])
}

// PlaceOfSession returns the place of the record that holds a session.
func PlaceOfSession(id sessionstate.SessionID) Place { return Place(id[:10]) }

// NewSessionID draws an ID for a session of a browser, also for a sign-in that cannot be recorded.
func NewSessionID(issuer string, browser sessionstate.BrowserID) sessionstate.SessionID {
	return drawID(PlaceOf(issuer, browser))
}

func drawID(place Place) (id sessionstate.SessionID) {
	n := copy(id[:], place[:])
	_, _ = rand.Read(id[n:]) // never fails: crypto/rand ends the program instead
	return id
}

// A record is all that is known of one browser at one issuer.
type record struct {
	Issuer    string      `cbor:"1,keyasint"`
	Clock     Time        `cbor:"2,keyasint"` // of the last change; the next one is later
	Sessions  []*Session  `cbor:"3,keyasint,omitempty"`
	Responses []*Response `cbor:"4,keyasint,omitempty"`
	// Crowded is until when a session that is not recorded may have ended: its tombstone had to go
	// for want of room.
	Crowded Time `cbor:"5,keyasint,omitempty"`
}

// A Reason says why a session ended.
type Reason string

// The reasons for which sessions end.
const (
	ReasonLoginCookie Reason = "login_cookie" // the OP deleted its login cookie
	ReasonOPEnded     Reason = "op_ended"     // the OP says that the user is not signed in any more
	ReasonUserSwitch  Reason = "user_switch"  // another End-User signed in in the same browser
	ReasonLogout      Reason = "logout"       // RP-Initiated Logout
	ReasonOperator    Reason = "operator"     // an operator ended it
	ReasonExpiry      Reason = "expiry"       // it expired, or its browser or its user had too many
)

// A Session is one sign-in of one End-User in one browser at one issuer.
type Session struct {
	Issuer string                 `cbor:"-"` // that of the record
	ID     sessionstate.SessionID `cbor:"1,keyasint"`
	// Created is when the session started, Expires when it ends by itself unless it is used
	// before, and Limit when it ends however much it is used.
	Created Time `cbor:"2,keyasint"`
	Expires Time `cbor:"3,keyasint"`
	Limit   Time `cbor:"4,keyasint"`
	// Ended is when the session was ended, and Reason why; zero and empty while it was not.
	Ended  Time   `cbor:"5,keyasint,omitempty"`
	Reason Reason `cbor:"6,keyasint,omitempty"`
	// Silent: its clients are not notified of its end, as its last sign-in said.
	Silent bool `cbor:"7,keyasint,omitempty"`
	// Successor replaced it at a user switch, and it replaced Predecessor; zero: none.
	Successor   sessionstate.SessionID `cbor:"8,keyasint"`
	Predecessor sessionstate.SessionID `cbor:"9,keyasint"`
	// Forgotten is when the session goes from the record although it has not expired; zero: it
	// does not. That is so while none of its codes was redeemed. A session that is forgotten has
	// not ended: a browser that holds it can go on with it.
	Forgotten Time `cbor:"10,keyasint,omitempty"`
	// Clients take or took part in it, in the order in which they came. A while after it has
	// ended, they are forgotten.
	Clients []*Client `cbor:"11,keyasint,omitempty"`
}

// Live reports whether the session has neither ended nor expired by now.
func (s *Session) Live(now Time) bool { return s.Ended == 0 && now < s.Expires }

// Client returns the session's client with an ID; nil: there is none.
func (s *Session) Client(id string) *Client {
	if i := slices.IndexFunc(s.Clients, func(c *Client) bool { return c.ID == id }); i >= 0 {
		return s.Clients[i]
	}
	return nil
}

// removal is when a session that has not ended goes from the record or expires.
func (s *Session) removal() Time {
	if s.Forgotten != 0 && s.Forgotten < s.Expires {
		return s.Forgotten
	}
	return s.Expires
}

// A Client is one client in a session.
type Client struct {
	ID string `cbor:"1,keyasint"`
	// Origins are those of its redirect URIs (RFC 6454), each once.
	Origins []string `cbor:"2,keyasint,omitempty"`
	// Subjects are what its ID tokens named, each once; empty while none was seen.
	Subjects []*Subject `cbor:"3,keyasint,omitempty"`
	// IDToken is that of its ID tokens: of each string, the latest that was not empty.
	IDToken IDToken `cbor:"4,keyasint,omitzero"`
}

// subject returns the client's subject with a sub and a sid; nil: there is none.
func (c *Client) subject(sub, sid string) *Subject {
	for _, s := range c.Subjects {
		if s.Sub == sub && s.Sid == sid {
			return s
		}
	}
	return nil
}

// An IDToken says what a client's ID tokens are like, so that its logout tokens can be like them.
type IDToken struct {
	Issuer    string `cbor:"1,keyasint,omitempty"` // their iss; empty: the OP's own issuer
	Algorithm string `cbor:"2,keyasint,omitempty"` // their alg; empty: as configured
}

// Update returns t with those strings of later that are not empty.
func (t IDToken) Update(later IDToken) IDToken {
	return IDToken{
		Issuer: cmp.Or(later.Issuer, t.Issuer), Algorithm: cmp.Or(later.Algorithm, t.Algorithm),
	}
}

// A Subject is what ID tokens named: the End-User (sub) and, where the OP names it, its own
// session (sid).
type Subject struct {
	Sub string `cbor:"1,keyasint"`
	Sid string `cbor:"2,keyasint,omitempty"` // empty: they had none
	// Since and Last are when the first and the last authorization response were made that it is
	// known by.
	Since Time `cbor:"3,keyasint"`
	Last  Time `cbor:"4,keyasint"`
	// Notice is the notification that the client is owed; nil: none, or it was delivered.
	Notice *Notice `cbor:"5,keyasint,omitempty"`
}

// A Notice is one back-channel notification that is owed to a client: a session in which it took
// part has ended. There is one for each client, sub and sid, until it is delivered or given up.
type Notice struct {
	// Until is when it is forgotten, with any outcome.
	Until Time `cbor:"1,keyasint"`
	// Due is when it is tried next, or its lease expires; zero: it was given up.
	Due      Time `cbor:"2,keyasint,omitempty"`
	Attempts int  `cbor:"3,keyasint,omitempty"`
	// Late: the subject became known after the end, when the user may have signed in again.
	Late bool `cbor:"4,keyasint,omitempty"`
	// Asked: its client asked for the end (RP-Initiated Logout 1.0).
	Asked bool `cbor:"5,keyasint,omitempty"`
	// Lease identifies the server that claimed it last.
	Lease uint64 `cbor:"6,keyasint,omitempty"`
	// WithoutSid: the client has no such sid; it is notified of the sub alone.
	WithoutSid bool   `cbor:"7,keyasint,omitempty"`
	Why        string `cbor:"8,keyasint,omitempty"` // why it was not delivered, when it was tried
}

// Dead reports whether the notice was given up.
func (n *Notice) Dead() bool { return n.Due == 0 }

// A NoticeID names a notice: it follows from the session, the client, the sub and the sid.
type NoticeID [16]byte

// String returns the ID in hexadecimal digits, for logs.
func (id NoticeID) String() string { return hex.EncodeToString(id[:]) }

// NameNotice returns the ID of the one notice that a client is owed of the end of a session, for
// one sub and sid.
func NameNotice(session sessionstate.SessionID, clientID, sub, sid string) NoticeID {
	hash := sha256.New()
	hash.Write(session[:])
	for _, part := range []string{clientID, sub, sid} {
		sum := sha256.Sum256([]byte(part))
		hash.Write(sum[:])
	}
	return NoticeID(hash.Sum(nil)[:len(NoticeID{})])
}

// A Response is an authorization response with a code, or with an ID token alone, remembered for
// [CodeLifetime].
type Response struct {
	ID       sessionstate.ResponseID `cbor:"1,keyasint"`
	Session  sessionstate.SessionID  `cbor:"2,keyasint"`
	ClientID string                  `cbor:"3,keyasint"`
	Origin   string                  `cbor:"4,keyasint,omitempty"` // of its redirect URI; or empty
	Made     Time                    `cbor:"5,keyasint"`
	// Redeemed is when its code was; zero: it was not. One without a code has the time of Made.
	Redeemed Time `cbor:"6,keyasint,omitempty"`
	Silent   bool `cbor:"7,keyasint,omitempty"`
	// Moved: it belongs to another session than the one it was made for, since the user switched.
	// It is remembered for as long as that session is.
	Moved bool `cbor:"8,keyasint,omitempty"`
}

// isComplete reports whether the response had no code: codes are redeemed later than made.
func (p *Response) isComplete() bool { return p.Redeemed == p.Made }

// session returns the record's session with an ID; nil: there is none.
func (r *record) session(id sessionstate.SessionID) *Session {
	for _, s := range r.Sessions {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// response returns the record's response with an ID; nil: there is none.
func (r *record) response(id sessionstate.ResponseID) *Response {
	for _, p := range r.Responses {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// live lists the sessions that live.
func (r *record) live(now Time) (live []*Session) {
	for _, s := range r.Sessions {
		if s.Live(now) {
			live = append(live, s)
		}
	}
	return live
}
