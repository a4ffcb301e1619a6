package bolt

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// A fault while a transaction begins leaves locks of bbolt's held for ever.
func TestNoCallHangsWhenTheFileIsTruncated(t *testing.T) {
	path := pathIn(t)
	store, err := Open(path, time.Now, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	putValues(t, store, 1)
	ctx := context.WithoutCancel(t.Context()) // nothing but the store bounds a call
	calls := make(map[string]chan error)
	call := func(name string, fn func() error) {
		done := make(chan error, 1)
		calls[name] = done
		go func() { done <- fn() }()
	}

	entered, leave := make(chan struct{}), make(chan struct{})
	pause := func() { entered <- struct{}{}; <-leave }
	call("a read under way", func() error {
		_, err := read(ctx, store, func(*bbolt.Tx) int { pause(); return 0 })
		return err
	})
	<-entered
	slow := &registry.Edit{Key: keyOf(1), Rule: func([]byte) (*registry.Change, error) {
		pause()
		return &registry.Change{Value: []byte(valueOf(1)), Expires: time.Now().Add(time.Hour)}, nil
	}}
	call("an edit under way", func() error { return store.Edit(ctx, slow) })
	<-entered
	call("an edit that waits", func() error { return store.Edit(ctx, puts(keyOf(2), "")) })

	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(ctx, true, keyOf(0)); !errors.Is(err, registry.ErrUnavailable) || !store.Broken() {
		t.Fatalf("broken: %t, error %v", store.Broken(), err)
	}
	close(leave)
	call("a later read", func() error { _, err := store.Owing(ctx, "", 1); return err })
	call("a later edit", func() error { return store.Edit(ctx, puts(keyOf(3), "")) })
	for name, done := range calls {
		select {
		case err := <-done:
			if !errors.Is(err, registry.ErrUnavailable) {
				t.Errorf("%s: error %v", name, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s hangs", name)
		}
	}
	closed := make(chan error, 1)
	go func() { closed <- store.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("Close hangs")
	}
}
