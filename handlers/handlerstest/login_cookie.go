package handlerstest

import (
	"net/http"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
)

// SignOut deletes the login cookie in the way of several OPs.
func SignOut(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Set-Cookie", "sid=; Path=/; Max-Age=0")
	reply.Page(w, r)
}

// SignedIn is an agent that is signed in, at the OP and at one client.
func SignedIn(t *testing.T, w *World) (a *Agent, state string) {
	t.Helper()
	a = NewAgent(t, w)
	a.Login = "sid"
	state = a.SignIn("c")
	a.Cookies["sid"] = "v"
	return a, state
}
