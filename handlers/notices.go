package handlers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// Notices are the notices of one issuer: what is owed is in the registry, and how each client is told in the configuration.
// It is the notify.Site of that issuer.
type Notices struct {
	Issuer      string
	BackChannel *BackChannel
}

// Due lists notices that are due. Those of clients that cannot be told are dropped: who they are was logged when the session ended.
func (n *Notices) Due(ctx context.Context, now time.Time, limit int) ([]notify.Notice, error) {
	if err := n.BackChannel.Clients.Load(ctx, n.Issuer); err != nil {
		return nil, err
	}
	for range maxDrops {
		due, dropped, err := n.sift(ctx, now, limit+dropsAtOnce)
		if err != nil || dropped == 0 {
			return due[:min(len(due), limit)], err
		}
	}
	return nil, nil // the rest is looked at next time
}

const (
	// dropsAtOnce is how many notices are dropped in one transaction, beside those that can be delivered.
	dropsAtOnce = 500
	// maxDrops is how many of these transactions are made until others get their turn.
	maxDrops = 50
)

// sift looks at the notices that are due the longest: it lists those that can be delivered and drops the others.
func (n *Notices) sift(ctx context.Context, now time.Time, limit int) (due []notify.Notice, drops int, err error) {
	recorded, err := n.BackChannel.env.Registry.DueNotices(ctx, n.Issuer, now, limit)
	if err != nil {
		return nil, 0, err
	}
	var dropped []registry.Outcome
	for _, notice := range recorded {
		if !n.canTell(notice.ClientID, notice.Sid) {
			dropped = append(dropped, registry.Outcome{ID: notice.ID, Delivered: true})
			continue
		}
		due = append(due, n.notice(notice))
	}
	if len(dropped) > 0 {
		settling := registry.Settling{Issuer: n.Issuer, Outcomes: dropped, Now: now}
		err = n.BackChannel.env.Registry.SettleNotices(ctx, settling)
	}
	return due, len(dropped), err
}

func (n *Notices) notice(recorded registry.Notice) notify.Notice {
	return notify.Notice{
		ID: notify.ID(recorded.ID), Issuer: n.Issuer, ClientID: recorded.ClientID, Subject: recorded.Sub, SessionID: recorded.Sid, Reason: string(recorded.Reason),
		Created: recorded.Created, Due: recorded.Due, Attempts: recorded.Attempts,
	}
}

// canTell tells whether a client can be told by back channel.
func (n *Notices) canTell(clientID, sid string) bool {
	if op := n.BackChannel.op.Load(); op != nil && op.Issuer == n.Issuer && !n.BackChannel.Tells(op) {
		return false
	}
	client, known := n.BackChannel.Clients.Find(clientID)
	return known && client.tellable(sid)
}

// Settle records what became of tries.
func (n *Notices) Settle(ctx context.Context, settlements []notify.Settlement) error {
	settling := registry.Settling{Issuer: n.Issuer, Now: n.BackChannel.env.Now()}
	for _, s := range settlements {
		settling.Outcomes = append(settling.Outcomes, registry.Outcome{
			ID: registry.NoticeID(s.ID), Delivered: s.Delivered, Dead: s.Dead,
			Due: s.Due, Attempts: s.Attempts, Why: s.Why,
		})
	}
	return n.BackChannel.env.Registry.SettleNotices(ctx, settling)
}

// Target returns where a notice goes.
func (n *Notices) Target(notice notify.Notice) (notify.Target, bool) {
	client, known := n.BackChannel.Clients.Find(notice.ClientID)
	if !known || !client.tellable(notice.SessionID) {
		return notify.Target{}, false
	}
	sender := n.BackChannel.Sender
	if n.BackChannel.Clients.isRegistered(notice.ClientID) {
		sender = n.BackChannel.Strict
	}
	return notify.Target{URI: client.BackChannelLogoutURI, Sender: sender, RetryFor: n.BackChannel.RetryFor}, true
}

// Token signs a logout token for a notice, by the algorithm that the client's ID tokens are signed by (Back-Channel Logout 1.0,
// section 2.6).
func (n *Notices) Token(ctx context.Context, notice notify.Notice) (string, error) {
	keys, certain, err := n.BackChannel.signing(ctx, n.Issuer)
	if err != nil {
		return "", err
	}
	client, _ := n.BackChannel.Clients.Find(notice.ClientID)
	token, err := keys.Sign(tokens.LogoutToken{
		Issuer: n.Issuer, ClientID: notice.ClientID, Subject: notice.Subject, SessionID: notice.SessionID,
		IssuedAt: n.BackChannel.env.Now(),
	}, client.IDTokenSignedResponseAlg)
	if errors.Is(err, tokens.ErrNoSigningKey) || certain && errors.Is(err, tokens.ErrWithheld) {
		err = fmt.Errorf("%w: %w", notify.ErrCannotSign, err)
	}
	return token, err
}

// LogUntold names the clients of a session that has ended which no notice reaches, since no ID token of theirs was seen. Of sessions that
// ended by themselves they are not known any more.
func LogUntold(ctx context.Context, logger *zap.Logger, r registry.Registry, issuer string, session sessionstate.SessionID) {
	participations, err := r.Participations(ctx, issuer, session)
	if err != nil {
		return
	}
	for _, p := range participations {
		if len(p.Subjects) == 0 {
			logger.Info("a client cannot be told by back channel that a session has ended: no ID token of it was seen",
				zap.String("issuer", issuer), zap.Stringer("session", session), zap.String("client_id", p.ClientID))
		}
	}
}

// Interface guard
var _ notify.Site = (*Notices)(nil)
