// Package registry is the durable record of sessions: who signed in where, by which codes, and what has ended.
//
// It defines the [Registry] interface with its contract; registry/bolt and registry/memory implement it, and
// registry/registrytest holds the test that every implementation passes.
package registry

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Registry keeps sessions. Everything in it is per issuer: two issuers never see each other's sessions, whatever their IDs.
//
// The contract:
//   - Every method is safe for concurrent use, and one call is one transaction: done wholly or not at all, and durable when it
//     returned nil (for a store that is durable at all).
//   - "Not found" is not an error: a method says so in its result.
//   - An error wraps [ErrUnavailable] when nothing can be known now (closed, locked, corrupt, out of time) and [ErrInvalid] when
//     the caller's values break a bound. Nothing has been recorded then, except that a call which ran out of time may still
//     commit later.
//   - Time is the caller's: no method reads a clock.
type Registry interface {
	// ID returns the registry's own ID, drawn when it was made. A registry that was lost and made anew has another. An open
	// registry does not ask its store for it.
	ID(ctx context.Context) (sessionstate.RegistryID, error)

	// Join records a successful authorization response: it continues the browser's session or starts one. See [Join].
	Join(ctx context.Context, join Join) (Session, error)

	// Redeem records a successful token response: who signed in. See [Redemption].
	Redeem(ctx context.Context, redemption Redemption) (Redeemed, error)

	// Session returns a session, live or not. found is false when none is recorded under that ID.
	Session(ctx context.Context, issuer string, id sessionstate.SessionID) (session Session, found bool, err error)

	// Resolve returns the session that a response belongs to now: the one it was re-bound to when the user switched
	// ([Redeem]), else the one with the given ID. A zero response was never re-bound.
	Resolve(ctx context.Context, issuer string, id sessionstate.SessionID, response sessionstate.ResponseID) (session Session, found bool, err error)

	// Participations lists the clients that take or took part in a session, ordered by client ID; none when it is not found.
	Participations(ctx context.Context, issuer string, id sessionstate.SessionID) ([]Participation, error)

	// End ends live sessions of a browser or a Holder and returns them, ended: so many as one transaction can hold without logins waiting for it
	// long. All have ended when it returns none. A browser without live sessions is no error.
	End(ctx context.Context, ending Ending) ([]Session, error)

	// Spend marks a one-time value as used. first is true for the first call with that value, and for none after it until its
	// time is over. See [Spending].
	Spend(ctx context.Context, spending Spending) (first bool, err error)

	// KeepKeys records public keys of the issuer's OP. See [Keeping].
	KeepKeys(ctx context.Context, keeping Keeping) error

	// Keys lists the issuer's recorded keys whose time is not over, ordered by ID.
	Keys(ctx context.Context, issuer string, now time.Time) ([]Key, error)

	// Observe records what was seen of the issuer's OP, in place of what was recorded before. See [Observed].
	Observe(ctx context.Context, issuer string, observed Observed) error

	// Observed returns what is recorded of the issuer's OP; found is false where nothing is.
	Observed(ctx context.Context, issuer string) (observed Observed, found bool, err error)

	// DueNotices lists up to limit of the issuer's notices that are due by now and not given up: of each client up to [DuePerClient],
	// those that are due the longest first. The clients are in an order that differs each time, so that none waits behind another
	// for ever. Notices stay due until they are settled. Those that are Held must not be sent, and are to be settled as such at once.
	DueNotices(ctx context.Context, issuer string, now time.Time, limit int) ([]Notice, error)

	// Notices returns those of the issuer's notices with the given IDs that are recorded still, in the order of the IDs given. What was
	// delivered is not; what was given up is, for [DeadLetterLifetime].
	Notices(ctx context.Context, issuer string, ids []NoticeID) ([]Notice, error)

	// AllNotices lists up to limit of the issuer's notices that are recorded, ordered by ID: those after the given one; zero: from the first
	// on. It is for operators.
	AllNotices(ctx context.Context, issuer string, after NoticeID, limit int) ([]Notice, error)

	// SettleNotices records what became of tries to deliver notices. See [Settling].
	SettleNotices(ctx context.Context, settling Settling) error

	// PutClient records or replaces a client of the issuer that has registered itself. A URI that
	// is another client's stays that one's. Where [MaxClients] are recorded, one gives way: of
	// those that never took part in a session, or in none for [IdleClient], the one that did so or
	// registered the longest ago. If there is none, the error wraps [ErrInvalid].
	PutClient(ctx context.Context, issuer string, client Client, now time.Time) error

	// DeleteClient forgets a client. One that is not recorded is no error.
	DeleteClient(ctx context.Context, issuer, id string) error

	// Client returns the issuer's client with an ID.
	Client(ctx context.Context, issuer, id string) (client Client, found bool, err error)

	// ClientAt returns the issuer's client with a URI.
	ClientAt(ctx context.Context, issuer, uri string) (client Client, found bool, err error)

	// Expire ends sessions that are past their time and removes them, and removes codes, re-bindings, one-time values, keys and notices
	// that are; at most 100 of all of them a call, and fewer where sessions have many clients, so that no logins wait behind it. It
	// returns how many it removed: none means that there are no more. See [Expiry].
	Expire(ctx context.Context, expiry Expiry) (removed int, err error)

	// Close releases the store. Calls after it, and a second Close, are harmless: the calls return ErrUnavailable.
	Close() error
}

