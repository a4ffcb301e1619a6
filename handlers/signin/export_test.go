package signin

import (
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
)

// What the tests beside this package use of it.

func (o *Observer) IsAnotherIssuers(op *handlers.OP, line string, requestPath string) bool {
	return o.isAnotherIssuers(op, line, requestPath)
}

const RotationGrace = rotationGrace

const PushedLifetime = pushedLifetime

func (x *Pushed) Requests() *handlers.Recent[browser.PendingRequest] { return &x.requests }

func (x *Pushed) Find(uri string, clientID string, now time.Time) (browser.PendingRequest, bool) {
	return x.find(uri, clientID, now)
}

func (x *Redemptions) Clients() map[string]*redemption { return x.clients }

const MaxRedemptions = maxRedemptions

const EnoughCodes = enoughCodes

func (x *Redemptions) Responded(logger *zap.Logger, issuer string, clientID string, code string, now time.Time) {
	x.responded(logger, issuer, clientID, code, now)
}

func (x *Redemptions) Redeemed(clientID string, code string) { x.redeemed(clientID, code) }
