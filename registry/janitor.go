package registry

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"
)

const (
	// sweepInterval is how often what is past its time is removed.
	sweepInterval = 15 * time.Second
	// maxSweep is how many calls of Expire one sweep makes: what is left waits for the next.
	maxSweep = 100_000
	// sweepCall is how long a call of Expire should take at the most: a login may have to wait for one.
	sweepCall = 3 * time.Millisecond
	// maxPause is how long a sweep waits between its calls at the most.
	maxPause = 20 * time.Millisecond
	// minSweep is how many records a call removes at the least, however slow the disk.
	minSweep = 20
)

// janitor sweeps a store until ctx is done.
func (l *Lazy) janitor(ctx context.Context, store Registry) {
	for {
		l.sweep(ctx, store)
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepInterval):
		}
	}
}

// A Silence says of which issuers no client is owed notices when sessions end by themselves. Of all others they are.
type Silence struct {
	Issuers []string
	All     bool // of every issuer
}

// A keptSilence is that of one configuration.
type keptSilence struct {
	owner   any
	silence Silence
}

// SetSilence sets the silence of a configuration. An owner, which must be comparable (a pointer), that has one replaces it; that of the
// owner who came last counts.
func (l *Lazy) SetSilence(owner any, silence Silence) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.IndexFunc(l.silences, func(k keptSilence) bool { return k.owner == owner }); i >= 0 {
		l.silences[i].silence = silence
		return
	}
	l.silences = append(l.silences, keptSilence{owner, silence})
}

// ForgetSilence forgets the silence of a configuration.
func (l *Lazy) ForgetSilence(owner any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silences = slices.DeleteFunc(l.silences, func(k keptSilence) bool { return k.owner == owner })
}

// silence returns the one that counts.
func (l *Lazy) silence() Silence {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.silences) == 0 {
		return Silence{}
	}
	return l.silences[len(l.silences)-1].silence
}

// SweepNow removes what is past its time, as happens every 15 seconds by itself.
func (l *Lazy) SweepNow(ctx context.Context) error {
	return Sweep(ctx, l, Expiry{Now: l.now(), Silence: l.silence()})
}

// sweep removes what is past its time.
func (l *Lazy) sweep(ctx context.Context, store Registry) {
	err := Sweep(ctx, store, Expiry{Now: l.now(), Silence: l.silence()})
	if err != nil && ctx.Err() == nil {
		l.logger.Debug("removing expired sessions", zap.Error(err)) // calls will meet it too, and tell
	}
}

// Sweep removes all that is past its time, in small transactions: the longer one takes, the fewer records the next one removes. Between
// them it waits as long as they took, so that a login, which is two transactions, waits for one of them and not for two.
func Sweep(ctx context.Context, store Registry, expiry Expiry) error {
	expiry.Limit = MaxExpired
	for range maxSweep {
		start := time.Now()
		removed, err := store.Expire(ctx, expiry)
		if err != nil || removed == 0 {
			return err
		}
		took := time.Since(start)
		expiry.Limit = pace(expiry.Limit, took)
		select {
		case <-time.After(min(took, maxPause)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// pace returns how many records to remove next, after so many took so long.
func pace(limit int, took time.Duration) int {
	if took > sweepCall {
		return max(limit/2, minSweep)
	}
	return min(limit+limit/4, MaxExpired)
}
