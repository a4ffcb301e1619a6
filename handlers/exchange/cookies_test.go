package exchange_test

import (
	"net/http/httptest"
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

func TestACookieIsFoundInAnyLine(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	if exchange.HasCookiePrefix(r, "a=") {
		t.Error("found without a Cookie")
	}
	r.Header["Cookie"] = []string{"x=y", "b=c; a=1"}
	if !exchange.HasCookiePrefix(r, "a=") || exchange.HasCookiePrefix(r, "d=") {
		t.Error("not found, or found what is not there")
	}
}
