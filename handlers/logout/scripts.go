package logout

import (
	"cmp"
	"net/http"
	"net/url"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// refuseFetch says what an app has to do instead of asking by a script. Cookies of other sites'
// scripts may be withheld, and nobody would see the question or whether it worked. The log says it
// once for each client.
func (e *EndSession) refuseFetch(l *logoutExchange) {
	writeText(l.w, http.StatusBadRequest, "Nobody was signed out. Send the browser's tab here, "+
		"by a link, a form or location.assign(): not by fetch(), XMLHttpRequest or sendBeacon().\n")
	client := e.askingClient(l)
	if e.fetched.First(handlers.Hash(client)) {
		e.env.Logger.Warn("logout request by script refused",
			zap.String("issuer", l.op.Issuer), zap.String("client_id", client),
			zap.String("origin", originOf(l.r)),
			zap.String("client_ip", handlers.ClientAddress(l.r)),
			zap.String("advice", "have the app send the browser's tab to the end_session "+
				"endpoint, by a link or a form"))
	}
}

// askingClient is the configured or registered client that a request names, by client_id or by a
// hint, which is not verified; empty: none that is known.
func (e *EndSession) askingClient(l *logoutExchange) string {
	values := l.r.URL.Query()
	hint, _ := tokens.ReadIDToken(values.Get("id_token_hint"))
	l.request.ClientID = cmp.Or(values.Get("client_id"), hint.ClientID())
	if len(l.request.ClientID) > handlers.MaxClientID {
		return ""
	}
	if _, known := e.findClient(l); !known {
		return ""
	}
	return l.request.ClientID
}

// originOf is the origin of the page that a request comes from, as far as the browser says it.
func originOf(r *http.Request) string {
	const longest = 256
	page, err := url.Parse(cmp.Or(r.Header.Get("Origin"), r.Header.Get("Referer")))
	if err != nil || page.Host == "" || len(page.Host) > longest {
		return ""
	}
	return page.Scheme + "://" + page.Host
}
