package handlers

import (
	"context"
	"slices"

	"go.uber.org/zap"
)

// Unnotified is a client that cannot be notified of sign-outs, and why.
type Unnotified struct {
	ClientID string `json:"client_id"`
	Why      string `json:"why"`
}

// Why clients cannot be notified whose ID tokens have no sid.
const (
	whyBackChannel  = "backchannel_logout_session_required: its ID tokens have no sid"
	whyLogoutToken  = "logout_token sid: its ID tokens have no sid"
	whyFrontChannel = "frontchannel_logout_session_required: its ID tokens have no sid"
)

// channels reports whether clients are notified by back channel, and by front channel. The OP may be
// nil: no request has come to it, and they may be.
func (b *BackChannel) channels(op *OP) (back, front bool) {
	return op == nil || b.wouldTell(op), b.Framed != nil && (op == nil || b.Framed(op))
}

// lacksSID returns why a client is not notified whose ID tokens have no sid (Back-Channel Logout 1.0,
// section 2.2, and Front-Channel Logout 1.0, section 2); nothing: it is, or not for that.
func (b *BackChannel) lacksSID(op *OP, client Client) (why []string) {
	back, front := b.channels(op)
	switch {
	case !back || client.BackChannelLogoutURI == "":
	case client.BackChannelLogoutSessionRequired:
		why = append(why, whyBackChannel)
	case !client.tellable(""):
		why = append(why, whyLogoutToken)
	}
	if front && client.FrontChannelLogoutURI != "" && client.FrontChannelLogoutSessionRequired {
		why = append(why, whyFrontChannel)
	}
	return why
}

// checkSID warns, once, of a client whose ID tokens lack the sid that it has to be notified with.
func (b *BackChannel) checkSID(ctx context.Context, op *OP, clientID string) {
	key := hash16("sid " + clientID)
	back, front := b.channels(op)
	if _, warned := b.warned.get(key); warned || !back && !front {
		return
	}
	client, _ := b.Clients.Find(ctx, op.Issuer, clientID)
	why := b.lacksSID(op, client)
	if len(why) == 0 {
		return
	}
	b.warned.put(key, struct{}{})
	b.env.Logger.Warn("client cannot be notified of sign-outs", zap.String("issuer", op.Issuer),
		zap.String("client_id", clientID), zap.Strings("why", why),
		zap.String("advice", "have the OP put a sid into the ID tokens of that client, or take the setting away from it"))
}

// Unnotified lists clients of an issuer that cannot be notified, since their last ID token had no sid.
func (b *BackChannel) Unnotified(ctx context.Context, issuer string) (list []Unnotified, err error) {
	b.mu.Lock()
	issuers := append([]string{issuer}, b.parts.names...)
	b.mu.Unlock()
	for _, name := range issuers {
		observed, _, err := b.env.Registry.Observed(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, missing := range observed.SessionIDs.Missing {
			client, _, err := b.Clients.lookUp(ctx, issuer, missing.ClientID)
			if err != nil {
				return nil, err
			}
			for _, why := range b.lacksSID(b.op.Load(), client) {
				if found := (Unnotified{missing.ClientID, why}); !slices.Contains(list, found) {
					list = append(list, found)
				}
			}
		}
	}
	return list, nil
}
