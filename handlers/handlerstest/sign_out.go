package handlerstest

import (
	"net/http"

	"github.com/oidc-session/caddy-oidc-session/handlers"
)

// Confirm answers a question from our own page.
func (x *Exit) Confirm(value, answer string) *http.Response {
	x.T.Helper()
	return x.PostForm(EndSession+handlers.ConfirmSuffix, Issuer, Values("confirmation", value, "answer", answer))
}
