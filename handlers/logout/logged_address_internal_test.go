package logout

import (
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

func TestALoggedAddressIsBounded(t *testing.T) {
	long := strings.Repeat("a", exchange.MaxForm)
	for _, address := range []string{long + ":x", long + "://x", "https://" + long, "https://x/" + long, "https://" + long + "@x/", long} {
		if n := len(loggedAddress(address)); n > 4*maxLogged {
			t.Errorf("%.20s...: the log gets %d bytes", address, n)
		}
	}
}
