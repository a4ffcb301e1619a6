package clients_test

import (
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
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
