package handlers

import (
	"context"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// LogStart logs that a session has started: at which client, and with which user, if an ID token
// has named one already; else sub is empty.
func (env Env) LogStart(
	ctx context.Context, issuer string, id sessionstate.SessionID, clientID, sub string,
) {
	env.Logger.Info("session started", zap.String("issuer", issuer), zap.Stringer("session", id),
		zap.String("client_id", clientID), env.subject(ctx, issuer, sub))
}

// LogUser logs the user of a client in a session, who in the code flow is known only when the code
// is redeemed. Without log_subject there is nothing to log.
func (env Env) LogUser(ctx context.Context, session *registry.Session, clientID, sub string) {
	if env.LogSubject {
		env.Logger.Info("user signed in",
			zap.String("issuer", session.Issuer), zap.Stringer("session", session.ID),
			zap.String("client_id", clientID), env.subject(ctx, session.Issuer, sub))
	}
}

// fullSessions are those that LogFull has logged.
var fullSessions Recent[struct{}]

// LogFull logs, once a session, that some of its sign-ins were not recorded for want of room.
func (env Env) LogFull(session *registry.Session) {
	if fullSessions.First(session.ID) {
		env.Logger.Warn("a session has more clients or subjects than are recorded",
			zap.String("issuer", session.Issuer), zap.Stringer("session", session.ID))
	}
}

// LogEnd logs that a session has ended, and why.
func (env Env) LogEnd(ctx context.Context, session *registry.Session) {
	successor := zap.Skip()
	if !session.Successor.IsZero() {
		successor = zap.Stringer("successor", session.Successor)
	}
	env.Logger.Info("session ended",
		zap.String("issuer", session.Issuer), zap.Stringer("session", session.ID),
		zap.String("reason", string(session.Reason)), successor,
		env.subject(ctx, session.Issuer, UserOf(session)))
}

// subject is the log's field for a user: see [sessionstate.Keyring.Pseudonym].
func (env Env) subject(ctx context.Context, issuer, sub string) zap.Field {
	if !env.LogSubject || sub == "" {
		return zap.Skip()
	}
	keys, err := env.Keys(ctx)
	if err != nil {
		return zap.Skip()
	}
	return zap.String("subject", keys.Pseudonym(issuer, sub))
}

// UserOf returns the first sub that was observed in a session; empty: none was. An OP may give
// each client another sub for one user.
func UserOf(session *registry.Session) string {
	var first registry.Subject
	for _, client := range session.Clients {
		for _, subject := range client.Subjects {
			if first.Sub == "" || subject.Since < first.Since {
				first = *subject
			}
		}
	}
	return first.Sub
}

// LogUnrecorded logs that the registry is unavailable. The message says what follows from that.
func LogUnrecorded(logger *zap.Logger, message string, err error) {
	logger.Warn(message, zap.Error(err))
}
