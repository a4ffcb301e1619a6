package guard

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

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
// cookie go with the first one, unless there is another first one.
func (p *passage) isRefused(name, value string) bool {
	base, first, isChunk := chunkOf(name)
	_, isItself := p.site.find(name)
	firstOf := ""
	if isChunk && !first && !isItself {
		firstOf = base + "0"
	}
	for _, i := range p.refused {
		c := &p.cookies[i]
		if c.name == name && c.value == value ||
			firstOf != "" && c.name == firstOf && !p.hasOther(c) {
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

// respondsItself reports whether the guard responds to the request. It does not to a sign-in, which
// would fail, and does so once only for each cookie: one that was set at a path which is not known
// might not be expired.
func (p *passage) respondsItself() bool {
	if p.OnLogout == Strip || len(p.attempts) > 0 {
		return false
	}
	for _, i := range p.refused {
		if by := p.cookies[i].by; by != nil && by.Path != "" {
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

// handlesError reports whether a route for errors (handle_errors) takes an error of a request. A
// server has those of all its sites, and of all statuses.
func handlesError(r *http.Request, err error) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Errors == nil {
		return false
	}
	if r.Context().Value(caddyhttp.OriginalRequestCtxKey) != nil { // it has Caddy's replacer, too
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
				added = p.addExpiry(header, name, scope) || added
			}
		}
	}
	if added {
		exchange.ForbidCaching(header)
	}
	return added
}

const (
	// maxExpiries is how many lines expire cookies: whoever sends hundreds of them gets no answer
	// that is larger than the question by far.
	maxExpiries = 128
	// maxPath is the longest path of a cookie, in bytes: browsers ignore longer ones (RFC 6265bis,
	// section 5.6).
	maxPath = 1024
)

// addExpiry adds the line that expires a cookie, once.
func (p *passage) addExpiry(header http.Header, name string, at scope) (added bool) {
	line := p.cookieLine(name, "", at, 0)
	before := header["Set-Cookie"]
	if len(at.path) > maxPath || len(before) > maxExpiries || slices.Contains(before, line) {
		return false
	}
	header.Add("Set-Cookie", line)
	return true
}

// A scope is where a cookie is set, by its attributes.
type scope struct {
	path, domain string
	partitioned  bool
}

// scopeOf returns where a certificate's cookie is set.
func scopeOf(c *certificate) scope { return scope{c.Path, c.Domain, c.Partitioned} }

// scopesOf returns where a refused cookie may be set: where its certificate says, else wherever the
// browser may have it from that sends it with this request.
func (p *passage) scopesOf(c *presented) []scope {
	prefix, _ := cutPrefix(c.name)
	switch {
	case c.by != nil && c.by.Path != "":
		return []scope{scopeOf(c.by)}
	case c.disguised, p.hasOther(c):
		return nil
	case prefix == "__Host-":
		return []scope{{path: "/"}}
	case c.by != nil:
		return scopesAbove(p.path, c.by.Domain)
	}
	return scopesAbove(p.path, "")
}

// maxScopes is at how many places a cookie is expired whose place is not known.
const maxScopes = 16

// scopesAbove are the places of the host, or of a domain, from which a browser sends cookies to a
// path (RFC 6265, section 5.1.4).
func scopesAbove(path, domain string) []scope {
	scopes := []scope{{path: "/", domain: domain}}
	for i := 1; i < len(path) && len(scopes) < maxScopes; i++ {
		if strings.ContainsAny(path[i:i+1], "; \t") {
			break
		}
		if path[i] == '/' {
			scopes = append(scopes,
				scope{path: path[:i], domain: domain}, scope{path: path[:i+1], domain: domain})
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

// cookieLine returns a Set-Cookie line of our own, with a Max-Age in seconds; 0 deletes. Go's own
// writer refuses names that apps and browsers have, such as those with brackets.
func (p *passage) cookieLine(name, value string, at scope, maxAge int) string {
	line := name + "=" + value + "; Path=" + at.path + "; Max-Age=" + strconv.Itoa(maxAge) +
		"; HttpOnly"
	if at.domain != "" {
		line += "; Domain=" + at.domain
	}
	// Browsers refuse a prefix without Secure; one who could set such a cookie had https.
	if prefix, _ := cutPrefix(name); prefix != "" || p.isSecure() {
		// Whoever the app lets send its cookie must send the certificate, which alone is worth
		// nothing.
		line += "; Secure; SameSite=None"
	}
	if at.partitioned {
		line += "; Partitioned"
	}
	return line
}

// isSecure reports whether the browser has sent the request over https, to Caddy or to a proxy in
// front. Nobody is trusted by that: who says so without it gets cookies that he cannot use.
func (p *passage) isSecure() bool {
	return p.request.TLS != nil ||
		strings.EqualFold(p.request.Header.Get("X-Forwarded-Proto"), "https")
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
	if c.disguised { // its name is the client's own
		p.env.Logger.Debug("a cookie that apps may take for a session cookie is refused", host)
		return
	}
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
	before, found := p.uncertified.Get(browser)
	now := sighting{handlers.Hash(c.value), p.now}
	p.uncertified.Put(browser, now)
	again := found && before.value != now.value && p.now.Sub(before.at) < time.Minute
	if again && p.logged.First(handlers.Hash("bare "+p.site.host+" "+c.name)) {
		p.env.Logger.Warn("a session cookie comes back without certificate", host, cookie,
			zap.String("path", p.path), zap.String("advice", "a route or a script sets it past "+
				"oidc_guard, and users have to sign in again and again: "+
				"have one oidc_guard guard the whole site, or add ignore_cookie"))
	}
}
