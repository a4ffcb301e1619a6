package logout

import (
	"cmp"
	"errors"
	"net/url"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
)

// maxLogged is how much of what a request says the log keeps, in characters.
const maxLogged = 256

// log writes the line that stands for a request. It holds nothing of the request but who asked,
// and, where it is refused or fails, the address that was asked for.
func (e *EndSession) log(l *logoutExchange, outcome string, more ...zap.Field) {
	level := zap.InfoLevel
	if outcome == "refused" || outcome == "failed" {
		level = zap.WarnLevel
	}
	if outcome == "failed" && l.request.Redirect != "" {
		address := loggedAddress(l.request.Redirect)
		more = append(more, zap.String("post_logout_redirect_uri", address))
	}
	fields := []zap.Field{
		zap.String("issuer", l.op.Issuer), zap.String("outcome", outcome),
		zap.String("client_id", assets.Shorten(l.request.ClientID, maxLogged)),
		zap.Bool("hinted", l.request.Hinted), zap.Bool("redirect", l.request.Redirect != ""),
		zap.String("client_ip", handlers.ClientAddress(l.r)),
	}
	e.env.Logger.Log(level, "end_session", append(fields, more...)...)
}

// logFailed says why the OP's own session may go on.
func (e *EndSession) logFailed(l *logoutExchange, err error) {
	advice := zap.Skip()
	if known := new(browser.NotEndedError); errors.As(err, &known) {
		advice = zap.String("advice", known.Advice)
	}
	e.log(l, "failed", zap.Error(err), advice)
}

// logNothingEnds says once that users may still be signed in at the OP, by one of its cookies.
func (e *EndSession) logNothingEnds(op *handlers.OP) {
	e.nothingEnds.Do(func() {
		e.env.Logger.Warn("end_session ends no session at the OP itself",
			zap.String("issuer", op.Issuer),
			zap.String("advice", "if the OP signs users in by a cookie, set login_cookie, "+
				"clear_cookies or upstream"))
	})
}

// fields are what the log says of a request that is refused.
func (b *badRequestError) fields() []zap.Field {
	fields := []zap.Field{zap.String("parameter", b.parameter), zap.String("why", b.reason)}
	if b.address != "" {
		fields = append(fields, zap.String("post_logout_redirect_uri", b.address))
	}
	return append(fields, zap.String("advice", cmp.Or(b.advice, "mend the app's sign-out request")))
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
	plain := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return assets.Shorten(plain.String(), maxLogged)
}
