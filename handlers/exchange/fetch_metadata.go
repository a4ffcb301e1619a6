package exchange

import (
	"net/http"
	"strings"
)

// LoadsPage reports whether a request is for a page, of a tab or a frame (Fetch Metadata, section
// 2.1). Only such a request gets a response by a page that posts itself. Engines without that
// header field name HTML among what they accept.
func LoadsPage(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "document", "iframe", "frame":
		return true
	case "":
		return strings.Contains(strings.Join(r.Header["Accept"], ","), "text/html")
	}
	return false
}

// IsPartOfPage reports whether a request is certainly for something on a page: an image, a script,
// data.
func IsPartOfPage(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Dest") != "" && !LoadsPage(r)
}

// IsFetched reports whether a script sends a request (Fetch Metadata, sections 2.1 and 2.2): by
// fetch, XMLHttpRequest or sendBeacon.
func IsFetched(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Mode") {
	case "cors", "no-cors", "same-origin":
		return r.Header.Get("Sec-Fetch-Dest") == "empty"
	}
	return false
}

// IsFramed reports whether a request loads a frame (Fetch Metadata, section 2.1).
func IsFramed(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "iframe", "frame", "embed", "object":
		return true
	}
	return false
}

// IsPlainNavigation reports whether a request certainly loads a whole tab, by a method with which
// Lax cookies are sent (RFC 6265bis, section 5.6.7.1).
func IsPlainNavigation(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Dest") == "document" &&
		IsNavigation(r)
}

// IsNavigation reports whether a request loads a whole tab (Fetch Metadata, sections 2.1 and 2.2)
// for someone to see it. Engines without those header fields count as such.
func IsNavigation(r *http.Request) bool {
	dest, mode := r.Header.Get("Sec-Fetch-Dest"), r.Header.Get("Sec-Fetch-Mode")
	return !IsSpeculative(r) &&
		(dest == "" || dest == "document") && (mode == "" || mode == "navigate")
}

// IsSpeculative reports whether a browser loads what nobody may ever see, by prefetch or
// prerender. The fields are those of today's browsers and of earlier ones.
func IsSpeculative(r *http.Request) bool {
	return r.Header.Get("Sec-Purpose") != "" ||
		strings.EqualFold(r.Header.Get("Purpose"), "prefetch") ||
		strings.EqualFold(r.Header.Get("X-Moz"), "prefetch")
}

// IsEarly reports whether a request came as TLS early data, which an attacker may replay (RFC
// 8470). Caddy completes the handshake before HTTP/1 and HTTP/2; over HTTP/3 requests may come
// before, as they may through a server in front.
func IsEarly(r *http.Request) bool {
	return r.Header.Get("Early-Data") == "1" || r.TLS != nil && !r.TLS.HandshakeComplete
}
