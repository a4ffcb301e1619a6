// Package bolt keeps sessions in one file, with bbolt: durable, for one process at a time, without a server.
//
// The file is trusted no more than the disk below it. bbolt panics on damaged pages, partly in goroutines of its own, and a
// truncated memory map ends the process. So the file's structure and checksums are verified before bbolt reads it, every call
// recovers from panics and faults, and a store that had one is broken for good: it must be closed, and opened again.
package bolt

import (
	"context"
	"time"

	"go.etcd.io/bbolt"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// ID implements [registry.Registry].
func (s *Store) ID(ctx context.Context) (sessionstate.RegistryID, error) {
	if err := s.usable(ctx); err != nil {
		return sessionstate.RegistryID{}, err
	}
	return s.id, nil
}

// Join implements [registry.Registry].
func (s *Store) Join(ctx context.Context, join registry.Join) (registry.Session, error) {
	if err := rules.CheckJoin(join); err != nil {
		return registry.Session{}, err
	}
	return write(ctx, s, join.Issuer, func(tx *tx) (registry.Session, error) { return rules.Join(tx, join) })
}

// Redeem implements [registry.Registry].
func (s *Store) Redeem(ctx context.Context, redemption registry.Redemption) (registry.Redeemed, error) {
	if err := rules.CheckRedemption(redemption); err != nil {
		return registry.Redeemed{}, err
	}
	return write(ctx, s, redemption.Issuer, func(tx *tx) (registry.Redeemed, error) { return rules.Redeem(tx, redemption) })
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
	return read(ctx, s, issuer, func(tx *tx) []registry.Participation { return tx.Participations(id) })
}

// End implements [registry.Registry].
func (s *Store) End(ctx context.Context, ending registry.Ending) ([]registry.Session, error) {
	if err := rules.CheckEnding(ending); err != nil {
		return nil, err
	}
	return write(ctx, s, ending.Issuer, func(tx *tx) ([]registry.Session, error) { return rules.End(tx, ending), nil })
}

// Spend implements [registry.Registry].
func (s *Store) Spend(ctx context.Context, spending registry.Spending) (bool, error) {
	if err := rules.CheckSpending(spending); err != nil {
		return false, err
	}
	return write(ctx, s, spending.Issuer, func(tx *tx) (bool, error) { return rules.Spend(tx, spending), nil })
}

// KeepKeys implements [registry.Registry].
func (s *Store) KeepKeys(ctx context.Context, keeping registry.Keeping) error {
	if err := rules.CheckKeeping(keeping); err != nil {
		return err
	}
	_, err := write(ctx, s, keeping.Issuer, func(tx *tx) (struct{}, error) {
		rules.KeepKeys(tx, keeping)
		return struct{}{}, nil
	})
	return err
}

// Keys implements [registry.Registry].
func (s *Store) Keys(ctx context.Context, issuer string, now time.Time) ([]registry.Key, error) {
	if err := rules.CheckIssuer(issuer); err != nil {
		return nil, err
	}
	return read(ctx, s, issuer, func(tx *tx) []registry.Key { return rules.Keys(tx, now) })
}

// Observe implements [registry.Registry].
func (s *Store) Observe(ctx context.Context, issuer string, observed registry.Observed) error {
	if err := rules.CheckObserved(issuer, observed); err != nil {
		return err
	}
	_, err := write(ctx, s, issuer, func(tx *tx) (struct{}, error) {
		tx.putObserved(observed)
		return struct{}{}, nil
	})
	return err
}

// Observed implements [registry.Registry].
func (s *Store) Observed(ctx context.Context, issuer string) (registry.Observed, bool, error) {
	if err := rules.CheckIssuer(issuer); err != nil {
		return registry.Observed{}, false, err
	}
	observed, err := read(ctx, s, issuer, func(tx *tx) *registry.Observed { return tx.observed() })
	if observed == nil || err != nil {
		return registry.Observed{}, false, err
	}
	return *observed, true, nil
}

// DueNotices implements [registry.Registry].
func (s *Store) DueNotices(ctx context.Context, issuer string, now time.Time, limit int) ([]registry.Notice, error) {
	if err := rules.CheckIssuer(issuer); err != nil {
		return nil, err
	}
	return read(ctx, s, issuer, func(tx *tx) []registry.Notice { return tx.dueNotices(now, limit) })
}

// Notices implements [registry.Registry].
func (s *Store) Notices(ctx context.Context, issuer string, ids []registry.NoticeID) ([]registry.Notice, error) {
	if err := rules.CheckIssuer(issuer); err != nil {
		return nil, err
	}
	return read(ctx, s, issuer, func(tx *tx) []registry.Notice { return rules.Notices(tx, ids) })
}

// AllNotices implements [registry.Registry].
func (s *Store) AllNotices(ctx context.Context, issuer string, after registry.NoticeID, limit int) ([]registry.Notice, error) {
	if err := rules.CheckIssuer(issuer); err != nil {
		return nil, err
	}
	return read(ctx, s, issuer, func(tx *tx) []registry.Notice { return tx.allNotices(after, limit) })
}

// SettleNotices implements [registry.Registry].
func (s *Store) SettleNotices(ctx context.Context, settling registry.Settling) error {
	if err := rules.CheckSettling(settling); err != nil {
		return err
	}
	_, err := write(ctx, s, settling.Issuer, func(tx *tx) (struct{}, error) {
		rules.Settle(tx, settling)
		return struct{}{}, nil
	})
	return err
}

// PutClient implements [registry.Registry].
func (s *Store) PutClient(ctx context.Context, issuer string, client registry.Client, now time.Time) error {
	if err := rules.CheckClient(issuer, client); err != nil {
		return err
	}
	_, err := write(ctx, s, issuer, func(tx *tx) (struct{}, error) { return struct{}{}, rules.PutClient(tx, client, now) })
	return err
}

// DeleteClient implements [registry.Registry].
func (s *Store) DeleteClient(ctx context.Context, issuer, id string) error {
	if err := rules.CheckIssuer(issuer); err != nil {
		return err
	}
	_, err := write(ctx, s, issuer, func(tx *tx) (struct{}, error) {
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
	return write(ctx, s, "", func(tx *tx) (int, error) { return tx.expire(expiry), nil })
}

// read runs fn in a read transaction.
func read[T any](ctx context.Context, s *Store, issuer string, fn func(*tx) T) (T, error) {
	var value T
	err := s.view(ctx, func(bolt *bbolt.Tx) error {
		tx := begin(bolt, issuer)
		value = fn(tx)
		return tx.err
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return value, nil
}

// look looks something up in a read transaction.
func look[T any](ctx context.Context, s *Store, issuer string, fn func(*tx) (T, bool)) (value T, found bool, err error) {
	if err := rules.CheckIssuer(issuer); err != nil {
		return value, false, err
	}
	type result struct {
		value T
		found bool
	}
	r, err := read(ctx, s, issuer, func(tx *tx) (r result) {
		r.value, r.found = fn(tx)
		return r
	})
	return r.value, r.found, err
}

// write runs fn in a write transaction. fn may run more than once, each time on a fresh tx.
func write[T any](ctx context.Context, s *Store, issuer string, fn func(*tx) (T, error)) (T, error) {
	var value T
	j := newJob(ctx)
	j.run = func(bolt *bbolt.Tx) error {
		tx := begin(bolt, issuer)
		result, err := fn(tx)
		if tx.err != nil {
			return tx.err
		}
		value, j.idle = result, !tx.wrote
		return err
	}
	if err := s.do(j); err != nil {
		var zero T // value may be written to still, when ctx is done before the transaction
		return zero, err
	}
	return value, nil
}

// Interface guard
var _ registry.Registry = (*Store)(nil)
