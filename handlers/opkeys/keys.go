package opkeys

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// Times of asking the OP for its keys.
const (
	// how old they get before they are asked for again, behind the requests
	keysMaxAge   = 10 * time.Minute
	Interval = 30 * time.Second // between two questions because of unknown keys
	// between two looks into the registry because of unknown keys
	keysLookIn = 5 * time.Second
	// how long a key that has left the set is known, for hints only
	keysKept     = 30 * 24 * time.Hour
	keysRecorded = 24 * time.Hour // how often an unchanged set is recorded
)

// Keys learns the OP's public keys from its jwks_uri (OpenID Connect Discovery 1.0, section 3),
// through the handlers behind. Keys that have left the set are kept in the registry: ID tokens
// that were signed with them come back as hints.
type Keys struct {
	// URI is where the keys are, if not where the OP's document says, on the issuer's origin. It
	// is asked directly.
	URI string
	// As returns the OP as one of its issuers has it; nil: it has one.
	As func(op *handlers.OP, issuer string, r *http.Request, next caddyhttp.Handler) *handlers.OP
	// Discovered is told the document each time that it was fetched; nil: nobody is.
	Discovered func(op *handlers.OP, document []byte)

	env handlers.Env

	handlers.Refresher[keyDocument]
	current  tokens.KeySet
	retired  tokens.KeySet // as the registry has kept them; those in use are among them
	all      tokens.KeySet // both: computed when they change, not with each request
	looked   time.Time     // when the registry was asked for them
	known    bool          // the OP has answered once
	fetched  time.Time
	recorded time.Time // when the set was recorded
	digest   [32]byte  // of the set that was
	latest   [32]byte  // of the document that was learnt last

	sets handlers.Lately[*Keys] // of an OP with several documents: those of each
}

// A keyDocument is a document of keys, and those that can be used.
type keyDocument struct {
	document []byte
	set      tokens.KeySet
}

// Setup gives the keys their world.
func (k *Keys) Setup(env handlers.Env) { k.env = env }

// ValidateJWKSURI reports why keys cannot be at an address. An empty one is the default.
func ValidateJWKSURI(uri string) error {
	if uri == "" {
		return nil
	}
	if _, err := sessionstate.Origin(uri); err != nil {
		return fmt.Errorf("jwks_uri is %q, but must be a URL, such as https://op.example.com/jwks: %w", uri, err)
	}
	return nil
}

// ViewOf returns the OP as the issuer that a token names has it. The token need not be verified:
// the OP itself is asked.
func (k *Keys) ViewOf(op *handlers.OP, issuer string, r *http.Request, next caddyhttp.Handler) *handlers.OP {
	if k.As == nil {
		return op
	}
	return k.As(op, issuer, r, next)
}

// of returns the keys that one document of an OP names, of those that have several; nil: no such
// document was seen.
func (k *Keys) of(op *handlers.OP) *Keys {
	if k.URI != "" || !op.HasSeveralDocuments() {
		return k
	}
	if !op.Discovered {
		return nil
	}
	k.Mu.Lock()
	defer k.Mu.Unlock()
	return k.sets.Get(op.DocumentIssuer+" "+op.JWKSURI, func() *Keys { return &Keys{Discovered: k.Discovered, env: k.env} })
}

// Find returns the OP's keys, current and retired. A kid that is not among them has the OP asked,
// unless it was a moment ago; the request waits for that, at most two seconds.
func (k *Keys) Find(op *handlers.OP, r *http.Request, next caddyhttp.Handler, kid string) tokens.KeySet {
	if k = k.of(op); k == nil {
		return tokens.KeySet{}
	}
	keys, fresh := k.have(kid)
	if fresh {
		return keys
	}
	if k.knows(keys, kid) {
		k.ask(op, r, next)
		return keys // old, but there
	}
	handlers.Await(r, func() (<-chan struct{}, bool) { return k.ask(op, r, next) }, func() bool {
		keys, _ = k.have(kid)
		return k.knows(keys, kid)
	})
	if keys, _ = k.have(kid); k.knows(keys, kid) {
		return keys
	}
	return k.withRecorded(op, r)
}

// FindCurrent is Find without the keys that have left the set: what was signed just now was not
// signed by them.
func (k *Keys) FindCurrent(op *handlers.OP, r *http.Request, next caddyhttp.Handler, kid string) tokens.KeySet {
	k.Find(op, r, next, kid)
	if k = k.of(op); k == nil {
		return tokens.KeySet{}
	}
	k.Mu.Lock()
	defer k.Mu.Unlock()
	return k.current
}

