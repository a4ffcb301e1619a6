package main

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

var errRefused = errors.New("a value of its own is refused")

// measureSessionState measures what sign-ins and checks are made of.
func measureSessionState(_ context.Context, r *report, _ limits, _ string) error {
	r.section("Session states and seals")
	const issuer, clientID, origin, purpose = "https://op.example.com", "shop", "https://shop.example", "session"
	keys, err := sessionstate.NewKeyring([]byte(rand.Text() + rand.Text()))
	if err != nil {
		return err
	}
	handle := sessionstate.NewHandle(clientID, origin)
	handle.Session = registry.NewSessionID(issuer, sessionstate.NewBrowserID())
	salt, browserState := keys.SealHandle(issuer, handle), keys.BrowserState(issuer, handle.Session)
	state := sessionstate.Compute(clientID, origin, browserState, salt)
	value := make([]byte, 76) // about what the session cookie holds
	sealed := keys.Seal(purpose, issuer, value)

	for _, operation := range []struct {
		name string
		do   func() error
	}{
		{"Compute", func() error { sessionstate.Compute(clientID, origin, browserState, salt); return nil }},
		{"Verify", func() error {
			if !sessionstate.Verify(state, clientID, origin, browserState) {
				return errRefused
			}
			return nil
		}},
		{"Seal", func() error { keys.Seal(purpose, issuer, value); return nil }},
		{"Open", func() error { _, _, err := keys.Open(purpose, issuer, sealed); return err }},
		{"SealHandle", func() error { keys.SealHandle(issuer, handle); return nil }},
		{"OpenHandle", func() error { _, err := keys.OpenHandle(issuer, salt); return err }},
		{"BrowserState", func() error { keys.BrowserState(issuer, handle.Session); return nil }},
	} {
		result, err := benchmark(operation.name, func(b *testing.B) error {
			for b.Loop() {
				if err := operation.do(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.info(operation.name, "%s", costs(result))
	}
	return nil
}
