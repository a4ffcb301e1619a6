package backchannel

import (
	"context"
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// MaxUnnotified is how many clients the log names that cannot be notified.
const MaxUnnotified = 20

// Unnotified is a client that cannot be notified of sign-outs, and why.
type Unnotified struct {
	ClientID string `json:"client_id"`
	Why      string `json:"why"`
}

// Unnotified lists clients of an issuer that cannot be notified because their last ID token had no
// sid, as far as it was observed since the start. It fails while the registry is unavailable.
func (b *BackChannel) Unnotified(
	ctx context.Context, issuer string,
) (list []Unnotified, err error) {
	b.mu.Lock()
	ids := slices.Sorted(maps.Keys(b.withoutSID))
	b.mu.Unlock()
	for _, id := range ids {
		client, _, err := b.Clients.LookUp(ctx, issuer, id)
		if err != nil {
			return nil, err
		}
		for _, why := range b.lacksSID(b.op.Load(), client) {
			list = append(list, Unnotified{id, why})
		}
	}
	return list, nil
}

// lacksSID returns why a client is not notified if its ID tokens have no sid (Back-Channel Logout
// 1.0, section 2.2, and Front-Channel Logout 1.0, section 2); none: it is, or not for that reason.
// While no request has come to the OP (nil), each channel may be on.
func (b *BackChannel) lacksSID(op *handlers.OP, client clients.Client) (why []string) {
	const noSID = ": its ID tokens have no sid"
	back := op == nil || b.Enabled(op)
	front := b.Framed != nil && (op == nil || b.Framed(op))
	switch {
	case !back || client.BackChannelLogoutURI == "":
	case client.BackChannelLogoutSessionRequired:
		why = append(why, "backchannel_logout_session_required"+noSID)
	case !client.Notifiable(""):
		why = append(why, "logout_token sid"+noSID)
	}
	if front && client.FrontChannelLogoutURI != "" && client.FrontChannelLogoutSessionRequired {
		why = append(why, "frontchannel_logout_session_required"+noSID)
	}
	return why
}

// checkSID notes whether the last ID token of a client had a sid, and warns, once, if it had none
// and the client has to be notified with one.
func (b *BackChannel) checkSID(ctx context.Context, op *handlers.OP, clientID, sid string) {
	b.mu.Lock()
	switch {
	case sid != "":
		delete(b.withoutSID, clientID)
	case b.withoutSID == nil:
		b.withoutSID = map[string]struct{}{clientID: {}}
	case len(b.withoutSID) < handlers.MaxLately:
		b.withoutSID[clientID] = struct{}{}
	}
	b.mu.Unlock()
	key := handlers.Hash("sid " + clientID)
	if _, warned := b.warned.Get(key); warned || sid != "" ||
		!b.Enabled(op) && (b.Framed == nil || !b.Framed(op)) {
		return
	}
	client, _ := b.Clients.Find(ctx, op.Issuer, clientID)
	if why := b.lacksSID(op, client); len(why) > 0 && b.warned.First(key) {
		b.env.Logger.Warn("client cannot be notified of sign-outs",
			zap.String("issuer", op.Issuer), zap.String("client_id", clientID),
			zap.Strings("why", why), zap.String("advice", "have the OP put a sid into the ID "+
				"tokens of that client, or take the setting away from it"))
	}
}

// checkAlgorithm warns, once, of a client whose logout tokens would have to be signed as no
// signing key can.
func (b *BackChannel) checkAlgorithm(
	ctx context.Context, op *handlers.OP, clientID, algorithm string,
) {
	if algorithm == "" || !b.Enabled(op) || slices.Contains(b.Algorithms(), algorithm) ||
		!b.warned.First(handlers.Hash(algorithm+" "+clientID)) {
		return
	}
	client, _ := b.Clients.Find(ctx, op.Issuer, clientID)
	if client.BackChannelLogoutURI == "" || client.IDTokenSignedResponseAlg != "" {
		return
	}
	b.env.Logger.Warn("client cannot be notified of sign-outs: "+
		"no signing key fits the algorithm of its ID tokens",
		zap.String("issuer", op.Issuer), zap.String("client_id", clientID),
		zap.String("algorithm", algorithm), zap.Strings("algorithms", b.Algorithms()),
		zap.String("advice", "configure a signing_key for that algorithm, "+
			"or the client's id_token_signed_response_alg"))
}

// Algorithms are those that there are signing keys for.
func (b *BackChannel) Algorithms() []string {
	if b.ConfiguredKeys != nil {
		return b.ConfiguredKeys.Algorithms()
	}
	return tokens.GeneratedAlgorithms()
}

// LogUnnotified names the clients of a session that has ended which no notice reaches, since no ID
// token of theirs was observed.
func LogUnnotified(logger *zap.Logger, session *registry.Session) {
	var ids []string
	for _, client := range session.Clients {
		if len(client.Subjects) == 0 {
			ids = append(ids, client.ID)
		}
	}
	if len(ids) == 0 {
		return
	}
	logger.Info("clients cannot be notified by back channel of the end of a session",
		zap.String("issuer", session.Issuer), zap.Stringer("session", session.ID),
		zap.Strings("client_ids", ids[:min(len(ids), MaxUnnotified)]),
		zap.Int("clients", len(ids)), zap.String("why", "no ID token of theirs was observed"),
		zap.String("advice",
			"have apps redeem their codes at the OP's token endpoint through this server"))
}
