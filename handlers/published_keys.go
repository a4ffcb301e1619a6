package handlers

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

const (
	// publishedFor is how long a public key stays published after it was replaced: logout tokens live two minutes, but servers
	// with the same store may change their configuration one after the other.
	publishedFor = time.Hour
	// publishedAgain is how often it is recorded that a key is published.
	publishedAgain = 10 * time.Minute
)

// publishedKeys records which public keys are published, when they are and when they sign: one that is replaced may have signed a moment
// ago. The zero value is ready.
type publishedKeys struct {
	mu       sync.Mutex
	recorded time.Time
	digest   string
}

// signedBy is what our own published keys are recorded under: an issuer has no space in it.
func signedBy(issuer string) string { return issuer + " logout tokens" }

// record records the keys, now and then. Each stays published for publishedFor after its last use at least.
func (p *publishedKeys) record(ctx context.Context, env Env, issuer string, published []tokens.PublishedKey) {
	now := env.Now()
	if len(published) == 0 || !p.due(issuer, published, now) {
		return
	}
	var keys []registry.PublicKey
	for _, key := range published {
		keys = append(keys, registry.PublicKey{ID: key.ID, JWK: key.JWK, Until: registry.At(now.Add(publishedFor + publishedAgain))})
	}
	if err := env.Registry.KeepKeys(ctx, signedBy(issuer), keys); err != nil {
		unrecorded(env.Logger, "the signing keys are not recorded for the time after they are replaced", err)
		p.forget()
	}
}

// due reports whether it has to be recorded which keys are published.
func (p *publishedKeys) due(issuer string, published []tokens.PublishedKey, now time.Time) bool {
	kids := []string{issuer}
	for _, key := range published {
		kids = append(kids, key.ID)
	}
	digest := strings.Join(kids, " ")
	p.mu.Lock()
	defer p.mu.Unlock()
	if digest == p.digest && now.Sub(p.recorded) < publishedAgain {
		return false
	}
	p.digest, p.recorded = digest, now
	return true
}

func (p *publishedKeys) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.digest = ""
}
