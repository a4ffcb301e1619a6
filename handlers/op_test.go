package handlers_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
)

func TestDiscoveryPathStandsBehindTheIssuer(t *testing.T) {
	for issuer, want := range map[string]string{
		"https://op.example.com":             handlers.WellKnown,
		"https://op.example.com/":            handlers.WellKnown,
		"https://op.example.com/realms/one":  "/realms/one" + handlers.WellKnown,
		"https://op.example.com/realms/one/": "/realms/one" + handlers.WellKnown,
		"https://op.example.com/My%20Realm":  "/My Realm" + handlers.WellKnown,
	} {
		if op := handlerstest.KnownOP(t, issuer, handlers.Metadata{}); op.DiscoveryPath != want || op.DiscoveryURL() != op.Origin+want {
			t.Errorf("%s has its document at %q (%q)", issuer, op.DiscoveryPath, op.DiscoveryURL())
		}
	}
}

func TestAnOPServesItsOwnHost(t *testing.T) {
	tests := []struct {
		issuer, host string
		want         bool
	}{
		{"https://op.example.com", "op.example.com", true},
		{"https://op.example.com", "OP.example.COM", true},
		{"https://op.example.com", "op.example.com:443", true},
		{"https://op.example.com", "op.example.com:80", false},
		{"https://op.example.com", "op.example.com:8443", false},
		{"https://op.example.com", "op.example.com.evil.example", false},
		{"https://op.example.com", "evil.example", false},
		{"https://op.example.com", "", false},
		{"https://op.example.com:443", "op.example.com", true},
		{"https://op.example.com:8443", "op.example.com:8443", true},
		{"https://op.example.com:8443", "op.example.com", false},
		{"http://op.example.com", "op.example.com:80", true},
		{"http://op.example.com", "op.example.com:443", false},
		{"https://[::1]", "[::1]", true},
		{"https://[::1]", "[::1]:443", true},
	}
	for _, tt := range tests {
		t.Run(tt.issuer+" at "+tt.host, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Host = tt.host
			if got := handlerstest.KnownOP(t, tt.issuer, handlers.Metadata{}).Serves(r); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestEndpointsElsewhereAreNotObserved(t *testing.T) {
	tests := []struct {
		name, endpoint, want string
	}{
		{"on the origin", "https://op.example.com/a/b", "/a/b"},
		{"with its default port", "https://op.example.com:443/a", "/a"},
		{"in other letters", "https://OP.example.com/a", "/a"},
		{"with a query", "https://op.example.com/a?policy=x", "/a"},
		{"with an escape", "https://op.example.com/My%20Realm/a", "/My Realm/a"},
		{"at the root", "https://op.example.com", "/"},
		{"another host", "https://login.example.com/a", ""},
		{"another port", "https://op.example.com:8443/a", ""},
		{"another scheme", "http://op.example.com/a", ""},
		{"relative", "/a", ""},
		{"missing", "", ""},
		{"garbage", "https://op.example.com\x00/a", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := handlers.EndpointPath(tt.endpoint, handlerstest.Issuer); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	op, err := handlers.NewOP(handlerstest.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	learnt, elsewhere := op.With(handlers.Metadata{AuthorizationEndpoint: "https://login.example.com/a", TokenEndpoint: "https://login.example.com/t"})
	if learnt.AuthorizationPath != "" || learnt.TokenPath != "" || strings.Join(elsewhere, " ") != "authorization_endpoint token_endpoint" {
		t.Errorf("learnt %+v, elsewhere are %v", learnt, elsewhere)
	}
}
