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
	all := passages(app, s.Expects().Host, "")
	at := c.arrivals(all)[s]
	if !at.possible {
		return
	}
	logger := c.Logger.With(zap.String("site", at.site), zap.Strings("issuers", s.Issuers))
	if slices.ContainsFunc(at.outside, func(outer caddyhttp.MiddlewareHandler) bool {
		return s.repeats(c.Ours(outer))
	}) {
		logger.Warn("oidc_session is inside of another one for the same issuer", advice(
			"remove one of the two: the inner one takes what the outer one adds for the OP's own"))
	}
	isOurs := func(outer caddyhttp.MiddlewareHandler) bool { return c.Ours(outer) == s }
	for i, reached := range all {
		proxy, ok := reached.handler.(*reverseproxy.Handler)
		if !ok || !reached.possible || reached.doubts != at.doubts ||
			!slices.ContainsFunc(reached.outside, isOurs) {
			continue
		}
		goesOn := slices.ContainsFunc(all[i:], func(other passage) bool {
			return slices.Contains(other.outside, reached.handler)
		})
		if option := hidesLocation(proxy, goesOn); option != "" {
			logger.Warn("the OP's redirects lose their Location behind oidc_session",
				zap.String("option", option), advice("let the Location of responses pass "+option+
					" of reverse_proxy: sign-ins go back to apps by it"))
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
		return slices.ContainsFunc(s.Issuers, func(issuer string) bool {
			return slices.Contains(outer.Issuers, issuer)
		})
	}
}

func hasPath(issuer string) bool {
	u, err := url.Parse(issuer)
	return err != nil || strings.Trim(u.Path, "/") != ""
}

// hidesLocation returns the option by which a proxy surely takes the Location out of redirects;
// empty: it may pass. goesOn: other handlers may respond behind the proxy.
func hidesLocation(proxy *reverseproxy.Handler, goesOn bool) string {
	found := hidesFrom(proxy, http.StatusFound, goesOn)
	if found != hidesFrom(proxy, http.StatusSeeOther, goesOn) {
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
	if proxy.Headers == nil {
		return ""
	}
	down := proxy.Headers.Response
	if down != nil && down.Require == nil && down.HeaderOps != nil &&
		slices.ContainsFunc(down.Delete, isLocation) {
		return "header_down"
	}
	return ""
}

// dropsLocation reports whether routes surely write a response without a Location, and whether
// they write one at all.
func dropsLocation(routes caddyhttp.RouteList) (drops, ends bool) {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			drops, end := handlerDropsLocation(handler)
			if !drops {
				return false, false
			}
			ends = ends || end && len(route.MatcherSets) == 0
		}
	}
	return true, ends
}

func handlerDropsLocation(handler caddyhttp.MiddlewareHandler) (drops, ends bool) {
	switch h := handler.(type) {
	case *reverseproxy.CopyResponseHeadersHandler:
		included := len(h.Include) == 0 || slices.ContainsFunc(h.Include, isLocation)
		return !included || slices.ContainsFunc(h.Exclude, isLocation), false
	case *caddyhttp.Subroute:
		return dropsLocation(h.Routes)
	case *caddyhttp.StaticResponse:
		return len(h.Headers.Values("Location")) == 0, true
	case *headers.Handler:
		return h.Response == nil, false
	case *caddyhttp.StaticError, *fileserver.FileServer:
		return true, true
	default:
		return false, false
	}
}

func isLocation(field string) bool { return strings.EqualFold(field, "Location") }
