package backchannel

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// An keyPublication says how our keys go together with those of the OP, by what was seen of it. It
// never changes.
//
// An OP with one key may issue ID tokens without a kid (OpenID Connect Core 1.0, section 10.1).
// Clients take the one key that fits then, and refuse the token when several do. So keys are added
// only where every key has a kid, and ID tokens must have one too, since there are several keys,
// or were seen to.
type keyPublication struct {
	names  tokens.KeyNames // of the OP's keys; none: they were not seen
	adds   bool            // our keys can be added: that breaks nothing
	breaks bool            // they cannot: an ID token, or a key of the OP, has no kid
	// a configured key is one of the OP's, which tokens can be signed by without adding anything
	opOwned bool
	unsure  bool     // whether one is cannot be told before the OP's keys were seen
	missing []string // the client whose ID token had no kid last, if it is known
	sid     bool     // ID tokens have a sid
	noSid   bool     // there are some without
}

// newKeyPublication judges what was seen. Before all that was recorded is known, nothing is added.
// given are the configured keys; nil: they are generated, and none is the OP's. kid: the
// configuration says that ID tokens have one, which is so from the day of the next one on.
func newKeyPublication(known seen, given *tokens.SigningKeys, kid bool, now time.Time) *keyPublication {
	lacks := func(day registry.Time) bool { return day != 0 && now.Sub(day.Time()) < missingFor }
	noKid := lacks(known.NoKid) && (!kid || known.Kid <= known.NoKid)
	view := &keyPublication{names: known.names, sid: known.Sid != 0, noSid: lacks(known.NoSid)}
	if noKid && known.withoutKid != "" {
		view.missing = []string{known.withoutKid}
	}
	view.breaks = noKid || !view.names.Complete()
	view.adds = known.complete && !view.breaks && (kid || known.Kid != 0 || len(view.names) > 1)
	view.opOwned = given != nil && given.AreThere(view.names)
	view.unsure = given != nil && len(view.names) == 0
	return view
}

// Recall has what was seen of the OP read from the registry. A request for one of the OP's
// documents waits for that: what is added to them depends on it. The OP's keys are asked for,
// which are not recorded: what tokens are signed by depends on them.
func (b *BackChannel) Recall(op *handlers.OP, r *http.Request, next caddyhttp.Handler) {
	b.seen.load(op.Issuer)
	if issuer, ok := op.DocumentFor(r.URL.Path); ok {
		of := b.Of(op, issuer)
		of.seen.refresh(r.Context(), of.name(op))
	}
	if b.OPKeys != nil && op.Discovered && b.seesKeys(op) && b.Enabled(op) {
		b.OPKeys.Refresh(op, r, next, "")
	}
}

// ObserveIDToken notes what the OP's ID tokens name. Where that is news, it is recorded before the
// client has the token: what is owed to that client can be signed then, also after a restart.
func (b *BackChannel) ObserveIDToken(ctx context.Context, op *handlers.OP, clientID string, token tokens.IDToken) {
	of := b.Of(op, token.Issuer)
	of.seen.sawToken(ctx, of.name(op), clientID, token)
	b.checkAlgorithm(ctx, op, clientID, token.Algorithm)
	b.noteSID(clientID, token.SessionID != "")
	if token.SessionID == "" {
		b.checkSID(ctx, op, clientID)
	}
}

// checkAlgorithm warns, once, of a client whose logout tokens would have to be signed as no
// signing key can.
func (b *BackChannel) checkAlgorithm(ctx context.Context, op *handlers.OP, clientID, algorithm string) {
	if algorithm == "" || !b.Enabled(op) || slices.Contains(b.Algorithms(), algorithm) {
		return
	}
	if !b.warned.First(handlers.Hash(algorithm + " " + clientID)) {
		return
	}
	client, _ := b.Clients.Find(ctx, op.Issuer, clientID)
	if client.BackChannelLogoutURI == "" || client.IDTokenSignedResponseAlg != "" {
		return
	}
	b.env.Logger.Warn("client cannot be notified of sign-outs: no signing key fits the algorithm of its ID tokens",
		zap.String("issuer", op.Issuer), zap.String("client_id", clientID), zap.String("algorithm", algorithm),
		zap.Strings("algorithms", b.Algorithms()),
		zap.String("advice", "configure a signing_key for that algorithm, or the client's id_token_signed_response_alg"))
}

// Algorithms are those that there are signing keys for.
func (b *BackChannel) Algorithms() []string {
	if b.Given != nil {
		return b.Given.Algorithms()
	}
	return tokens.GeneratedAlgorithms()
}

