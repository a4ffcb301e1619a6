package logout

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// isServerCall reports whether a request comes from an app's server: it has nothing of what a
// browser sends with a tab, and no cookie of ours.
func isServerCall(op *handlers.OP, r *http.Request) bool {
	for _, field := range []string{"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Origin", "Referer"} {
		if r.Header.Get(field) != "" {
			return false
		}
	}
	names := op.Cookies
	return !strings.Contains(strings.Join(r.Header["Accept"], ","), "text/html") &&
		!exchange.HasCookie(r, names.Session) && !exchange.HasCookie(r, names.State) && !exchange.HasCookiePrefix(r, names.Pending)
}

// serveHintOnly ends the sessions that the hint of a server call names. Each ID token is one's
// power to do so, until it expires: hints that end nothing without a browser may have expired
// long ago.
func (e *EndSession) serveHintOnly(op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) {
	l := &logoutExchange{op: op, w: w, r: r, next: next}
	holder, err := e.hintedHolder(l)
	if err != nil {
		e.log(l, "refused", zap.Error(err))
		writeText(w, http.StatusBadRequest, "No session was ended: "+errHintOnly.Error()+".\n")
		return
	}
	keys, err := e.env.Keys(handlers.RecordingContext(r))
	if err != nil {
		writeText(w, http.StatusServiceUnavailable, "No session was ended: try again later.\n")
		return
	}
	l.Cookies = browser.ReadCookies(e.env, op, keys, r)
	l.Patient = true
	ok := l.Record(zap.Skip(), func(ctx context.Context) ([]*registry.Session, error) {
		return e.env.Registry.EndHolder(ctx, op.Issuer, holder, registry.Ending{Reason: registry.ReasonLogout})
	})
	switch {
	case !ok:
		e.log(l, "failed")
		writeText(w, http.StatusServiceUnavailable, "The session may not have ended: try again later.\n")
	case len(l.Ended) == 0:
		e.log(l, "refused", zap.String("why", "the hint names no session"))
		writeText(w, http.StatusBadRequest, "No session was ended: "+errHintOnly.Error()+".\n")
	default:
		e.log(l, "signed out", zap.Bool("hint_only", true))
		writeText(w, http.StatusOK, "The session has ended.\n")
	}
}

// errHintOnly says what a server call needs, in words that fit all that is wrong with one:
// whoever calls does not learn what of a token is right.
var errHintOnly = errors.New("a server's request needs an unexpired id_token_hint of this provider, with the sid of a session")

// hintedHolder verifies the hint of a server call.
func (e *EndSession) hintedHolder(l *logoutExchange) (registry.Holder, error) {
	values, err := readLogoutParameters(l.w, l.r)
	if err != nil {
		return registry.Holder{}, err
	}
	hint, err := e.verifyHint(l.op, l.r, l.next, values.Get("id_token_hint"))
	if err != nil {
		return registry.Holder{}, err
	}
	client := values.Get("client_id")
	if client == "" {
		client = hint.ClientID()
	}
	l.request.ClientID, l.request.Hinted = client, true
	switch {
	case client == "" || !hint.IsFor(client):
		return registry.Holder{}, errors.New("the hint was issued to another client")
	case !e.env.Now().Before(hint.Expiry):
		return registry.Holder{}, errors.New("the hint has expired")
	case hint.SessionID == "":
		return registry.Holder{}, errors.New("the hint has no sid")
	}
	return registry.Holder{ClientID: client, Sub: hint.Subject, Sid: hint.SessionID}, nil
}