// Errors that callers decide by.
var (
	// ErrUnavailable says that the registry cannot be asked now. Login goes on without it.
	ErrUnavailable = errors.New("session registry unavailable")

	// ErrInvalid says that a value is out of bounds: it was not recorded.
	ErrInvalid = errors.New("invalid session record")
)

// Bounds of one record. What is over a string bound is refused with [ErrInvalid], as are an empty issuer, client ID, sub or
// reason, a zero browser ID, a Fresh ID that is zero or in use, and a Lifetime under a millisecond. What is over a count is not
// recorded: [Redeemed] says so, and Join returns its session all the same.
const (
	// MaxString is the longest issuer, client ID, origin, subject or sid, in bytes.
	MaxString = 1024
	// MaxIDTokenIssuer and MaxAlgorithm are the longest strings of an [IDToken], in bytes.
	MaxIDTokenIssuer = 512
	MaxAlgorithm     = 16
	// MaxParticipations is how many clients one session records.
	MaxParticipations = 512
	// MaxSubjects is how many (sub, sid) pairs one participation records: an OP whose own sessions last for a day names a new sid each
	// day of ours.
	MaxSubjects = 32
	// MaxSessionSubjects is how many of those all participations of one session record. Each is a notice in the one transaction that
	// ends the session, which takes some forty microseconds in a large file; logins, which have a quarter of a second, wait meanwhile.
	MaxSessionSubjects = 1024
	// MaxBrowserSessions is how many live sessions one browser has. When it starts more, its oldest ends ([ReasonExpiry]).
	MaxBrowserSessions = 32
	// MaxUserSessions is how many live sessions hold one sub of one client. When one more does,
	// the oldest ends (ReasonExpiry): whoever has an account could fill the registry with sessions
	// of it.
	MaxUserSessions = 100
	// MaxOrigins is how many origins one participation records.
	MaxOrigins = 32
	// MaxSuccessors is how many successors of a session are followed to the last of them. What has more starts anew.
	MaxSuccessors = 16
	// MaxKeys is how many keys are recorded of one issuer. Of more, those whose time is over soonest are forgotten.
	MaxKeys = 256
	// MaxKey is the longest public key, in bytes of JSON.
	MaxKey = 8 << 10
	// MaxObservedKeys is how many keys of a JWK Set one [Observed] has.
	MaxObservedKeys = 64
	// MaxMissing is how many clients one [Presence] names.
	MaxMissing = 32
	// MaxClients is how many clients one issuer has recorded.
	MaxClients = 10_000
	// MaxClient is the longest metadata of a client, in bytes.
	MaxClient = 16 << 10
	// DuePerClient is how many of a client's due notices one call of DueNotices lists.
	DuePerClient = 128
	// MaxWhy is the longest reason why a notice could not be delivered, in bytes. More is cut off.
	MaxWhy = 256
	// MaxExpired is how many records one call of Expire removes.
	MaxExpired = 100

	// CodeLifetime is how long an authorization code is remembered: OAuth 2.0 (RFC 6749, section 4.1.2) recommends that codes
	// live for ten minutes at most.
	CodeLifetime = 10 * time.Minute

	// IdleClient is for how long a client that registered itself takes part in nothing until it
	// may give way to another.
	IdleClient = 90 * 24 * time.Hour

	// NoticeLifetime is how long a notice is kept that nobody tries to deliver, or tries in vain.
	NoticeLifetime = 31 * 24 * time.Hour
	// DeadLetterLifetime is how long a notice is kept that was given up.
	DeadLetterLifetime = 7 * 24 * time.Hour
)

// A Reason says why a session ended.
type Reason string