// ObserveKeys notes the OP's keys.
func (b *BackChannel) ObserveKeys(op *handlers.OP, document []byte) {
	if names, err := tokens.ParseKeyNames(document); err == nil {
		b = b.Of(op, op.DocumentIssuer)
		b.seen.sawKeys(b.name(op), names)
	}
}

// judge takes what is known of the OP.
func (b *BackChannel) judge(known seen) {
	b.view.Store(b.outlook(known))
	if op := b.lastOP(); op != nil {
		b.logBlocked(op)
	}
}

// outlook judges what was seen, and what the configuration says of it.
func (b *BackChannel) outlook(known seen) *keyPublication {
	return newKeyPublication(known, b.Given, slices.Contains(b.IDTokens, handlers.IDTokensKid), b.env.Now())
}

// NamesSessions reports whether the OP's ID tokens have a sid: they were seen to, or are said to
// by the configuration or the OP's own document, and there was none without.
func (b *BackChannel) NamesSessions(op *handlers.OP) bool {
	view := b.view.Load()
	return !view.noSid && (view.sid || op.ClaimsSID || slices.Contains(b.IDTokens, handlers.IDTokensSid))
}

// logBlocked says what keeps clients from being told, once.
func (b *BackChannel) logBlocked(op *handlers.OP) {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := ""
	if b.Enabled(op) {
		found = b.BlockedReason(op)
	}
	switch {
	case found == b.obstacle:
	case found != "":
		b.env.Logger.Error(found, zap.String("issuer", b.name(op)), zap.Strings("id_tokens_without_kid_for", b.view.Load().missing))
	case b.Enabled(op):
		b.env.Logger.Info("clients can be told of sign-outs now", zap.String("issuer", b.name(op)))
	}
	b.obstacle = found
}

// What keeps clients from being told, and what an operator can do about it.
const (
	blockedElsewhere = "clients cannot be told of sign-outs: the OP's jwks_uri is missing or not on the issuer's origin, so that the signing key cannot be published there"
	blockedNameless  = "clients are not told of sign-outs: the OP's ID tokens name no key (kid), or one of its keys has none, so that adding keys to them would break " +
		"its sign-ins: use the OP's own key as signing_key, or have the OP name its keys"
)

// BlockedReason says why tokens cannot be verified; empty: they can, or nothing is known that
// speaks against it.
func (b *BackChannel) BlockedReason(op *handlers.OP) string {
	view := b.view.Load()
	switch {
	case !op.Discovered || view.opOwned || view.unsure && b.seesKeys(op):
		return ""
	case op.JWKSPath == "":
		return blockedElsewhere
	case view.breaks:
		return blockedNameless
	default:
		return ""
	}
}

// seesKeys reports whether the OP's keys will be seen.
func (b *BackChannel) seesKeys(op *handlers.OP) bool {
	return op.JWKSPath != "" || b.OPKeys != nil && b.OPKeys.URI != ""
}

var (
	// errUnknownPast says that it is not known what was seen of the OP before a restart.
	errUnknownPast = errors.New("what was seen of the OP before cannot be had from the registry")
	// errUnknownPlace says that it is not known whether the OP's keys are where ours can join
	// them: no request has come for them yet, and none to the OP since the start.
	errUnknownPlace = errors.New("it is not known yet where the OP's keys are")
)

// signing returns the keys as they sign beside those of the OP. certain says that what cannot be
// signed by them now cannot be later either, as things are.
func (b *BackChannel) signing(ctx context.Context, issuer string) (keys *tokens.SigningKeys, certain bool, err error) {
	keys, err = b.Keys(ctx)
	if err != nil {
		return nil, false, err
	}
	if !b.seen.refresh(ctx, issuer) {
		return nil, false, errUnknownPast
	}
	if b.isPlaceUnknown() {
		return nil, false, errUnknownPlace
	}
	view, op := b.view.Load(), b.lastOP()
	learnt := op != nil && op.Discovered
	elsewhere := learnt && op.JWKSPath == ""
	keys, _ = keys.Beside(view.names, view.adds && !elsewhere && !view.unsure)
	b.published.record(ctx, b.env, issuer, keys.Published())
	return keys, learnt && (view.breaks || elsewhere) && !view.unsure, nil
}

// isPlaceUnknown reports whether it is not known where the OP's keys are.
func (b *BackChannel) isPlaceUnknown() bool {
	view, op := b.view.Load(), b.lastOP()
	asksElsewhere := b.OPKeys != nil && b.OPKeys.URI != ""
	return (op == nil || !op.Discovered) && !view.opOwned && (len(view.names) == 0 || asksElsewhere)
}
