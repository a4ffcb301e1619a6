package handlers

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

const (
	// publishedFor is how long a public key stays published after it was replaced: logout tokens live two minutes, but servers
	// with the same store may change their configuration one after the other.
	publishedFor = time.Hour
	// publishedAgain is how often it is recorded that a key is published.
	publishedAgain = 10 * time.Minute
	// publishedWait is how long a request for the document waits for the signing keys.
	publishedWait = 2 * time.Second
)

// A JWKS adds the public keys that logout tokens are verified by to the OP's JWK Set: clients verify those by the same document
// as ID tokens (Back-Channel Logout 1.0, section 2.6).
type JWKS struct {
	// BackChannel signs.
	BackChannel *BackChannel

	env Env

	mu       sync.Mutex
	recorded time.Time
	digest   string
}

// Setup gives the handler its world.
func (j *JWKS) Setup(env Env) { j.env = env }

// Serves tells whether a path is that of the OP's document, and our keys belong to it.
func (j *JWKS) Serves(op *OP, path string) bool {
	return path == op.JWKSPath && path != "" && j.BackChannel.Tells(op)
}

// Serve answers with the OP's document and our keys. A document that cannot be read passes as it came.
func (j *JWKS) Serve(op *OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return documentEdit{
		edit: func(document []byte) ([]byte, error) {
			ctx, cancel := context.WithTimeout(recording(r), publishedWait)
			defer cancel()
			return j.merge(ctx, op, document)
		},
		failed: func(err error) {
			j.env.Logger.Error("the OP's keys pass as they came: clients cannot verify logout tokens by them", zap.String("issuer", op.Issuer), zap.Error(err))
		},
	}.serve(w, r, next)
}

func (j *JWKS) merge(ctx context.Context, op *OP, document []byte) ([]byte, error) {
	keys, err := j.BackChannel.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting the signing keys: %w", err)
	}
	merged, clashes, err := tokens.MergeKeys(document, j.published(ctx, op, keys))
	if err != nil {
		return nil, err
	}
	if len(clashes) > 0 {
		j.env.Logger.Error("a signing key has the kid of a key of the OP, and is not published", zap.String("issuer", op.Issuer), zap.Strings("kids", clashes))
	}
	return merged, nil
}

// signedBy is what our own published keys are recorded under: an issuer has no space in it.
func signedBy(op *OP) string { return op.Issuer + " logout tokens" }

// published returns the public keys in use, and those that were a short while ago.
func (j *JWKS) published(ctx context.Context, op *OP, keys *tokens.SigningKeys) []tokens.PublishedKey {
	published := keys.Published()
	now := j.env.Now()
	if j.due(op, published, now) {
		keeping := registry.Keeping{Issuer: signedBy(op), Now: now, Until: now.Add(publishedFor)}
		for _, key := range published {
			keeping.Keys = append(keeping.Keys, registry.Key{ID: key.ID, JWK: key.JWK})
		}
		if err := j.env.Registry.KeepKeys(ctx, keeping); err != nil {
			unrecorded(j.env.Logger, "the signing keys are not recorded for the time after they are replaced", err)
			j.forget()
		}
	}
	recorded, err := j.env.Registry.Keys(ctx, signedBy(op), now)
	if err != nil {
		return published
	}
	has := make(map[string]bool)
	for _, key := range published {
		has[key.ID] = true
	}
	for _, key := range recorded {
		if !has[key.ID] {
			published = append(published, tokens.PublishedKey{ID: key.ID, JWK: key.JWK})
		}
	}
	return published
}

// due tells whether it has to be recorded which keys are published.
func (j *JWKS) due(op *OP, published []tokens.PublishedKey, now time.Time) bool {
	kids := []string{op.Issuer}
	for _, key := range published {
		kids = append(kids, key.ID)
	}
	digest := strings.Join(kids, " ")
	j.mu.Lock()
	defer j.mu.Unlock()
	if digest == j.digest && now.Sub(j.recorded) < publishedAgain {
		return false
	}
	j.digest, j.recorded = digest, now
	return true
}

func (j *JWKS) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.digest = ""
}