// The reasons for which sessions end.
const (
	ReasonLoginCookie Reason = "login_cookie" // the OP deleted its login cookie
	ReasonOPEnded     Reason = "op_ended"     // the OP says that the user is not signed in any more
	ReasonUserSwitch  Reason = "user_switch"  // another End-User signed in in the same browser
	ReasonLogout      Reason = "logout"       // RP-Initiated Logout
	ReasonOperator    Reason = "operator"     // an operator ended it
	ReasonExpiry      Reason = "expiry"       // its time was over, or its browser or its user had too many sessions
)

// A Session is one sign-in of one End-User in one browser at one issuer.
type Session struct {
	ID      sessionstate.SessionID
	Browser sessionstate.BrowserID
	Issuer  string
	// Created is when the session started, Expires when it ends by itself unless it is used before, and Limit when it ends
	// however much it is used. All in whole milliseconds, UTC.
	Created, Expires, Limit time.Time
	// Ended is when the session was ended; zero while it was not.
	Ended time.Time
	// Reason says why it ended; empty while it was not.
	Reason Reason
	// Successor is the session that replaced it at a user switch; zero if none did.
	Successor sessionstate.SessionID
	// Predecessor is the session that it replaced at a user switch; zero if it replaced none.
	Predecessor sessionstate.SessionID
	// Forgotten is when its record is removed although the session has not expired; zero: it is
	// not. That is so while none of its codes was redeemed, [CodeLifetime] after the last
	// response, and CodeLifetime after it ended because there were too many. A session that is
	// forgotten has not ended by that: whoever holds it can go on with it.
	Forgotten time.Time
}

// Removal is when the session's record is removed.
func (s Session) Removal() time.Time {
	if !s.Forgotten.IsZero() && s.Forgotten.Before(s.Expires) {
		return s.Forgotten
	}
	return s.Expires
}

// Live reports whether the session has neither ended nor expired by now.
func (s Session) Live(now time.Time) bool { return s.Ended.IsZero() && now.Before(s.Expires) }

// A Participation is one client in a session.
type Participation struct {
	ClientID string
	// Subjects is the set of what the client's ID tokens named; empty while no ID token was seen.
	Subjects []Subject
	// Origins is the set of origins (RFC 6454) of the client's redirect URIs.
	Origins []string
	// IDToken is that of the client's ID tokens: of each string, the latest that was not empty.
	IDToken IDToken
}

// An IDToken says what a client's ID tokens are like, so that its logout tokens can be like them.
type IDToken struct {
	Issuer    string // their iss, where the OP has an issuer per client; empty: the OP's own issuer
	Algorithm string // their alg; empty: as configured
}

// Update returns t with those strings of later that are not empty.
func (t IDToken) Update(later IDToken) IDToken {
	return IDToken{Issuer: cmp.Or(later.Issuer, t.Issuer), Algorithm: cmp.Or(later.Algorithm, t.Algorithm)}
}

// A Subject is what one ID token named: the End-User (sub) and, where the OP names it, its own session (sid).
type Subject struct {
	Sub string
	Sid string // empty: the ID token had none
	// Since and Last are when the first and the last authorization response were made that the Sub and Sid are known by, in
	// whole milliseconds, UTC. The registry fills them in.
	Since, Last time.Time
}

// Join is one successful authorization response.
//
// The session it joins is the first of these that there is:
//  1. the session with the ID in Session, if it is live,
//  2. the last of its successors, if that is live,
//  3. a session started now under the ID in Session, if nothing is recorded under it: another registry, or none, recorded it,
//     or this one has forgotten it, and its browser still holds it,
//  4. a session started now under the ID in Fresh.
//
// The client becomes a participation of it, with Origin among its origins unless that is empty. A non-zero Response is
// remembered, with the client, the session, Now and Silent, until Now + [CodeLifetime]; a Response that is remembered already
// stays as it was (first write wins).
//
// A non-empty Subject comes from an ID token in the response itself. It is recorded as that of a [Redemption] is, with Fresh
// for the ID of a session that has to be started for it, and the session that it belongs to is the one returned.
type Join struct {
	Issuer   string
	Browser  sessionstate.BrowserID
	Session  sessionstate.SessionID // the sealed cookie's; zero: none
	Fresh    sessionstate.SessionID // never used before
	Response sessionstate.ResponseID
	ClientID string
	Origin   string
	// Silent: the response answers a request with prompt=none, so that no user has just signed in.
	Silent        bool
	Subject       Subject // empty Sub: the response named none
	IDToken       IDToken // of the Subject
	AcrossClients bool    // equal End-Users have equal Subs at all clients
	Now           time.Time
	Lifetime      time.Duration // of a session started now
	Idle          time.Duration // after which the session ends unless it is joined again; zero: only after its Lifetime
	Tell          bool          // clients of a session that ends by this are owed notices
}

