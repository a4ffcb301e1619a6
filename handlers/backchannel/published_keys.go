package backchannel

import (
	"context"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

const (
	// publishedFor is how long a public key stays published after it was replaced: logout tokens
	// live two minutes, but servers with the same store may change their configuration one after
	// the other.
	publishedFor = time.Hour
	// publishedAgain is how often it is recorded that a key is published.
	publishedAgain = 10 * time.Minute
)

// publishedKeys records which public keys are published, when they are and when they sign: one
// that is replaced may have signed a moment ago. The zero value is ready.
type publishedKeys struct {
	recorded handlers.Recent[time.Time] // when which keys of an issuer were
}

// signedBy is what our own published keys are recorded under: an issuer has no space in it.
func signedBy(issuer string) string { return issuer + " logout tokens" }

// record records the keys, now and then. Each stays published for publishedFor after its last use
// at least.
func (p *publishedKeys) record(ctx context.Context, env handlers.Env, issuer string, published []tokens.PublishedKey) {
	if len(published) == 0 {
		return
	}
	now, all := env.Now(), issuer
	var keys []registry.PublicKey
	for _, key := range published {
		all += " " + key.ID
		keys = append(keys, registry.PublicKey{ID: key.ID, JWK: key.JWK, Until: registry.At(now.Add(publishedFor + publishedAgain))})
	}
	at, known := p.recorded.Get(handlers.Hash(all))
	if known && now.Sub(at) < publishedAgain {
		return
	}
	p.recorded.Put(handlers.Hash(all), now)
	if err := env.Registry.KeepKeys(ctx, signedBy(issuer), keys); err != nil {
		handlers.LogUnrecorded(env.Logger, "the signing keys are not recorded for the time after they are replaced", err)
		p.recorded.Put(handlers.Hash(all), time.Time{})
	}
}
