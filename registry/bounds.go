package registry

import (
	"errors"
	"fmt"
	"time"
)

// Errors that callers decide by.
var (
	// ErrUnavailable says that the registry cannot be asked now. Sign-in goes on without it.
	ErrUnavailable = errors.New("session registry unavailable")

	// ErrInvalid says that a value is out of bounds: it was not recorded.
	ErrInvalid = errors.New("invalid session record")
)

// Bounds. A string over its bound is refused with [ErrInvalid], as are an empty issuer, client ID
// or sub, a zero browser ID, and a Lifetime under a millisecond. What a sign-in would add beyond a
// count, or beyond MaxRecord, is not recorded, and the result says so. What ends or settles is
// never refused.
const (
	// MaxRecord is how many bytes a record has that a sign-in adds to: some 425 clients.
	MaxRecord = 64 << 10
	// MaxString is the longest issuer, client ID, origin, sub or sid, in bytes.
	MaxString = 1024
	// MaxIDTokenIssuer and MaxAlgorithm are the longest strings of an [IDToken], in bytes.
	MaxIDTokenIssuer = 512
	MaxAlgorithm     = 16
	// MaxClients is how many clients one session records.
	MaxClients = 512
	// MaxSubjects is how many (sub, sid) pairs one client of a session has: an OP whose own
	// sessions last for a day names a new sid each day of ours.
	MaxSubjects = 32
	// MaxOrigins is how many origins one client of a session has.
	MaxOrigins = 32
	// MaxBrowserSessions is how many live sessions one browser has. When it starts more, its
	// oldest ends ([ReasonExpiry]).
	MaxBrowserSessions = 32
	// MaxTombstones is how many ended sessions of one browser are remembered.
	MaxTombstones = 64
	// MaxUserSessions is how many live sessions of one user there are. When one more starts, the
	// oldest ends (ReasonExpiry): anybody with an account could fill the registry with sessions of
	// it.
	MaxUserSessions = 100
	// MaxWhy is the longest reason why a notice could not be delivered, in bytes.
	MaxWhy = 256
	// maxLooks is at how many browsers of a user a passive notice is looked for. With more, it is
	// held.
	maxLooks = 256
	// maxMembers is how many browsers of a user are listed.
	maxMembers = 10_000
	// pageOfBrowsers is how many browsers of a user one call lists or ends.
	pageOfBrowsers = 100

	// CodeLifetime is how long an authorization code is remembered: OAuth 2.0 (RFC 6749, section
	// 4.1.2) recommends that codes live for ten minutes at most.
	CodeLifetime = 10 * time.Minute
	// NoticeLifetime is how long a notice is kept that nobody tries to deliver, or tries in vain.
	NoticeLifetime = 31 * 24 * time.Hour
	// DeadLetterLifetime is how long a notice is kept that was given up.
	DeadLetterLifetime = 7 * 24 * time.Hour
	// Lease is for how long a claimed notice is its claimer's: longer than a try takes.
	Lease = 30 * time.Second
	// heldInterval is how long a notice is held back until it is looked at again.
	heldInterval = time.Hour
	// wakeGrace is how long a record outlives the expiry of its sessions, so that what expired
	// while no server ran is noticed.
	wakeGrace = 24 * time.Hour
	// untilGrace is how long after its last possible end a session counts as unknown: clocks
	// differ.
	untilGrace = time.Minute
)

// check reports whether strings keep their bounds. Its error wraps [ErrInvalid].
func (j Join) check() error {
	if j.Browser.IsZero() {
		return fmt.Errorf("%w: no browser ID", ErrInvalid)
	}
	return errors.Join(
		checkName("issuer", j.Issuer), checkName("client ID", j.ClientID),
		checkBound("origin", j.Origin, MaxString),
		checkBound("sub", j.Sub, MaxString), checkBound("sid", j.Sid, MaxString),
		j.IDToken.check(), checkLifetime(j.Lifetime),
	)
}

func (d Redemption) check() error {
	return errors.Join(
		checkName("issuer", d.Issuer),
		checkName("sub", d.Sub), checkBound("sid", d.Sid, MaxString),
		d.IDToken.check(), checkLifetime(d.Lifetime),
	)
}

func (t IDToken) check() error {
	return errors.Join(
		checkBound("issuer of ID tokens", t.Issuer, MaxIDTokenIssuer),
		checkBound("algorithm of ID tokens", t.Algorithm, MaxAlgorithm),
	)
}

func checkName(what, value string) error {
	if value == "" {
		return fmt.Errorf("%w: no %s", ErrInvalid, what)
	}
	return checkBound(what, value, MaxString)
}

func checkBound(what, value string, bound int) error {
	if len(value) > bound {
		return fmt.Errorf("%w: %s of %d bytes, over %d", ErrInvalid, what, len(value), bound)
	}
	return nil
}

func checkLifetime(lifetime time.Duration) error {
	if lifetime < time.Millisecond {
		return fmt.Errorf("%w: session lifetime of %s", ErrInvalid, lifetime)
	}
	return nil
}