// Redemption is one successful token response with an ID token.
//
// Its Response must be remembered ([Join]) and the client remembered with it must be in Audience; otherwise nothing is recorded
// and the result's Known is false. The Subject is added to that client's participation in the session that the response
// belongs to.
//
// Which that is follows the order in which the responses were made, whatever the order in which their codes are redeemed. It is
// the session remembered with the response, or the last of its successors that had started when the response was made. If that
// session holds subjects to compare with (those of the same client; with AcrossClients, those of all) and none has the same
// Sub, then the user has switched:
//   - From that session, if it lives: it ends ([ReasonUserSwitch]) with a Successor under the ID in Fresh, which starts at the
//     time of the response.
//   - Unless the response was silent, and a session before that one had the Sub: the OP holds several accounts at once, and
//     going back and forth between them is no switch. The Subject joins the session.
//   - Not at this response, but before, if the successor of that session has the Sub: the Subject joins the successor.
//   - To that session or to its successor, if responses to their users were made later: a session under the ID in Fresh is
//     recorded as ended (ReasonUserSwitch) with that session or that successor as its Successor.
//
// A session that ended otherwise gets the Subject without a switch. Whenever a session that has ended gets one, its client is owed the
// notice of it at once, also if it was told before: it has got new tokens since. So it is if the session was removed already, for
// [ReasonExpiry]; nothing else is recorded then, and Known is false. A response which does not belong to the session remembered
// with it is re-bound ([Registry.Resolve]) for as long as the other one is recorded; its client participates there with the
// same origins.
type Redemption struct {
	Issuer        string
	Response      sessionstate.ResponseID
	Audience      []string
	Subject       Subject
	IDToken       IDToken
	AcrossClients bool                   // equal End-Users have equal Subs at all clients
	Fresh         sessionstate.SessionID // never used before
	Now           time.Time
	Lifetime      time.Duration // of a session started now
	Idle          time.Duration // as in Join
	Tell          bool          // clients of a session that ends by this, or has ended, are owed notices
}

// Redeemed says what a [Redemption] has done.
type Redeemed struct {
	Known    bool    // the Response was remembered, for a client in the Audience
	Session  Session // the session that the Subject was recorded in
	Switched bool    // the user has switched: Session is the successor, started now
	Added    bool    // the Subject was not recorded there before
	Full     bool    // a count was over its bound: the Subject was not recorded
}

// Ending ends live sessions: those of one browser or, with a Holder, those in which a client's ID
// tokens named a user and a session of the OP.
type Ending struct {
	Issuer  string
	Browser sessionstate.BrowserID // zero with a Holder
	Holder  Holder
	Reason  Reason
	Now     time.Time
	Tell    bool // its clients are owed notices
	// Asked is the client that asked for the end (RP-Initiated Logout 1.0); empty: none did. Its
	// notices are due at AskedDue, or at once if that is zero.
	Asked    string
	AskedDue time.Time
}

// A Holder is what an ID token names: its client, the End-User and the OP's own session. All of it
// must be there; the zero Holder is none.
type Holder struct{ ClientID, Sub, Sid string }

// Expiry ends what is past its time by Now. Clients are owed notices of the sessions that end by it, as far as there is no Silence.
type Expiry struct {
	Now     time.Time
	Silence Silence
	// Limit is how many records are removed at the most: fewer than [MaxExpired]. Zero: MaxExpired.
	Limit int
}

// Most is how many records are removed at the most.
func (e Expiry) Most() int {
	if e.Limit <= 0 || e.Limit > MaxExpired {
		return MaxExpired
	}
	return e.Limit
}

// Spending marks a one-time value as used. Expires must be after Now.
type Spending struct {
	Issuer  string
	Value   [16]byte // drawn at random
	Now     time.Time
	Expires time.Time // when it may be forgotten: the value itself must count no more then
}

// Keeping records public keys until a time after Now. A key that is recorded already keeps the later one of both times.
type Keeping struct {
	Issuer string
	Keys   []Key
	Now    time.Time
	Until  time.Time
}

// A Key is one public key of an OP. ID and JWK must not be empty.
type Key struct {
	ID  string // its thumbprint (RFC 7638), unpadded base64url
	JWK []byte // JSON (RFC 7517)
}

// Observed is what was seen of an OP, as far as clients can be told by back channel or not because of it. An issuer has one record of it,
// which no time ends; Expire leaves it.
type Observed struct {
	KeyIDs     Presence // whether ID tokens name the key that they are signed by (kid)
	SessionIDs Presence // whether they name the OP's session (sid)
	// Keys are those of the OP's JWK Set for signatures, as it was last seen; none: it was not seen.
	Keys []ObservedKey
	// Discovery is the path of the discovery document that was last seen, where the configuration
	// does not say it; empty: it does.
	Discovery string
}

