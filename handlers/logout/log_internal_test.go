package logout

import (
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

func TestTheLogHasNothingSecretOfAnAddress(t *testing.T) {
	for address, want := range map[string]string{
		"https://user:pw@rp.example.com:8443/elsewhere?token=secret-1#secret-2": "https://rp.example.com:8443/elsewhere", "javascript:secret": "javascript:", "/a?secret#secret": "/a", "https://secret@rp.example.com": "https://rp.example.com",
		"https://rp.example.com/%zz?secret": "not a URL", "mailto:secret": "mailto:", "//user:secret@host/x": "//host/x",
	} {
		if got := loggedAddress(address); got != want {
			t.Errorf("%q: %q", address, got)
		}
	}
	if got := loggedAddress("https://rp.example.com/" + strings.Repeat("x", 10_000)); len([]rune(got)) != maxLogged {
		t.Errorf("%d characters", len(got))
	}
}

func TestALoggedAddressIsBounded(t *testing.T) {
	long := strings.Repeat("a", exchange.MaxForm)
	for _, address := range []string{long + ":x", long + "://x", "https://" + long, "https://x/" + long, "https://" + long + "@x/", long} {
		if n := len(loggedAddress(address)); n > 4*maxLogged {
			t.Errorf("%.20s...: the log gets %d bytes", address, n)
		}
	}
}
