package handlers

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// An outlook says how our keys go together with those of the OP, by what was seen of it. It never changes.
//
// An OP with one key may issue ID tokens without a kid (OpenID Connect Core 1.0, section 10.1). Clients take the one key that fits then, and
// refuse the token when several do. So keys are added only where every key has a kid, and ID tokens must have one too, since there are
// several keys, or were seen to.
type outlook struct {
	names   tokens.KeyNames // of the OP's keys; none: they were not seen
	adds    bool            // our keys can be added: that breaks nothing
	breaks  bool            // they cannot: an ID token, or a key of the OP, has no kid
	there   bool            // a configured key is one of the OP's, which tokens can be signed by without adding anything
	unsure  bool            // whether one is cannot be told before the OP's keys were seen
	missing []string        // clients whose last ID token had no kid
}

// newOutlook judges what was seen. Before all that was recorded is known, nothing is added. given are the configured keys; nil: they are
// generated, and none is the OP's.
func newOutlook(known registry.Observed, complete bool, given *tokens.SigningKeys) *outlook {
	view := new(outlook)
	for _, key := range known.Keys {
		view.names = append(view.names, tokens.KeyName{ID: key.KeyID, Thumbprint: key.Thumbprint, Algorithm: key.Algorithm})
	}
	for _, missing := range known.KeyIDs.Missing {
		view.missing = append(view.missing, missing.ClientID)
	}
	view.breaks = len(view.missing) > 0 || !view.names.Complete()
	view.adds = complete && !view.breaks && (known.KeyIDs.Seen || len(view.names) > 1)
	view.there = given != nil && given.AreThere(view.names)
	view.unsure = given != nil && len(view.names) == 0
	return view
}

// Recall has what was seen of the OP read from the registry. A request for one of the OP's documents waits for that: what is added to them
// depends on it. And a key that was configured may be the OP's own: for that, the OP's keys are asked for.
func (b *BackChannel) Recall(op *OP, r *http.Request, next caddyhttp.Handler) {
	b.seen.load(op.Issuer)
	if issuer, ok := op.documentFor(r.URL.Path); ok {
		of := b.of(op, issuer)
		of.seen.await(r.Context(), of.name(op))
		of.seen.lookAgain(r.Context(), of.name(op))
	}
	if b.Given != nil && b.OPKeys != nil && op.learnt && b.seesKeys(op) && b.wouldTell(op) {
		b.OPKeys.Refresh(op, r, next, "")
	}
}

// SawIDToken notes what the OP's ID tokens name. Where that is news, it is recorded before the client has the token: what is owed to that
// client can be signed then, also after a restart.
func (b *BackChannel) SawIDToken(ctx context.Context, op *OP, clientID string, token tokens.IDToken) {
	of := b.of(op, token.Issuer)
	waitFor(ctx, of.seen.load(of.name(op)), observationsLoginWait)
	of.seen.sawToken(ctx, of.name(op), clientID, token)
	b.checkAlgorithm(ctx, op, clientID, token.Algorithm)
	if token.SessionID == "" {
		b.checkSID(ctx, op, clientID)
	}
}

// checkAlgorithm warns, once, of a client whose logout tokens would have to be signed as no signing key can.
func (b *BackChannel) checkAlgorithm(ctx context.Context, op *OP, clientID, algorithm string) {
	if algorithm == "" || !b.wouldTell(op) || slices.Contains(b.algorithms(), algorithm) {
		return
	}
	key := hash16(algorithm + " " + clientID)
	if _, warned := b.warned.get(key); warned {
		return
	}
	b.warned.put(key, struct{}{})
	client, _ := b.Clients.Find(ctx, op.Issuer, clientID)
	if client.BackChannelLogoutURI == "" || client.IDTokenSignedResponseAlg != "" {
		return
	}
	b.env.Logger.Warn("client cannot be notified of sign-outs: no signing key fits the algorithm of its ID tokens",
		zap.String("issuer", op.Issuer), zap.String("client_id", clientID), zap.String("algorithm", algorithm),
		zap.Strings("algorithms", b.algorithms()),
		zap.String("advice", "configure a signing_key for that algorithm, or the client's id_token_signed_response_alg"))
}

// algorithms are those that there are signing keys for.
func (b *BackChannel) algorithms() []string {
	if b.Given != nil {
		return b.Given.Algorithms()
	}
	return tokens.GeneratedAlgorithms()
}

