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

// Interval is the shortest time between two questions because of unknown keys.
const Interval = 30 * time.Second

const (
	maxAge      = 10 * time.Minute    // of the keys, before they are asked for again
	recallAgain = 5 * time.Second     // between two looks into the registry for unknown keys
	retiredFor  = 30 * 24 * time.Hour // how long a key that has left the set is known, for hints
	recordAgain = 24 * time.Hour      // how often an unchanged set is recorded
)

// Keys has the public keys of one OP. It is safe for concurrent use after Setup.
type Keys struct {
	// URI is the configured address of the keys, which is asked directly. Empty: they are where
	// the provider metadata says, on the issuer's origin, and are asked for through the handlers
	// behind.
	URI string
	// As returns the OP as one of its issuers has it; nil: it has one issuer.
	As func(
		op *handlers.OP, issuer string, r *http.Request, next caddyhttp.Handler,
	) *handlers.OP
	// Discovered takes each document that was fetched or observed; nil: nobody does.
	Discovered func(op *handlers.OP, document []byte)

	env handlers.Env

	handlers.Refresher[keyDocument]
	current  tokens.KeySet // those in use
	retired  tokens.KeySet // those that the registry has; those in use are among them
	all      tokens.KeySet // both: computed when they change, not with each request
	known    bool          // the OP has answered once
	fetched  time.Time
	latest   [sha256.Size]byte // digest of the document that was taken last
	recalled time.Time         // when the registry was asked last because of an unknown key
	recorded time.Time         // when the set was recorded
	digest   [sha256.Size]byte // of the document that was

	sets handlers.Lately[*Keys] // of an OP with several documents: those of each
}

// A keyDocument is a document of keys, and those that can be used.
type keyDocument struct {
	document []byte
	set      tokens.KeySet
}

// Setup prepares the keys for requests.
func (k *Keys) Setup(env handlers.Env) { k.env = env }

// ValidateJWKSURI reports why keys cannot be at an address. An empty one is the default.
func ValidateJWKSURI(uri string) error {
	if uri == "" {
		return nil
	}
	if _, err := sessionstate.Origin(uri); err != nil {
		return fmt.Errorf("jwks_uri is %q, but must be a URL, "+
			"such as https://op.example.com/jwks: %w", uri, err)
	}
	return nil
}

// ViewOf returns the OP as the issuer that a token names has it. The token need not be verified:
// the OP itself is asked.
func (k *Keys) ViewOf(
	op *handlers.OP, issuer string, r *http.Request, next caddyhttp.Handler,
) *handlers.OP {
	if k.As == nil {
		return op
	}
	return k.As(op, issuer, r, next)
}

// of returns the keys that one document of an OP with several names; nil: that document was not
// discovered.
func (k *Keys) of(op *handlers.OP) *Keys {
	if k.URI != "" || !op.HasSeveralDocuments() {
		return k
	}
	if !op.Discovered {
		return nil
	}
	k.Mu.Lock()
	defer k.Mu.Unlock()
	return k.sets.Get(op.DocumentIssuer+" "+op.JWKSURI, func() *Keys {
		return &Keys{Discovered: k.Discovered, env: k.env}
	})
}

// Find returns the OP's keys, current and retired. A kid that is not among them has the OP asked,
// unless it was a moment ago; the request waits for that, at most two seconds.
func (k *Keys) Find(
	op *handlers.OP, r *http.Request, next caddyhttp.Handler, kid string,
) tokens.KeySet {
	if k = k.of(op); k == nil {
		return tokens.KeySet{}
	}
	keys, fresh := k.have(kid)
	if fresh {
		return keys
	}
	if has(keys, kid) {
		k.ask(op, r, next)
		return keys // old, but there
	}
	handlers.Await(r, func() (<-chan struct{}, bool) { return k.ask(op, r, next) }, func() bool {
		keys, _ = k.have(kid)
		return has(keys, kid)
	})
	if keys, _ = k.have(kid); !has(keys, kid) {
		k.recallNowAndThen(r.Context(), op)
		keys, _ = k.have(kid)
	}
	return keys
}

