package guard

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// refuseAll notes which cookies are refused.
func (p *passage) refuseAll() {
	for i := range p.cookies {
		if c := &p.cookies[i]; c.known && c.verdict == refused {
			p.refused = append(p.refused, i)
			p.logRefusal(c)
		}
	}
}

// isRefused reports whether a cookie of the request is refused. The further chunks of a refused
// cookie go with the first one.
func (p *passage) isRefused(name, value string) bool {
	base, first, isChunk := chunkOf(name)
	for _, i := range p.refused {
		c := &p.cookies[i]
		if c.name == name && c.value == value || isChunk && !first && c.name == base+"0" {
			return true
		}
	}
	return false
}

// strip takes the refused cookies off the request, and their certificates, which are of no use to
// anybody.
func (p *passage) strip() {
	p.keepCookies(func(name, value string) bool {
		if !isCertificateName(name) {
			return !p.isRefused(name, value)
		}
		for _, i := range p.refused {
			if by := p.cookies[i].by; by != nil && by.name == name && by.sealed == value {
				return false
			}
		}
		return true
	})
}

// answersItself reports whether the guard responds to the request. That must happen once only for
// each cookie: one without certificate may have been set at a path that is not known, so that it
// could not be expired.
func (p *passage) answersItself() bool {
	if p.OnLogout == Strip {
		return false
	}
	for _, i := range p.refused {
		if p.cookies[i].by != nil {
			return true
		}
	}
	return false
}

// answer responds to a request whose session has ended.
func (p *passage) answer(w http.ResponseWriter) error {
	p.expire(w.Header())
	p.clearSiteData(w.Header())
	if p.OnLogout == Redirect {
		w.Header().Set("Location", p.env.Replace(p.request, p.RedirectURL))
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	// RFC 9110, section 15.5.2: there must be one.
	w.Header().Set("Www-Authenticate", "Cookie")
	if err := caddyhttp.Error(http.StatusUnauthorized, errEnded); handlesError(p.request, err) {
		return err
	}
	return p.writePage(w)
}

// writePage says that the session has ended.
func (p *passage) writePage(w http.ResponseWriter) error {
	pages, err := assets.LoadPages("")
	if err != nil {
		return err
	}
	body, err := pages.Render(assets.View{
		Page: assets.PageEnded, Issuer: p.site.host,
		Language: assets.ChooseLanguage("", p.request.Header.Get("Accept-Language")),
	})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", pages.ContentSecurityPolicy())
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write(body) // a browser that has gone needs no page
	return nil
}

// errEnded is what routes for errors get.
var errEnded = errors.New("the session at the OpenID Provider has ended")

// handlesError reports whether a route for errors (handle_errors) responds to an error of a request.
// The server has those of all its sites, and of all statuses.
func handlesError(r *http.Request, err error) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Errors == nil {
		return false
	}
	if r.Context().Value(caddy.ReplacerCtxKey) != nil {
		r = server.Errors.WithError(r, err) // matchers ask for its status
	}
	return handledBy(server.Errors.Routes, r)
}

// handledBy reports whether one of some routes takes a request.
func handledBy(routes caddyhttp.RouteList, r *http.Request) bool {
	return slices.ContainsFunc(routes, func(route caddyhttp.Route) bool {
		matches, err := route.MatcherSets.AnyMatchWithError(r)
		if err != nil || !matches {
			return false
		}
		takes := func(handler caddyhttp.MiddlewareHandler) bool {
			inner, ok := handler.(*caddyhttp.Subroute)
			return !ok || handledBy(inner.Routes, r)
		}
		return len(route.Handlers) == 0 || slices.ContainsFunc(route.Handlers, takes)
	})
}

// expire expires the refused cookies in the browser, and their certificates, unless the app does
// something with a cookie at the same place itself. It reports whether there were any.
func (p *passage) expire(header http.Header) (added bool) {
	for _, i := range p.refused {
		c := &p.cookies[i]
		names := []string{c.name, certificateName(c.name)}
		if base, first, ok := chunkOf(c.name); ok && first {
			for j := range p.cookies {
				if b, first, ok := chunkOf(p.cookies[j].name); ok && !first && b == base {
					names = append(names, p.cookies[j].name)
				}
			}
		}
		for _, scope := range p.scopesOf(c) {
			if p.sets(c.name, scope) {
				continue
			}
			for _, name := range names {
				header.Add("Set-Cookie", p.cookieLine(name, "", scope, -1))
			}
			added = true
		}
	}
	if added {
		exchange.ForbidCaching(header)
	}
	return added
}

