package placement

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
)

// warnOfChain logs what handlers outside of one of ours, or behind it, surely take away from it.
func (c *Checker) warnOfChain(app *caddyhttp.App, s *Site) {
	found, all := c.passages(app, s.Expects().Host, "")
	at := found[s]
	if !at.possible {
		return
	}
	logger := c.Logger.With(zap.String("site", at.site), zap.Strings("issuers", s.Issuers))
	if slices.ContainsFunc(at.outside, func(outer caddyhttp.MiddlewareHandler) bool {
		return s.repeats(c.Ours(outer))
	}) {
		logger.Warn("oidc_session is inside of another one for the same issuer",
			zap.String("advice", "remove one of the two: the inner one takes what the outer one adds for the OP's own"))
	}
	isOurs := func(outer caddyhttp.MiddlewareHandler) bool { return c.Ours(outer) == s }
	for i, reached := range all {
		proxy, ok := reached.handler.(*reverseproxy.Handler)
		if !ok || !reached.possible || reached.doubts != at.doubts || !slices.ContainsFunc(reached.outside, isOurs) {
			continue
		}
		goesOn := slices.ContainsFunc(all[i:], func(other passage) bool { return slices.Contains(other.outside, reached.handler) })
		if option := hidesLocation(proxy, goesOn); option != "" {
			logger.Warn("the OP's redirects lose their Location behind oidc_session", zap.String("option", option),
				zap.String("advice", "let the Location of responses pass "+option+" of reverse_proxy: sign-ins go back to apps by it"))
		}
	}
}

// repeats reports whether a handler outside is for the same OP. One without an issuer is for the
// host's own, which has the issuer without a path.
func (s *Site) repeats(outer *Site) bool {
	switch {
	case outer == nil || outer == s:
		return false
	case len(outer.Issuers) == 0:
		return !slices.ContainsFunc(s.Issuers, hasPath)
	default:
		return slices.ContainsFunc(s.Issuers, func(issuer string) bool { return slices.Contains(outer.Issuers, issuer) })
	}
}

func hasPath(issuer string) bool {
	u, err := url.Parse(issuer)
	return err != nil || strings.Trim(u.Path, "/") != ""
}

// hidesLocation returns the option by which a proxy surely takes the Location out of redirects;
// empty: it may pass. goesOn: other handlers may respond behind the proxy.
func hidesLocation(proxy *reverseproxy.Handler, goesOn bool) string {
	found, seeOther := hidesFrom(proxy, http.StatusFound, goesOn), hidesFrom(proxy, http.StatusSeeOther, goesOn)
	if found != seeOther {
		return "" // the OP may use one of the two only
	}
	return found
}

func hidesFrom(proxy *reverseproxy.Handler, status int, goesOn bool) string {
	header := http.Header{"Location": {sampleLocation}}
	for _, response := range proxy.HandleResponse {
		if match := response.Match; match != nil && len(match.Headers) > 0 {
			return "" // what else the OP sends is not known
		} else if match != nil && !match.Match(status, header) {
			continue
		}
		if response.StatusCode != "" {
			break
		}
		if drops, ends := dropsLocation(response.Routes); drops && (ends || !goesOn) {
			return "handle_response"
		}
		return ""
	}
	if down := proxy.Headers; down != nil && down.Response != nil && down.Response.Require == nil && down.Response.HeaderOps != nil &&
		slices.ContainsFunc(down.Response.Delete, isLocation) {
		return "header_down"
	}
	return ""
}

// dropsLocation reports whether routes surely write a response without a Location, and whether
// they write one at all.
func dropsLocation(routes caddyhttp.RouteList) (drops, ends bool) {
	for _, route := range routes {
		sure := len(route.MatcherSets) == 0
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *reverseproxy.CopyResponseHeadersHandler:
				if slices.ContainsFunc(h.Exclude, isLocation) || len(h.Include) > 0 && !slices.ContainsFunc(h.Include, isLocation) {
					continue
				}
				return false, false
			case *caddyhttp.Subroute:
				inside, end := dropsLocation(h.Routes)
				if !inside {
					return false, false
				}
				ends = ends || end && sure
			case *caddyhttp.StaticResponse:
				if len(h.Headers.Values("Location")) > 0 {
					return false, false
				}
				ends = ends || sure
			case *headers.Handler:
				if h.Response != nil {
					return false, false
				}
			case *caddyhttp.StaticError, *fileserver.FileServer:
				ends = ends || sure
			default:
				return false, false
			}
		}
	}
	return true, ends
}

func isLocation(field string) bool { return strings.EqualFold(field, "Location") }