// Refresh has the keys asked for if that was never done, or long ago, or if none of them has that
// kid; empty: whichever they are. The request does not wait.
func (k *Keys) Refresh(op *handlers.OP, r *http.Request, next caddyhttp.Handler, kid string) {
	if k = k.of(op); k == nil {
		return
	}
	if _, fresh := k.have(kid); !fresh {
		k.ask(op, r, next)
	}
}

// have returns the keys at hand, and whether nothing need be asked.
func (k *Keys) have(kid string) (keys tokens.KeySet, fresh bool) {
	k.Mu.Lock()
	defer k.Mu.Unlock()
	return k.all, k.known && k.knows(k.all, kid) && k.env.Now().Sub(k.fetched) < keysMaxAge
}

func (*Keys) knows(keys tokens.KeySet, kid string) bool {
	return keys.Len() > 0 && (kid == "" || keys.Has(kid))
}

// withRecorded returns the keys with those that the registry has kept. It is asked for them now
// and then: a flood of hints by keys that nobody knows must not have it, and the parser, at work
// all the time.
func (k *Keys) withRecorded(op *handlers.OP, r *http.Request) tokens.KeySet {
	k.Mu.Lock()
	now := k.env.Now()
	due := k.looked.IsZero() || now.Sub(k.looked) >= keysLookIn
	if due {
		k.looked = now
	}
	k.Mu.Unlock()
	if due {
		k.recall(r.Context(), op)
	}
	k.Mu.Lock()
	defer k.Mu.Unlock()
	return k.all
}

// recall takes the keys that the registry has kept, which are those of the last 30 days. While it
// is away, what was known stays.
func (k *Keys) recall(ctx context.Context, op *handlers.OP) {
	recorded, err := k.env.Registry.Keys(ctx, k.keptAs(op))
	if err != nil {
		handlers.LogUnrecorded(k.env.Logger, "keys that the OP used before are not known", err)
		return
	}
	var kept []tokens.Key
	for _, key := range recorded {
		kept = append(kept, tokens.Key{ID: key.ID, JWK: key.JWK})
	}
	set := tokens.NewKeySet(kept)
	k.Mu.Lock()
	defer k.Mu.Unlock()
	k.retired, k.all = set, k.current.With(set)
}

// ask asks the OP for its keys: see [refresher.ask].
func (k *Keys) ask(op *handlers.OP, r *http.Request, next caddyhttp.Handler) (flight <-chan struct{}, own bool) {
	who := handlers.CallerOf(r, next)
	return k.Refresher.Ask(k.env.Now, who, func() *handlers.Inquiry[keyDocument] {
		fetch, err := k.prepare(op, r, next)
		if err != nil {
			k.logFailure(op, err, k.Failed(k.env.Now(), who, err))
			return nil
		}
		return &handlers.Inquiry[keyDocument]{
			Fetch: fetch, Every: Interval,
			Keep:   func(d keyDocument) func() { return k.keep(op, d) },
			Failed: func(err error, worse bool) { k.logFailure(op, err, worse) },
		}
	})
}

// prepare prepares the fetch of the document, which may run in another goroutine.
func (k *Keys) prepare(op *handlers.OP, r *http.Request, next caddyhttp.Handler) (func() (keyDocument, error), error) {
	if k.URI != "" {
		return func() (keyDocument, error) { return fetchDirectly(k.URI) }, nil
	}
	if origin, err := sessionstate.Origin(op.JWKSURI); err != nil || origin != op.Origin {
		return nil, errors.New("the jwks_uri is missing or not on the issuer's origin: configure jwks_uri")
	}
	sub, err := handlers.NewSubRequest(k.env, r, next, op.JWKSURI)
	if err != nil {
		return nil, err
	}
	return func() (keyDocument, error) {
		// clients take any type
		document, err := sub.Document(func(http.Header) bool { return true })
		if err != nil {
			return keyDocument{}, err
		}
		set, err := tokens.ParseKeySet(document)
		if err != nil {
			// it may be the page of a wall
			err = sub.Failure(&handlers.AnswerError{Err: err, Status: http.StatusOK, Refused: true})
		}
		return keyDocument{document, set}, err
	}, nil
}

