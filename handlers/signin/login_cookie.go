package signin

import (
	"net/http"
	"slices"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// loginCookieLines are the Set-Cookie lines of a response, without those for another issuer's
// pages. Nil while no login cookie is configured.
func (x *observation) loginCookieLines(header http.Header) []string {
	if x.LoginCookie == "" {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(header["Set-Cookie"]), func(line string) bool {
		return x.isAnotherIssuers(x.op, line, x.request.URL.Path)
	})
}

// noteLoginCookie notes how the OP sets its login cookie, and that a browser has it.
func (x *observation) noteLoginCookie(lines []string) {
	if x.LoginCookie != "" {
		x.loginCookiePaths.Note(lines, x.LoginCookie, x.request, x.env.Now())
	}
}

// checkLoginCookie warns once when a user has signed in and no login cookie was observed, in this
// response or in any request or response before. Nobody would notice otherwise.
func (x *observation) checkLoginCookie(request browser.PendingRequest) {
	if x.LoginCookie != "" && !request.Is(browser.SilentRequest) && x.loginCookiePaths.Doubt() {
		x.env.Logger.Warn("login cookie not observed at a sign-in",
			zap.String("issuer", x.op.Issuer), zap.String("login_cookie", x.LoginCookie),
			zap.String("advice", "set login_cookie to the cookie that the OP sets when a user "+
				"signs in, or leave it out: sign-outs at the OP go unnoticed"))
	}
}

// isLoginCookieDeleted reports whether a response deletes the OP's own login cookie, which the
// request carried. A changed value means nothing: OPs rotate it as they like. In a frame it means
// nothing either: frameworks delete there what they did not get.
func (x *observation) isLoginCookieDeleted(header http.Header, lines []string) bool {
	cleared := exchange.ClearsCookies(header)
	if x.LoginCookie == "" || len(lines) == 0 && !cleared || exchange.IsFramed(x.request) {
		return false
	}
	if !exchange.HasCookie(x.request, x.LoginCookie) {
		return false
	}
	path := x.request.URL.Path
	deleted, set := exchange.CookieEffect(lines, x.LoginCookie, path, x.env.Now())
	return !set && (deleted || cleared)
}

// noteRenewal notes that the OP has set another login cookie than the browser brought, in the
// response to any request.
func (x *observation) noteRenewal(lines []string) {
	for _, line := range lines {
		c, err := http.ParseSetCookie(line)
		if err != nil || c.Name != x.LoginCookie || exchange.IsDeletion(c, x.env.Now()) {
			continue
		}
		for _, value := range exchange.CookieValues(x.request, x.LoginCookie) {
			if value != c.Value {
				x.renewed.Put(handlers.Hash(value), x.env.Now())
			}
		}
	}
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
		isAt := func(name handlers.IssuerName) bool {
			return handlers.IsPathBelow(where, name.Path) && !op.HasPathBelow(name.Path)
		}
		return other.Origin == op.Origin && slices.ContainsFunc(other.Names, isAt)
	})
}
