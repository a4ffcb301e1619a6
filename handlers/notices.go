package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	Issuer string
	// BackChannels are those of the issuer's sites, one at least: each client is told as the first of them has it that knows how.
	BackChannels []*BackChannel
	// Registry is the one of all. No login waits for what is asked of it here, so it may be given more time.
	Registry registry.Registry
}

// errNotTold says that the client of a notice cannot be told any more.
var errNotTold = errors.New("the client cannot be told by back channel")

// how returns how a client is told of the end of a session; nil: it cannot be told.
func (n *Notices) how(ctx context.Context, clientID, sid string) (*BackChannel, Client, error) {
	for _, b := range n.BackChannels {
		if !b.Configured && !b.Clients.tellable() {
			continue // nobody is told from this site, those neither who have registered themselves
		}
		client, known, err := b.Clients.lookUp(ctx, n.Issuer, clientID)
		if err != nil {
			return nil, Client{}, err
		}
		if known && client.tellable(sid) {
			return b, client, nil
		}
	}
	return nil, Client{}, nil
}

// mayDeliver reports whether notices can be delivered or dropped now, for all that is known of the OP. Where tokens cannot be verified,
// which may pass, they wait.
func (b *BackChannel) mayDeliver(issuer string) bool {
	op := b.op.Load()
	return op == nil || op.Issuer != issuer || !b.wouldTell(op) || b.hindrance(op) == ""
}

// leavesToOP reports whether the OP tells its clients itself.
func (b *BackChannel) leavesToOP(issuer string) bool {
	op := b.op.Load()
	return op != nil && op.Issuer == issuer && op.tellsClients
}

// env is the world of the issuer's sites.
func (n *Notices) env() Env { return n.BackChannels[0].env }

// Due lists notices that are due, with where they go. Those of clients that cannot be told are dropped.
func (n *Notices) Due(ctx context.Context, now time.Time, limit int) ([]notify.Notice, error) {
	if !slices.ContainsFunc(n.BackChannels, func(b *BackChannel) bool { return b.mayDeliver(n.Issuer) }) {
		return nil, nil
	}
	var due []notify.Notice
	for range maxDrops { // what is left is dropped next time
		var dropped int
		var err error
		if due, dropped, err = n.sift(ctx, now, limit); err != nil {
			return nil, err
		} else if dropped == 0 {
			break
		}
	}
	return due, nil
}

const (
	// dropsAtOnce is how many notices are dropped in one transaction at the most.
	dropsAtOnce = 512
	// maxDrops is how many of these transactions are made until others get their turn.
	maxDrops = 50
)

// sift lists those notices that are due and can be delivered, and drops the others.
func (n *Notices) sift(ctx context.Context, now time.Time, limit int) (due []notify.Notice, drops int, err error) {
	recorded, err := n.Registry.DueNotices(ctx, n.Issuer, now, limit)
	if err != nil {
		return nil, 0, err
	}
	var dropped []registry.Outcome
	for _, notice := range recorded {
		b, client, err := n.how(ctx, notice.ClientID, notice.Sid)
		if err != nil {
			return nil, 0, err
		}
		switch why := n.drops(b, notice, now); {
		case why == "" && !notice.Held && !endsMore(client, notice):
			due = append(due, n.notice(notice, b, client))
		case len(dropped) == dropsAtOnce:
		case why != "":
			dropped = append(dropped, n.drop(notice, why))
		case !notice.Held: // whether it has to wait for others is decided without the sid
			dropped = append(dropped, registry.Outcome{ID: notice.ID, Held: true, WithoutSid: true})
		default: // the user has signed in there again
			dropped = append(dropped, registry.Outcome{ID: notice.ID, Held: true})
		}
	}
	if len(dropped) > 0 {
		settling := registry.Settling{Issuer: n.Issuer, Outcomes: dropped, Now: now}
		err = n.Registry.SettleNotices(ctx, settling)
	}
	return due, len(dropped), err
}

// endsMore reports whether the logout token ends more than the notice is for, since it is sent
// without the sid: what nobody asked to end has to go on.
func endsMore(client Client, notice registry.Notice) bool {
	_, sid := client.names(notice.Sub, notice.Sid)
	return sid != notice.Sid && isPassive(notice.Reason)
}

// drops tells why a notice is owed no more; empty: it is.
func (n *Notices) drops(b *BackChannel, notice registry.Notice, now time.Time) string {
	switch {
	case b == nil:
		return "the client has no backchannel_logout_uri, or has to be told a sid that its ID tokens did not have"
	case b.leavesToOP(n.Issuer):
		return "the OP tells its clients itself"
	case notice.Attempts == 0 && isPassive(notice.Reason) && now.Sub(notice.Created) > max(b.RetryFor, DefaultRetryFor):
		// Nobody has tried for a day, so it is from before clients were told, and the user may have signed in again since.
		return "it is from before clients were told by back channel"
	default:
		return ""
	}
}

