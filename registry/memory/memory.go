// Package memory keeps sessions in memory: for tests, and for servers whose sessions may end with the process.
package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A Store is a [registry.Registry] in memory. Use [New].
type Store struct {
	id sessionstate.RegistryID

	mu      sync.Mutex
	closed  bool
	issuers map[string]*records
	expiry  queue[expiring]
}

// New returns an empty store with an ID of its own.
func New() *Store {
	return &Store{id: sessionstate.NewRegistryID(), issuers: make(map[string]*records)}
}

// ID implements [registry.Registry].
func (s *Store) ID(ctx context.Context) (sessionstate.RegistryID, error) {
	release, err := s.acquire(ctx)
	if err != nil {
		return sessionstate.RegistryID{}, err
	}
	defer release()
	return s.id, nil
}

// Join implements [registry.Registry].
func (s *Store) Join(ctx context.Context, join registry.Join) (registry.Session, error) {
	return call(ctx, s, join.Issuer, rules.CheckJoin(join), func(tx *tx) (registry.Session, error) { return rules.Join(tx, join) })
}

// Redeem implements [registry.Registry].
func (s *Store) Redeem(ctx context.Context, redemption registry.Redemption) (registry.Redeemed, error) {
	return call(ctx, s, redemption.Issuer, rules.CheckRedemption(redemption), func(tx *tx) (registry.Redeemed, error) { return rules.Redeem(tx, redemption) })
}

// Session implements [registry.Registry].
func (s *Store) Session(ctx context.Context, issuer string, id sessionstate.SessionID) (registry.Session, bool, error) {
	return s.Resolve(ctx, issuer, id, sessionstate.ResponseID{})
}

// Resolve implements [registry.Registry].
func (s *Store) Resolve(ctx context.Context, issuer string, id sessionstate.SessionID, response sessionstate.ResponseID) (registry.Session, bool, error) {
	return look(ctx, s, issuer, func(tx *tx) (registry.Session, bool) { return rules.Resolve(tx, id, response) })
}

// Participations implements [registry.Registry].
func (s *Store) Participations(ctx context.Context, issuer string, id sessionstate.SessionID) ([]registry.Participation, error) {
	return call(ctx, s, issuer, rules.CheckIssuer(issuer), func(tx *tx) ([]registry.Participation, error) { return tx.Participations(id), nil })
}

// End implements [registry.Registry].
func (s *Store) End(ctx context.Context, ending registry.Ending) ([]registry.Session, error) {
	return call(ctx, s, ending.Issuer, rules.CheckEnding(ending), func(tx *tx) ([]registry.Session, error) { return rules.End(tx, ending), nil })
}

// Spend implements [registry.Registry].
func (s *Store) Spend(ctx context.Context, spending registry.Spending) (bool, error) {
	return call(ctx, s, spending.Issuer, rules.CheckSpending(spending), func(tx *tx) (bool, error) { return rules.Spend(tx, spending), nil })
}

// KeepKeys implements [registry.Registry].
func (s *Store) KeepKeys(ctx context.Context, keeping registry.Keeping) error {
	_, err := call(ctx, s, keeping.Issuer, rules.CheckKeeping(keeping), func(tx *tx) (struct{}, error) {
		rules.KeepKeys(tx, keeping)
		return struct{}{}, nil
	})
	return err
}

// Keys implements [registry.Registry].
func (s *Store) Keys(ctx context.Context, issuer string, now time.Time) ([]registry.Key, error) {
	return call(ctx, s, issuer, rules.CheckIssuer(issuer), func(tx *tx) ([]registry.Key, error) { return rules.Keys(tx, now), nil })
}

// Observe implements [registry.Registry].
func (s *Store) Observe(ctx context.Context, issuer string, observed registry.Observed) error {
	_, err := call(ctx, s, issuer, rules.CheckObserved(issuer, observed), func(tx *tx) (struct{}, error) {
		tx.prepare()
		tx.observed = new(rules.CloneObserved(observed))
		return struct{}{}, nil
	})
	return err
}

