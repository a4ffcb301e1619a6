package bolt

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// many is the edits of one call; each calls ran before it is made.
func many(n int, ran func(i int)) (edits []*registry.Edit) {
	for i := range n {
		edit := puts(keyOf(i), valueOf(i))
		rule := edit.Rule
		edit.Rule = func(old []byte) (*registry.Change, error) {
			ran(i)
			return rule(old)
		}
		edits = append(edits, edit)
	}
	return edits
}

func TestACallDoesNotWaitForAllOfALongOne(t *testing.T) {
	store := mustOpen(t, pathIn(t))
	defer mustClose(t, store)
	const n = 1000
	var made, before atomic.Int64
	begun := make(chan struct{})
	edits := many(n, func(i int) {
		made.Add(1)
		if i == 0 {
			close(begun)
		}
	})
	long := make(chan error, 1)
	go func() { long <- store.Edit(t.Context(), edits...) }()
	<-begun
	short := puts("bshort", "value")
	rule := short.Rule
	short.Rule = func(old []byte) (*registry.Change, error) {
		before.Store(made.Load())
		return rule(old)
	}
	if err := errors.Join(store.Edit(t.Context(), short), short.Err, <-long); err != nil {
		t.Fatal(err)
	}
	if before.Load() == n {
		t.Error("it was made after all of the long one")
	}
	for i, edit := range edits {
		if edit.Err != nil || !has(t, store, i) {
			t.Fatalf("edit %d: %v", i, edit.Err)
		}
	}
}

func TestWhatALongCallHasCommittedCountsWhenTheRestFails(t *testing.T) {
	path := pathIn(t)
	store := mustOpen(t, path)
	const n = 5 * maxEdits
	closing := make(chan error, 1)
	edits := many(n, func(i int) {
		if i == 2*maxEdits {
			go func() { closing <- store.Close() }()
			<-store.quit
		}
	})
	if err := errors.Join(store.Edit(t.Context(), edits...), <-closing); err != nil {
		t.Fatal(err)
	}
	store = mustOpen(t, path)
	defer mustClose(t, store)
	for i, edit := range edits {
		if made := i < 3*maxEdits; made != (edit.Err == nil) || made != has(t, store, i) {
			t.Errorf("edit %d: recorded %v, %v", i, has(t, store, i), edit.Err)
		}
		if edit.Err != nil && !errors.Is(edit.Err, registry.ErrUnavailable) {
			t.Errorf("edit %d: %v", i, edit.Err)
		}
	}
}

func TestAFileFilledWithoutSyncingIsThere(t *testing.T) {
	path := pathIn(t)
	store := mustOpen(t, path)
	const n = 5 * maxEdits
	err := store.Unsynced(func() error { return store.Edit(t.Context(), many(n, func(int) {})...) })
	if err != nil || store.db.NoSync || store.maxEdits != maxEdits {
		t.Fatalf("NoSync %v, %d edits at once: %v", store.db.NoSync, store.maxEdits, err)
	}
	mustClose(t, store)
	store = mustOpen(t, path)
	defer mustClose(t, store)
	for i := range n {
		if !has(t, store, i) {
			t.Errorf("%d is missing", i)
		}
	}
}
