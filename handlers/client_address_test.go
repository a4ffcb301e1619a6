package handlers

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestTheAddressThatQuestionsAreCountedBy(t *testing.T) {
	tests := []struct {
		name, remote string
		clientIP     any
		want         string
	}{
		{"the connection's", "192.0.2.1:4711", nil, "192.0.2.1"},
		{"the client IP as Caddy sees it", "192.0.2.1:4711", "203.0.113.9", "203.0.113.9"},
		{"an unknown client IP", "192.0.2.1:4711", "", "192.0.2.1"},
		{"a client IP of another type", "192.0.2.1:4711", 7, "192.0.2.1"},
		{"the network of an IPv6 address", "[2001:db8:1:2:3:4:5:6]:4711", nil, "2001:db8:1:2::"},
		{"the network of another", "[2001:db8:1:2:ffff::1]:4711", nil, "2001:db8:1:2::"},
		{"the network of an IPv6 client IP", "192.0.2.1:4711", "2001:db8:1:3::1", "2001:db8:1:3::"},
		{"an IPv4 address as IPv6", "[::ffff:192.0.2.1]:4711", nil, "::ffff:192.0.2.1"},
		{"none", "@", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", nil)
			r.RemoteAddr = tt.remote
			if tt.clientIP != nil {
				vars := map[string]any{caddyhttp.ClientIPVarKey: tt.clientIP}
				r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars))
			}
			if got := ClientAddress(r); got != tt.want {
				t.Errorf("got %q", got)
			}
		})
	}
}
