// Package notify tells clients about ended sessions as OpenID Connect Back-Channel Logout 1.0 has it. What is owed is kept elsewhere, by a
// [Site]; the [Worker] takes from there what is due, sends it, and has recorded what became of it. So a notice outlives a client that
// is away and a restart of this server. It is delivered at least once: when the server ends between an answer and its recording,
// the client is told again, which is no harm to it.
package notify

import (
	"context"
	"encoding/hex"
	"time"
)

// ID names a notice.
type ID [16]byte

// String returns the ID in hexadecimal digits, for logs.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// A Notice is owed to one client about one ended session, or about all sessions of a user there.
type Notice struct {
	ID        ID
	Issuer    string // the iss of its logout token
	ClientID  string
	Subject   string // the claim sub, as this client knows it; empty when unknown
	SessionID string // the claim sid; empty when unknown
	Algorithm string // of the client's ID tokens; empty when unknown
	Reason    string // why the session ended; for the log
	Created   time.Time
	Due       time.Time // when it is to be tried next
	Attempts  int       // how often it was tried so far
	Asked     bool      // the client asked for the end itself
	Target    Target
}

// A Settlement is what became of an attempt. A notice that was delivered or given up is owed no more.
type Settlement struct {
	ID        ID
	Delivered bool
	Dead      bool      // given up
	Due       time.Time // of the next attempt, if neither
	Attempts  int       // how often it was tried by now
	Why       string    // what went wrong, short and without secrets; empty when delivered
}

// A Site is one issuer's clients and keys, as the current configuration has them. Its methods are called from several goroutines.
type Site interface {
	// Due lists up to limit notices whose time has come: of each client the oldest first, and no more than some hundred, in an order
	// of clients that differs each time, so that none waits behind another for ever.
	Due(ctx context.Context, now time.Time, limit int) ([]Notice, error)
	// Settle records what became of attempts, in one transaction. After an error it is called again with the same; notices that
	// it does not know (any more) are no error.
	Settle(ctx context.Context, settlements []Settlement) error
	// Token signs a fresh logout token for a notice, with jti, iat and exp of its own: a client may refuse one that it has seen.
	// Its error wraps ErrCannotSign where it is no use to try again.
	Token(ctx context.Context, n Notice) (string, error)
}

// A Target is where a notice goes.
type Target struct {
	URI      string        // the client's backchannel_logout_uri
	Sender   *Sender       // who dials it
	RetryFor time.Duration // how old a notice gets before a failed attempt is its last, if it is the sixth; zero: there is one attempt
	// SelfRegistered: the client has registered itself, as anybody may. Such clients share a
	// small part of the tries.
	SelfRegistered bool
}
