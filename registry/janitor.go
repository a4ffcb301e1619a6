package registry

import (
	"context"
	"runtime"
	"time"

	"go.uber.org/zap"
)

const (
	// sweepInterval is how often what is past its time is removed.
	sweepInterval = time.Minute
	// maxSweep is how many calls of Expire one sweep makes: what is left waits for the next.
	maxSweep = 1000
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

// sweep removes what is past its time, in small transactions between which logins get their turn.
func (l *Lazy) sweep(ctx context.Context, store Registry) {
	for range maxSweep {
		removed, err := store.Expire(ctx, time.Now())
		if err != nil && ctx.Err() == nil {
			l.logger.Debug("removing expired sessions", zap.Error(err)) // calls will meet it too, and tell
		}
		if err != nil || removed < MaxExpired {
			return
		}
		runtime.Gosched()
	}
}
