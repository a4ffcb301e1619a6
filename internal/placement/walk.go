package placement

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// maxInvoked is how deep named routes may invoke each other before a walk gives up.
const maxInvoked = 16

// A certainty says whether something is so for a request of which not everything is known.
type certainty int

const (
	no certainty = iota
	maybe
	yes
)

// A walk follows one request through the provisioned routes of a server.
type walk struct {
	server  *caddyhttp.Server
	groups  map[string]certainty // whether a route of the group has taken the request
	passed  []passage
	invoked int

	position
}

// A position is where a walk is.
type position struct {
	passage

	host, path string
	known      bool // host and path are those that handlers see here; an empty one is unknown
}

// A passage is how a request comes to a handler.
type passage struct {
	handler  caddyhttp.MiddlewareHandler
	possible bool                          // it may come there
	behind   string                        // the handler that ends all requests before, if any
	site     string                        // the hosts of the site
	outside  []caddyhttp.MiddlewareHandler // all requests pass them before, the outermost first
	doubts   int                           // how many matchers around may let it come there or not
}

// passages returns how a request for a host and a path comes to each handler, in their order. An
// empty host or path stands for any. It is for the time when all of the HTTP app is provisioned.
func passages(app *caddyhttp.App, host, path string) (all []passage) {
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		w := &walk{
			server: app.Servers[name], groups: make(map[string]certainty),
			position: position{
				passage: passage{possible: true, site: "any host"},
				host:    host, path: path, known: true,
			},
		}
		w.routes(w.server.Routes)
		all = append(all, w.passed...)
	}
	return all
}

// arrivals returns those of the handlers of ours.
func (c *Checker) arrivals(all []passage) map[*Site]passage {
	found := make(map[*Site]passage)
	for _, p := range all {
		if s := c.Ours(p.handler); s != nil {
			if before, ok := found[s]; !ok || p.possible && !before.possible {
				found[s] = p
			}
		}
	}
	return found
}

func (w *walk) routes(routes caddyhttp.RouteList) {
	for i := range routes {
		w.route(&routes[i])
	}
}

// route goes through a route, as Caddy's wrapRoute does.
func (w *walk) route(route *caddyhttp.Route) {
	before := w.position
	matches := w.matches(route)
	w.possible = w.possible && matches != no
	if matches == maybe {
		w.doubts++
	}
	w.site = siteOf(hostsOf(route.MatcherSets), w.site)
	for _, handler := range route.Handlers {
		w.handler(handler)
	}
	inside := w.position
	w.position = before
	switch matches {
	case no:
	case yes:
		w.position = inside
		w.site, w.possible = before.site, inside.possible && !route.Terminal
	case maybe:
		if w.host != inside.host || w.path != inside.path {
			w.known = false
		}
		w.known = w.known && inside.known
	}
}

// matches reports whether the request takes a route, and notes it for the other routes of its
// group.
func (w *walk) matches(route *caddyhttp.Route) certainty {
	matches, taken := w.matchesAny(route.MatcherSets), w.groups[route.Group]
	if route.Group == "" {
		return matches
	}
	if w.possible {
		w.groups[route.Group] = max(taken, matches)
	}
	return min(matches, yes-taken)
}

func (w *walk) matchesAny(sets []caddyhttp.MatcherSet) certainty {
	if len(sets) == 0 {
		return yes
	}
	matches := no
	for _, set := range sets {
		all := yes
		for _, matcher := range set {
			all = min(all, w.matcher(matcher))
		}
		matches = max(matches, all)
	}
	return matches
}

func (w *walk) matcher(matcher any) certainty {
	known := w.known
	switch m := matcher.(type) {
	case *caddyhttp.MatchNot:
		matches := no
		for _, set := range m.MatcherSets {
			matches = max(matches, w.matchesAny([]caddyhttp.MatcherSet{set}))
		}
		return yes - matches
	case *caddyhttp.MatchHost:
		known = known && w.host != "" && !slices.ContainsFunc(*m, hasPlaceholder)
	case *caddyhttp.MatchPath:
		known = known && w.path != "" && !slices.ContainsFunc(*m, hasPlaceholder)
	case *caddyhttp.MatchPathRE:
		known = known && w.path != ""
	default:
		return maybe
	}
	if !known {
		return maybe
	}
	m := matcher.(caddyhttp.RequestMatcherWithError)
	if ok, err := m.MatchWithError(w.requestHere()); err != nil || !ok {
		return no
	}
	return yes
}

// requestHere is the request as matchers and handlers see it where the walk is.
func (w *walk) requestHere() *http.Request {
	ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	u := &url.URL{Path: w.path}
	r := &http.Request{
		Method: http.MethodGet, Host: w.host, Header: http.Header{},
		URL: u, RequestURI: u.RequestURI(),
	}
	return r.WithContext(ctx)
}

// handler goes through a handler. Handlers that are not known may pass requests on.
func (w *walk) handler(handler caddyhttp.MiddlewareHandler) {
	passed := w.passage
	passed.handler = handler
	w.passed = append(w.passed, passed)
	w.pass(handler)
	w.outside = append(slices.Clip(w.outside), handler)
}

func (w *walk) pass(handler caddyhttp.MiddlewareHandler) {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		w.routes(h.Routes)
	case *caddyhttp.Invoke:
		w.invoke(h)
	case *rewrite.Rewrite:
		w.rewrite(h)
	case *headers.Handler:
		w.known = w.known && (h.Request == nil || len(h.Request.Set["Host"]) == 0)
	case *reverseproxy.Handler:
		w.end(len(h.HandleResponse) == 0, "reverse_proxy") // such as forward_auth goes on
	case *fileserver.FileServer:
		w.end(!h.PassThru, "file_server")
	case *caddyhttp.StaticResponse:
		w.end(h.StatusCode != "103" && !hasPlaceholder(string(h.StatusCode)), "respond")
	case *caddyhttp.StaticError:
		w.end(true, "error")
	default:
		w.known = w.known && keepsURI(handler)
	}
}

// keepsURI reports whether a handler surely leaves host and path of a request alone.
func keepsURI(handler caddyhttp.MiddlewareHandler) bool {
	module, ok := handler.(caddy.Module)
	if !ok {
		return false
	}
	switch module.CaddyModule().ID.Name() {
	case "authentication", "encode", "intercept", "log_append", "map", "oidc_session", "push",
		"request_body", "templates", "tracing", "vars":
		return true
	}
	return false
}

func (w *walk) end(ends bool, by string) {
	if ends && w.possible {
		w.possible, w.behind = false, by
	}
}

func (w *walk) invoke(h *caddyhttp.Invoke) {
	route, ok := w.server.NamedRoutes[h.Name]
	if !ok || w.invoked == maxInvoked {
		return
	}
	w.invoked++
	w.route(route)
	w.invoked--
}

// rewrite strips a literal prefix. After any other change, host and path are unknown.
func (w *walk) rewrite(h *rewrite.Rewrite) {
	if h.URI != "" || h.StripPathSuffix != "" || len(h.URISubstring) > 0 ||
		len(h.PathRegexp) > 0 || hasPlaceholder(h.StripPathPrefix) {
		w.known = false
	}
	if w.known && w.path != "" {
		request := w.requestHere()
		h.Rewrite(request, caddy.NewReplacer())
		w.path = request.URL.Path
	}
}

func hasPlaceholder(value string) bool { return strings.Contains(value, "{") }
