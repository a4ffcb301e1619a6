package handlerstest

import (
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Ask is an authorization request with more parameters than usual, or others.
func Ask(state string, more url.Values) string {
	path, raw, _ := strings.Cut(Authorize(state), "?")
	query, _ := url.ParseQuery(raw)
	maps.Copy(query, more)
	return path + "?" + query.Encode()
}

// Posted is the page by which an OP answers.
func Posted(target, fields string) string {
	return `<!doctype html><html><body onload="document.forms[0].submit()"><form method="post" action="` + html.EscapeString(target) + `">` +
		fields + `<noscript><button>Continue</button></noscript></form></body></html>`
}

func RespondPage(page string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "script-src 'nonce-x'")
		_, _ = io.WriteString(w, page)
	}
}

// CurrentState is the state that the check page would read, or that of nobody.
func (a *Agent) CurrentState() string {
	if state := a.StateCookie(); state != "" {
		return state
	}
	return a.W.Keys.AnonymousState(a.W.OP.Issuer)
}

// Subs are the subs of a session.
func (w *World) Subs(t testing.TB, id sessionstate.SessionID) string {
	t.Helper()
	var subs []string
	for _, client := range w.Clients(t, id) {
		for _, s := range client.Subjects {
			subs = append(subs, s.Sub)
		}
	}
	return strings.Join(subs, " ")
}
