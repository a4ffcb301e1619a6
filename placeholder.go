package oidcsession

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/oidc-session/caddy-oidc-session/handlers"
)

// The placeholders for what the sealed cookie of a request says, for directives behind us and for logs.
const (
	idPlaceholder           = "http.oidc_session.id"
	browserStatePlaceholder = "http.oidc_session.browser_state"
)

// setPlaceholders lets the placeholders be asked for. The cookie is opened when one is, once, and not before. Without a session
// they are unknown, as placeholders are that nobody sets.
func (h *Handler) setPlaceholders(op *handlers.OP, r *http.Request) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	var opened bool
	var id, state string
	repl.Map(func(key string) (any, bool) {
		if key != idPlaceholder && key != browserStatePlaceholder {
			return nil, false
		}
		if !opened {
			id, state = h.browser.Session(op, r)
			opened = true
		}
		if key == idPlaceholder {
			return id, id != ""
		}
		return state, state != ""
	})
}

// replacePlaceholders returns a text with the placeholders of a request in place. What is none that is known stays, as in Caddy's own
// respond and header: braces are the body of a JSON request, too.
func replacePlaceholders(r *http.Request, text string) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	return repl.ReplaceKnown(text, "")
}
