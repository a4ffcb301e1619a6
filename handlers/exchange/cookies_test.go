package exchange_test

import (
	"net/http"
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
