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
func (b *Browser) noteLoginCookie(op *handlers.OP, r *http.Request, header http.Header) {
	if b.LoginCookiePaths == nil || b.LoginCookie == "" {
		return
	}
	var lines []string
	if len(header["Set-Cookie"]) > 0 {
		lines = b.ownLines(op, r, header)
	}
	b.LoginCookiePaths.Note(lines, b.LoginCookie, r, b.env.Now())
}

// checkLoginCookie says once that a user has signed in and no login cookie was observed, of which
// nothing else would be noticed: not in this response, and in no request or response before.
func (b *Browser) checkLoginCookie(op *handlers.OP, request browser.PendingRequest) {
	if b.LoginCookiePaths == nil || b.LoginCookie == "" || request.Is(browser.SilentRequest) || b.LoginCookiePaths.Named.Load() {
		return
	}
	b.LoginCookiePaths.Doubted.Store(true)
	b.LoginCookiePaths.Unnamed.Do(func() {
		b.env.Logger.Warn("login cookie not observed at a sign-in", zap.String("issuer", op.Issuer), zap.String("login_cookie", b.LoginCookie),
			zap.String("advice", "set login_cookie to the cookie that the OP sets when a user signs in, or leave it out: sign-outs at the OP go unnoticed"))
	})
}

// loginCookieDeleted reports whether a response deletes the OP's own login cookie, which the
// request carried. A changed value means nothing: OPs rotate it as they like. In a frame it means
// nothing either: frameworks clean up there what they were not sent.
func (b *Browser) loginCookieDeleted(op *handlers.OP, r *http.Request, header http.Header) bool {
	cleared := exchange.ClearsCookies(header)
	if b.LoginCookie == "" || len(header["Set-Cookie"]) == 0 && !cleared || exchange.IsFramed(r) {
		return false
	}
	if !exchange.HasCookie(r, b.LoginCookie) {
		return false
	}
	deleted, set := exchange.CookieEffect(b.ownLines(op, r, header), b.LoginCookie, r.URL.Path, b.env.Now())
	return !set && (deleted || cleared)
}

// ownLines are the Set-Cookie lines of a response that are not for another issuer's pages.
func (b *Browser) ownLines(op *handlers.OP, r *http.Request, header http.Header) []string {
	return slices.DeleteFunc(slices.Clone(header["Set-Cookie"]), func(line string) bool { return b.isAnotherIssuers(op, line, r.URL.Path) })
}

// isAnotherIssuers reports whether a Set-Cookie line is for pages at or below the path of another
// issuer on the host, and not for those of this one: realms of one OP have login cookies of one
// name.
func (b *Browser) isAnotherIssuers(op *handlers.OP, line, requestPath string) bool {
	if b.Issuers == nil {
		return false
	}
	c, err := http.ParseSetCookie(line)
	if err != nil {
		return false
	}
	where := exchange.CookiePath(c.Path, requestPath)
	return handlers.AnyOP(b.Issuers(), func(other *handlers.OP) bool {
		return other.Origin == op.Origin && slices.ContainsFunc(other.Names, func(name handlers.IssuerName) bool {
			return handlers.IsPathBelow(where, name.Path) && !op.HasPathBelow(name.Path)
		})
	})
}
