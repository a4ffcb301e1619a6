package backchannel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

const (
	// publishedWait is how long a request for the document waits for the signing keys.
	publishedWait = 2 * time.Second
	// publishedFor is how long a public key stays published after it was replaced: logout tokens
	// live two minutes, but servers with the same store may change their configuration one after
	// the other.
	publishedFor = time.Hour
	// publishedAgain is how often it is recorded that a key is published.
	publishedAgain = 10 * time.Minute
)

// A JWKS adds the public keys that logout tokens are verified by to the OP's JWK Set: clients
// verify those by the same document as ID tokens (Back-Channel Logout 1.0, section 2.6). Where
// that could break the verification of ID tokens, nothing is added.
type JWKS struct {
	// BackChannel signs.
	BackChannel *BackChannel

	env handlers.Env

	mu sync.Mutex
	// why each issuer's document passes as it came, as the log has it; empty: it does not
	failures handlers.Lately[*string]
}

// Setup prepares the handler for requests.
func (j *JWKS) Setup(env handlers.Env) { j.env = env }

// Serves reports whether a path is that of a document of the OP's keys to which ours may be added,
// or which is observed.
func (j *JWKS) Serves(op *handlers.OP, path string) bool {
	view := op.KeysAt(path)
	return view != nil && (j.BackChannel.Enabled(view) || j.BackChannel.OPKeys.Wants(view))
}

// Serve answers with the OP's document and our keys. A document that cannot be read passes as it
// came.
func (j *JWKS) Serve(
	op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler,
) error {
	op = op.KeysAt(r.URL.Path)
	return exchange.DocumentEdit{
		Edit: func(document []byte) ([]byte, error) {
			j.BackChannel.OPKeys.Observe(op, r, document)
			if !j.BackChannel.Enabled(op) {
				return nil, nil
			}
			ctx, cancel := context.WithTimeout(handlers.RecordingContext(r), publishedWait)
			defer cancel()
			merged, err := j.merge(ctx, op, document)
			if err == nil {
				j.logFailure(op, nil)
			}
			return merged, err
		},
		Failed:   func(err error) { j.logFailure(op, err) },
		TooLarge: func() { j.logFailure(op, exchange.ErrTooLarge) },
		AnyType:  true, // as clients take it
	}.Serve(w, r, next)
}

// errKidUnobserved says that keys are not added yet.
var errKidUnobserved = errors.New("no ID token was observed that names its key (kid)")

// merge returns the document with our keys; nil: as it came, since nothing is to be added.
func (j *JWKS) merge(ctx context.Context, op *handlers.OP, document []byte) ([]byte, error) {
	names, err := tokens.ParseKeyNames(document)
	if err != nil {
		return nil, err
	}
	b := j.BackChannel.Of(op, op.DocumentIssuer)
	issuer := b.name(op)
	known := b.facts.refresh(ctx, issuer)
	publication := b.publicationFrom(b.facts.observeKeys(issuer, names))
	switch {
	case !known:
		return nil, errFactsUnavailable
	case publication.adds:
	case publication.breaks || publication.opOwned:
		return nil, nil // the log has it
	default:
		return nil, errKidUnobserved
	}
	keys, err := b.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting the signing keys: %w", err)
	}
	keys, clashes := keys.Beside(names, true)
	if len(clashes) > 0 &&
		b.warned.First(handlers.Hash("kid "+issuer+" "+strings.Join(clashes, " "))) {
		j.env.Logger.Warn("a signing key has the kid of another key of the OP: "+
			"its kid is its thumbprint instead",
			zap.String("issuer", op.DocumentIssuer), zap.Strings("kids", clashes))
	}
	return j.add(ctx, b, issuer, document, keys.Published())
}

// add adds the keys in use, and those that were a short while ago.
func (j *JWKS) add(
	ctx context.Context, b *BackChannel, issuer string, document []byte, keys []tokens.PublishedKey,
) ([]byte, error) {
	b.published.record(ctx, j.env, issuer, keys)
	has := make(map[string]bool)
	for _, key := range keys {
		has[key.ID] = true
	}
	recorded, _ := j.env.Registry.Keys(ctx, signedBy(issuer)) // those in use are what matters
	for _, key := range recorded {
		if !has[key.ID] {
			keys = append(keys, tokens.PublishedKey{ID: key.ID, JWK: key.JWK})
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	return tokens.MergeKeys(document, keys)
}

// logFailure says why the document passes as it came, once for each reason in a row; nil: it does
// not any more.
func (j *JWKS) logFailure(op *handlers.OP, err error) {
	failure := ""
	if err != nil {
		failure = err.Error()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	logged := j.failures.Get(op.JWKSURI, func() *string { return new(string) })
	switch {
	case failure == *logged:
	case errors.Is(err, errKidUnobserved):
		j.env.Logger.Info("the OP's keys pass as they came for now: "+
			"adding others could break sign-ins",
			zap.String("issuer", op.DocumentIssuer), zap.Error(err))
	case err != nil:
		j.env.Logger.Error("the OP's keys pass as they came: "+
			"clients cannot verify logout tokens by them",
			zap.String("issuer", op.DocumentIssuer), zap.Error(err))
	}
	*logged = failure
}

// publishedKeys records which public keys are published, when they are and when they sign: one
// that is replaced may have signed a moment ago. The zero value is ready.
type publishedKeys struct {
	recorded handlers.Recent[time.Time] // when which keys of an issuer were
}

// signedBy is what our own published keys are recorded under: an issuer has no space in it.
func signedBy(issuer string) string { return issuer + " logout tokens" }

// record records the keys, now and then. Each stays published for at least publishedFor after its
// last use.
func (p *publishedKeys) record(
	ctx context.Context, env handlers.Env, issuer string, published []tokens.PublishedKey,
) {
	if len(published) == 0 {
		return
	}
	now, all := env.Now(), issuer
	until := registry.At(now.Add(publishedFor + publishedAgain))
	var keys []registry.PublicKey
	for _, key := range published {
		all += " " + key.ID
		keys = append(keys, registry.PublicKey{ID: key.ID, JWK: key.JWK, Until: until})
	}
	at, known := p.recorded.Get(handlers.Hash(all))
	if known && now.Sub(at) < publishedAgain {
		return
	}
	p.recorded.Put(handlers.Hash(all), now)
	if err := env.Registry.KeepKeys(ctx, signedBy(issuer), keys); err != nil {
		handlers.LogUnrecorded(env.Logger,
			"the signing keys are not recorded for the time after they are replaced", err)
		p.recorded.Put(handlers.Hash(all), time.Time{})
	}
}
