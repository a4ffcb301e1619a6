package bolt

import (
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/registrytest"
)

func TestContract(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registry.Registry { return mustOpen(t, pathIn(t)) })
}

func pathIn(t testing.TB) string { return filepath.Join(t.TempDir(), "data", "registry.db") }

// mustOpen opens a registry and closes it when the test ends.
func mustOpen(t testing.TB, path string) *Store {
	t.Helper()
	store, err := Open(path, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}