// isPassive reports whether a session ended without anybody asking for it.
func isPassive(reason registry.Reason) bool {
	return reason == registry.ReasonExpiry || reason == registry.ReasonUserSwitch
}

// drop says what becomes of a notice that is owed no more. Most clients have never been to be told, which is no news; one that was tried
// before has lost its address since.
func (n *Notices) drop(notice registry.Notice, why string) registry.Outcome {
	log := n.env().Logger.With(zap.String("issuer", n.Issuer), zap.Stringer("notice", notice.ID), zap.String("client_id", notice.ClientID),
		zap.String("reason", string(notice.Reason)), zap.Int("attempts", notice.Attempts), zap.String("why", why))
	if notice.Attempts > 0 {
		log.Error("logout given up", zap.String("advice", "the client may still have its session: give it a backchannel_logout_uri if it is to be told"))
		return registry.Outcome{ID: notice.ID, Dead: true, Attempts: notice.Attempts, Why: why}
	}
	log.Debug("a logout notice is dropped")
	return registry.Outcome{ID: notice.ID, Delivered: true}
}

func (n *Notices) notice(recorded registry.Notice, b *BackChannel, client Client) notify.Notice {
	sender := b.Sender
	if client.registered {
		sender = b.Strict
	}
	return notify.Notice{
		ID: notify.ID(recorded.ID), Issuer: cmp.Or(recorded.IDToken.Issuer, n.Issuer), ClientID: recorded.ClientID, Subject: recorded.Sub, SessionID: recorded.Sid,
		Reason: string(recorded.Reason), Created: recorded.Created, Due: recorded.Due, Attempts: recorded.Attempts,
		Asked: recorded.Asked, Algorithm: recorded.IDToken.Algorithm,
		Target: notify.Target{URI: client.BackChannelLogoutURI, Sender: sender, RetryFor: b.RetryFor, SelfRegistered: client.registered},
	}
}

// Settle records what became of tries.
func (n *Notices) Settle(ctx context.Context, settlements []notify.Settlement) error {
	settling := registry.Settling{Issuer: n.Issuer, Now: n.env().Now()}
	for _, s := range settlements {
		settling.Outcomes = append(settling.Outcomes, registry.Outcome{
			ID: registry.NoticeID(s.ID), Delivered: s.Delivered, Dead: s.Dead,
			Due: s.Due, Attempts: s.Attempts, Why: s.Why,
		})
	}
	return n.Registry.SettleNotices(ctx, settling)
}

// Token signs a logout token for a notice, by the algorithm that the client's ID tokens are signed by (Back-Channel Logout 1.0,
// section 2.6).
func (n *Notices) Token(ctx context.Context, notice notify.Notice) (string, error) {
	b, client, err := n.how(ctx, notice.ClientID, notice.SessionID)
	if err != nil {
		return "", err
	}
	if b == nil {
		return "", errNotTold
	}
	issuer := cmp.Or(notice.Issuer, n.Issuer)
	if strings.HasSuffix(strings.TrimSuffix(issuer, "/"), "/*") {
		return "", fmt.Errorf("%w: the issuer of its ID tokens is not known", notify.ErrCannotSign)
	}
	if b = b.of(b.lastOP(), issuer); issuer != n.Issuer {
		b = b.part(issuer)
	}
	keys, certain, err := b.signing(ctx, cmp.Or(b.issuer, n.Issuer))
	if err != nil {
		return "", err
	}
	sub, sid := client.names(notice.Subject, notice.SessionID)
	token, err := keys.Sign(tokens.LogoutToken{
		Issuer: issuer, ClientID: notice.ClientID, Subject: sub, SessionID: sid, IssuedAt: b.env.Now(),
	}, cmp.Or(client.IDTokenSignedResponseAlg, notice.Algorithm))
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
	var ids []string
	for _, p := range participations {
		if len(p.Subjects) == 0 {
			ids = append(ids, p.ClientID)
		}
	}
	if len(ids) > 0 {
		logger.Info("clients cannot be notified by back channel of the end of a session", zap.String("issuer", issuer),
			zap.Stringer("session", session), zap.Strings("client_ids", ids[:min(len(ids), maxUnnotified)]), zap.Int("clients", len(ids)),
			zap.String("why", "no ID token of theirs was observed"),
			zap.String("advice", "have apps redeem their codes at the OP's token endpoint through this server"))
	}
}

// Interface guard
var _ notify.Site = (*Notices)(nil)
