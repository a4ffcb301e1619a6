package handlers

import (
	"cmp"
	"fmt"
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

// maxLogged is how much of what a request says the log keeps, in characters.
const maxLogged = 256

// ValidateName reports why an OP cannot have a name on pages. Empty: it goes by its host.
func ValidateName(name string) error {
	plain := assets.PlainName(name)
	if plain == name {
		return nil
	}
	err := fmt.Errorf("name is %q, but must be 1 to %d characters that can be seen", name, assets.MaxName)
	if plain == "" {
		return err
	}
	return fmt.Errorf("%w: write %q", err, plain)
}

// opName is what pages call the OP.
func (e *EndSession) opName(op *OP) string {
	return cmp.Or(e.Name, op.hostname())
}

// shownName is what pages call a client that took part in a session, or signed a request: by the
// name that the operator gave it. One that registered itself chose its name, and goes by the host
// of its addresses.
func (c Client) shownName(id string) string {
	if c.registered {
		return cmp.Or(shownHost(c.origin().String()), shownHost(c.BackChannelLogoutURI), shownID(id))
	}
	return cmp.Or(assets.PlainName(c.Name), shownID(id))
}

// shownID is what pages call a client by its ID: by the host of one that is a URL, whose path
// anybody may choose.
func shownID(id string) string {
	if strings.Contains(id, "://") {
		return cmp.Or(shownHost(id), "?")
	}
	return cmp.Or(assets.PlainName(id), "?")
}

// origin is that of the client's pages, as far as an address of them is registered; else empty.
func (c Client) origin() *url.URL {
	for _, address := range append(slices.Clone(c.PostLogoutRedirectURIs), c.FrontChannelLogoutURI) {
		if u := webAddress(address); u != nil {
			return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}
		}
	}
	return new(url.URL)
}

// webAddress returns an address that a page may link to; nil: it is none.
func webAddress(address string) *url.URL {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil
	}
	return u
}

// showClient names the client on a page, and links back to it. Nobody vouches for a client that
// is not known, or that registered itself and is named by a link without a hint: such a client's
// text is not shown, and nothing leads to it.
func (e *EndSession) showClient(l *leave, page *assets.View) {
	client, known := e.Clients.Find(recording(l.r), l.op.Issuer, l.request.ClientID)
	if known || l.request.Hinted {
		page.Client = client.shownName(l.request.ClientID)
	}
	page.Host = l.request.Host
	if l.request.Unregistered && page.Page == assets.PageSignedOut {
		page.Problem = assets.ProblemUnknownRedirect
	}
	isDeadEnd := page.Page == assets.PageSignedIn || page.Page == assets.PageError || page.Problem == assets.ProblemUnknownRedirect
	if !known || !isDeadEnd || client.registered && !l.request.Hinted {
		return
	}
	back := webAddress(l.request.Redirect)
	if back == nil {
		back = client.origin()
	}
	page.Back, page.BackName = back.String(), shownHost(back.String())
	if !client.registered {
		page.BackName = cmp.Or(assets.PlainName(client.Name), page.BackName)
	}
}

// hostName is a host of ASCII characters as browsers show it: a name, or an IPv4 or IPv6 address.
var hostName = regexp.MustCompile(`^([a-z0-9_.-]+|[0-9a-f:.]+)$`)

// shownHost is the host of an address as a page shows it, in ASCII; empty: it has none that a
// browser would go to.
func shownHost(address string) string {
	u := webAddress(stripUser(address))
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

// loggedAddress is an address for the log: without user information, query and fragment, which
// may be secret.
func loggedAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "not a URL"
	}
	if u.Opaque != "" {
		return assets.Shorten(u.Scheme, maxLogged) + ":"
	}
	return assets.Shorten((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String(), maxLogged)
}