// direct asks addresses that were configured by hand. A redirect would lead elsewhere than what
// was configured.
var direct = &http.Client{
	Timeout:       handlers.SubRequestTimeout,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func fetchDirectly(uri string) (d keyDocument, err error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, uri, http.NoBody)
	if err != nil {
		return d, err
	}
	response, err := direct.Do(r)
	if err != nil {
		return d, &handlers.AnswerError{Err: err}
	}
	defer response.Body.Close()
	if status := response.StatusCode; status != http.StatusOK {
		return d, &handlers.AnswerError{Err: fmt.Errorf("it is answered with status %d", status), Status: status}
	}
	d.document, err = io.ReadAll(io.LimitReader(response.Body, exchange.MaxJSON+1))
	switch {
	case len(d.document) > exchange.MaxJSON:
		return d, exchange.ErrTooLarge
	case err == nil:
		d.set, err = tokens.ParseKeySet(d.document)
	}
	return d, err
}

// Wants reports whether a document that passes through to a client is news, as far as can be told
// before it is read.
func (k *Keys) Wants(op *handlers.OP) bool {
	k = k.of(op)
	return k != nil && k.wants()
}

func (k *Keys) wants() bool {
	_, fresh := k.have("")
	return k.URI == "" && !fresh
}

// Observe takes the keys from an answer of the OP that passes through to a client, as if we had
// asked for them. The client does not wait for the registry.
func (k *Keys) Observe(op *handlers.OP, r *http.Request, document []byte) {
	k = k.of(op)
	if k == nil || k.URI != "" || r.URL.RawQuery != "" || !k.wants() && k.isLatest(document) {
		return
	}
	if set, err := tokens.ParseKeySet(document); err == nil && set.Len() > 0 {
		k.Mu.Lock()
		defer k.Mu.Unlock()
		k.Answered(k.env.Now().Add(Interval))
		go k.keep(op, keyDocument{document, set})()
	}
}

// isLatest reports whether a document is the one that was learnt last.
func (k *Keys) isLatest(document []byte) bool {
	digest := sha256.Sum256(document)
	k.Mu.Lock()
	defer k.Mu.Unlock()
	return digest == k.latest
}

// keep keeps the keys of a document, and returns what has them recorded. The caller holds the
// lock.
func (k *Keys) keep(op *handlers.OP, d keyDocument) (record func()) {
	now := k.env.Now()
	k.latest = sha256.Sum256(d.document)
	k.retired = k.current.With(k.retired)
	k.current, k.known, k.fetched = d.set, true, now
	k.all = k.current.With(k.retired)
	return func() { k.settle(op, d, now) }
}

// settle tells of a document that was learnt, and has its keys recorded.
func (k *Keys) settle(op *handlers.OP, d keyDocument, now time.Time) {
	digest := sha256.Sum256(d.document)
	k.Mu.Lock()
	due := digest != k.digest || now.Sub(k.recorded) >= keysRecorded
	k.Mu.Unlock()
	if k.Discovered != nil {
		k.Discovered(op, d.document)
	}
	if n := d.set.TooLarge(); n > 0 && due {
		k.env.Logger.Warn("RSA keys of the OP with more than 4096 bits are not used: no token signed by them is verified",
			zap.String("issuer", op.Issuer), zap.Int("keys", n))
	}
	if due && k.record(op, d.set, now) {
		k.Mu.Lock()
		k.digest, k.recorded = digest, now
		k.Mu.Unlock()
	}
	k.recall(context.Background(), op)
}

// keptAs is the issuer whose keys these are recorded as: a token of one issuer is verified by that
// issuer's keys.
func (k *Keys) keptAs(op *handlers.OP) string {
	if k.URI == "" && op.HasSeveralIssuers() {
		return op.DocumentIssuer
	}
	return op.Issuer
}

// record has the registry keep the keys, for the time after they have left the set.
func (k *Keys) record(op *handlers.OP, set tokens.KeySet, now time.Time) bool {
	var keys []registry.PublicKey
	for _, key := range set.Keys() {
		if len(key.JWK) <= registry.MaxKey {
			keys = append(keys, registry.PublicKey{ID: key.ID, JWK: key.JWK, Until: registry.At(now.Add(keysKept))})
		}
	}
	err := k.env.Registry.KeepKeys(context.Background(), k.keptAs(op), keys)
	if err != nil {
		handlers.LogUnrecorded(k.env.Logger, "the OP's keys are not recorded for the time after they are replaced", err)
	}
	return err == nil
}

// logFailure says that the keys are unavailable, if the log has not said so. The caller holds the
// lock.
func (k *Keys) logFailure(op *handlers.OP, err error, worse bool) {
	if worse {
		k.env.Logger.Warn("the OP's keys are unavailable: no id_token_hint can be verified, so users are asked before they are signed out",
			handlers.FailureFields(err, zap.String("issuer", op.Issuer))...)
	}
}
