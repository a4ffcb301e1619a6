// Package bolt keeps sessions in one file, with bbolt: durable, for one process at a time, without
// a server.
//
// The file is trusted no more than the disk below it. Records have checksums: a damaged one is
// lost, and no other. bbolt panics on damaged pages, and a truncated memory map ends the process;
// so every call recovers from panics and faults, and a store that had one is broken: it must be
// closed, and opened again, which sets the file aside. bbolt may hold locks of its own for ever
// then, so no caller waits for bbolt longer than until the store breaks.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// A Store is a [registry.Store] in a file. Use [Open].
type Store struct {
	db     *bbolt.DB
	file   *os.File // the db's own
	logger *zap.Logger
	now    func() time.Time

	listeners registry.Listeners[registry.Key]
	listed    registry.Listed

	maxEdits int // of one call in one commit

	jobs    chan *job     // unbuffered: what was sent has been received
	quit    chan struct{} // closed by Close
	idle    chan struct{} // closed when the writer has ended
	begins  chan struct{} // holds one while a read transaction begins
	broken  chan struct{} // closed when the store has met damage
	breaks  sync.Once     // closes broken
	closing func() error
}

var (
	errBroken = errors.New("broken: it must be opened again")
	errClosed = errors.New("closed")
)

func newStore(db *bbolt.DB, file *os.File, now func() time.Time, logger *zap.Logger) *Store {
	s := &Store{
		db: db, file: file, logger: logger, now: now, maxEdits: maxEdits,
		jobs: make(chan *job), quit: make(chan struct{}),
		idle: make(chan struct{}), broken: make(chan struct{}),
		begins: make(chan struct{}, 1),
	}
	s.closing = sync.OnceValue(s.shut)
	go s.writer()
	return s
}

// Broken implements [registry.Store]: the store has met damage.
func (s *Store) Broken() bool {
	select {
	case <-s.broken:
		return true
	default:
		return false
	}
}

// Now implements [registry.Store].
func (s *Store) Now() time.Time { return s.now() }

// Watch implements [registry.Store]. Nothing is ever missed.
func (s *Store) Watch(listener func(registry.Key), _ func()) (cancel func()) {
	return s.listeners.Add(listener)
}

// Close implements [registry.Store]. Transactions under way are finished before.
func (s *Store) Close() error { return s.closing() }

func (s *Store) shut() error {
	close(s.quit)
	closed := make(chan error, 1)
	go func() {
		<-s.idle
		if !s.Broken() {
			closed <- s.db.Close()
		}
	}()
	select {
	case err := <-closed:
		return err
	case <-s.broken:
		// The memory map stays, since reads may be under way in it.
		return letGo(s.file)
	}
}

// Unsynced calls fill, whose edits are durable when Unsynced returns, and not before: to fill a
// large file for a benchmark. A crash meanwhile may leave a file that is corrupt.
func (s *Store) Unsynced(fill func() error) error {
	if err := s.setSync(false, math.MaxInt32); err != nil {
		return err
	}
	return errors.Join(fill(), s.setSync(true, maxEdits), s.db.Sync())
}

// setSync waits until no transaction is being committed.
func (s *Store) setSync(on bool, edits int) error {
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	s.db.NoSync, s.maxEdits = !on, edits
	return tx.Rollback()
}

// usable reports whether a call can be tried.
func (s *Store) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	select {
	case <-s.quit:
		return unavailable(errClosed)
	default:
	}
	if s.Broken() {
		return unavailable(errBroken)
	}
	return nil
}

// read returns what fn finds in a read transaction. Transactions begin one at a time: what faults
// then leaves a lock of bbolt's held, and nobody else waits for that.
func read[T any](ctx context.Context, s *Store, fn func(*bbolt.Tx) T) (found T, err error) {
	if err := s.usable(ctx); err != nil {
		return found, err
	}
	select {
	case s.begins <- struct{}{}:
	case <-ctx.Done():
		return found, unavailable(ctx.Err())
	case <-s.broken:
		return found, unavailable(errBroken)
	}
	err = s.judge(guarded(func() error {
		tx, err := s.db.Begin(false)
		<-s.begins
		if err != nil {
			return err
		}
		found = fn(tx)
		if s.Broken() {
			return errBroken // the end of the transaction would wait for that lock
		}
		return tx.Rollback()
	}))
	return found, err
}

// judge makes an error of a transaction into one to return, and declares the store broken if it
// shows damage.
func (s *Store) judge(err error) error {
	if err == nil {
		return nil
	}
	var damage *panicError
	damaged := errors.As(err, &damage)
	if damaged {
		suspected.add(s.file.Name())
	}
	if damaged || errors.Is(err, errCommit) {
		s.breaks.Do(func() {
			s.logger.Error("session registry is broken",
				zap.String("path", s.file.Name()), zap.Error(err),
				zap.String("advice", "check the disk; the registry is opened again"))
			close(s.broken)
		})
	}
	return unavailable(err)
}

// errCommit says that a transaction could not be committed, for another reason than a full disk:
// then nobody knows what the file holds now.
var errCommit = errors.New("committing")

// commit commits and says of what kind the error is. When the disk is full, the file is as it was.
func commit(tx *bbolt.Tx) error {
	err := tx.Commit()
	if err == nil || errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return fmt.Errorf("%w: %w", errCommit, err)
}

// A panicError is a panic or fault that was met while bbolt read or wrote.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// guarded calls fn and makes its panics errors, including access to a memory map of a file that
// has been truncated.
func guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value}
		}
	}()
	return fn()
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", registry.ErrUnavailable, err) }

// Interface guard
var _ registry.Store = (*Store)(nil)
