package backchannel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// Notices say how the notices of a configuration are delivered: they are its [notify.Clients].
type Notices struct {
	// BackChannels returns those of an issuer's sites whose clients may have to be notified: each
	// client is notified as the first of them has it that knows how.
	BackChannels func(issuer string) []*BackChannel
}

// errNotTold says that the client of a notice cannot be told any more.
var errNotTold = errors.New("the client cannot be told by back channel")

// route returns how a client is notified of the end of a session; nil: it cannot be.
func route(ctx context.Context, sites []*BackChannel, owed registry.PendingNotice) (*BackChannel, clients.Client, error) {
	for _, b := range sites {
		if !b.Configured && !b.Clients.HasNotifiable() {
			continue // nobody is told from this site, those neither who have registered themselves
		}
		client, known, err := b.Clients.LookUp(ctx, owed.Issuer, owed.ClientID)
		if err != nil {
			return nil, clients.Client{}, err
		}
		if known && client.Notifiable(owed.Sid) {
			return b, client, nil
		}
	}
	return nil, clients.Client{}, nil
}

// mayDeliver reports whether notices can be delivered or dropped now, for all that is known of the
// OP. Where tokens cannot be verified, which may pass, they wait.
func (b *BackChannel) mayDeliver(issuer string) bool {
	op := b.op.Load()
	return op == nil || op.Issuer != issuer || !b.Enabled(op) || b.BlockedReason(op) == ""
}

// leavesToOP reports whether the OP tells its clients itself.
func (b *BackChannel) leavesToOP(issuer string) bool {
	op := b.op.Load()
	return op != nil && op.Issuer == issuer && op.BackChannelLogout
}

// Route says where a notice goes.
func (n *Notices) Route(ctx context.Context, owed registry.PendingNotice) notify.Route {
	sites := n.BackChannels(owed.Issuer)
	if !slices.ContainsFunc(sites, func(b *BackChannel) bool { return b.mayDeliver(owed.Issuer) }) {
		return notify.Route{Again: true}
	}
	b, client, err := route(ctx, sites, owed)
	switch {
	case err != nil:
		return notify.Route{Again: true}
	case b == nil:
		return notify.Route{Drop: "the client has no backchannel_logout_uri, or has to be told a sid that its ID tokens did not have"}
	case b.leavesToOP(owed.Issuer):
		return notify.Route{Drop: "the OP tells its clients itself"}
	case b.Of(b.lastOP(), cmp.Or(owed.IDToken.Issuer, owed.Issuer)).isPlaceUnknown():
		return notify.Route{Again: true} // no request has come to it since the start
	case endsMore(client, owed):
		return notify.Route{WithoutSid: true}
	}
	sender := b.Sender
	if client.Registered {
		sender = b.Strict
	}
	return notify.Route{Target: notify.Target{
		URI: client.BackChannelLogoutURI, Sender: sender, RetryFor: b.RetryFor, SelfRegistered: client.Registered,
	}}
}

// endsMore reports whether the logout token ends more than the notice is for, since it is sent
// without the sid: what nobody asked to end has to go on.
func endsMore(client clients.Client, owed registry.PendingNotice) bool {
	_, sid := client.Names(owed.Sub, owed.Sid)
	return sid != owed.Sid && (owed.Reason == registry.ReasonExpiry || owed.Reason == registry.ReasonUserSwitch)
}

// Token signs a logout token for a notice, by the algorithm that the client's ID tokens are signed
// by (Back-Channel Logout 1.0, section 2.6).
func (n *Notices) Token(ctx context.Context, owed registry.PendingNotice) (string, error) {
	b, client, err := route(ctx, n.BackChannels(owed.Issuer), owed)
	if err != nil {
		return "", err
	}
	if b == nil {
		return "", errNotTold
	}
	issuer := cmp.Or(owed.IDToken.Issuer, owed.Issuer)
	if strings.HasSuffix(strings.TrimSuffix(issuer, "/"), "/*") {
		return "", fmt.Errorf("%w: the issuer of its ID tokens is not known", notify.ErrCannotSign)
	}
	if b = b.Of(b.lastOP(), issuer); issuer != owed.Issuer {
		b = b.part(issuer)
	}
	keys, certain, err := b.signing(ctx, cmp.Or(b.issuer, owed.Issuer))
	if err != nil {
		return "", err
	}
	sub, sid := client.Names(owed.Sub, owed.Sid)
	token, err := keys.Sign(tokens.LogoutToken{
		Issuer: issuer, ClientID: owed.ClientID, Subject: sub, SessionID: sid, IssuedAt: b.env.Now(),
	}, cmp.Or(client.IDTokenSignedResponseAlg, owed.IDToken.Algorithm))
	if errors.Is(err, tokens.ErrNoSigningKey) || certain && errors.Is(err, tokens.ErrWithheld) {
		err = fmt.Errorf("%w: %w", notify.ErrCannotSign, err)
	}
	return token, err
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
	if len(ids) > 0 {
		logger.Info("clients cannot be notified by back channel of the end of a session", zap.String("issuer", session.Issuer),
			zap.Stringer("session", session.ID), zap.Strings("client_ids", ids[:min(len(ids), MaxUnnotified)]), zap.Int("clients", len(ids)),
			zap.String("why", "no ID token of theirs was observed"),
			zap.String("advice", "have apps redeem their codes at the OP's token endpoint through this server"))
	}
}

// Interface guard
var _ notify.Clients = (*Notices)(nil)

// MaxUnnotified is how many clients the log names that cannot be notified.
const MaxUnnotified = 20
