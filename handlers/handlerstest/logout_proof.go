package handlerstest

import (
	"net/http"
	"net/http/httptest"

	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
)

// Visited has a browser that has not signed in here ask for a sign-out, with a cookie.
func (x *Exit) Visited(cookie string) {
	r := httptest.NewRequest(http.MethodGet, Issuer+EndSession, nil)
	r.Header.Set("Cookie", cookie)
	_ = x.E.Serve(x.W.OP, httptest.NewRecorder(), r, reply.Handler(x.OP))
}
