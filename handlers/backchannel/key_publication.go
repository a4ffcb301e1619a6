package backchannel

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// A keyPublication says how our keys go together with those of the OP, by what was observed of it.
// It never changes.
//
// An OP with one key may issue ID tokens without a kid (OpenID Connect Core 1.0, section 10.1).
// Clients take the one key that fits then, and refuse the token when several do. So keys are added
// only where every key has a kid, and ID tokens must have one too, since there are several keys,
// or were observed to.
type keyPublication struct {
	names  tokens.KeyNames // of the OP's keys; none: they were not observed
	adds   bool            // our keys can be added: that breaks nothing
	breaks bool            // they cannot: an ID token, or a key of the OP, has no kid
	// opOwned: a configured key is one of the OP's, which signs without adding anything. unsure: it
	// may be, since the OP's keys were not observed.
	opOwned, unsure bool
	missing         []string // the client whose last ID token had no kid, if it is known
	sid             bool     // ID tokens have a sid
	noSid           bool     // there are some without
}

// publicationFrom judges what was observed, and what the configuration says of it. Before all that
// was recorded is known, nothing is added. That the configuration says that ID tokens have a kid
// counts from the day of the next one on.
func (b *BackChannel) publicationFrom(known observed) *keyPublication {
	now, kid := b.env.Now(), slices.Contains(b.IDTokens, handlers.IDTokensKid)
	lacks := func(day registry.Time) bool { return day != 0 && now.Sub(day.Time()) < missingFor }
	noKid := lacks(known.NoKid) && (!kid || known.Kid <= known.NoKid)
	p := &keyPublication{names: known.names, sid: known.Sid != 0, noSid: lacks(known.NoSid)}
	if noKid && known.withoutKid != "" {
		p.missing = []string{known.withoutKid}
	}
	p.breaks = noKid || !p.names.Complete()
	p.adds = known.complete && !p.breaks && (kid || known.Kid != 0 || len(p.names) > 1)
	if b.ConfiguredKeys != nil {
		p.opOwned = b.ConfiguredKeys.AreThere(p.names)
		p.unsure = len(p.names) == 0
	}
	return p
}

// Recall has what was observed of the OP read from the registry. A request for one of the OP's
// documents waits for that: what is added to them depends on it. The OP's keys are asked for,
// which are not recorded: what tokens are signed by depends on them.
func (b *BackChannel) Recall(op *handlers.OP, r *http.Request, next caddyhttp.Handler) {
	b.facts.load(op.Issuer)
	if issuer, ok := op.DocumentFor(r.URL.Path); ok {
		of := b.Of(op, issuer)
		of.facts.refresh(r.Context(), of.name(op))
	}
	if b.OPKeys != nil && op.Discovered && b.findsKeys(op) && b.Enabled(op) {
		b.OPKeys.Refresh(op, r, next, "")
	}
}

// ObserveIDToken notes what the OP's ID tokens name. Where that is news, it is recorded before the
// client has the token: its pending notices can be signed then, also after a restart.
func (b *BackChannel) ObserveIDToken(
	ctx context.Context, op *handlers.OP, clientID string, token tokens.IDToken,
) {
	of := b.Of(op, token.Issuer)
	of.facts.observeToken(ctx, of.name(op), clientID, token)
	b.checkAlgorithm(ctx, op, clientID, token.Algorithm)
	b.checkSID(ctx, op, clientID, token.SessionID)
}

// ObserveKeys notes the OP's keys.
func (b *BackChannel) ObserveKeys(op *handlers.OP, document []byte) {
	if names, err := tokens.ParseKeyNames(document); err == nil {
		b = b.Of(op, op.DocumentIssuer)
		b.facts.observeKeys(b.name(op), names)
	}
}

// judge takes what is known of the OP.
func (b *BackChannel) judge(known observed) {
	b.publication.Store(b.publicationFrom(known))
	if op := b.lastOP(); op != nil {
		b.logBlocked(op)
	}
}

