package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/bolt"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	// endTarget is how many times longer it may take to end a session among the most sessions than among the fewest.
	endTarget = 1.5
	// endAtMost and loginAtMost are for the 99th percentile, in ms: of ending a session, and of a login while sessions expire.
	endAtMost   = 5
	loginAtMost = 10
	// expiryFor is how long sessions expire while logins are measured, unless all are gone before.
	expiryFor = 30 * time.Second

	clientsOfASession = 5
	endings           = 300
	inMemory          = 100_000
)

// measureNotices measures what it costs to end sessions and to tell their clients.
func measureNotices(ctx context.Context, r *report, l limits, dir string) error {
	r.section(fmt.Sprintf("Ending one session of %d clients in a file, which writes a notice for each (one at a time)", clientsOfASession))
	var p50s []float64
	for i, count := range l.ending {
		most := i == len(l.ending)-1
		p50, err := measureEndings(ctx, r, filepath.Join(dir, fmt.Sprint(count)), count, most)
		if err != nil {
			return fmt.Errorf("%d sessions: %w", count, err)
		}
		p50s = append(p50s, float64(p50))
	}
	first, last := l.ending[0], l.ending[len(l.ending)-1]
	r.target(fmt.Sprintf("p50 among %d / among %d sessions", last, first), p50s[len(p50s)-1]/p50s[0], endTarget, 0, "%.2f")
	if err := measureMemory(ctx, r); err != nil {
		return err
	}
	return measureFanOut(ctx, r, l.fanOut)
}

// measureEndings measures in a store with so many sessions. With most, those expire afterwards while logins go on.
func measureEndings(ctx context.Context, r *report, dir string, count int, most bool) (p50 time.Duration, err error) {
	path := filepath.Join(dir, "registry.db")
	store, err := bolt.Open(path, zap.NewNop())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := fillExpired(ctx, store, count); err != nil {
		return 0, fmt.Errorf("recording: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	var took []time.Duration
	for range endings {
		ended, err := endOne(ctx, store)
		if err != nil {
			return 0, err
		}
		took = append(took, ended)
	}
	slices.Sort(took)
	p50 = percentile(took, 50)
	r.info(fmt.Sprintf("ending one among %d sessions", count), "p50 %v, p99 %v", p50.Round(time.Microsecond), percentile(took, 99).Round(time.Microsecond))
	if most {
		r.target(fmt.Sprintf("p99 among %d sessions, in ms", count), milliseconds(percentile(took, 99)), endAtMost, 0, "%.1f")
		r.info("bytes of a session in the file", "%d", info.Size()/int64(count))
		return p50, measureExpiry(ctx, r, store, count)
	}
	return p50, nil
}

// fillExpired records sessions of one client whose time is over.
func fillExpired(ctx context.Context, store registry.Registry, count int) error {
	errs := make(chan error, recorders)
	for recorder := range recorders {
		go func() {
			var err error
			for i := recorder; i < count && err == nil; i += recorders {
				_, err = store.Join(ctx, registry.Join{
					Issuer: registryIssuer, Browser: sessionstate.NewBrowserID(), Fresh: sessionstate.NewSessionID(), ClientID: "shop",
					Origin: "https://shop.example", Subject: registry.Subject{Sub: fmt.Sprintf("user %d", i), Sid: fmt.Sprintf("session %d of the OP", i)},
					Now: time.Now().Add(-2 * time.Hour), Lifetime: time.Hour,
				})
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

// endOne starts a session of several clients and returns how long it takes to end it.
func endOne(ctx context.Context, store registry.Registry) (time.Duration, error) {
	browser, session := sessionstate.NewBrowserID(), sessionstate.NewSessionID()
	for client := range clientsOfASession {
		_, err := store.Join(ctx, registry.Join{
			Issuer: registryIssuer, Browser: browser, Session: session, Fresh: sessionstate.NewSessionID(), ClientID: fmt.Sprintf("client %d", client),
			Subject: registry.Subject{Sub: "alice", Sid: "1"}, AcrossClients: true, Now: time.Now(), Lifetime: time.Hour,
		})
		if err != nil {
			return 0, err
		}
	}
	start := time.Now()
	ended, err := store.End(ctx, registry.Ending{Issuer: registryIssuer, Browser: browser, Reason: registry.ReasonLogout, Now: start, Tell: true})
	if err == nil && len(ended) != 1 {
		err = fmt.Errorf("%d sessions ended", len(ended))
	}
	return time.Since(start), err
}

// measureExpiry has the filled sessions end by themselves, as the janitor does, while logins go on.
func measureExpiry(ctx context.Context, r *report, store registry.Registry, count int) error {
	sweeping, cancel := context.WithTimeout(ctx, expiryFor)
	defer cancel()
	counted := &countingStore{Registry: store}
	swept := make(chan error, 1)
	start := time.Now()
	go func() { swept <- registry.Sweep(sweeping, counted, registry.Expiry{Now: start}) }()
	var took []time.Duration
	for i := 0; ; i++ {
		select {
		case err := <-swept:
			if err != nil && sweeping.Err() == nil {
				return err
			}
			lasted := time.Since(start)
			slices.Sort(took)
			r.info(fmt.Sprintf("login while %d sessions expire", count), "p50 %v, p99 %v, %d logins",
				percentile(took, 50).Round(time.Microsecond), percentile(took, 99).Round(time.Microsecond), len(took))
			r.target("p99 of those, in ms", milliseconds(percentile(took, 99)), loginAtMost, 0, "%.1f")
			r.info("sessions that ended, and whose clients are owed notices", "%.0f a second", float64(counted.removed)/lasted.Seconds())
			return nil
		default:
		}
		begin := time.Now()
		if _, err := login(ctx, store, fmt.Sprintf("meanwhile %d", i)); err != nil {
			return err
		}
		took = append(took, time.Since(begin))
	}
}

// countingStore counts what is removed.
type countingStore struct {
	registry.Registry

	removed int
}

func (c *countingStore) Expire(ctx context.Context, expiry registry.Expiry) (int, error) {
	removed, err := c.Registry.Expire(ctx, expiry)
	c.removed += removed
	return removed, err
}

// measureMemory measures what sessions take in the other store.
func measureMemory(ctx context.Context, r *report) error {
	before := heap()
	store := memory.New()
	if err := fillExpired(ctx, store, inMemory); err != nil {
		return err
	}
	r.info("bytes of a session in memory", "%d", (heap()-before)/inMemory)
	return store.Close()
}

// heap is how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
