package signin

import (
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

func TestTheDefaultPathOfACookie(t *testing.T) {
	for request, want := range map[string]string{"/": "/", "": "/", "/logout": "/", "/account/logout": "/account", "/account/": "/account", "logout": "/"} {
		if got := exchange.CookiePath("", request); got != want {
			t.Errorf("of %q it is %q, want %q", request, got, want)
		}
	}
}
