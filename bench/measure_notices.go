package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/bolt"
)

const (
	// expiryTarget is for the 99th percentile of logins while sessions expire.
	expiryTarget = 10 * time.Millisecond
	// expiryFor is how long sessions expire while logins are measured, unless all have before.
	expiryFor = time.Minute
)

// measureNotices measures what becomes of sessions that end by themselves, and how fast clients
// are notified.
func measureNotices(ctx context.Context, r *report, l limits, dir string) error {
	if err := measureExpiry(ctx, r, filepath.Join(dir, "registry.db"), l.expiring); err != nil {
		return err
	}
	return measureFanOut(ctx, r, l.fanOut)
}

// measureExpiry has sessions expire, all at the same moment, while logins go on. Their notices are
// claimed and settled.
func measureExpiry(ctx context.Context, r *report, path string, count int) (err error) {
	r.section(fmt.Sprintf("Logins while %d sessions expire, all at the same moment, and notices of them are claimed and settled", count))
	var late atomic.Int64 // by how much the clock is late, in ns
	now := func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	store, err := bolt.Open(path, now, zap.NewNop())
	if err != nil {
		return err
	}
	var ended atomic.Int64
	reg := openRegistry(store, func(sessions []*registry.Session) { ended.Add(int64(len(sessions))) })
	defer func() { err = errors.Join(err, reg.Close()) }()
	err = store.Unsynced(func() error {
		_, err := fill(ctx, store, count, time.Hour, false)
		return err
	})
	if err != nil {
		return fmt.Errorf("filling: %w", err)
	}
	late.Store(int64(2 * time.Hour))

	worker := notify.NewWorker(reg, now)
	defer func() { err = errors.Join(err, worker.Close()) }()
	start, logins := time.Now(), new(times)
	worker.Use(worker, zap.NewNop(), dropping{})
	for i, owing := 0, []registry.Key{""}; (len(owing) > 0 || ended.Load() < int64(count)) && time.Since(start) < expiryFor; i++ {
		err := logins.add(func() error {
			_, err := login(ctx, reg, fmt.Sprintf("meanwhile %d", i))
			return err
		})
		if err != nil {
			return err
		}
		if owing, err = store.Owing(ctx, "", 1); err != nil {
			return err
		}
	}
	took := time.Since(start)
	r.times(fmt.Sprintf("login, one at a time, %d in all", len(logins.took)), logins, expiryTarget)
	r.info("sessions that ended, and whose clients' notices were settled", "%.0f a second (%d in all)", float64(ended.Load())/took.Seconds(), ended.Load())
	return nil
}

// dropping notifies nobody, as when a client has no backchannel_logout_uri.
type dropping struct{}

func (dropping) Route(context.Context, registry.PendingNotice) notify.Route {
	return notify.Route{Drop: "a benchmark"}
}

func (dropping) Token(context.Context, registry.PendingNotice) (string, error) {
	return "", notify.ErrCannotSign
}
