package signin

import (
	"net/http"
	"slices"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// noteLoginCookie notes how the OP sets its login cookie, and that a browser has it.
func (o *Observer) noteLoginCookie(op *handlers.OP, r *http.Request, header http.Header) {
	if o.LoginCookiePaths == nil || o.LoginCookie == "" {
		return
	}
	var lines []string
	if len(header["Set-Cookie"]) > 0 {
		lines = o.ownLines(op, r, header)
	}
	o.LoginCookiePaths.Note(lines, o.LoginCookie, r, o.env.Now())
}

// checkLoginCookie says once that a user has signed in and no login cookie was observed, of which
// nothing else would be noticed: not in this response, and in no request or response before.
func (o *Observer) checkLoginCookie(op *handlers.OP, request browser.PendingRequest) {
	if o.LoginCookiePaths == nil || o.LoginCookie == "" || request.Is(browser.SilentRequest) || o.LoginCookiePaths.Named.Load() {
		return
	}
	o.LoginCookiePaths.Doubted.Store(true)
	o.LoginCookiePaths.Unnamed.Do(func() {
		o.env.Logger.Warn("login cookie not observed at a sign-in", zap.String("issuer", op.Issuer), zap.String("login_cookie", o.LoginCookie),
			zap.String("advice", "set login_cookie to the cookie that the OP sets when a user signs in, or leave it out: sign-outs at the OP go unnoticed"))
	})
}

// loginCookieDeleted reports whether a response deletes the OP's own login cookie, which the
// request carried. A changed value means nothing: OPs rotate it as they like. In a frame it means
// nothing either: frameworks clean up there what they were not sent.
func (o *Observer) loginCookieDeleted(op *handlers.OP, r *http.Request, header http.Header) bool {
	cleared := exchange.ClearsCookies(header)
	if o.LoginCookie == "" || len(header["Set-Cookie"]) == 0 && !cleared || exchange.IsFramed(r) {
		return false
	}
	if !exchange.HasCookie(r, o.LoginCookie) {
		return false
	}
	deleted, set := exchange.CookieEffect(o.ownLines(op, r, header), o.LoginCookie, r.URL.Path, o.env.Now())
	return !set && (deleted || cleared)
}

// ownLines are the Set-Cookie lines of a response that are not for another issuer's pages.
func (o *Observer) ownLines(op *handlers.OP, r *http.Request, header http.Header) []string {
	return slices.DeleteFunc(slices.Clone(header["Set-Cookie"]), func(line string) bool { return o.isAnotherIssuers(op, line, r.URL.Path) })
}

// isAnotherIssuers reports whether a Set-Cookie line is for pages at or below the path of another
// issuer on the host, and not for those of this one: realms of one OP have login cookies of one
// name.
func (o *Observer) isAnotherIssuers(op *handlers.OP, line, requestPath string) bool {
	if o.Issuers == nil {
		return false
	}
	c, err := http.ParseSetCookie(line)
	if err != nil {
		return false
	}
	where := exchange.CookiePath(c.Path, requestPath)
	return handlers.AnyOP(o.Issuers(), func(other *handlers.OP) bool {
		return other.Origin == op.Origin && slices.ContainsFunc(other.Names, func(name handlers.IssuerName) bool {
			return handlers.IsPathBelow(where, name.Path) && !op.HasPathBelow(name.Path)
		})
	})
}
