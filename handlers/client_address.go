package handlers

import (
	"net"
	"net/http"
)

// ClientAddress is the address that questions are counted by: the client IP as Caddy sees it,
// behind trusted proxies too; the /64 of an IPv6 address, since one client has all of that.
func ClientAddress(r *http.Request) string {
	address := clientIP(r)
	ip := net.ParseIP(address)
	if ip == nil || ip.To4() != nil {
		return address
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}
