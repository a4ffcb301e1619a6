package handlerstest

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
)

const DocumentURL = Issuer + handlers.WellKnown

// Ask sends a sub-request for target on behalf of caller.
func (w *World) Ask(t *testing.T, caller *http.Request, target string, next caddyhttp.Handler) (*handlers.OPResponse, error) {
	t.Helper()
	question, err := handlers.NewSubRequest(w.Env, caller, next, target)
	if err != nil {
		t.Fatal(err)
	}
	return question.Send()
}
