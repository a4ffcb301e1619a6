package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/bolt"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// recorders is how many sessions are recorded at once before the measurement; the store commits them together.
const recorders = 64

const registryIssuer = "https://op.example.com"

// measureRegistry measures logins and look-ups in the default store.
func measureRegistry(ctx context.Context, r *report, l limits, dir string) error {
	r.section("Sessions in a file (Join + Redeem: two durable transactions, one login at a time)")
	for _, count := range l.sessions {
		if err := measureStore(ctx, r, filepath.Join(dir, fmt.Sprint(count)), count, l.logins); err != nil {
			return fmt.Errorf("%d sessions: %w", count, err)
		}
	}
	return nil
}

func measureStore(ctx context.Context, r *report, dir string, sessions, logins int) (err error) {
	store, err := bolt.Open(filepath.Join(dir, "registry.db"), zap.NewNop())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := fill(ctx, store, sessions); err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	var took []time.Duration
	var last registry.Session
	for i := range logins {
		start := time.Now()
		if last, err = login(ctx, store, fmt.Sprintf("measured %d", i)); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	response := sessionstate.NewResponseID("a code that no user switch moved")
	resolved, err := benchmark("Resolve", func(b *testing.B) error {
		for b.Loop() {
			if _, found, err := store.Resolve(ctx, registryIssuer, last.ID, response); err != nil || !found {
				return fmt.Errorf("found: %v, %w", found, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.info(fmt.Sprintf("login among %d sessions", sessions), "p50 %v, p99 %v",
		percentile(took, 50).Round(time.Microsecond), percentile(took, 99).Round(time.Microsecond))
	r.info(fmt.Sprintf("Resolve among %d sessions", sessions), "%s", costs(resolved))
	return nil
}

// fill records sessions.
func fill(ctx context.Context, store registry.Registry, count int) error {
	errs := make(chan error, recorders)
	for recorder := range recorders {
		go func() {
			var err error
			for i := recorder; i < count && err == nil; i += recorders {
				_, err = login(ctx, store, fmt.Sprintf("filled %d", i))
			}
			errs <- err
		}()
	}
	var all error
	for range recorders {
		all = errors.Join(all, <-errs)
	}
	return all
}

// login records one sign-in of a new browser, as the handlers do: its authorization response, then its token response.
func login(ctx context.Context, store registry.Registry, code string) (registry.Session, error) {
	const clientID = "shop"
	response, now := sessionstate.NewResponseID(code), time.Now()
	session, err := store.Join(ctx, registry.Join{
		Issuer: registryIssuer, Browser: sessionstate.NewBrowserID(), Fresh: sessionstate.NewSessionID(),
		Response: response, ClientID: clientID, Origin: "https://shop.example", Now: now, Lifetime: 30 * 24 * time.Hour,
	})
	if err != nil {
		return session, err
	}
	redeemed, err := store.Redeem(ctx, registry.Redemption{
		Issuer: registryIssuer, Response: response, Audience: []string{clientID}, Subject: registry.Subject{Sub: code},
		Fresh: sessionstate.NewSessionID(), Now: now, Lifetime: 30 * 24 * time.Hour,
	})
	if err == nil && !redeemed.Known {
		err = errors.New("the code is not remembered")
	}
	return session, err
}