// NamesSessions reports whether the OP's ID tokens have a sid: they were observed to, or the
// configuration or the provider metadata say so, and there was none without.
func (b *BackChannel) NamesSessions(op *handlers.OP) bool {
	p := b.publication.Load()
	return !p.noSid &&
		(p.sid || op.ClaimsSID() || slices.Contains(b.IDTokens, handlers.IDTokensSid))
}

// logBlocked says once what keeps clients from being notified, and that it no longer does.
func (b *BackChannel) logBlocked(op *handlers.OP) {
	b.mu.Lock()
	defer b.mu.Unlock()
	enabled, reason := b.Enabled(op), ""
	if enabled {
		reason = b.blockedReason(op)
	}
	switch {
	case reason == b.blocked:
	case reason != "":
		b.env.Logger.Error(reason, zap.String("issuer", b.name(op)),
			zap.Strings("id_tokens_without_kid_for", b.publication.Load().missing))
	case enabled:
		b.env.Logger.Info("clients can be told of sign-outs now", zap.String("issuer", b.name(op)))
	}
	b.blocked = reason
}

// What keeps clients from being notified, and what an operator can do about it.
const (
	blockedElsewhere = "clients cannot be told of sign-outs: the OP's jwks_uri is missing or not " +
		"on the issuer's origin, so that the signing key cannot be published there"
	blockedNameless = "clients are not told of sign-outs: the OP's ID tokens name no key (kid), " +
		"or one of its keys has none, so that adding keys to them would break its sign-ins: " +
		"use the OP's own key as signing_key, or have the OP name its keys"
)

// blockedReason says why tokens cannot be verified; empty: they can, or nothing is known that
// speaks against it.
func (b *BackChannel) blockedReason(op *handlers.OP) string {
	p := b.publication.Load()
	switch {
	case !op.Discovered || p.opOwned || p.unsure && b.findsKeys(op):
		return ""
	case op.JWKSPath == "":
		return blockedElsewhere
	case p.breaks:
		return blockedNameless
	default:
		return ""
	}
}

// findsKeys reports whether the OP's keys will be observed.
func (b *BackChannel) findsKeys(op *handlers.OP) bool {
	return op.JWKSPath != "" || b.hasKeysURI()
}

// hasKeysURI reports whether the address of the OP's keys is configured.
func (b *BackChannel) hasKeysURI() bool { return b.OPKeys != nil && b.OPKeys.URI != "" }

var (
	// errFactsUnavailable says that it is unknown what was observed of the OP before a restart.
	errFactsUnavailable = errors.New("what was observed of the OP before is unavailable")
	// errKeysUnlocated says that it is unknown whether the OP's keys are where ours can join them:
	// no request has come for them yet, and none to the OP since the start.
	errKeysUnlocated = errors.New("it is not known yet where the OP's keys are")
)

// signing returns the keys as they sign beside those of the OP. certain says that what cannot be
// signed by them now cannot be later either, as things are.
func (b *BackChannel) signing(
	ctx context.Context, issuer string,
) (keys *tokens.SigningKeys, certain bool, err error) {
	keys, err = b.Keys(ctx)
	switch {
	case err != nil:
		return nil, false, err
	case !b.facts.refresh(ctx, issuer):
		return nil, false, errFactsUnavailable
	case b.areKeysUnlocated():
		return nil, false, errKeysUnlocated
	}
	p, op := b.publication.Load(), b.lastOP()
	discovered := op != nil && op.Discovered
	elsewhere := discovered && op.JWKSPath == ""
	keys, _ = keys.Beside(p.names, p.adds && !elsewhere && !p.unsure)
	b.published.record(ctx, b.env, issuer, keys.Published())
	return keys, discovered && (p.breaks || elsewhere) && !p.unsure, nil
}

// areKeysUnlocated reports whether it is unknown where the OP's keys are.
func (b *BackChannel) areKeysUnlocated() bool {
	p, op := b.publication.Load(), b.lastOP()
	return (op == nil || !op.Discovered) && !p.opOwned && (len(p.names) == 0 || b.hasKeysURI())
}
