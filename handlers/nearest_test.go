package handlers_test

import (
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
)

func TestTheNearestWordIsOneThatIsProbablyMeant(t *testing.T) {
	known := []string{"issuer", "discovery", "login_cookie", "check_session", "end_session", "op_logout", "key", "store"}
	for word, want := range map[string]string{
		"isuer": "issuer", "issuers": "issuer", "isseur": "issuer", "Issuer": "issuer", "discvery": "discovery", "keys": "key",
		"login-cookie": "login_cookie", "logincookie": "login_cookie", "endsession": "end_session", "check": "check_session",
		"session": "", "nope": "", "x": "", "": "", "a": "", "tls": "",
	} {
		if got := handlers.Nearest(word, known); got != want {
			t.Errorf("%q is near %q, want %q", word, got, want)
		}
	}
}
