package logout

import (
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

func TestOnlyTheHostOfAnAddressIsShownAsBrowsersReadIt(t *testing.T) {
	for address, want := range map[string]string{
		"https://rp.example.com/x": "rp.example.com", "HTTPS://RP.example.com:443/": "rp.example.com", "http://rp.example.com": "rp.example.com",
		"https://rp.example.com@evil.example/": "evil.example", "https://user:pw@evil.example/": "evil.example",
		"https://bücher.example/": "xn--bcher-kva.example", "https://%C3%BC.example/": "xn--tda.example", "https://[2001:DB8::1]:8443/": "2001:db8::1",
		"https://ev\u202eil.example/": "", "https://" + strings.Repeat("a.", 60) + "evil.example/": "…" + (strings.Repeat("a.", 60) + "evil.example")[132-63:],
		"javascript:alert(1)": "", "com.example.app:/": "", "/path": "", "//evil.example/": "", "https:evil": "", `https://rp.example.com\@evil.example/`: "",
		"https://rp.example.com<b>/": "", "https:///": "", "": "", "https://x\x00.example/": "",
	} {
		if got := clients.ShownHost(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

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
