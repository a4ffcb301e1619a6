package handlers

import (
	"crypto/tls"
	"net/http"
)

// tlsOf returns the TLS state for a sub-request with the issuer's scheme. Caddy derives {http.request.scheme} and
// X-Forwarded-Proto from it; where another server ends TLS in front of Caddy, the caller's would tell the OP a wrong scheme.
func tlsOf(scheme string, caller *http.Request) *tls.ConnectionState {
	switch {
	case scheme != "https":
		return nil
	case caller.TLS != nil:
		return caller.TLS
	default:
		return &tls.ConnectionState{HandshakeComplete: true}
	}
}

// early reports whether a request came as TLS early data, which an attacker may replay (RFC 8470). Caddy completes the handshake
// before HTTP/1 and HTTP/2; over HTTP/3 requests may come before, as they may through a server in front.
func early(r *http.Request) bool {
	return r.Header.Get("Early-Data") == "1" || r.TLS != nil && !r.TLS.HandshakeComplete
}
