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
	if err := rules.CheckJoin(join); err != nil {
		return registry.Session{}, err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return registry.Session{}, err
	}
	defer release()
	return rules.Join(s.tx(join.Issuer), join)
}

// Redeem implements [registry.Registry].
func (s *Store) Redeem(ctx context.Context, redemption registry.Redemption) (registry.Redeemed, error) {
	if err := rules.CheckRedemption(redemption); err != nil {
		return registry.Redeemed{}, err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return registry.Redeemed{}, err
	}
	defer release()
	return rules.Redeem(s.tx(redemption.Issuer), redemption)
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
	if err := rules.CheckIssuer(issuer); err != nil {
		return nil, err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return s.tx(issuer).Participations(id), nil
}

// End implements [registry.Registry].
func (s *Store) End(ctx context.Context, ending registry.Ending) ([]registry.Session, error) {
	if err := rules.CheckEnding(ending); err != nil {
		return nil, err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return rules.End(s.tx(ending.Issuer), ending), nil
}

// Spend implements [registry.Registry].
func (s *Store) Spend(ctx context.Context, spending registry.Spending) (bool, error) {
	if err := rules.CheckSpending(spending); err != nil {
		return false, err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	return rules.Spend(s.tx(spending.Issuer), spending), nil
}

// KeepKeys implements [registry.Registry].
func (s *Store) KeepKeys(ctx context.Context, keeping registry.Keeping) error {
	if err := rules.CheckKeeping(keeping); err != nil {
		return err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	rules.KeepKeys(s.tx(keeping.Issuer), keeping)
	return nil
}

// Keys implements [registry.Registry].
func (s *Store) Keys(ctx context.Context, issuer string, now time.Time) ([]registry.Key, error) {
	if err := rules.CheckIssuer(issuer); err != nil {
		return nil, err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return rules.Keys(s.tx(issuer), now), nil
}

// Observe implements [registry.Registry].
func (s *Store) Observe(ctx context.Context, issuer string, observed registry.Observed) error {
	if err := rules.CheckObserved(issuer, observed); err != nil {
		return err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	tx := s.tx(issuer)
	tx.prepare()
	tx.observed = new(rules.CloneObserved(observed))
	return nil
}

// Observed implements [registry.Registry].
func (s *Store) Observed(ctx context.Context, issuer string) (registry.Observed, bool, error) {
	if err := rules.CheckIssuer(issuer); err != nil {
		return registry.Observed{}, false, err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return registry.Observed{}, false, err
	}
	defer release()
	observed := s.tx(issuer).observed
	if observed == nil {
		return registry.Observed{}, false, nil
	}
	return rules.CloneObserved(*observed), true, nil
}

// DueNotices implements [registry.Registry].
func (s *Store) DueNotices(ctx context.Context, issuer string, now time.Time, limit int) ([]registry.Notice, error) {
	if err := rules.CheckIssuer(issuer); err != nil {
		return nil, err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return s.tx(issuer).dueNotices(now, limit), nil
}

// Notices implements [registry.Registry].
func (s *Store) Notices(ctx context.Context, issuer string, ids []registry.NoticeID) ([]registry.Notice, error) {
	if err := rules.CheckIssuer(issuer); err != nil {
		return nil, err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return rules.Notices(s.tx(issuer), ids), nil
}

// AllNotices implements [registry.Registry].
func (s *Store) AllNotices(ctx context.Context, issuer string, after registry.NoticeID, limit int) ([]registry.Notice, error) {
	if err := rules.CheckIssuer(issuer); err != nil {
		return nil, err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return s.tx(issuer).allNotices(after, limit), nil
}

// SettleNotices implements [registry.Registry].
func (s *Store) SettleNotices(ctx context.Context, settling registry.Settling) error {
	if err := rules.CheckSettling(settling); err != nil {
		return err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	rules.Settle(s.tx(settling.Issuer), settling)
	return nil
}

// PutClient implements [registry.Registry].
func (s *Store) PutClient(ctx context.Context, issuer string, client registry.Client) error {
	if err := rules.CheckClient(issuer, client); err != nil {
		return err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	return rules.PutClient(s.tx(issuer), client)
}

// DeleteClient implements [registry.Registry].
func (s *Store) DeleteClient(ctx context.Context, issuer, id string) error {
	if err := rules.CheckIssuer(issuer); err != nil {
		return err
	}
	release, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	rules.DeleteClient(s.tx(issuer), id)
	return nil
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
