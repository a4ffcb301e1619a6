package logout

import (
	"cmp"
	"io"
	"net/http"
	"net/url"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// refuseFetch says what an app has to do instead. Cookies of other sites' scripts may be
// withheld, and nobody would see the question or whether it worked. The log says it once for each
// client.
func (e *EndSession) refuseFetch(op *handlers.OP, w http.ResponseWriter, r *http.Request) {
	writeText(w, http.StatusBadRequest, "Nobody was signed out. Send the browser's tab here, by a link, a form or "+
		"location.assign(): not by fetch(), XMLHttpRequest or sendBeacon().\n")
	client := e.askingClient(op, r)
	if e.fetched.First(handlers.Hash(client)) {
		e.env.Logger.Warn("logout request by script refused", zap.String("issuer", op.Issuer), zap.String("client_id", client),
			zap.String("origin", originOf(r)), zap.String("client_ip", handlers.ClientAddress(r)),
			zap.String("advice", "have the app send the browser's tab to the end_session endpoint, by a link or a form"))
	}
}

// askingClient is the configured or registered client that a request names, by client_id or by a
// hint, which is not verified; empty: none that is known.
func (e *EndSession) askingClient(op *handlers.OP, r *http.Request) string {
	values := r.URL.Query()
	id := values.Get("client_id")
	if id == "" {
		hint, _ := tokens.ReadIDToken(values.Get("id_token_hint"))
		id = hint.ClientID()
	}
	if id == "" || len(id) > handlers.MaxClientID {
		return ""
	}
	if _, known := e.Clients.Find(handlers.RecordingContext(r), op.Issuer, id); !known {
		return ""
	}
	return id
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

// writeText answers what is no browser's tab.
func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // to a client that may have gone
}
