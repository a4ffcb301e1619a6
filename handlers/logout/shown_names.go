package logout

import (
	"cmp"
	"net/url"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
)

// maxLogged is how much of what a request says the log keeps, in characters.
const maxLogged = 256

// opName is what pages call the OP.
func (e *EndSession) opName(op *handlers.OP) string {
	return cmp.Or(e.Name, op.Hostname())
}

// showClient names the client on a page, and links back to it. Nobody vouches for a client that
// is not known, or that registered itself and is named by a link without a hint: such a client's
// text is not shown, and nothing leads to it.
func (e *EndSession) showClient(l *logoutExchange, page *assets.View) {
	client, known := e.Clients.Find(handlers.RecordingContext(l.r), l.op.Issuer, l.request.ClientID)
	if known || l.request.Hinted {
		page.Client = client.ShownName(l.request.ClientID)
	}
	page.Host = l.request.Host
	if l.request.Unregistered && page.Page == assets.PageSignedOut {
		page.Problem = assets.ProblemUnknownRedirect
	}
	isDeadEnd := page.Page == assets.PageSignedIn || page.Page == assets.PageError || page.Problem == assets.ProblemUnknownRedirect
	if !known || !isDeadEnd || client.Registered && !l.request.Hinted {
		return
	}
	back := clients.WebAddress(l.request.Redirect)
	if back == nil {
		back = client.Origin()
	}
	page.Back, page.BackName = back.String(), clients.ShownHost(back.String())
	if !client.Registered {
		page.BackName = cmp.Or(assets.PlainName(client.Name), page.BackName)
	}
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
