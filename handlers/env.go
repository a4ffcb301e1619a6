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

// Env is the world a handler works in. All fields are required.
type Env struct {
	// Keys returns the shared keys. It fails while they cannot be had; what needs them passes
	// untouched then.
	Keys func(context.Context) (*sessionstate.Keyring, error)

	// Registry records sessions.
	Registry *registry.Registry

	// Prepare makes a sub-request ready for the handlers behind, which find the caller's variables
	// and placeholders in it. The response writer is the sub-request's own.
	Prepare func(sub, caller *http.Request, w http.ResponseWriter) *http.Request

	// OPAddress is asked in place of the handlers behind; nil: there is none.
	OPAddress *OPAddress

	// Replace returns a text with the placeholders of a request in place; what is none that is
	// known stays.
	Replace func(r *http.Request, text string) string

	// SessionLifetime is how long a session lasts from its start.
	SessionLifetime time.Duration
	// IdleTimeout is after how long a session ends that nobody signs in to an app by; zero: it
	// does not end so.
	IdleTimeout time.Duration

	// Tells reports whether the clients of an OP's sessions are notified when those end. Wake has
	// new notices looked for. ObserveIDToken is called with each ID token of a client, and may wait
	// for the registry where that is news.
	Notifies   func(op *OP) bool
	Wake       func()
	ObserveIDToken func(ctx context.Context, op *OP, clientID string, token tokens.IDToken)

	Logger *zap.Logger
	// LogSubject has the log say who the user of a session is, to those who can compare.
	LogSubject bool
	Now        func() time.Time
}

// Bounds of what is read and kept. What is over a bound passes untouched.
const (
	MaxLocation     = 32 << 10 // bytes of a Location
	MaxClientID     = 512      // bytes
	MaxState        = 8 << 10  // bytes of OAuth state
	MaxCode         = 4 << 10  // bytes
	MaxSessionState = 2 << 10  // bytes
	MaxCheck        = 8 << 10  // bytes of the form of one check
)

// RecordingContext is the context for recording what the OP has done: it has happened, even if the
// client has gone meanwhile. The registry and the keys bound their own time.
func RecordingContext(r *http.Request) context.Context { return context.WithoutCancel(r.Context()) }
