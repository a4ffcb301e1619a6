package oidcsession

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// fakeStorage is Caddy's storage, shared by servers.
type fakeStorage struct {
	lock sync.Mutex // what Lock takes

	mu     sync.Mutex
	values map[string][]byte
	stores int
	err    error
	delay  time.Duration
}

func (f *fakeStorage) Lock(context.Context, string) error   { f.lock.Lock(); return nil }
func (f *fakeStorage) Unlock(context.Context, string) error { f.lock.Unlock(); return nil }

func (f *fakeStorage) Load(_ context.Context, key string) ([]byte, error) {
	time.Sleep(f.delay)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	if value, ok := f.values[key]; ok {
		return value, nil
	}
	return nil, fs.ErrNotExist
}

func (f *fakeStorage) Store(_ context.Context, key string, value []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stores++
	f.values[key] = value
	return nil
}

func newTestKeySource(t *testing.T, storage keyStorage, secrets ...[]byte) *keySource[*sessionstate.Keyring] {
	t.Helper()
	source, err := newKeySource(secrets, storage, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestOneKeyIsGeneratedForAllServersAtFirstUse(t *testing.T) {
	storage := &fakeStorage{values: make(map[string][]byte)}
	if newTestKeySource(t, storage); storage.stores != 0 {
		t.Fatal("the key is generated before it is used")
	}
	states := make(chan string, 20)
	var servers sync.WaitGroup
	for range 4 {
		source := newTestKeySource(t, storage)
		for range 5 {
			servers.Go(func() {
				ring, err := source.get(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				states <- ring.AnonymousState("https://op.example.com")
			})
		}
	}
	servers.Wait()
	close(states)
	first := <-states
	for state := range states {
		if state != first {
			t.Fatal("two requests got two keys")
		}
	}
	if storage.stores != 1 {
		t.Errorf("the key was stored %d times", storage.stores)
	}
	if len(storage.values[keyName]) < sessionstate.MinKeyLength {
		t.Errorf("the key has %d bytes", len(storage.values[keyName]))
	}
}

func TestAConfiguredKeyNeedsNoStorage(t *testing.T) {
	source := newTestKeySource(t, nil, []byte(testKey))
	if _, err := source.get(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAStorageThatFailsIsAskedAgainAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &fakeStorage{values: make(map[string][]byte), err: errors.New("the disk is on fire")}
		source := newTestKeySource(t, storage)
		if _, err := source.get(t.Context()); err == nil {
			t.Fatal("no error")
		}
		storage.mu.Lock()
		storage.err = nil
		storage.mu.Unlock()
		if _, err := source.get(t.Context()); err == nil {
			t.Error("the failure was not remembered")
		}
		time.Sleep(keyRetryIn)
		if _, err := source.get(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestARequestDoesNotWaitForASlowStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &fakeStorage{values: make(map[string][]byte), delay: 3 * time.Second}
		source := newTestKeySource(t, storage)
		start := time.Now()
		if _, err := source.get(t.Context()); err == nil || time.Since(start) != keyWait {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		time.Sleep(time.Minute)
		if _, err := source.get(t.Context()); err != nil {
			t.Errorf("the key is there meanwhile: %v", err)
		}
	})
}

func TestAShortStoredKeyIsAnError(t *testing.T) {
	storage := &fakeStorage{values: map[string][]byte{keyName: []byte("short")}}
	if _, err := newTestKeySource(t, storage).get(t.Context()); !errors.Is(err, sessionstate.ErrShortKey) {
		t.Errorf("error is %v", err)
	}
}
