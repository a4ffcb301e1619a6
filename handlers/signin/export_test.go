package signin

import (
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
)

// What the tests beside this package use of it.

const (
	RotationGrace  = rotationGrace
	PushedLifetime = pushedLifetime
	MaxRedemptions = maxRedemptions
	EnoughCodes    = enoughCodes
)

// Redemptions are the codes of clients, as they are observed.
type Redemptions = redemptions

// IsUnredeemed notes a code.
func (r *Redemptions) IsUnredeemed(clientID, code string, now time.Time) bool {
	return r.isUnredeemed(clientID, code, now)
}

// Len is how many clients are watched.
func (r *Redemptions) Len() int { return len(r.clients) }

// IsAnotherIssuers reports whether a Set-Cookie line is for another issuer's pages.
func (o *Observer) IsAnotherIssuers(op *handlers.OP, line, requestPath string) bool {
	return o.isAnotherIssuers(op, line, requestPath)
}

// KeepPushed keeps a pushed request.
func (o *Observer) KeepPushed(uri string, request browser.PendingRequest) {
	o.pushed.Put(handlers.Hash(uri), request)
}

// FindPushed finds a pushed request.
func (o *Observer) FindPushed(
	uri, clientID string, now time.Time,
) (browser.PendingRequest, bool) {
	return o.findPushed(uri, clientID, now)
}
