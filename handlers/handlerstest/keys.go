package handlerstest

import (
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
)

// Find looks for a key as a request of the endpoint does.
func (x *Exit) Find(kid string) bool {
	x.T.Helper()
	r := httptest.NewRequest(http.MethodGet, Issuer+EndSession, nil)
	return x.E.Keys.Find(x.W.OP, r, reply.Handler(x.OP), kid).Has(kid)
}

// SignsInOnce has an ID token pass in a token response, and waits until the OP's keys are recorded
// because of it.
func (x *Exit) SignsInOnce(token string) {
	x.T.Helper()
	x.SignedIn(ClientID, "alice")
	endpoint := signin.Observer{OPKeys: x.E.Keys}
	endpoint.Setup(x.W.Env)
	r := httptest.NewRequest(http.MethodPost, Issuer+"/token", strings.NewReader(CodeForm("c").Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	err := endpoint.ServeToken(x.W.OP, httptest.NewRecorder(), r, reply.Handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			x.OP(w, r)
			return
		}
		reply.Answering(`{"access_token":"a","id_token":"`+token+`"}`)(w, r)
	}))
	if err != nil {
		x.T.Fatal(err)
	}
	x.AwaitKeys()
}

// AwaitKeys waits until the OP's keys are recorded, for which no token response waits.
func (x *Exit) AwaitKeys() {
	x.T.Helper()
	Eventually(x.T, "the OP's keys are not recorded after a sign-in", func() bool {
		kept, err := x.W.Env.Registry.Keys(x.T.Context(), Issuer)
		return err == nil && len(kept) > 0
	})
}
