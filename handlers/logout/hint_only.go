package logout

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// isServerCall reports whether a request comes from an app's server: it has nothing of what a
// browser sends with a tab, and no cookie of ours.
func isServerCall(op *handlers.OP, r *http.Request) bool {
	fields := []string{"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Origin", "Referer"}
	for _, field := range fields {
		if r.Header.Get(field) != "" {
			return false
		}
	}
	names := op.Cookies
	return !strings.Contains(strings.Join(r.Header["Accept"], ","), "text/html") &&
		!exchange.HasCookie(r, names.Session) && !exchange.HasCookie(r, names.State) &&
		!exchange.HasCookiePrefix(r, names.Pending)
}

// noHolder is the response to a server call that ends nothing, in words that fit all that may be
// wrong with one: the caller does not learn what of a token is right.
const noHolder = "No session was ended: a server's request needs an unexpired id_token_hint of " +
	"this provider, with the sid of a session.\n"

// serveHintOnly ends the sessions that the hint of a server call names. An ID token is enough to
// do so until it expires, whereas a browser's hint may have expired long ago.
func (e *EndSession) serveHintOnly(l *logoutExchange) {
	holder, err := e.hintedHolder(l)
	if err != nil {
		e.log(l, "refused", zap.Error(err))
		writeText(l.w, http.StatusBadRequest, noHolder)
		return
	}
	keys, err := e.env.Keys(handlers.RecordingContext(l.r))
	if err != nil {
		const text = "No session was ended: try again later.\n"
		writeText(l.w, http.StatusServiceUnavailable, text)
		return
	}
	l.Cookies = browser.ReadCookies(e.env, l.op, keys, l.r)
	l.Patient = true
	ok := l.Record(zap.Skip(), func(ctx context.Context) ([]*registry.Session, error) {
		ending := registry.Ending{Reason: registry.ReasonLogout}
		return e.env.Registry.EndHolder(ctx, l.op.Issuer, holder, ending)
	})
	switch {
	case !ok:
		e.log(l, "failed")
		const text = "The session may not have ended: try again later.\n"
		writeText(l.w, http.StatusServiceUnavailable, text)
	case len(l.Ended) == 0:
		e.log(l, "refused", zap.String("why", "the hint names no session"))
		writeText(l.w, http.StatusBadRequest, noHolder)
	default:
		e.log(l, "signed out", zap.Bool("hint_only", true))
		writeText(l.w, http.StatusOK, "The session has ended.\n")
	}
}

// hintedHolder verifies the hint of a server call.
func (e *EndSession) hintedHolder(l *logoutExchange) (holder registry.Holder, err error) {
	values, err := readParameters(l.w, l.r)
	if err != nil {
		return holder, err
	}
	hint, err := e.verifyHint(l, values.Get("id_token_hint"))
	if err != nil {
		return holder, err
	}
	client := cmp.Or(values.Get("client_id"), hint.ClientID())
	l.request.ClientID, l.request.Hinted = client, true
	switch {
	case client == "" || !hint.IsFor(client):
		return holder, errors.New("the hint was issued to another client")
	case !e.env.Now().Before(hint.Expiry):
		return holder, errors.New("the hint has expired")
	case hint.SessionID == "":
		return holder, errors.New("the hint has no sid")
	}
	return registry.Holder{ClientID: client, Sub: hint.Subject, Sid: hint.SessionID}, nil
}
