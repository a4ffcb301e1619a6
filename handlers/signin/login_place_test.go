package signin_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
)

// observedPaths is what is observed of Set-Cookie lines in a response of a realm's OP.
func observedPaths(t *testing.T, lines ...string) *browser.LoginCookiePaths {
	t.Helper()
	w := handlerstest.NewWorld(t)
	w.OP = handlerstest.KnownOP(t, handlerstest.Issuer+"/realms/a", handlers.Metadata{})
	b := signin.Observer{LoginCookie: "login", Issuers: func() [][]string {
		return [][]string{{handlerstest.Issuer + "/realms/a"}, {handlerstest.Issuer + "/realms/b"}}
	}}
	b.Setup(w.Env)
	r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/realms/a/login", nil)
	err := b.Serve(w.OP, httptest.NewRecorder(), r, reply.Handler(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header()["Set-Cookie"] = lines
		rw.WriteHeader(http.StatusOK)
	}))
	if err != nil {
		t.Fatal(err)
	}
	return b.LoginCookiePaths()
}

func TestWhereTheLoginCookieIsSet(t *testing.T) {
	const endpoint = "/realms/a" + handlers.DefaultEndSessionPath
	for _, tt := range []struct {
		name   string
		lines  []string
		missed bool
	}{
		{"nowhere yet", nil, false},
		{"for the realm", []string{"login=x; Path=/realms/a/"}, false},
		{"for the host", []string{"login=x; Path=/"}, false},
		{"without a path, by a page of the realm", []string{"login=x"}, false},
		{"for another part", []string{"login=x; Path=/account"}, true},
		{"for a path that begins alike", []string{"login=x; Path=/realms/a/oid"}, true},
		{"at two places, of which one reaches", []string{"login=x; Path=/account", "login=x; Path=/realms/a"}, false},
		{"for another realm", []string{"login=x; Path=/realms/b/"}, false},
		{"deleted elsewhere", []string{"login=; Path=/account; Max-Age=0"}, false},
		{"another cookie", []string{"logins=x; Path=/account", "a=b; Path=/account"}, false},
	} {
		if err := observedPaths(t, tt.lines...).Missed(endpoint); (err != nil) != tt.missed {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
