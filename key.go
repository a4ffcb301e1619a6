package oidcsession

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	// keyName is where the generated key is kept in Caddy's storage: text that can be copied to a `key` setting as it is.
	keyName = "oidc_session/key"

	keyWait    = 2 * time.Second  // how long a request waits for the key
	keyTimeout = 10 * time.Second // how long Caddy's storage has to answer
	keyRetryIn = 5 * time.Second  // how long a failure is remembered
)

// keyStorage is what is used of Caddy's storage.
type keyStorage interface {
	Lock(ctx context.Context, name string) error
	Unlock(ctx context.Context, name string) error
	Load(ctx context.Context, key string) ([]byte, error)
	Store(ctx context.Context, key string, value []byte) error
}

// A keySource has the shared keys: the configured ones, or one that is generated at first use and kept in Caddy's storage, where
// all servers with the same storage find it.
type keySource struct {
	storage keyStorage
	logger  *zap.Logger
	now     func() time.Time

	mu        sync.Mutex
	ring      *sessionstate.Keyring
	err       error         // of the last loading
	loading   chan struct{} // closed at its end; nil when none is under way
	notBefore time.Time
}

// newKeySource returns the source of the configured secrets, or of the generated one when there are none.
func newKeySource(secrets [][]byte, storage keyStorage, logger *zap.Logger) (*keySource, error) {
	k := &keySource{storage: storage, logger: logger, now: time.Now}
	if len(secrets) == 0 {
		return k, nil
	}
	ring, err := sessionstate.NewKeyring(secrets...)
	if err != nil {
		return nil, err
	}
	k.ring = ring
	return k, nil
}

// get returns the keys, or why they cannot be had now.
func (k *keySource) get(ctx context.Context) (*sessionstate.Keyring, error) {
	k.mu.Lock()
	if k.ring != nil || k.loading == nil && k.now().Before(k.notBefore) {
		defer k.mu.Unlock()
		return k.ring, k.err
	}
	if k.loading == nil {
		k.loading = make(chan struct{})
		go k.load(k.loading)
	}
	loading := k.loading
	k.mu.Unlock()

	timer := time.NewTimer(keyWait)
	defer timer.Stop()
	select {
	case <-loading:
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.ring, k.err
	case <-timer.C:
		return nil, errors.New("waiting for the shared key took too long")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// load gets the generated key. It serves all requests that wait for it, so no single one of them can cancel it.
func (k *keySource) load(done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(context.Background(), keyTimeout)
	defer cancel()
	ring, err := k.loadOrGenerate(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ring, k.err, k.loading = ring, err, nil
	if err != nil {
		k.notBefore = k.now().Add(keyRetryIn)
		k.logger.Error("the shared key cannot be had from Caddy's storage; sign-ins pass without session management until it can",
			zap.String("storage_key", keyName), zap.Error(err))
	}
}

func (k *keySource) loadOrGenerate(ctx context.Context) (*sessionstate.Keyring, error) {
	secret, err := k.storage.Load(ctx, keyName)
	if errors.Is(err, fs.ErrNotExist) {
		secret, err = k.generate(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("loading the shared key: %w", err)
	}
	return sessionstate.NewKeyring(secret)
}

// generate makes the key, unless another server has made it meanwhile.
func (k *keySource) generate(ctx context.Context) (secret []byte, err error) {
	if err := k.storage.Lock(ctx, keyName); err != nil {
		return nil, err
	}
	defer func() {
		if unlockErr := k.storage.Unlock(context.WithoutCancel(ctx), keyName); unlockErr != nil {
			k.logger.Warn("unlocking the shared key in Caddy's storage", zap.Error(unlockErr))
		}
	}()
	secret, err = k.storage.Load(ctx, keyName)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	random := make([]byte, sessionstate.MinKeyLength)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the program instead
	secret = base64.StdEncoding.AppendEncode(nil, random)
	if err := k.storage.Store(ctx, keyName, secret); err != nil {
		return nil, err
	}
	k.logger.Info("generated the shared key in Caddy's storage", zap.String("storage_key", keyName))
	return secret, nil
}
