package handlerstest

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/discovery"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
)

const CheckPage = Issuer + handlers.DefaultCheckSessionPath

// Discover sends a request for the discovery document, which the OP answers as respond says.
func (w *World) Discover(t *testing.T, r *http.Request, respond http.HandlerFunc) *http.Response {
	t.Helper()
	d := discovery.Discovery{Observe: func(op *handlers.OP, _ *http.Request, _ []byte) *handlers.OP { return op }}
	d.Setup(w.Env)
	recorder := httptest.NewRecorder()
	members := func(op *handlers.OP) []exchange.Member {
		return (&check.Endpoint{Path: handlers.DefaultCheckSessionPath}).Members(op, false)
	}
	if err := d.Serve(w.OP, recorder, r, reply.Handler(respond), members); err != nil {
		t.Fatal(err)
	}
	return recorder.Result()
}
