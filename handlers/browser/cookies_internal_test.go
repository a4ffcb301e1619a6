package browser

import (
	"net/http/httptest"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

func TestCarriesFindsACookieAnywhere(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	if exchange.HasCookiePrefix(r, "a=") {
		t.Error("found without a Cookie")
	}
	r.Header["Cookie"] = []string{"x=y", "b=c; a=1"}
	if !exchange.HasCookiePrefix(r, "a=") || exchange.HasCookiePrefix(r, "d=") {
		t.Error("not found, or found what is not there")
	}
}