// A scope is where a cookie is set, by its attributes.
type scope struct{ path, domain string }

// scopesOf returns where a refused cookie may be set: where its certificate says, else wherever the
// browser may have it from that sends it with this request.
func (p *passage) scopesOf(c *presented) []scope {
	switch {
	case c.by != nil && c.by.Path != "":
		return []scope{{c.by.Path, c.by.Domain}}
	case c.by != nil, p.hasOther(c):
		return nil
	}
	if prefix, _ := cutPrefix(c.name); prefix == "__Host-" {
		return []scope{{path: "/"}}
	}
	return scopesAbove(p.request.URL.Path)
}

// maxScopes is at how many places a cookie is expired whose place is not known.
const maxScopes = 16

// scopesAbove are the places of the host from which a browser sends cookies to a path (RFC 6265,
// section 5.1.4).
func scopesAbove(path string) []scope {
	scopes := []scope{{path: "/"}}
	for i := 1; i < len(path) && len(scopes) < maxScopes; i++ {
		if strings.ContainsAny(path[i:i+1], "; \t") {
			break
		}
		if path[i] == '/' {
			scopes = append(scopes, scope{path: path[:i]}, scope{path: path[:i+1]})
		}
	}
	return scopes
}

// hasOther reports whether the request has another cookie of the name that passes: it might be at
// the place where the refused one is looked for.
func (p *passage) hasOther(c *presented) bool {
	for i := range p.cookies {
		if other := &p.cookies[i]; other.name == c.name && other.verdict != refused {
			return true
		}
	}
	return false
}

// cookieLine returns a Set-Cookie line of our own, with a Max-Age in seconds; under 0 it deletes.
func (p *passage) cookieLine(name, value string, at scope, maxAge int) string {
	cookie := http.Cookie{
		Name: name, Value: value, Path: at.path, Domain: at.domain, MaxAge: maxAge, HttpOnly: true,
	}
	if p.isSecure() {
		cookie.Secure = true
		// Whoever the app lets send its cookie must send the certificate, which alone is worth
		// nothing.
		cookie.SameSite = http.SameSiteNoneMode
	}
	return cookie.String()
}

// isSecure reports whether the browser has sent the request over https, as it says itself or a
// proxy in front does that Caddy trusts.
func (p *passage) isSecure() bool {
	if p.request.TLS != nil {
		return true
	}
	trusted, _ := caddyhttp.GetVar(p.request.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted && strings.EqualFold(p.request.Header.Get("X-Forwarded-Proto"), "https")
}

// clearSiteData has the browser forget what it has stored of the site (Clear Site Data, section
// 3.1), if that is configured.
func (p *passage) clearSiteData(header http.Header) {
	if p.ClearSiteData {
		header.Set("Clear-Site-Data", `"cache", "storage"`)
	}
}

// A sighting is that of a refused cookie without certificate in one browser.
type sighting struct {
	value [16]byte
	at    time.Time
}

// logRefusal logs the first refusal of a session at a site. Of cookies without certificate it warns
// once they come from one browser, each time anew: they are set where the guard does not see it.
func (p *passage) logRefusal(c *presented) {
	host, cookie := zap.String("host", p.site.host), zap.String("cookie", c.name)
	if c.by != nil {
		session := c.by.Session
		if p.logged.First(handlers.Hash(p.site.host + " " + string(session[:]))) {
			p.env.Logger.Info("an app's session is refused: the session at the OP has ended",
				host, cookie, zap.Stringer("session", session))
		}
		return
	}
	client, _ := caddyhttp.GetVar(p.request.Context(), caddyhttp.ClientIPVarKey).(string)
	browser := handlers.Hash(strings.Join(
		[]string{p.site.host, c.name, client, p.request.UserAgent()}, "\x00"))
	before, found := p.bare.Get(browser)
	now := sighting{handlers.Hash(c.value), p.now}
	p.bare.Put(browser, now)
	again := found && before.value != now.value && p.now.Sub(before.at) < time.Minute
	if again && p.logged.First(handlers.Hash("bare "+p.site.host+" "+c.name)) {
		p.env.Logger.Warn("a session cookie comes back without certificate: a route sets it past "+
			"oidc_guard, so that users have to sign in again and again; "+
			"have one oidc_guard guard the whole site, or add ignore_cookie",
			host, cookie, zap.String("path", p.request.URL.Path))
	}
}