// FindCurrent is Find without the keys that have left the set: what was signed just now was not
// signed by them.
func (k *Keys) FindCurrent(
	op *handlers.OP, r *http.Request, next caddyhttp.Handler, kid string,
) tokens.KeySet {
	k.Find(op, r, next, kid)
	if k = k.of(op); k == nil {
		return tokens.KeySet{}
	}
	k.Mu.Lock()
	defer k.Mu.Unlock()
	return k.current
}

// Refresh has the keys asked for if that was never done, or long ago, or if none of them has that
// kid; an empty one stands for any. The request does not wait.
func (k *Keys) Refresh(op *handlers.OP, r *http.Request, next caddyhttp.Handler, kid string) {
	if k = k.of(op); k == nil {
		return
	}
	if _, fresh := k.have(kid); !fresh {
		k.ask(op, r, next)
	}
}

// have returns the keys at hand, and whether the OP need not be asked.
func (k *Keys) have(kid string) (keys tokens.KeySet, fresh bool) {
	k.Mu.Lock()
	defer k.Mu.Unlock()
	return k.all, k.known && has(k.all, kid) && k.env.Now().Sub(k.fetched) < maxAge
}

// has reports whether keys have a kid; an empty one stands for any.
func has(keys tokens.KeySet, kid string) bool {
	return keys.Len() > 0 && (kid == "" || keys.Has(kid))
}

