package bolt

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func TestPanicBreaksTheStore(t *testing.T) {
	for name, call := range map[string]func(*Store) error{
		"in a read transaction": func(s *Store) error {
			return s.view(t.Context(), func(*bbolt.Tx) error { panic("page 7 already freed") })
		},
		"in a write transaction": func(s *Store) error {
			return update(t.Context(), s, func(*bbolt.Tx) error { panic("page 7 already freed") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := pathIn(t)
			store := mustOpen(t, path)
			id := addSessions(t, store, 1)
			if err := call(store); !errors.Is(err, registry.ErrUnavailable) || !store.Broken() {
				t.Fatalf("got error %v; broken: %t", err, store.Broken())
			}
			if _, _, err := store.Session(t.Context(), issuer, id); !errors.Is(err, errBroken) {
				t.Errorf("then a read: %v", err)
			}
			if _, err := store.Join(t.Context(), aJoin()); !errors.Is(err, errBroken) {
				t.Errorf("then a write: %v", err)
			}
			if err := store.Close(); err != nil {
				t.Error(err)
			}
			if !has(t, mustOpen(t, path), id) { // the file was sound
				t.Error("the session is lost")
			}
		})
	}
}

// update runs fn in a write transaction.
func update(ctx context.Context, s *Store, fn func(*bbolt.Tx) error) error {
	j := newJob(ctx)
	j.run = fn
	return s.do(j)
}

// TestFileTruncatedWhileOpen takes the pages away below the memory map. It is an access fault that ends a process usually.
func TestFileTruncatedWhileOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be truncated")
	}
	read := func(s *Store, id sessionstate.SessionID) error {
		_, _, err := s.Session(t.Context(), issuer, id)
		return err
	}
	write := func(s *Store, _ sessionstate.SessionID) error {
		_, err := s.Join(t.Context(), aJoin())
		return err
	}
	for name, test := range map[string]struct {
		pages int // left
		call  func(*Store, sessionstate.SessionID) error
	}{
		"to its metas, before a read":  {2, read},
		"to its metas, before a write": {2, write},
		"to one page, before a read":   {1, read},
		"to one page, before a write":  {1, write},
	} {
		t.Run(name, func(t *testing.T) {
			path := pathIn(t)
			store := mustOpen(t, path)
			registryID, id := idOf(t, store), addSessions(t, store, 100)
			if err := os.Truncate(path, int64(test.pages*os.Getpagesize())); err != nil {
				t.Fatal(err)
			}
			if err := test.call(store, id); !errors.Is(err, registry.ErrUnavailable) || !store.Broken() {
				t.Fatalf("got error %v; broken: %t", err, store.Broken())
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			store = mustOpen(t, path)
			if idOf(t, store) == registryID || len(setAsides(t, path)) != 1 {
				t.Error("the truncated file was not set aside")
			}
		})
	}
}

func TestDamagedRecordBreaksTheStore(t *testing.T) {
	path := pathIn(t)
	store := mustOpen(t, path)
	id := addSessions(t, store, 1)
	err := store.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketSessions).Put(begin(tx, issuer).key(id[:]), []byte("garbage"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Session(t.Context(), issuer, id); !errors.Is(err, errDamaged) || !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("got error %v", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
	if len(setAsides(t, path)) != 1 {
		t.Error("the damaged file was not set aside")
	}
}

func TestFailedCallDoesNotFailItsBatch(t *testing.T) {
	store := mustOpen(t, pathIn(t))
	errRefused := errors.New("refused")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	record := func(key string, err error) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			begin(tx, issuer).put(bucketResponses, []byte(key), nil)
			return err
		}
	}
	batch := []*job{
		{ctx: t.Context(), run: record("first", nil)},
		{ctx: t.Context(), run: record("refused", errRefused)},
		{ctx: cancelled, run: record("cancelled", nil)},
		{ctx: t.Context(), run: record("last", nil)},
	}
	answers := make([]chan error, len(batch))
	for i := range batch {
		answers[i] = make(chan error, 1)
		batch[i].done = answers[i]
	}
	store.commit(batch)
	for i, want := range []error{nil, errRefused, context.Canceled, nil} {
		if got := <-answers[i]; !errors.Is(got, want) {
			t.Errorf("call %d: got error %v, want %v", i, got, want)
		}
	}
	err := store.view(t.Context(), func(tx *bbolt.Tx) error {
		for key, want := range map[string]bool{"first": true, "refused": false, "cancelled": false, "last": true} {
			if got := tx.Bucket(bucketResponses).Get([]byte(key)) != nil; got != want {
				t.Errorf("%s: recorded %t", key, got)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCloseLetsWaitingCallsGo(t *testing.T) {
	store := mustOpen(t, pathIn(t))
	entered, leave := make(chan struct{}), make(chan struct{})
	var calls sync.WaitGroup
	calls.Go(func() {
		err := update(t.Context(), store, func(*bbolt.Tx) error {
			close(entered)
			<-leave
			return nil
		})
		if err != nil {
			t.Errorf("the call under way: %v", err)
		}
	})
	<-entered
	for range 8 {
		calls.Go(func() {
			if _, err := store.Join(t.Context(), aJoin()); err != nil && !errors.Is(err, registry.ErrUnavailable) {
				t.Errorf("a waiting call: %v", err)
			}
		})
	}
	closed := make(chan error, 1)
	go func() { closed <- store.Close() }()
	<-store.quit
	close(leave)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	calls.Wait()
}

func TestWaitingCallHeedsItsContext(t *testing.T) {
	store := mustOpen(t, pathIn(t))
	entered, leave := make(chan struct{}), make(chan struct{})
	go func() {
		_ = update(context.Background(), store, func(*bbolt.Tx) error {
			close(entered)
			<-leave
			return nil
		})
	}()
	defer close(leave)
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := store.Join(ctx, aJoin())
	if !errors.Is(err, registry.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v", err)
	}
}

// BenchmarkLogin is what one sign-in costs: an authorization response, a token response, and a look-up.
func BenchmarkLogin(b *testing.B) {
	for _, parallel := range []bool{false, true} {
		name := map[bool]string{false: "one at a time", true: "many at once"}[parallel]
		b.Run(name, func(b *testing.B) {
			store, err := Open(pathIn(b), zap.NewNop())
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			b.ReportAllocs()
			b.ResetTimer()
			if !parallel {
				for b.Loop() {
					login(b, store)
				}
				return
			}
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					login(b, store)
				}
			})
		})
	}
}

func login(b *testing.B, store *Store) {
	ctx, join := context.Background(), aJoin()
	if _, err := store.Join(ctx, join); err != nil {
		b.Error(err)
	}
	redemption := registry.Redemption{
		Issuer: issuer, Response: join.Response, Audience: []string{join.ClientID}, Subject: registry.Subject{Sub: "alice"},
		Fresh: sessionstate.NewSessionID(), Now: start, Lifetime: time.Hour,
	}
	if _, err := store.Redeem(ctx, redemption); err != nil {
		b.Error(err)
	}
	if _, _, err := store.Session(ctx, issuer, join.Fresh); err != nil {
		b.Error(err)
	}
}

func BenchmarkSession(b *testing.B) {
	store := mustOpen(b, pathIn(b))
	id := addSessions(b, store, 1000)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, found, err := store.Session(ctx, issuer, id); !found || err != nil {
			b.Fatal(err)
		}
	}
}