// Observed implements [registry.Registry].
func (s *Store) Observed(ctx context.Context, issuer string) (registry.Observed, bool, error) {
	return look(ctx, s, issuer, func(tx *tx) (registry.Observed, bool) {
		if tx.observed == nil {
			return registry.Observed{}, false
		}
		return rules.CloneObserved(*tx.observed), true
	})
}

// DueNotices implements [registry.Registry].
func (s *Store) DueNotices(ctx context.Context, issuer string, now time.Time, limit int) ([]registry.Notice, error) {
	return call(ctx, s, issuer, rules.CheckIssuer(issuer), func(tx *tx) ([]registry.Notice, error) { return tx.dueNotices(now, limit), nil })
}

// Notices implements [registry.Registry].
func (s *Store) Notices(ctx context.Context, issuer string, ids []registry.NoticeID) ([]registry.Notice, error) {
	return call(ctx, s, issuer, rules.CheckIssuer(issuer), func(tx *tx) ([]registry.Notice, error) { return rules.Notices(tx, ids), nil })
}

// AllNotices implements [registry.Registry].
func (s *Store) AllNotices(ctx context.Context, issuer string, after registry.NoticeID, limit int) ([]registry.Notice, error) {
	return call(ctx, s, issuer, rules.CheckIssuer(issuer), func(tx *tx) ([]registry.Notice, error) { return tx.allNotices(after, limit), nil })
}

// SettleNotices implements [registry.Registry].
func (s *Store) SettleNotices(ctx context.Context, settling registry.Settling) error {
	_, err := call(ctx, s, settling.Issuer, rules.CheckSettling(settling), func(tx *tx) (struct{}, error) {
		rules.Settle(tx, settling)
		return struct{}{}, nil
	})
	return err
}

// PutClient implements [registry.Registry].
func (s *Store) PutClient(ctx context.Context, issuer string, client registry.Client, now time.Time) error {
	_, err := call(ctx, s, issuer, rules.CheckClient(issuer, client), func(tx *tx) (struct{}, error) {
		return struct{}{}, rules.PutClient(tx, client, now)
	})
	return err
}

// DeleteClient implements [registry.Registry].
func (s *Store) DeleteClient(ctx context.Context, issuer, id string) error {
	_, err := call(ctx, s, issuer, rules.CheckIssuer(issuer), func(tx *tx) (struct{}, error) {
		rules.DeleteClient(tx, id)
		return struct{}{}, nil
	})
	return err
}

// Client implements [registry.Registry].
func (s *Store) Client(ctx context.Context, issuer, id string) (registry.Client, bool, error) {
	return look(ctx, s, issuer, func(tx *tx) (registry.Client, bool) { return tx.Client(id) })
}

// ClientAt implements [registry.Registry].
func (s *Store) ClientAt(ctx context.Context, issuer, uri string) (registry.Client, bool, error) {
	return look(ctx, s, issuer, func(tx *tx) (registry.Client, bool) { return rules.ClientAt(tx, uri) })
}

// Expire implements [registry.Registry].
func (s *Store) Expire(ctx context.Context, expiry registry.Expiry) (int, error) {
	release, err := s.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	return s.expire(expiry), nil
}

// Close implements [registry.Registry]. It forgets everything.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.issuers, s.expiry = true, nil, queue[expiring]{}
	return nil
}

// call makes one call, unless its values are invalid.
func call[T any](ctx context.Context, s *Store, issuer string, invalid error, fn func(*tx) (T, error)) (value T, err error) {
	if invalid != nil {
		return value, invalid
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return value, err
	}
	defer release()
	return fn(s.tx(issuer))
}

// look looks something up.
func look[T any](ctx context.Context, s *Store, issuer string, fn func(*tx) (T, bool)) (value T, found bool, err error) {
	if err := rules.CheckIssuer(issuer); err != nil {
		return value, false, err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return value, false, err
	}
	defer release()
	value, found = fn(s.tx(issuer))
	return value, found, nil
}

// acquire takes the lock for one call; no call holds it for long.
func (s *Store) acquire(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", registry.ErrUnavailable, err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: closed", registry.ErrUnavailable)
	}
	return s.mu.Unlock, nil
}

// Interface guard
var _ registry.Registry = (*Store)(nil)
