package e2e

import (
	"log/slog"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

// startExampleOP starts the example of the library zitadel/oidc, and returns the address that it
// listens on.
func startExampleOP(t *testing.T, issuer string, clients map[string][]string) string {
	t.Helper()
	registered := make(map[string]*storage.Client)
	for id, redirectURIs := range clients {
		registered[id] = storage.NativeClient(id, redirectURIs...) // a public client with PKCE
	}
	store := storage.NewStorageWithClients(storage.NewUserStore(issuer), registered)
	return serveOP(t, exampleop.SetupServer(issuer, store, slog.New(slog.DiscardHandler), false))
}
