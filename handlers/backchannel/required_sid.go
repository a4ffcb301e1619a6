package backchannel

import (
	"context"
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
)

// Unnotified is a client that cannot be notified of sign-outs, and why.
type Unnotified struct {
	ClientID string `json:"client_id"`
	Why      string `json:"why"`
}

// channels reports whether clients are notified by back channel, and by front channel. The OP may
// be nil: no request has come to it, and they may be.
func (b *BackChannel) channels(op *handlers.OP) (back, front bool) {
	return op == nil || b.Enabled(op), b.Framed != nil && (op == nil || b.Framed(op))
}

// lacksSID returns why a client is not notified if its ID tokens have no sid (Back-Channel Logout
// 1.0, section 2.2, and Front-Channel Logout 1.0, section 2); none: it is, or not for that reason.
func (b *BackChannel) lacksSID(op *handlers.OP, client clients.Client) (why []string) {
	const noSID = ": its ID tokens have no sid"
	back, front := b.channels(op)
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

// checkSID warns, once, of a client that has to be notified with a sid and got an ID token
// without.
func (b *BackChannel) checkSID(ctx context.Context, op *handlers.OP, clientID string) {
	key := handlers.Hash("sid " + clientID)
	back, front := b.channels(op)
	if _, warned := b.warned.Get(key); warned || !back && !front {
		return
	}
	client, _ := b.Clients.Find(ctx, op.Issuer, clientID)
	why := b.lacksSID(op, client)
	if len(why) == 0 {
		return
	}
	b.warned.Put(key, struct{}{})
	b.env.Logger.Warn("client cannot be notified of sign-outs", zap.String("issuer", op.Issuer),
		zap.String("client_id", clientID), zap.Strings("why", why),
		zap.String("advice", "have the OP put a sid into the ID tokens of that client, or take the setting away from it"))
}

// noteSID notes whether the last ID token of a client had a sid.
func (b *BackChannel) noteSID(clientID string, has bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case has:
		delete(b.withoutSID, clientID)
	case len(b.withoutSID) < handlers.MaxLately:
		if b.withoutSID == nil {
			b.withoutSID = make(map[string]struct{})
		}
		b.withoutSID[clientID] = struct{}{}
	}
}

// Unnotified lists clients of an issuer that cannot be notified because their last ID token had no
// sid, as far as it was seen since the start.
func (b *BackChannel) Unnotified(ctx context.Context, issuer string) (list []Unnotified, err error) {
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
