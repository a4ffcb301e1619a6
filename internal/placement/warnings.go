package placement

import (
	"cmp"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"go.uber.org/zap"
)

// Warn logs what surely does not work where handlers of ours are among the routes. It is for the
// start, when all of the HTTP app is provisioned.
func (c *Checker) Warn() {
	app := c.app()
	if app == nil {
		return
	}
	all := c.arrivals(passages(app, "", ""))
	bySite := func(a, b *Site) int { return cmp.Compare(all[a].site, all[b].site) }
	for _, s := range slices.SortedStableFunc(maps.Keys(all), bySite) {
		c.warnOfHandler(app, s, all[s])
		c.warnOfChain(app, s)
	}
}

// advice is what the operator may do.
func advice(text string) zap.Field { return zap.String("advice", text) }

// app returns the HTTP app; nil: there is none.
func (c *Checker) app() *caddyhttp.App {
	loaded, err := c.HTTP()
	if app, ok := loaded.(*caddyhttp.App); ok && err == nil {
		return app
	}
	return nil
}

func (c *Checker) warnOfHandler(app *caddyhttp.App, s *Site, all passage) {
	logger := c.Logger.With(zap.String("site", all.site), zap.Strings("issuers", s.Issuers))
	if !all.possible {
		logger.Warn("oidc_session receives no request", zap.String("behind", all.behind),
			advice("write oidc_session before the directives that respond to all requests"))
		return
	}
	expected := s.Expects()
	if expected.Host != "" && !c.arrivals(passages(app, expected.Host, ""))[s].possible {
		logger.Warn("the site has not the issuer's host", zap.String("host", expected.Host),
			advice("put oidc_session on the site of the OP, not of an app, or correct the issuer"))
		return
	}
	if c.warnOfMissingPaths(app, s, all.site) {
		return
	}
	page := all
	if expected.Host != "" {
		page = c.arrivals(passages(app, expected.Host, expected.CheckSession))[s]
	}
	if fields := brokenFields(page, all); len(fields) > 0 {
		logger.Warn("header directive outside of oidc_session breaks its responses",
			zap.Strings("fields", fields), advice(
				"write the header directive after oidc_session in its block, or without > and ?"))
	}
}

// warnOfMissingPaths logs, once for each handler, which paths do not come to it. It is called at
// start, and when the OP's document says more of them.
func (c *Checker) warnOfMissingPaths(app *caddyhttp.App, s *Site, site string) bool {
	missing := c.missingPaths(app, s)
	if len(missing) == 0 {
		return false
	}
	if s.reported.CompareAndSwap(false, true) {
		c.Logger.Warn("requests for own paths do not reach oidc_session", zap.String("site", site),
			zap.Strings("issuers", s.Issuers), zap.Strings("paths", missing),
			advice("put oidc_session outside of the matcher or block, or let these paths pass"))
	}
	return true
}

// Discovered looks once more at the paths that come to a handler, when its OP's metadata is there.
// Calls after the first do nothing: a walk over all routes is not for each refresh.
func (c *Checker) Discovered(s *Site) {
	s.discovered.Do(func() {
		if app := c.app(); app != nil && !s.reported.Load() {
			c.warnOfMissingPaths(app, s, c.arrivals(passages(app, "", ""))[s].site)
		}
	})
}

// missingPaths are the paths of the site's own that no handler for the issuer gets requests for.
func (c *Checker) missingPaths(app *caddyhttp.App, s *Site) (missing []string) {
	expected := s.Expects()
	for _, path := range expected.Paths() {
		comes := false
		for other, at := range c.arrivals(passages(app, expected.Host, path)) {
			comes = comes || at.possible && other.name() == s.name()
		}
		if !comes {
			missing = append(missing, path)
		}
	}
	if expected.MayHaveCheckSession && slices.Equal(missing, []string{expected.CheckSession}) {
		return nil // the OP's own may be used, which its document will say
	}
	return missing
}

// Parts of sample responses of ours, to which header directives are applied.
const (
	samplePolicy   = "default-src 'none'"
	sampleLocation = "https://app.example.com/callback?code=x"
	sampleCookie   = "oidc_session"
)

// brokenFields names the fields of our responses that header directives outside of us surely
// break: on the way of the check page, which apps frame, and of any response, such as a redirect.
func brokenFields(page, all passage) (fields []string) {
	header := http.Header{
		"Content-Security-Policy": {samplePolicy}, "Cache-Control": {"public, max-age=600"},
	}
	page.applyDeferred(http.StatusOK, header)
	if len(header["X-Frame-Options"]) > 0 {
		fields = append(fields, "X-Frame-Options")
	}
	policies := header["Content-Security-Policy"]
	if len(policies) == 0 || slices.ContainsFunc(policies, breaksCheckPage) {
		fields = append(fields, "Content-Security-Policy")
	}
	header = http.Header{
		"Cache-Control": {"no-store"}, "Location": {sampleLocation},
		"Set-Cookie": {sampleCookie + "=x; Path=/; Secure; SameSite=None"},
	}
	all.applyDeferred(http.StatusFound, header)
	if isKept(header.Get("Cache-Control")) {
		fields = append(fields, "Cache-Control")
	}
	if header.Get("Location") != sampleLocation {
		fields = append(fields, "Location")
	}
	if !slices.ContainsFunc(header["Set-Cookie"], isSampleCookie) {
		fields = append(fields, "Set-Cookie")
	}
	return fields
}

// isKept reports whether caches take a redirect for a later one (RFC 9111, section 4.2.1).
func isKept(cacheControl string) bool {
	return lifetime.MatchString(cacheControl) &&
		!strings.Contains(cacheControl, "no-store") && !strings.Contains(cacheControl, "no-cache")
}

var lifetime = regexp.MustCompile(`(max-|s-max)age="?0*[1-9]`)

// breaksCheckPage reports whether a policy surely keeps the check page out of frames, or its
// inline script from running (Content Security Policy Level 3, sections 6.1 and 6.4.2).
func breaksCheckPage(policy string) bool {
	if policy == samplePolicy {
		return false
	}
	sources := make(map[string]string)
	for directive := range strings.SplitSeq(policy, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), " ")
		sources[strings.ToLower(name)] = strings.TrimSpace(value)
	}
	if sources["frame-ancestors"] == "'none'" {
		return true
	}
	for _, name := range []string{"script-src-elem", "script-src", "default-src"} {
		if value, ok := sources[name]; ok {
			return !strings.Contains(value, "'unsafe-inline'")
		}
	}
	return false
}

// isSampleCookie reports whether frames and the script of the check page still get the cookie.
func isSampleCookie(line string) bool {
	c, err := http.ParseSetCookie(line)
	return err == nil && c.Name == sampleCookie && !c.HttpOnly &&
		c.SameSite == http.SameSiteNoneMode
}

// applyDeferred does to the header of a response what the handlers outside do when it is written.
// What they do before that is overwritten by ours.
func (p passage) applyDeferred(status int, header http.Header) {
	for _, handler := range slices.Backward(p.outside) {
		h, ok := handler.(*headers.Handler)
		if !ok || h.Response == nil || h.Response.HeaderOps == nil {
			continue
		}
		applies := h.Response.Deferred
		if required := h.Response.Require; required != nil {
			applies = required.Match(status, header)
		}
		if applies {
			h.Response.ApplyTo(header, caddy.NewReplacer())
		}
	}
}
