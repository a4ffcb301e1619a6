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
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// publishedWait is how long a request for the document waits for the signing keys.
const publishedWait = 2 * time.Second

// A JWKS adds the public keys that logout tokens are verified by to the OP's JWK Set: clients
// verify those by the same document as ID tokens (Back-Channel Logout 1.0, section 2.6). Where
// that could break the verification of ID tokens, nothing is added.
type JWKS struct {
	// BackChannel signs.
	BackChannel *BackChannel

	env handlers.Env

	mu   sync.Mutex
	told handlers.Lately[*jwksTold] // what the log has been told, by issuer
}

// jwksTold is what the log has been told of one document.
type jwksTold struct{ failure, clashes string }

// Setup gives the handler its world.
func (j *JWKS) Setup(env handlers.Env) { j.env = env }

// Serves reports whether a path is that of a document of the OP's keys, and ours may belong to it,
// or it is read.
func (j *JWKS) Serves(op *handlers.OP, path string) bool {
	view := op.KeysAt(path)
	return view != nil && (j.BackChannel.Enabled(view) || j.BackChannel.OPKeys.Wants(view))
}

// Serve answers with the OP's document and our keys. A document that cannot be read passes as it
// came.
func (j *JWKS) Serve(op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
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
				j.failed(op, nil)
			}
			return merged, err
		},
		Failed:   func(err error) { j.failed(op, err) },
		TooLarge: func() { j.failed(op, exchange.ErrTooLarge) },
		AnyType:  true, // as clients take it
	}.Serve(w, r, next)
}

// errUnseen says that keys are not added yet.
var errUnseen = errors.New("no ID token was seen that names its key (kid)")

// merge returns the document with our keys; nil: as it came, since nothing is to be added.
func (j *JWKS) merge(ctx context.Context, op *handlers.OP, document []byte) ([]byte, error) {
	names, err := tokens.ParseKeyNames(document)
	if err != nil {
		return nil, err
	}
	b := j.BackChannel.Of(op, op.DocumentIssuer)
	known := b.seen.refresh(ctx, b.name(op))
	view := b.outlook(b.seen.sawKeys(b.name(op), names))
	if !known {
		return nil, errUnknownPast
	}
	if !view.adds {
		if view.breaks || view.opOwned {
			return nil, nil // the log has it
		}
		return nil, errUnseen
	}
	keys, err := b.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting the signing keys: %w", err)
	}
	keys, clashes := keys.Beside(names, true)
	j.clash(op, clashes)
	return j.with(ctx, b, b.name(op), document, keys.Published())
}

// with adds the keys in use, and those that were a short while ago.
func (j *JWKS) with(ctx context.Context, b *BackChannel, issuer string, document []byte, published []tokens.PublishedKey) ([]byte, error) {
	b.published.record(ctx, j.env, issuer, published)
	has := make(map[string]bool)
	for _, key := range published {
		has[key.ID] = true
	}
	recorded, err := j.env.Registry.Keys(ctx, signedBy(issuer))
	if err != nil {
		recorded = nil // those in use are what matters
	}
	for _, key := range recorded {
		if !has[key.ID] {
			published = append(published, tokens.PublishedKey{ID: key.ID, JWK: key.JWK})
		}
	}
	if len(published) == 0 {
		return nil, nil
	}
	return tokens.MergeKeys(document, published)
}

// failed says why the document passes as it came, once for each reason in a row; nil: it does not
// any more.
func (j *JWKS) failed(op *handlers.OP, err error) {
	failure := ""
	if err != nil {
		failure = err.Error()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	told := j.toldOf(op)
	switch {
	case failure == told.failure:
	case errors.Is(err, errUnseen):
		j.env.Logger.Info("the OP's keys pass as they came for now: adding others could break sign-ins", zap.String("issuer", op.DocumentIssuer), zap.Error(err))
	case err != nil:
		j.env.Logger.Error("the OP's keys pass as they came: clients cannot verify logout tokens by them", zap.String("issuer", op.DocumentIssuer), zap.Error(err))
	}
	told.failure = failure
}

// toldOf returns what the log has been told of a document. The caller holds the lock.
func (j *JWKS) toldOf(op *handlers.OP) *jwksTold {
	return j.told.Get(op.JWKSURI, func() *jwksTold { return new(jwksTold) })
}

// clash says once of each set of kids that the OP has them too.
func (j *JWKS) clash(op *handlers.OP, kids []string) {
	clashes := strings.Join(kids, " ")
	j.mu.Lock()
	defer j.mu.Unlock()
	told := j.toldOf(op)
	if clashes != told.clashes && clashes != "" {
		j.env.Logger.Warn("a signing key has the kid of another key of the OP: its kid is its thumbprint instead",
			zap.String("issuer", op.DocumentIssuer), zap.Strings("kids", kids))
	}
	told.clashes = clashes
}
