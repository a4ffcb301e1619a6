package handlers

import (
	"crypto/sha256"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A caller stands for requests that a site treats alike, as far as is known here.
type caller [sha256.Size]byte

// CallerOf returns for whom the OP is asked, and on which way.
func CallerOf(r *http.Request, next caddyhttp.Handler) caller {
	prefix := ""
	if s, ok := next.(*Stripped); ok {
		prefix = s.prefix
	}
	return sha256.Sum256([]byte(ClientAddress(r) + "\n" + prefix + "\n" + r.UserAgent()))
}

// ClientAddress is the address by which requests are counted: the client IP as Caddy has it, behind
// trusted proxies too; the /64 of an IPv6 address, since one client has all of that.
func ClientAddress(r *http.Request) string {
	address := clientIP(r)
	ip := net.ParseIP(address)
	if ip == nil || ip.To4() != nil {
		return address
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}

// clientIP returns the address of the client, as Caddy's trusted_proxies say; empty: it has none.
func clientIP(r *http.Request) string {
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	if address == "" {
		address, _, _ = net.SplitHostPort(r.RemoteAddr)
	}
	return address
}

func schemeOf(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// tlsOf returns the TLS state for a request of ours with the issuer's scheme. Caddy derives
// {http.request.scheme} and X-Forwarded-Proto from it; where another server ends TLS in front of
// Caddy, the caller's would give the OP a wrong scheme.
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
