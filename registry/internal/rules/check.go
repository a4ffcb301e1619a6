package rules

import (
	"fmt"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// CheckIssuer tells whether an issuer can have records. Its error wraps [registry.ErrInvalid], as all of this file's do.
func CheckIssuer(issuer string) error { return checkName("issuer", issuer) }

// CheckJoin tells whether a Join keeps the bounds.
func CheckJoin(join registry.Join) error {
	if join.Browser.IsZero() {
		return fmt.Errorf("%w: no browser ID", registry.ErrInvalid)
	}
	if join.Fresh.IsZero() {
		return fmt.Errorf("%w: no fresh session ID", registry.ErrInvalid)
	}
	return first(
		CheckIssuer(join.Issuer),
		checkName("client ID", join.ClientID),
		checkLength("origin", join.Origin),
		checkLength("subject", join.Subject.Sub),
		checkLength("sid", join.Subject.Sid),
		checkLifetime(join.Lifetime),
	)
}

// CheckRedemption tells whether a Redemption keeps the bounds.
func CheckRedemption(redemption registry.Redemption) error {
	if redemption.Fresh.IsZero() {
		return fmt.Errorf("%w: no fresh session ID", registry.ErrInvalid)
	}
	return first(
		CheckIssuer(redemption.Issuer),
		checkName("subject", redemption.Subject.Sub),
		checkLength("sid", redemption.Subject.Sid),
		checkLifetime(redemption.Lifetime),
	)
}

// CheckEnding tells whether an Ending keeps the bounds.
func CheckEnding(ending registry.Ending) error {
	if ending.Browser.IsZero() {
		return fmt.Errorf("%w: no browser ID", registry.ErrInvalid)
	}
	return first(
		CheckIssuer(ending.Issuer),
		checkName("reason", string(ending.Reason)),
	)
}

func checkName(what, value string) error {
	if value == "" {
		return fmt.Errorf("%w: no %s", registry.ErrInvalid, what)
	}
	return checkLength(what, value)
}

func checkLength(what, value string) error {
	if len(value) > registry.MaxString {
		return fmt.Errorf("%w: %s of %d bytes, over %d", registry.ErrInvalid, what, len(value), registry.MaxString)
	}
	return nil
}

func checkLifetime(lifetime time.Duration) error {
	if lifetime < time.Millisecond {
		return fmt.Errorf("%w: session lifetime of %s", registry.ErrInvalid, lifetime)
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
