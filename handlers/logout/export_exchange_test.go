package logout

import (
	"net/http"

	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
)

// ExchangeOf is a request of the endpoint by a browser.
func ExchangeOf(v *browser.Cookies, r *http.Request, request logoutRequest) *logoutExchange {
	return &logoutExchange{Cookies: v, op: v.OP, r: r, request: request}
}
