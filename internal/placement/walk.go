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

// A walk follows one request through the provisioned routes of a server, to every handler of ours.
type walk struct {
	server  *caddyhttp.Server
	ours    func(caddyhttp.MiddlewareHandler) *Site
	request *http.Request        // as it is where the walk is; see requestHere
	groups  map[string]certainty // whether a route of the group has taken the request
	found   map[*Site]arrival
	passed  []passage
	invoked int

	position
}

// A position is where a walk is.
type position struct {
	arrival

	host, path string
	known      bool // host and path are those that handlers see here; an empty one is unknown
}

// An arrival is how a request comes to a handler.
type arrival struct {
	possible bool                          // it may come there
	behind   string                        // the handler that ends all requests before, if any
	site     string                        // the hosts of the site
	outside  []caddyhttp.MiddlewareHandler // the handlers that all requests pass before, outermost first
	doubts   int                           // how many matchers around may let it come there or not
}

// A passage is how the request comes to any handler.
type passage struct {
	arrival

	handler caddyhttp.MiddlewareHandler
}

// arrivals reports how a request for a host and a path comes to each handler of ours. An empty
// host or path stands for any. It is for the time when all of the HTTP app is provisioned.
func (c *Checker) arrivals(app *caddyhttp.App, host, path string) map[*Site]arrival {
	found, _ := c.passages(app, host, path)
	return found
}

// passages are arrivals, and how the request comes to each handler of any kind, in their order.
func (c *Checker) passages(app *caddyhttp.App, host, path string) (found map[*Site]arrival, all []passage) {
	found = make(map[*Site]arrival)
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		w := &walk{
			server: app.Servers[name], ours: c.Ours, groups: make(map[string]certainty), found: found,
			position: position{host: host, path: path, known: true, arrival: arrival{possible: true, site: "any host"}},
		}
		w.routes(w.server.Routes)
		all = append(all, w.passed...)
	}
	return found, all
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
	w.site = siteOf(route.MatcherSets, w.site)
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
	if ok, err := matcher.(caddyhttp.RequestMatcherWithError).MatchWithError(w.requestHere()); err != nil || !ok {
		return no
	}
	return yes
}

// requestHere is the request as matchers and handlers see it where the walk is.
func (w *walk) requestHere() *http.Request {
	if w.request == nil || w.request.URL.Path != w.path {
		ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer())
		u := &url.URL{Path: w.path}
		r := &http.Request{Method: http.MethodGet, Host: w.host, URL: u, RequestURI: u.RequestURI(), Header: http.Header{}}
		w.request = r.WithContext(ctx)
	}
	return w.request
}

// handler goes through a handler. What is not known of a handler is that it ends requests.
func (w *walk) handler(handler caddyhttp.MiddlewareHandler) {
	w.passed = append(w.passed, passage{w.arrival, handler})
	if site := w.ours(handler); site != nil {
		w.arrive(site)
	} else {
		w.pass(handler)
	}
	w.outside = append(slices.Clip(w.outside), handler)
}

// pass goes through a handler that is none of ours.
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
	case "authentication", "encode", "intercept", "log_append", "map", "push", "request_body", "templates", "tracing", "vars":
		return true
	}
	return false
}

func (w *walk) end(ends bool, by string) {
	if ends && w.possible {
		w.possible, w.behind = false, by
	}
}

func (w *walk) arrive(s *Site) {
	if before, ok := w.found[s]; !ok || w.possible && !before.possible {
		w.found[s] = w.arrival
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

// rewrite takes a prefix away that is literal; of other changes it only notes that they are there.
func (w *walk) rewrite(h *rewrite.Rewrite) {
	if h.URI != "" || h.StripPathSuffix != "" || len(h.URISubstring) > 0 || len(h.PathRegexp) > 0 || hasPlaceholder(h.StripPathPrefix) {
		w.known = false
	}
	if w.known && w.path != "" {
		request := w.requestHere()
		h.Rewrite(request, caddy.NewReplacer())
		w.path = request.URL.Path
	}
}

// siteOf names the site that matchers are of by its hosts; around: what it is called without any.
func siteOf(sets []caddyhttp.MatcherSet, around string) string {
	var hosts []string
	for _, set := range sets {
		for _, matcher := range set {
			if match, ok := matcher.(*caddyhttp.MatchHost); ok {
				hosts = append(hosts, *match...)
			}
		}
	}
	if len(hosts) == 0 {
		return around
	}
	return strings.Join(hosts, ", ")
}

func hasPlaceholder(value string) bool { return strings.Contains(value, "{") }
