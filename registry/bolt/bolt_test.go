package bolt

import (
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, clock *storetest.Clock) registry.Store {
		store, err := Open(filepath.Join(t.TempDir(), "sub", "registry.db"), clock.Now, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		return store
	})
}
