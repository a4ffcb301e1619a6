package handlers

import (
	"crypto/tls"
	"net/http/httptest"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

func TestEarlyDataIsKnown(t *testing.T) {
	tests := []struct {
		name   string
		header string
		tls    *tls.ConnectionState
		want   bool
	}{
		{"said by a server in front", "1", nil, true},
		{"before the handshake is complete", "", &tls.ConnectionState{}, true},
		{"not after the handshake", "", &tls.ConnectionState{HandshakeComplete: true}, false},
		{"not on plain http", "", nil, false},
		{"not for another value", "0", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "http://op.example.com/", nil)
			r.Header.Set("Early-Data", tt.header)
			r.TLS = tt.tls
			if exchange.IsEarly(r) != tt.want {
				t.Errorf("got %v", !tt.want)
			}
		})
	}
}
