package handlers

import (
	"context"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// logEnd says that a session has ended, and why.
func logEnd(logger *zap.Logger, session registry.Session) {
	logger.Info("session ended", zap.String("issuer", session.Issuer),
		zap.Stringer("session", session.ID), zap.String("reason", string(session.Reason)))
}

// logSwitch says that another user has signed in.
func logSwitch(logger *zap.Logger, successor registry.Session) {
	logger.Info("session ended", zap.String("issuer", successor.Issuer), zap.Stringer("session", successor.Predecessor),
		zap.String("reason", string(registry.ReasonUserSwitch)), zap.Stringer("successor", successor.ID))
}

// tellOfSwitch has the clients of the session told that another user's took the place of.
func (env Env) tellOfSwitch(ctx context.Context, op *OP, successor registry.Session) {
	if !env.Tells(op) {
		return
	}
	env.Wake()
	LogUntold(ctx, env.Logger, env.Registry, op.Issuer, successor.Predecessor)
}

// unrecorded logs that the registry could not be asked: what is done instead is said in the message.
func unrecorded(logger *zap.Logger, message string, err error) {
	if c := logger.Check(zap.WarnLevel, message); c != nil {
		c.Write(zap.Error(err))
	}
}
