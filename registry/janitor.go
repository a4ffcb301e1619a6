package registry

import (
	"context"
	"runtime"
	"time"

	"go.uber.org/zap"
)

const (
	// sweepInterval is how often what is past its time is removed.
	sweepInterval = 15 * time.Second
	// maxSweep is how many calls of Expire one sweep makes: what is left waits for the next.
	maxSweep = 100_000
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

// SetSilent says of which issuers no client is owed notices when sessions end by themselves ([Expiry]). All others are.
func (l *Lazy) SetSilent(issuers []string) { l.silentIssuers.Store(&issuers) }

func (l *Lazy) silent() []string {
	if issuers := l.silentIssuers.Load(); issuers != nil {
		return *issuers
	}
	return nil
}

// sweep removes what is past its time, in small transactions between which logins get their turn.
func (l *Lazy) sweep(ctx context.Context, store Registry) {
	for range maxSweep {
		removed, err := store.Expire(ctx, Expiry{Now: l.now(), Silent: l.silent()})
		if err != nil && ctx.Err() == nil {
			l.logger.Debug("removing expired sessions", zap.Error(err)) // calls will meet it too, and tell
		}
		if err != nil || removed < MaxExpired {
			return
		}
		runtime.Gosched()
	}
}
