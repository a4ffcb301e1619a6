package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/bolt"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Targets. Those of logins and ends are for the 99th percentile.
const (
	loginTarget    = 5 * time.Millisecond
	endTarget      = 3 * time.Millisecond
	openTarget     = 200 * time.Millisecond
	inFileTarget   = 5.0  // µs of a Resolve
	inMemoryTarget = 2.0  // likewise
	sizeTarget     = 1050 // bytes of a session in the file
	growthTarget   = 1.5  // p50 among the most sessions, as a multiple of that among the fewest
)

const (
	clientsOfASession = 5
	inMemory          = 100_000
	// sizedAtLeast is how many sessions a file has whose size is judged: bbolt makes small ones
	// larger than they need be.
	sizedAtLeast = 100_000
	// watched is how many sessions are checked in turn: as those of open pages.
	watched = 256
)

// A file is a registry in a file, and what calls to it took.
type file struct {
	*registry.Registry

	count        int
	logins, ends times
}

// measureRegistry measures sign-ins, sign-outs and checks in files, and what sessions take.
func measureRegistry(ctx context.Context, r *report, l limits, dir string) (err error) {
	r.section(fmt.Sprintf("Sessions in a file (login: two durable transactions; end: of a session of %d clients, with its notices; one at a time)", clientsOfASession))
	var files []*file
	for _, count := range l.sessions {
		f, err := openFile(ctx, r, filepath.Join(dir, fmt.Sprint(count), "registry.db"), count)
		if err != nil {
			return fmt.Errorf("%d sessions: %w", count, err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		files = append(files, f)
	}
	if err := callInTurn(ctx, files, l); err != nil {
		return err
	}
	for _, f := range files {
		r.times(fmt.Sprintf("login among %d sessions", f.count), &f.logins, loginTarget)
		r.times(fmt.Sprintf("end among %d sessions", f.count), &f.ends, endTarget)
	}
	first, last := files[0], files[len(files)-1]
	between := fmt.Sprintf("p50 among %d / among %d sessions", last.count, first.count)
	r.target("login: "+between, last.logins.growth(&first.logins), growthTarget, 0, "%.2f")
	r.target("end: "+between, last.ends.growth(&first.ends), growthTarget, 0, "%.2f")
	for _, f := range files {
		if err := measureResolve(ctx, r, f.Registry, fmt.Sprintf("Resolve among %d sessions", f.count), inFileTarget); err != nil {
			return err
		}
	}
	return measureMemory(ctx, r)
}

// openFile opens a file with so many sessions.
func openFile(ctx context.Context, r *report, path string, count int) (*file, error) {
	if err := measureFilling(ctx, r, path, count); err != nil {
		return nil, fmt.Errorf("filling: %w", err)
	}
	start := time.Now()
	store, err := bolt.Open(path, time.Now, zap.NewNop())
	if err != nil {
		return nil, err
	}
	r.target(fmt.Sprintf("opening a file of %d sessions, in ms", count), milliseconds(time.Since(start)), milliseconds(openTarget), 0, "%.1f")
	return &file{Registry: openRegistry(store, ignore), count: count}, nil
}

// callInTurn makes the calls that are measured, in one file after the other: what slows the
// machine for a while meets all alike.
func callInTurn(ctx context.Context, files []*file, l limits) error {
	for i := range l.logins {
		for _, f := range files {
			err := f.logins.add(func() error {
				_, err := login(ctx, f.Registry, fmt.Sprintf("measured %d", i))
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	for range l.ends {
		for _, f := range files {
			if err := endOne(ctx, f.Registry, &f.ends); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillFile fills a file as fast as it can be.
func fillFile(ctx context.Context, path string, count int) (sessions []sessionstate.SessionID, err error) {
	store, err := bolt.Open(path, time.Now, zap.NewNop())
	if err != nil {
		return nil, err
	}
	err = store.Unsynced(func() error {
		sessions, err = fill(ctx, store, count, month, true)
		return err
	})
	return sessions, errors.Join(err, store.Close())
}

// measureFilling fills a file, and says what that took.
func measureFilling(ctx context.Context, r *report, path string, count int) error {
	start := time.Now()
	if _, err := fillFile(ctx, path, count); err != nil {
		return err
	}
	took := time.Since(start)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	r.info(fmt.Sprintf("filling with %d sessions, without fsync", count), "%v", took.Round(time.Millisecond))
	name, size := fmt.Sprintf("bytes of one of %d sessions", count), float64(info.Size())/float64(count)
	if count < sizedAtLeast {
		r.info(name, "%.0f", size)
	} else {
		r.exact(name, size, sizeTarget, "%.0f")
	}
	return nil
}

// endOne starts a session of several clients, and ends it.
func endOne(ctx context.Context, reg *registry.Registry, ends *times) error {
	j := join("", month)
	j.Response, j.Sub, j.Sid, j.AcrossClients = sessionstate.ResponseID{}, "alice", rand.Text(), true
	j.Session = registry.NewSessionID(j.Issuer, j.Browser)
	for client := range clientsOfASession {
		j.ClientID = fmt.Sprintf("client %d", client)
		if _, err := reg.Join(registry.Patient(ctx), j); err != nil {
			return err
		}
	}
	return ends.add(func() error {
		ended, err := reg.End(ctx, registry.Ending{Place: registry.PlaceOf(j.Issuer, j.Browser), Reason: registry.ReasonLogout})
		if err == nil && (len(ended) != 1 || len(ended[0].Pending()) != clientsOfASession) {
			err = fmt.Errorf("%d sessions ended", len(ended))
		}
		return err
	})
}

// measureResolve measures the look-up of a server check.
func measureResolve(ctx context.Context, r *report, reg *registry.Registry, name string, target float64) error {
	var refs []registry.Ref
	for i := range watched {
		session, err := login(registry.Patient(ctx), reg, fmt.Sprintf("%s %d", name, i))
		if err != nil {
			return err
		}
		refs = append(refs, registry.Ref{Session: session.ID, Response: sessionstate.NewResponseID("a code that no user switch moved")})
	}
	result, err := benchmark(name, func(b *testing.B) error {
		for i := 0; b.Loop(); i++ {
			state, _, err := reg.Resolve(ctx, refs[i%len(refs)])
			if err == nil && state != registry.Live {
				err = fmt.Errorf("it is in state %d", state)
			}
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.info(name, "%s", costs(result))
	r.target(name+", in µs", perOp(result)/1000, target, 0, "%.1f")
	return nil
}

// measureMemory measures the store that is not durable.
func measureMemory(ctx context.Context, r *report) (err error) {
	before := heap()
	store := memory.New(time.Now)
	if _, err := fill(ctx, store, inMemory, month, true); err != nil {
		return err
	}
	r.info("bytes of a session in memory", "%d", (heap()-before)/inMemory)
	reg := openRegistry(store, ignore)
	defer func() { err = errors.Join(err, reg.Close()) }()
	return measureResolve(ctx, r, reg, fmt.Sprintf("Resolve among %d sessions in memory", inMemory), inMemoryTarget)
}

// heap is how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
