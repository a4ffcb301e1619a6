package handlerstest

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
)

// At returns the address of an OP of the test's own.
func (w *World) At(t *testing.T, op http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(op)
	t.Cleanup(server.Close)
	w.Address(t, server.URL)
	return server.URL
}

func (w *World) Address(t *testing.T, address string) {
	t.Helper()
	var err error
	if w.Env.OPAddress, err = handlers.NewOPAddress(address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Env.OPAddress.Close)
}
