package backchannel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// Notices say how the notices of a configuration are delivered: they are its [notify.Clients].
type Notices struct {
	// BackChannels returns those of an issuer's sites whose clients may have to be notified: each
	// client is notified as the first of them has it that can notify it.
	BackChannels func(issuer string) []*BackChannel
}

var _ notify.Clients = (*Notices)(nil)

// Route says where a notice goes.
func (n *Notices) Route(ctx context.Context, owed registry.PendingNotice) notify.Route {
	if !slices.ContainsFunc(n.BackChannels(owed.Issuer), func(b *BackChannel) bool {
		return b.mayDeliver(owed.Issuer)
	}) {
		return notify.Route{Again: true}
	}
	b, client, err := n.find(ctx, owed)
	switch {
	case err != nil:
		return notify.Route{Again: true}
	case b == nil:
		return notify.Route{Drop: "the client has no backchannel_logout_uri, " +
			"or has to be notified with a sid that its ID tokens did not have"}
	case b.leavesToOP(owed.Issuer):
		return notify.Route{Drop: "the OP notifies its clients itself"}
	case b.Of(b.lastOP(), cmp.Or(owed.IDToken.Issuer, owed.Issuer)).areKeysUnlocated():
		return notify.Route{Again: true} // no request has come to it since the start
	case endsMore(client, owed):
		return notify.Route{WithoutSid: true}
	}
	sender := b.Sender
	if client.RegisteredItself() {
		sender = b.Strict
	}
	return notify.Route{Target: notify.Target{
		URI: client.BackChannelLogoutURI, Sender: sender, RetryFor: b.RetryFor,
		SelfRegistered: client.RegisteredItself(),
	}}
}

// mayDeliver reports whether notices can be delivered or dropped now, as far as is known of the OP.
// Where tokens cannot be verified, which may change, they wait.
func (b *BackChannel) mayDeliver(issuer string) bool {
	op := b.op.Load()
	return op == nil || op.Issuer != issuer || !b.Enabled(op) || b.blockedReason(op) == ""
}

// find returns the site that notifies the client of a notice, and the client as that site has it;
// nil: none does.
func (n *Notices) find(
	ctx context.Context, owed registry.PendingNotice,
) (*BackChannel, clients.Client, error) {
	for _, b := range n.BackChannels(owed.Issuer) {
		if !b.isOn() {
			continue // nobody is notified, not even clients that have registered themselves
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

// leavesToOP reports whether the OP notifies its clients itself.
func (b *BackChannel) leavesToOP(issuer string) bool {
	op := b.op.Load()
	return op != nil && op.Issuer == issuer && op.BackChannelLogout
}

// endsMore reports whether the logout token ends more than the notice is for, since it is sent
// without the sid: what nobody asked to end has to stay live.
func endsMore(client clients.Client, owed registry.PendingNotice) bool {
	_, sid := client.Names(owed.Sub, owed.Sid)
	return sid != owed.Sid &&
		(owed.Reason == registry.ReasonExpiry || owed.Reason == registry.ReasonUserSwitch)
}

// Token signs a logout token for a notice, by the algorithm that the client's ID tokens are signed
// by (Back-Channel Logout 1.0, section 2.6).
func (n *Notices) Token(ctx context.Context, owed registry.PendingNotice) (string, error) {
	b, client, err := n.find(ctx, owed)
	if err != nil {
		return "", err
	}
	if b == nil {
		return "", errors.New("the client cannot be notified by back channel")
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
		Issuer: issuer, ClientID: owed.ClientID, Subject: sub, SessionID: sid,
		IssuedAt: b.env.Now(),
	}, cmp.Or(client.IDTokenSignedResponseAlg, owed.IDToken.Algorithm))
	if errors.Is(err, tokens.ErrNoSigningKey) || certain && errors.Is(err, tokens.ErrWithheld) {
		err = fmt.Errorf("%w: %w", notify.ErrCannotSign, err)
	}
	return token, err
}
