package oidcsession

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

const (
	// keyName is where the generated key is kept in Caddy's storage: text that can be copied to a
	// `key` setting as it is.
	keyName = "oidc_session/key"
	// signingKeyName is where the generated keys that sign logout tokens are kept: a JWK Set of
	// private keys.
	signingKeyName = "oidc_session/signing_keys"

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

// A keySource has keys: the configured ones, or such as are generated at first use and kept in
// Caddy's storage, where all servers with the same storage find them.
type keySource[T any] struct {
	storage     keyStorage
	name        string // in the storage
	unavailable string // what the log says while there are none
	parse       func(documents ...[]byte) (T, error)
	generate    func() ([]byte, error)
	logger      *zap.Logger
	now         func() time.Time

	mu        sync.Mutex
	keys      T
	has       bool
	err       error         // of the last loading
	loading   chan struct{} // closed at its end; nil when none is under way
	notBefore time.Time
}

// newKeySource returns the source of the shared keys.
func newKeySource(
	secrets [][]byte, storage keyStorage, logger *zap.Logger,
) (*keySource[*sessionstate.Keyring], error) {
	k := &keySource[*sessionstate.Keyring]{
		storage: storage, name: keyName, unavailable: "shared key unavailable",
		parse: sessionstate.NewKeyring, generate: generateSecret,
		logger: logger, now: time.Now,
	}
	return k, k.configure(secrets)
}

// newSigningKeySource returns the source of the keys that sign logout tokens.
func newSigningKeySource(
	documents [][]byte, storage keyStorage, logger *zap.Logger,
) (*keySource[*tokens.SigningKeys], error) {
	k := &keySource[*tokens.SigningKeys]{
		storage: storage, name: signingKeyName, unavailable: "signing keys unavailable",
		parse: tokens.ParseSigningKeys, generate: generateSigningKeys,
		logger: logger, now: time.Now,
	}
	return k, k.configure(documents)
}

// configure takes the configured keys; without any, they are generated.
func (k *keySource[T]) configure(documents [][]byte) (err error) {
	if len(documents) > 0 {
		k.keys, err = k.parse(documents...)
		k.has = err == nil
	}
	return err
}

// generateSecret makes a shared key.
func generateSecret() ([]byte, error) {
	random := make([]byte, sessionstate.MinKeyLength)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the program instead
	return base64.StdEncoding.AppendEncode(nil, random), nil
}

func generateSigningKeys() ([]byte, error) {
	_, document, err := tokens.GenerateSigningKeys()
	return document, err
}

// isBase64Key reports whether a text is a key in base64, which may begin with a slash. That of
// random bytes has capitals; a path that is in base64 by chance has none.
func isBase64Key(text string) bool {
	secret, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	return err == nil && len(secret) >= sessionstate.MinKeyLength && text != strings.ToLower(text)
}

// get returns the keys, or why they are unavailable.
func (k *keySource[T]) get(ctx context.Context) (keys T, err error) {
	k.mu.Lock()
	if k.has || k.loading == nil && k.now().Before(k.notBefore) {
		defer k.mu.Unlock()
		return k.keys, k.err
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
		return k.keys, k.err
	case <-timer.C:
		return keys, fmt.Errorf("waiting for %s took too long", k.name)
	case <-ctx.Done():
		return keys, ctx.Err()
	}
}

// load gets the generated key. It serves all requests that wait for it, so no single one of them
// can cancel it.
func (k *keySource[T]) load(done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(context.Background(), keyTimeout)
	defer cancel()
	keys, err := k.loadOrGenerate(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys, k.has, k.err, k.loading = keys, err == nil, err, nil
	if err != nil {
		k.notBefore = k.now().Add(keyRetryIn)
		k.logger.Error(k.unavailable, zap.String("storage_key", k.name), zap.Error(err),
			zap.String("advice", "make Caddy's storage reachable: sign-ins go on meanwhile"))
	}
}

func (k *keySource[T]) loadOrGenerate(ctx context.Context) (keys T, err error) {
	secret, err := k.storage.Load(ctx, k.name)
	if errors.Is(err, fs.ErrNotExist) {
		secret, err = k.make(ctx)
	}
	if err != nil {
		return keys, fmt.Errorf("loading %s: %w", k.name, err)
	}
	return k.parse(secret)
}

// make makes the keys, unless another server has made them meanwhile.
func (k *keySource[T]) make(ctx context.Context) (secret []byte, err error) {
	if err := k.storage.Lock(ctx, k.name); err != nil {
		return nil, err
	}
	defer func() {
		if unlockErr := k.storage.Unlock(context.WithoutCancel(ctx), k.name); unlockErr != nil {
			k.logger.Warn("unlocking a key in Caddy's storage",
				zap.String("storage_key", k.name), zap.Error(unlockErr))
		}
	}()
	secret, err = k.storage.Load(ctx, k.name)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	if secret, err = k.generate(); err != nil {
		return nil, err
	}
	if err := k.storage.Store(ctx, k.name, secret); err != nil {
		return nil, err
	}
	k.logger.Info("generated a key in Caddy's storage", zap.String("storage_key", k.name))
	return secret, nil
}
