package e2e

import (
	"flag"
	"os"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/oidc-session/caddy-oidc-session"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// These variables make this test binary something else than tests: a guard, or Caddy with the
// plugin. So no second binary has to be built, and test results are never cached over a change of
// the plugin.
const (
	guardVariable = "OIDC_SESSION_E2E_GUARD"
	caddyVariable = "OIDC_SESSION_E2E_CADDY"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(guardVariable) != "":
		os.Unsetenv(guardVariable)
		os.Exit(guard(os.Args[1], os.Args[2:]))
	case os.Getenv(caddyVariable) != "":
		// a busy machine is no reason for a login to go on without its record
		registry.Limit = 5 * time.Second
		caddycmd.Main()
	default:
		flag.Set("test.parallel", "4") // they wait most of the time; -parallel goes before this
		os.Exit(m.Run())
	}
}
