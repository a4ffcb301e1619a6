package oidcsession

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
)

// Bounds of what may be configured. Browsers keep no cookie for more than 400 days (RFC 6265bis,
// section 5.5).
const (
	minSessionLifetime     = time.Minute
	maxSessionLifetime     = 400 * 24 * time.Hour
	maxFrontChannelTimeout = 30 * time.Second
)

// validateTogether checks options that depend on each other, once none of them is a placeholder.
func (h *Handler) validateTogether() error {
	var check string
	var end *string
	if h.CheckSession != nil {
		check = h.CheckSession.Path
	}
	switch {
	case h.EndSession != nil:
		end = &h.EndSession.Path
	case h.LoginCookie != "":
		end = new(string)
	}
	paths := append([]string{check}, slices.Concat(h.Issuers, h.Discovery)...)
	if end != nil {
		paths = append(paths, *end)
	}
	if slices.ContainsFunc(paths, hasPlaceholder) {
		return nil
	}
	if len(h.Issuers) == 0 {
		if err := handlers.ValidateDiscoveryAlone(h.Discovery); err != nil {
			return err
		}
	}
	return handlers.ValidateEndpoints(h.Issuers, h.Discovery, check, end)
}

func validateLoginCookie(name string) error {
	if name != "" && (&http.Cookie{Name: name, Value: "x"}).Valid() != nil {
		return fmt.Errorf(
			"login_cookie is no cookie name: %q; write the name alone, such as sessionid", name)
	}
	return nil
}

func validateSessionState(value string) error { return handlers.SessionState(value).Validate() }

// endpointPath is the check of the path of an endpoint of ours.
func endpointPath(option string) func(string) error {
	return atStart(func(path string) error { return handlers.ValidateEndpoint(option, path) })
}

func validateLifetime(option string) func(caddy.Duration) error {
	return func(value caddy.Duration) error {
		lifetime := time.Duration(value)
		if lifetime == 0 || minSessionLifetime <= lifetime && lifetime <= maxSessionLifetime {
			return nil
		}
		return fmt.Errorf(
			"%s is %s, but must be %s to 400 days", option, lifetime, minSessionLifetime)
	}
}

func validateStoreError(value string) error {
	if value != storeErrorRefuse && value != storeErrorAllow {
		return fmt.Errorf("on_store_error is '%s', but must be refuse or allow", value)
	}
	return nil
}

// validateOPs checks issuers of several OPs, which need not have one origin.
func validateOPs(issuers ...string) error {
	for i, issuer := range issuers {
		if err := handlers.ValidateIssuers(issuer); err != nil {
			return err
		}
		if slices.Contains(issuers[:i], issuer) {
			return fmt.Errorf("issuer %q is given twice", issuer)
		}
	}
	return nil
}

func validateFrontChannelTimeout(value caddy.Duration) error {
	if timeout := time.Duration(value); timeout < 0 || timeout > maxFrontChannelTimeout {
		return fmt.Errorf(
			"frontchannel_timeout is %s, but must be at most %s", timeout, maxFrontChannelTimeout)
	}
	return nil
}

func validateRetryFor(value caddy.Duration) error {
	return backchannel.ValidateTimes(time.Duration(value), 0)
}

func validateRedirectWait(value caddy.Duration) error {
	return backchannel.ValidateTimes(0, time.Duration(value))
}

func validateAllowPrivate(addresses ...string) error {
	_, err := (&BackChannel{AllowPrivate: addresses}).allowed()
	return err
}

// atStart is the check of an option that takes placeholders known at start: of one without any.
func atStart(check func(string) error) func(string) error {
	return func(value string) error {
		if hasPlaceholder(value) {
			return validatePlaceholders(value)
		}
		return check(value)
	}
}

// allAtStart is the same for a list: the values without placeholders are checked together.
func allAtStart(check func(...string) error) func(...string) error {
	return func(values ...string) error {
		for _, value := range values {
			if err := validatePlaceholders(value); err != nil {
				return err
			}
		}
		literal := slices.DeleteFunc(slices.Clone(values), hasPlaceholder)
		if check == nil || len(literal) == 0 {
			return nil
		}
		return check(literal...)
	}
}

func hasPlaceholder(value string) bool { return strings.Contains(value, "{") }