// ask asks the OP for its keys: see [handlers.Refresher.Ask].
func (k *Keys) ask(
	op *handlers.OP, r *http.Request, next caddyhttp.Handler,
) (flight <-chan struct{}, own bool) {
	who := handlers.CallerOf(r, next)
	return k.Ask(k.env.Now, who, func() *handlers.Inquiry[keyDocument] {
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
func (k *Keys) prepare(
	op *handlers.OP, r *http.Request, next caddyhttp.Handler,
) (func() (keyDocument, error), error) {
	if k.URI != "" {
		return func() (keyDocument, error) { return fetchDirectly(k.URI) }, nil
	}
	if origin, err := sessionstate.Origin(op.JWKSURI); err != nil || origin != op.Origin {
		return nil, errors.New(
			"the jwks_uri is missing or not on the issuer's origin: configure jwks_uri")
	}
	sub, err := handlers.NewSubRequest(k.env, r, next, op.JWKSURI)
	if err != nil {
		return nil, err
	}
	return func() (d keyDocument, err error) {
		// Clients take any media type.
		d.document, err = sub.Document(func(http.Header) bool { return true })
		if err != nil {
			return d, err
		}
		if d.set, err = tokens.ParseKeySet(d.document); err != nil {
			// It may be the page of a wall.
			refused := &handlers.OPError{Err: err, Status: http.StatusOK, Refused: true}
			return d, sub.Failure(refused)
		}
		return d, nil
	}, nil
}

// direct asks configured addresses. A redirect would lead elsewhere than what was configured.
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
		return d, &handlers.OPError{Err: err}
	}
	defer response.Body.Close()
	if status := response.StatusCode; status != http.StatusOK {
		err := fmt.Errorf("it is answered with status %d", status)
		return d, &handlers.OPError{Err: err, Status: status}
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

// logFailure says that the keys are unavailable, if the log has not said so. The caller holds the
// lock.
func (k *Keys) logFailure(op *handlers.OP, err error, worse bool) {
	if worse {
		k.env.Logger.Warn("the OP's keys are unavailable: no id_token_hint can be verified, "+
			"so users are asked before they are signed out",
			handlers.FailureFields(err, zap.String("issuer", op.Issuer))...)
	}
}

// Wants reports whether a document that passes through to a client is news, as far as can be known
// before it is read.
func (k *Keys) Wants(op *handlers.OP) bool {
	k = k.of(op)
	return k != nil && k.areOld()
}

func (k *Keys) areOld() bool {
	_, fresh := k.have("")
	return k.URI == "" && !fresh
}

// Observe takes the keys from a response of the OP that passes through to a client, as if we had
// asked for them. The client does not wait for the registry.
func (k *Keys) Observe(op *handlers.OP, r *http.Request, document []byte) {
	k = k.of(op)
	if k == nil || k.URI != "" || r.URL.RawQuery != "" {
		return
	}
	old, digest := k.areOld(), sha256.Sum256(document)
	k.Mu.Lock()
	isKept := digest == k.latest
	k.Mu.Unlock()
	if isKept && !old {
		return
	}
	set, err := tokens.ParseKeySet(document) // without the lock: it may be large
	if err != nil || set.Len() == 0 {
		return
	}
	k.Mu.Lock()
	defer k.Mu.Unlock()
	k.Answered(k.env.Now().Add(Interval))
	go k.keep(op, keyDocument{document, set})()
}

// keep keeps the keys of a document, and returns what has them recorded. The caller holds the
// lock.
func (k *Keys) keep(op *handlers.OP, d keyDocument) (record func()) {
	now := k.env.Now()
	k.latest = sha256.Sum256(d.document)
	k.retired = k.current.With(k.retired)
	k.current, k.known, k.fetched = d.set, true, now
	k.all = k.current.With(k.retired)
	return func() {
		if k.Discovered != nil {
			k.Discovered(op, d.document)
		}
		k.record(op, d, now)
		k.recall(context.Background(), op)
	}
}

// recordedAs is the issuer whose keys these are recorded as: a token of one issuer is verified by
// that issuer's keys.
func (k *Keys) recordedAs(op *handlers.OP) string {
	if k.URI == "" && op.HasSeveralIssuers() {
		return op.DocumentIssuer
	}
	return op.Issuer
}

// record has the registry keep the keys of a new document, for the time after they have left the
// set. Those of an unchanged one are recorded once a day.
func (k *Keys) record(op *handlers.OP, d keyDocument, now time.Time) {
	digest := sha256.Sum256(d.document)
	k.Mu.Lock()
	done := digest == k.digest && now.Sub(k.recorded) < recordAgain
	k.Mu.Unlock()
	if done {
		return
	}
	if n := d.set.TooLarge(); n > 0 {
		k.env.Logger.Warn("RSA keys of the OP with more than 4096 bits are not used: "+
			"no token signed by them is verified",
			zap.String("issuer", op.Issuer), zap.Int("keys", n))
	}
	until := registry.At(now.Add(retiredFor))
	var keys []registry.PublicKey
	for _, key := range d.set.Keys() {
		if len(key.JWK) <= registry.MaxKey {
			keys = append(keys, registry.PublicKey{ID: key.ID, JWK: key.JWK, Until: until})
		}
	}
	err := k.env.Registry.KeepKeys(context.Background(), k.recordedAs(op), keys)
	if err != nil {
		handlers.LogUnrecorded(k.env.Logger,
			"the OP's keys are not recorded for the time after they are replaced", err)
		return
	}
	k.Mu.Lock()
	defer k.Mu.Unlock()
	k.digest, k.recorded = digest, now
}

// recallNowAndThen recalls the recorded keys unless it was done a moment ago: a flood of hints by
// keys that nobody knows must not have the registry, and the parser, at work all the time.
func (k *Keys) recallNowAndThen(ctx context.Context, op *handlers.OP) {
	k.Mu.Lock()
	now := k.env.Now()
	due := now.Sub(k.recalled) >= recallAgain
	if due {
		k.recalled = now
	}
	k.Mu.Unlock()
	if due {
		k.recall(ctx, op)
	}
}

// recall takes the keys that the registry has, which are those of the last 30 days. While it is
// unavailable, what was known stays.
func (k *Keys) recall(ctx context.Context, op *handlers.OP) {
	recorded, err := k.env.Registry.Keys(ctx, k.recordedAs(op))
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
