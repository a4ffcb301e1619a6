package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	// firstRetry and lastRetry are how long after an opening the next one is tried: twice as long each time.
	firstRetry = 5 * time.Second
	lastRetry  = time.Minute

	// closeLimit is how long Close waits for the store.
	closeLimit = 5 * time.Second
)

var errClosed = fmt.Errorf("%w: closed", ErrUnavailable)

// A Lazy is a [Registry] that opens its store at first use, and again when it could not be opened or broke. Calls wait for an
// opening under way as long as their contexts allow. While the store is open, what is past its time is removed every 15 seconds.
// Use [NewLazy].
type Lazy struct {
	opener Opener
	logger *zap.Logger
	now    func() time.Time

	work   sync.WaitGroup // of openings and janitors
	closed chan struct{}

	mu        sync.Mutex
	silences  []keptSilence      // the last counts
	store     Registry           // nil: not open
	retire    context.CancelFunc // ends the store's janitor
	opening   chan struct{}      // closed when the opening under way is over; nil: there is none
	err       error              // why the store is not open
	notBefore time.Time          // when it may be opened next
	retry     time.Duration
	missing   bool // the log says that the store is away
	done      bool // closed
}

// NewLazy returns a registry whose store is opened by opener. now says what is past its time.
func NewLazy(opener Opener, logger *zap.Logger, now func() time.Time) *Lazy {
	return &Lazy{opener: opener, logger: logger, now: now, closed: make(chan struct{})}
}

// Warm begins to open the store, so that the first call needs not wait. It does not wait itself.
func (l *Lazy) Warm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _, _ = l.current()
}

// Close implements [Registry]. It waits a few seconds at the most for a store that hangs; the store is closed when that ends.
func (l *Lazy) Close() error {
	l.mu.Lock()
	if l.done {
		l.mu.Unlock()
		return nil
	}
	l.done = true
	close(l.closed)
	store := l.store
	l.drop()
	l.mu.Unlock()

	result := make(chan error, 1)
	go func() {
		var err error
		if store != nil {
			err = store.Close()
		}
		l.work.Wait()
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case <-time.After(closeLimit):
		return fmt.Errorf("%w: the store takes long to close", ErrUnavailable)
	}
}

// open returns the store, and waits for it if it is being opened.
func (l *Lazy) open(ctx context.Context) (Registry, error) {
	for {
		l.mu.Lock()
		store, opening, err := l.current()
		l.mu.Unlock()
		if opening == nil {
			return store, err
		}
		select {
		case <-opening:
		case <-l.closed:
			return nil, errClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
	}
}

// current returns the store, or the opening to wait for, or an error. It begins an opening if one is due. The caller holds the lock.
func (l *Lazy) current() (Registry, <-chan struct{}, error) {
	if l.done {
		return nil, nil, errClosed
	}
	var broken Registry
	if l.store != nil {
		if !isBroken(l.store) {
			return l.store, nil, nil
		}
		broken = l.store
		l.drop()
		l.lost(fmt.Errorf("%w: the store broke", ErrUnavailable))
	}
	if l.opening == nil && (broken != nil || !time.Now().Before(l.notBefore)) {
		l.opening = make(chan struct{})
		l.work.Go(func() { l.reopen(broken) })
	}
	if l.opening == nil {
		return nil, nil, l.err
	}
	return nil, l.opening, nil
}

// isBroken asks a store that can break whether it did.
func isBroken(store Registry) bool {
	breakable, ok := store.(interface{ Broken() bool })
	return ok && breakable.Broken()
}

// drop forgets the store. The caller holds the lock.
func (l *Lazy) drop() {
	if l.store != nil {
		l.retire()
		l.store, l.retire = nil, nil
	}
}

// reopen closes the store that broke, if one did, and opens it unless that was tried a short while ago.
func (l *Lazy) reopen(broken Registry) {
	if broken != nil {
		if err := broken.Close(); err != nil {
			l.logger.Debug("closing broken session registry", zap.Error(err))
		}
	}
	due := l.due()
	var opened result[Registry]
	if due {
		opened = recovered(func() (r result[Registry]) {
			r.value, r.err = l.opener.Open(l.logger)
			return r
		})
	}
	if !l.opened(due, opened) {
		_ = opened.value.Close()
	}
}

// opened ends an opening. It reports whether the store is wanted still.
func (l *Lazy) opened(tried bool, opened result[Registry]) (wanted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.opening)
	l.opening = nil
	switch {
	case !tried:
	case opened.err != nil:
		l.lost(unavailable(opened.err))
	case l.done:
		return false
	default:
		l.had(opened.value)
	}
	return true
}

