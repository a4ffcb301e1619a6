// Package rules holds what the stores share: what joining, redeeming and ending mean. A store brings a [Tx] and calls the
// functions here within one transaction of its own.
package rules

import (
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A Tx is one transaction on the records of one issuer.
//
// Its methods return no errors: a Tx that cannot read or write remembers that, finds nothing from then on, and its store rolls
// it back. So the rules read as rules. Slices that go in or out belong to the receiver.
type Tx interface {
	// Session returns a session, live or not.
	Session(id sessionstate.SessionID) (session registry.Session, found bool)
	// StartSession records a new session, as one of its browser's.
	StartSession(session registry.Session)
	// EndSession replaces the record of a session by an ended one, which is no longer one of its browser's.
	EndSession(session registry.Session)
	// RescheduleSession replaces the record of a session by one with another Removal than before.
	RescheduleSession(session registry.Session, before time.Time)
	// LiveSessions lists up to limit live sessions of a browser, in the order of their IDs.
	LiveSessions(browser sessionstate.BrowserID, now time.Time, limit int) []registry.Session

	// Participation returns one client's participation in a session.
	Participation(id sessionstate.SessionID, clientID string) (participation registry.Participation, found bool)
	// PutParticipation records or replaces a participation.
	PutParticipation(id sessionstate.SessionID, participation registry.Participation)
	// DeleteParticipation forgets a participation.
	DeleteParticipation(id sessionstate.SessionID, clientID string)
	// Participations lists the participations in a session, in the order of their client IDs.
	Participations(id sessionstate.SessionID) []registry.Participation

	// PutSubject notes that a session which has not ended holds a client's sub and sid (empty: none), if that is not noted yet;
	// DeleteSubject forgets it.
	PutSubject(clientID, sub, sid string, session sessionstate.SessionID)
	DeleteSubject(clientID, sub, sid string, session sessionstate.SessionID)
	// HasSubject reports whether any session does. HasSub reports whether any holds the sub, by whatever sid or none.
	HasSubject(clientID, sub, sid string) bool
	HasSub(clientID, sub string) bool
	// Holders lists up to limit sessions that hold the sub, each once.
	Holders(clientID, sub string, limit int) []sessionstate.SessionID
	// SubjectHolders lists up to limit sessions that hold the sub and the sid.
	SubjectHolders(holder registry.Holder, limit int) []sessionstate.SessionID

	// Notice returns a notice, also one that was given up.
	Notice(id registry.NoticeID) (notice Notice, found bool)
	// HeldNotice returns the notice to a client for a sub that is Held. There is one at the most.
	HeldNotice(clientID, sub string) (notice Notice, found bool)
	// PutNotice records a notice. None has its ID.
	PutNotice(notice Notice)
	// DeleteNotice forgets a notice.
	DeleteNotice(notice Notice)

	// Response returns what is remembered of a response, also when it is past its time.
	Response(id sessionstate.ResponseID) (response Response, found bool)
	// PutResponse records or replaces a response.
	PutResponse(id sessionstate.ResponseID, response Response)
	// Rebinding returns the session that a response was re-bound to.
	Rebinding(id sessionstate.ResponseID) (rebinding Rebinding, found bool)
	// PutRebinding records or replaces a re-binding.
	PutRebinding(id sessionstate.ResponseID, rebinding Rebinding)

	// Spent returns when a used one-time value may be forgotten, also when that is past.
	Spent(value [16]byte) (expires time.Time, found bool)
	// PutSpent records or replaces a used one-time value.
	PutSpent(value [16]byte, expires time.Time)

	// Keys lists the issuer's keys, also those past their time, in the order of their IDs.
	Keys() []Key
	// PutKey records or replaces a key.
	PutKey(key Key)
	// DeleteKey forgets a key.
	DeleteKey(key Key)

	// Client returns the client with an ID, ClientIDAt the ID of the one with a URI; empty: there is none.
	Client(id string) (client registry.Client, found bool)
	ClientIDAt(uri string) (id string)
	// CountClients says how many clients there are.
	CountClients() int
	// IdlestClient returns the client that was Used the longest ago.
	IdlestClient() (client registry.Client, found bool)
	// PutClient records a client that is not there, and DeleteClient forgets one that is.
	PutClient(client registry.Client)
	DeleteClient(client registry.Client)
}

// A Response is what is remembered of an authorization response.
type Response struct {
	Session  sessionstate.SessionID
	ClientID string
	Origin   string    // as in [registry.Join]
	Made     time.Time // in whole milliseconds, UTC
	Expires  time.Time // in whole milliseconds, UTC
	Silent   bool
}

// A Rebinding names the session that a response belongs to since the user switched.
type Rebinding struct {
	Session sessionstate.SessionID
	Expires time.Time // the session's
}

// A Key is a recorded public key.
type Key struct {
	registry.Key

	Until time.Time // in whole milliseconds, UTC
}

// A Notice is a recorded notice.
type Notice struct {
	registry.Notice

	Expires time.Time // when it is forgotten, unless it is Held; in whole milliseconds, UTC
}

// instant is t as the registry records it: in whole milliseconds, UTC.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