// A Presence says whether ID tokens have something.
type Presence struct {
	Seen bool // one had it
	// Missing are the clients whose last ID token had it not, each once.
	Missing []Missing
}

// Missing is a client whose last ID token lacked something. ClientID must not be empty.
type Missing struct {
	ClientID string
	Last     time.Time // when that was seen, in whole milliseconds, UTC
}

// An ObservedKey is what a JWK Set calls one of its keys. Each may be empty.
type ObservedKey struct {
	KeyID      string // kid
	Thumbprint string // RFC 7638, unpadded base64url
	Algorithm  string // alg
}

// A NoticeID names a notice: it follows from the session, the client, the sub and the sid ([NameNotice]).
type NoticeID [16]byte

// String returns the ID in hexadecimal digits, for logs.
func (id NoticeID) String() string { return hex.EncodeToString(id[:]) }

// NameNotice returns the ID of the one notice that a client is owed of the end of a session, for one sub and sid.
func NameNotice(session sessionstate.SessionID, clientID, sub, sid string) NoticeID {
	hash := sha256.New()
	hash.Write(session[:])
	for _, part := range []string{clientID, sub, sid} {
		sum := sha256.Sum256([]byte(part))
		hash.Write(sum[:])
	}
	return NoticeID(hash.Sum(nil)[:len(NoticeID{})])
}

// A Notice is one back-channel notification that is owed to a client: a session that it took part in has ended. It is recorded in the
// transaction that ends the session, one for each client, sub and sid, and kept until it is delivered or given up.
//
// A notice with a sid ends what the client has of that sid; without one, it ends all of the user's sessions at that client
// (Back-Channel Logout 1.0, section 2.4). When a session ends by [ReasonExpiry] or [ReasonUserSwitch], it must not end what another
// session, which has not ended, has set up there. So such a notice is not sent while another session holds the same client and sub,
// and the same sid unless the notice has none. This is looked at when it is made, when it is listed as due and after each try:
//   - If that session holds the very same client, sub and sid (or none), the notice is dropped: the end of that one brings its equal.
//   - If it holds the sub with a sid, and the notice has none, the notice is held back, one for each client and sub. It is due when the
//     last session that holds them has ended, unless the end of that one brings its equal.
//
// The same holds, when it is made, for a notice without a sid of a code that was redeemed after
// its session had ended, for whatever reason: it must not end what was opened since.
type Notice struct {
	ID       NoticeID
	ClientID string
	Sub, Sid string // as that client's ID tokens named them; Sid may be empty
	IDToken  IDToken
	Reason   Reason // why the session ended
	// Created is when the notice was made, or was no longer held back; Due is when it is to be tried next. Both in whole milliseconds, UTC.
	Created, Due time.Time
	Attempts     int    // how often it was tried
	Dead         bool   // it was given up
	Held         bool   // it is held back, or is to be: another session goes on
	Asked        bool   // its client asked for the end
	Why          string // why it was not delivered, when it was tried
}

// Settling records what became of tries. A notice that is not recorded any more is passed over.
type Settling struct {
	Issuer   string
	Outcomes []Outcome
	Now      time.Time
}

// An Outcome is what became of a notice: it was delivered, and is forgotten; or it is given up (Dead); or it was not tried since it was
// listed as Held, and is dropped or held back unless that is over; or else it is due again at Due.
type Outcome struct {
	ID         NoticeID
	Delivered  bool
	Dead       bool
	Held       bool
	WithoutSid bool // with Held: its client is notified without the sid, which the notice has no more
	Due        time.Time
	Attempts   int
	Why        string
}

// A Client is a client that has registered itself. ID and Metadata must not be empty. The registry
// fills in Used.
type Client struct {
	ID       string
	URI      string // where its registration is changed; empty: not known, or another client's
	Metadata []byte // what is kept of it; the registry does not look into it
	// Used is when it took part in a session last, to the day. One that never did counts as used
	// [IdleClient] before it registered.
	Used time.Time
}

// An Opener opens registries: what a store module configures.
type Opener interface {
	// Open opens the store, or fails soon (within a second) when it is locked or away. It never waits for another process. The
	// logger is for as long as the store is open, over reloads.
	Open(logger *zap.Logger) (Registry, error)

	// SharingKey is equal for openers of one and the same store, so that reloads and several users share one open registry.
	SharingKey() string
}