// due reports whether the store may be opened now, and if so sets when it may be the next time.
func (l *Lazy) due() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.done || now.Before(l.notBefore) {
		return false
	}
	if l.retry == 0 || now.Sub(l.notBefore) > lastRetry { // it went well for a while
		l.retry = firstRetry
	} else {
		l.retry = min(2*l.retry, lastRetry)
	}
	l.notBefore = now.Add(l.retry)
	return true
}

// lost notes that the store is away. The log is told once, however many calls fail. The caller holds the lock.
func (l *Lazy) lost(err error) {
	l.err = err
	if !l.missing {
		l.missing = true
		l.logger.Warn("session registry unavailable: sessions are kept in cookies only until it can be had", zap.Error(err))
	}
}

// had notes that the store is open. The caller holds the lock.
func (l *Lazy) had(store Registry) {
	if l.missing {
		l.missing = false
		l.logger.Info("session registry is available again")
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.store, l.retire, l.err = store, cancel, nil
	l.work.Go(func() { l.janitor(ctx, store) })
}

func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// on makes a call of the store.
func on[T any](ctx context.Context, l *Lazy, call func(Registry) (T, error)) (T, error) {
	store, err := l.open(ctx)
	if err != nil {
		var zero T
		return zero, err
	}
	return call(store)
}

// ID implements [Registry].
func (l *Lazy) ID(ctx context.Context) (sessionstate.RegistryID, error) {
	return on(ctx, l, func(r Registry) (sessionstate.RegistryID, error) { return r.ID(ctx) })
}

// Join implements [Registry].
func (l *Lazy) Join(ctx context.Context, join Join) (Session, error) {
	return on(ctx, l, func(r Registry) (Session, error) { return r.Join(ctx, join) })
}

// Redeem implements [Registry].
func (l *Lazy) Redeem(ctx context.Context, redemption Redemption) (Redeemed, error) {
	return on(ctx, l, func(r Registry) (Redeemed, error) { return r.Redeem(ctx, redemption) })
}

// Session implements [Registry].
func (l *Lazy) Session(ctx context.Context, issuer string, id sessionstate.SessionID) (Session, bool, error) {
	store, err := l.open(ctx)
	if err != nil {
		return Session{}, false, err
	}
	return store.Session(ctx, issuer, id)
}

// Resolve implements [Registry].
func (l *Lazy) Resolve(ctx context.Context, issuer string, id sessionstate.SessionID, response sessionstate.ResponseID) (Session, bool, error) {
	store, err := l.open(ctx)
	if err != nil {
		return Session{}, false, err
	}
	return store.Resolve(ctx, issuer, id, response)
}

// Participations implements [Registry].
func (l *Lazy) Participations(ctx context.Context, issuer string, id sessionstate.SessionID) ([]Participation, error) {
	return on(ctx, l, func(r Registry) ([]Participation, error) { return r.Participations(ctx, issuer, id) })
}

// End implements [Registry].
func (l *Lazy) End(ctx context.Context, ending Ending) ([]Session, error) {
	return on(ctx, l, func(r Registry) ([]Session, error) { return r.End(ctx, ending) })
}

// Spend implements [Registry].
func (l *Lazy) Spend(ctx context.Context, spending Spending) (bool, error) {
	return on(ctx, l, func(r Registry) (bool, error) { return r.Spend(ctx, spending) })
}

// KeepKeys implements [Registry].
func (l *Lazy) KeepKeys(ctx context.Context, keeping Keeping) error {
	_, err := on(ctx, l, func(r Registry) (struct{}, error) { return struct{}{}, r.KeepKeys(ctx, keeping) })
	return err
}

// Keys implements [Registry].
func (l *Lazy) Keys(ctx context.Context, issuer string, now time.Time) ([]Key, error) {
	return on(ctx, l, func(r Registry) ([]Key, error) { return r.Keys(ctx, issuer, now) })
}

// Observe implements [Registry].
func (l *Lazy) Observe(ctx context.Context, issuer string, observed Observed) error {
	_, err := on(ctx, l, func(r Registry) (struct{}, error) { return struct{}{}, r.Observe(ctx, issuer, observed) })
	return err
}

// Observed implements [Registry].
func (l *Lazy) Observed(ctx context.Context, issuer string) (Observed, bool, error) {
	store, err := l.open(ctx)
	if err != nil {
		return Observed{}, false, err
	}
	return store.Observed(ctx, issuer)
}

// DueNotices implements [Registry].
func (l *Lazy) DueNotices(ctx context.Context, issuer string, now time.Time, limit int) ([]Notice, error) {
	return on(ctx, l, func(r Registry) ([]Notice, error) { return r.DueNotices(ctx, issuer, now, limit) })
}

// Notices implements [Registry].
func (l *Lazy) Notices(ctx context.Context, issuer string, ids []NoticeID) ([]Notice, error) {
	return on(ctx, l, func(r Registry) ([]Notice, error) { return r.Notices(ctx, issuer, ids) })
}

// AllNotices implements [Registry].
func (l *Lazy) AllNotices(ctx context.Context, issuer string, after NoticeID, limit int) ([]Notice, error) {
	return on(ctx, l, func(r Registry) ([]Notice, error) { return r.AllNotices(ctx, issuer, after, limit) })
}

// SettleNotices implements [Registry].
func (l *Lazy) SettleNotices(ctx context.Context, settling Settling) error {
	_, err := on(ctx, l, func(r Registry) (struct{}, error) { return struct{}{}, r.SettleNotices(ctx, settling) })
	return err
}

// PutClient implements [Registry].
func (l *Lazy) PutClient(ctx context.Context, issuer string, client Client, now time.Time) error {
	_, err := on(ctx, l, func(r Registry) (struct{}, error) { return struct{}{}, r.PutClient(ctx, issuer, client, now) })
	return err
}

// DeleteClient implements [Registry].
func (l *Lazy) DeleteClient(ctx context.Context, issuer, id string) error {
	_, err := on(ctx, l, func(r Registry) (struct{}, error) { return struct{}{}, r.DeleteClient(ctx, issuer, id) })
	return err
}

// Client implements [Registry].
func (l *Lazy) Client(ctx context.Context, issuer, id string) (Client, bool, error) {
	store, err := l.open(ctx)
	if err != nil {
		return Client{}, false, err
	}
	return store.Client(ctx, issuer, id)
}

// ClientAt implements [Registry].
func (l *Lazy) ClientAt(ctx context.Context, issuer, uri string) (Client, bool, error) {
	store, err := l.open(ctx)
	if err != nil {
		return Client{}, false, err
	}
	return store.ClientAt(ctx, issuer, uri)
}

// Expire implements [Registry].
func (l *Lazy) Expire(ctx context.Context, expiry Expiry) (int, error) {
	return on(ctx, l, func(r Registry) (int, error) { return r.Expire(ctx, expiry) })
}

// Interface guard
var _ Registry = (*Lazy)(nil)
