package handlers

import (
	"crypto/tls"
	"net/http"
)

// tlsOf returns the TLS state for a sub-request with the issuer's scheme. Caddy derives
// {http.request.scheme} and X-Forwarded-Proto from it; where another server ends TLS in front of
// Caddy, the caller's would tell the OP a wrong scheme.
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
