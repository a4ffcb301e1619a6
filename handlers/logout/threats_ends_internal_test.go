package logout

import (
	"net/http"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// Around a cookie's name stand spaces and tabs (RFC 6265, section 5.2); all else is part of the
// name, and names another cookie.
func TestThreatCookiesWhoseNamesLookAlike(t *testing.T) {
	for header, want := range map[string]int{
		"login=x": 1, " login=x": 1, "a=b;\tlogin =x": 1, "login=x; login=y": 2, `login="x"`: 1, `login={"a": 1}`: 1,
		"login=": 0, `login=""`: 0, "login": 0, "login= \t": 0, "Login=x": 0, "xlogin=x": 0,
		"\u00a0login=x": 0, "\u0085login=x": 0, "login\v=x": 0, "login\f=x": 0, "\u2003login=x": 0,
	} {
		r := &http.Request{Header: http.Header{"Cookie": {header}}}
		if got := exchange.CountCookies(r, "login"); got != want {
			t.Errorf("%q has %d", header, got)
		}
		if got := exchange.HasCookie(r, "login"); got != (want > 0) {
			t.Errorf("%q: carries is %v", header, got)
		}
	}
}
