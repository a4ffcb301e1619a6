package handlerstest

import (
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
)

var Noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func Pend(t testing.TB, clientID, redirectURI, state string) browser.PendingRequest {
	t.Helper()
	p, ok := browser.NewPendingRequest(clientID, redirectURI, state, Noon)
	if !ok {
		t.Fatalf("%q cannot be noted", redirectURI)
	}
	return p
}
