package clients

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/oidc-session/caddy-oidc-session/assets"
)

// maxShownHost is how much of a host a page shows, in characters: its end, which says whose it
// is.
const maxShownHost = 64

// ShownName is what pages call a client that took part in a session, or signed a request: by the
// name that the operator gave it. One that registered itself chose its name, and is called by the
// host of its addresses.
func (c Client) ShownName(id string) string {
	if c.registered {
		host := cmp.Or(ShownHost(c.Origin().String()), ShownHost(c.BackChannelLogoutURI))
		return cmp.Or(host, shownID(id))
	}
	return cmp.Or(assets.PlainName(c.Name), shownID(id))
}

// shownID is what pages call a client by its ID: by the host of one that is a URL, whose path
// anybody may choose.
func shownID(id string) string {
	if strings.Contains(id, "://") {
		return cmp.Or(ShownHost(id), "?")
	}
	return cmp.Or(assets.PlainName(id), "?")
}

// Origin is that of the client's pages, as far as an address of them is registered; else empty.
func (c Client) Origin() *url.URL {
	addresses := append(slices.Clone(c.PostLogoutRedirectURIs), c.FrontChannelLogoutURI)
	for _, address := range addresses {
		if u := WebAddress(address); u != nil {
			return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}
		}
	}
	return new(url.URL)
}

// WebAddress returns an address that a page may link to; nil: it is none.
func WebAddress(address string) *url.URL {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil ||
		u.Scheme != "https" && u.Scheme != "http" {
		return nil
	}
	return u
}

// hostName is a host of ASCII characters as browsers show it: a name, or an IPv4 or IPv6 address.
var hostName = regexp.MustCompile(`^([a-z0-9_.-]+|[0-9a-f:.]+)$`)

// ShownHost is the host of an address as a page shows it, in ASCII; empty: it has none that a
// browser would go to.
func ShownHost(address string) string {
	u := WebAddress(stripUser(address))
	if u == nil {
		return ""
	}
	host := strings.ToLower(u.Hostname())
	if strings.ContainsFunc(host, func(c rune) bool { return c > 0x7e }) {
		var err error
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return ""
		}
	}
	if !hostName.MatchString(host) {
		return ""
	}
	if n := len(host); n > maxShownHost {
		host = "…" + host[n-maxShownHost+1:]
	}
	return host
}

// stripUser returns an address without user information, which browsers go to all the same.
func stripUser(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}
