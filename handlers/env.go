package handlers

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// Env is what the endpoints of one site share. All fields are required, but for those that say
// what their zero value means.
type Env struct {
	// Keys returns the shared keys. It fails while they are unavailable; requests that need them
	// pass unchanged then.
	Keys func(context.Context) (*sessionstate.Keyring, error)

	// Registry records sessions.
	Registry *registry.Registry

	// Prepare makes a request of ours ready for the handlers behind, which find the caller's
	// variables and placeholders in it. The response writer is that of the request.
	Prepare func(sub, caller *http.Request, w http.ResponseWriter) *http.Request

	// OPAddress is asked in place of the handlers behind; nil: they are asked.
	OPAddress *OPAddress

	// Replace returns a text with the placeholders of a request replaced; unknown ones stay.
	Replace func(r *http.Request, text string) string

	// SessionLifetime is how long a session lasts from its start.
	SessionLifetime time.Duration
	// IdleTimeout is how long a session lasts without a sign-in to an app; zero: it has no such
	// end.
	IdleTimeout time.Duration

	// Notifies reports whether the clients of an OP's sessions are notified when those end.
	Notifies func(op *OP) bool
	// IsGuarded reports whether the sessions of the app at an origin are refused once those at the
	// OP have ended, so that it needs no notification. Nil: none are.
	IsGuarded func(origin string) bool
	// Wake has new notifications delivered at once.
	Wake func()
	// ObserveIDToken is called with each ID token of a client. It may wait for the registry.
	ObserveIDToken func(ctx context.Context, op *OP, clientID string, token tokens.IDToken)

	// Logger is that of the site.
	Logger *zap.Logger
	// LogSubject has the log name the user of a session, by a pseudonym.
	LogSubject bool
	// Now is the clock.
	Now func() time.Time
}

// Bounds of what is read and kept, in bytes. Requests and responses over a bound pass unchanged.
const (
	MaxLocation     = 32 << 10 // of a Location
	MaxClientID     = 512      // of a client_id, or an issuer
	MaxState        = 8 << 10  // of an OAuth state
	MaxCode         = 4 << 10  // of a code
	MaxSessionState = 2 << 10  // of a session_state
	MaxCheck        = 8 << 10  // of the form of one check
)

// RecordingContext is the context for recording what the OP has done: it has happened, even if the
// client has gone meanwhile. The registry and the keys bound their own time.
func RecordingContext(r *http.Request) context.Context {
	return context.WithoutCancel(r.Context())
}