// SawKeys notes the OP's keys.
func (b *BackChannel) SawKeys(op *OP, document []byte) {
	if names, err := tokens.ParseKeyNames(document); err == nil {
		b = b.of(op, op.issuer)
		b.seen.sawKeys(context.Background(), b.name(op), names)
	}
}

// judge takes what is known of the OP.
func (b *BackChannel) judge(known registry.Observed, complete bool) {
	b.view.Store(b.outlook(known, complete))
	b.sids.Store(&known.SessionIDs)
	if op := b.lastOP(); op != nil {
		b.complain(op)
	}
}

// outlook judges what was seen, and what the configuration says of it.
func (b *BackChannel) outlook(known registry.Observed, complete bool) *outlook {
	known.KeyIDs.Seen = known.KeyIDs.Seen || slices.Contains(b.IDTokens, IDTokensKid)
	return newOutlook(known, complete, b.Given)
}

// namesSessions reports whether the OP's ID tokens have a sid: they were seen to, or are said to by the configuration or the OP's own
// document, and no client's last one had none.
func (b *BackChannel) namesSessions(op *OP) bool {
	seen := b.sids.Load()
	return len(seen.Missing) == 0 && (seen.Seen || op.claimsSID || slices.Contains(b.IDTokens, IDTokensSid))
}

// complain says what keeps clients from being told, once.
func (b *BackChannel) complain(op *OP) {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := ""
	if b.wouldTell(op) {
		found = b.hindrance(op)
	}
	switch {
	case found == b.obstacle:
	case found != "":
		b.env.Logger.Error(found, zap.String("issuer", b.name(op)), zap.Strings("id_tokens_without_kid_for", b.view.Load().missing))
	case b.wouldTell(op):
		b.env.Logger.Info("clients can be told of sign-outs now", zap.String("issuer", b.name(op)))
	}
	b.obstacle = found
}

// What keeps clients from being told, and what an operator can do about it.
const (
	hindranceElsewhere = "clients cannot be told of sign-outs: the OP's jwks_uri is missing or not on the issuer's origin, so that the signing key cannot be published there"
	hindranceNameless  = "clients are not told of sign-outs: the OP's ID tokens name no key (kid), or one of its keys has none, so that adding keys to them would break " +
		"its sign-ins: use the OP's own key as signing_key, or have the OP name its keys"
)

// hindrance says why tokens cannot be verified; empty: they can, or nothing is known that speaks against it.
func (b *BackChannel) hindrance(op *OP) string {
	view := b.view.Load()
	switch {
	case !op.learnt || view.there || view.unsure && b.seesKeys(op):
		return ""
	case op.JWKSPath == "":
		return hindranceElsewhere
	case view.breaks:
		return hindranceNameless
	default:
		return ""
	}
}

// seesKeys reports whether the OP's keys will be seen.
func (b *BackChannel) seesKeys(op *OP) bool {
	return op.JWKSPath != "" || b.OPKeys != nil && b.OPKeys.URI != ""
}

var (
	// errUnknownPast says that it is not known what was seen of the OP before a restart.
	errUnknownPast = errors.New("what was seen of the OP before cannot be had from the registry")
	// errUnknownPlace says that it is not known whether the OP's keys are where ours can join them: no request has come for them yet,
	// and none to the OP since the start.
	errUnknownPlace = errors.New("it is not known yet where the OP's keys are")
)

// signing returns the keys as they sign beside those of the OP. certain says that what cannot be signed by them now cannot be later either,
// as things are.
func (b *BackChannel) signing(ctx context.Context, issuer string) (keys *tokens.SigningKeys, certain bool, err error) {
	keys, err = b.Keys(ctx)
	if err != nil {
		return nil, false, err
	}
	if !b.seen.await(ctx, issuer) {
		return nil, false, errUnknownPast
	}
	b.seen.lookAgain(ctx, issuer)
	view, op := b.view.Load(), b.lastOP()
	learnt := op != nil && op.learnt
	if asksElsewhere := b.OPKeys != nil && b.OPKeys.URI != ""; !learnt && !view.there && (len(view.names) == 0 || asksElsewhere) {
		return nil, false, errUnknownPlace
	}
	elsewhere := learnt && op.JWKSPath == ""
	keys, _ = keys.Beside(view.names, view.adds && !elsewhere && !view.unsure)
	b.published.record(ctx, b.env, issuer, keys.Published())
	return keys, learnt && (view.breaks || elsewhere) && !view.unsure, nil
}
