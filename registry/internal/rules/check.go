package rules

import (
	"fmt"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// CheckIssuer reports whether an issuer can have records. Its error wraps [registry.ErrInvalid], as all of this file's do.
func CheckIssuer(issuer string) error { return checkName("issuer", issuer) }

// CheckJoin reports whether a Join keeps the bounds.
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
		checkIDToken(join.IDToken),
		checkLifetime(join.Lifetime),
	)
}

// CheckRedemption reports whether a Redemption keeps the bounds.
func CheckRedemption(redemption registry.Redemption) error {
	if redemption.Fresh.IsZero() {
		return fmt.Errorf("%w: no fresh session ID", registry.ErrInvalid)
	}
	return first(
		CheckIssuer(redemption.Issuer),
		checkName("subject", redemption.Subject.Sub),
		checkLength("sid", redemption.Subject.Sid),
		checkIDToken(redemption.IDToken),
		checkLifetime(redemption.Lifetime),
	)
}

// CheckEnding reports whether an Ending keeps the bounds.
func CheckEnding(ending registry.Ending) error {
	held := ending.Holder != (registry.Holder{})
	if ending.Browser.IsZero() != held {
		return fmt.Errorf("%w: an end needs either a browser ID or a holder", registry.ErrInvalid)
	}
	if err := first(CheckIssuer(ending.Issuer), checkName("reason", string(ending.Reason))); err != nil || !held {
		return err
	}
	return first(
		checkName("client ID", ending.Holder.ClientID),
		checkName("subject", ending.Holder.Sub),
		checkName("sid", ending.Holder.Sid),
	)
}

// CheckSpending reports whether a Spending keeps the bounds.
func CheckSpending(spending registry.Spending) error {
	if !instant(spending.Expires).After(spending.Now) {
		return fmt.Errorf("%w: a one-time value that has expired", registry.ErrInvalid)
	}
	return CheckIssuer(spending.Issuer)
}

// CheckKeeping reports whether a Keeping keeps the bounds.
func CheckKeeping(keeping registry.Keeping) error {
	if !instant(keeping.Until).After(keeping.Now) {
		return fmt.Errorf("%w: keys that have expired", registry.ErrInvalid)
	}
	if len(keeping.Keys) > registry.MaxKeys {
		return fmt.Errorf("%w: %d keys, over %d", registry.ErrInvalid, len(keeping.Keys), registry.MaxKeys)
	}
	for _, key := range keeping.Keys {
		if err := checkName("key ID", key.ID); err != nil {
			return err
		}
		if len(key.JWK) == 0 || len(key.JWK) > registry.MaxKey {
			return fmt.Errorf("%w: key of %d bytes", registry.ErrInvalid, len(key.JWK))
		}
	}
	return CheckIssuer(keeping.Issuer)
}

// CheckSettling reports whether a Settling keeps the bounds.
func CheckSettling(settling registry.Settling) error { return CheckIssuer(settling.Issuer) }

func checkName(what, value string) error {
	if value == "" {
		return fmt.Errorf("%w: no %s", registry.ErrInvalid, what)
	}
	return checkLength(what, value)
}

func checkIDToken(token registry.IDToken) error {
	return first(
		checkBound("issuer of ID tokens", token.Issuer, registry.MaxIDTokenIssuer),
		checkBound("algorithm of ID tokens", token.Algorithm, registry.MaxAlgorithm),
	)
}

func checkLength(what, value string) error { return checkBound(what, value, registry.MaxString) }

func checkBound(what, value string, bound int) error {
	if len(value) > bound {
		return fmt.Errorf("%w: %s of %d bytes, over %d", registry.ErrInvalid, what, len(value), bound)
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
