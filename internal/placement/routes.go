package placement

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

var (
	// errNoIssuer says that a site which takes more hosts than one has no issuer. Whoever asked
	// first would say there which host the OP is at, by a Host of their own making.
	errNoIssuer = errors.New("oidc_session needs an issuer on a site for several, wildcard or " +
		"any host names, such as: issuer https://op.example.com")

	// errTwice says that requests for an issuer pass two handlers of ours: the inner one would
	// take what the outer one adds for the OP's own.
	errTwice = errors.New("oidc_session is there twice for one issuer: remove one of the two")
)

// A rawRoute is what is read of a route before its handlers are loaded.
type rawRoute struct {
	hosts    [][]string // of each set of matchers, any of which lets requests in; none: any
	group    string
	handlers []rawHandler
}

type rawHandler struct {
	Handler string          `json:"handler"`
	Issuers []string        `json:"issuers"`
	Routes  json.RawMessage `json:"routes"` // of a subroute
}

// Validate reports why handlers of ours cannot be where they are, if the HTTP app is among
// the modules. It is for the first handler that is provisioned: until then, all routes with
// handlers of ours have them as JSON. Nothing is started when a configuration is validated.
func Validate(modules []caddy.Module) error {
	for _, module := range modules {
		app, ok := module.(*caddyhttp.App)
		if !ok {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
			server := app.Servers[name]
			lists := []caddyhttp.RouteList{server.Routes}
			for _, route := range server.NamedRoutes { // they may be invoked from anywhere
				lists = append(lists, caddyhttp.RouteList{*route})
			}
			for _, list := range lists {
				if err := validateRouteList(unloaded(list), "any host", false); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// unloaded returns what is read of routes. The matchers of a server's own are loaded already.
func unloaded(routes caddyhttp.RouteList) []rawRoute {
	var list []rawRoute
	for _, route := range routes {
		raw := rawRoute{group: route.Group}
		for _, document := range route.HandlersRaw {
			var handler rawHandler
			_ = json.Unmarshal(document, &handler) // that of another handler may be of any form
			raw.handlers = append(raw.handlers, handler)
		}
		for _, set := range route.MatcherSetsRaw {
			var hosts []string
			_ = json.Unmarshal(set["host"], &hosts)
			raw.hosts = append(raw.hosts, hosts)
		}
		raw.hosts = append(raw.hosts, hostsOf(route.MatcherSets)...)
		list = append(list, raw)
	}
	return list
}

// validateRouteList looks at the routes of a site. named: a route around them names the host that
// they get.
func validateRouteList(routes []rawRoute, site string, named bool) error {
	ahead := make(map[string]bool) // issuers of handlers that all requests pass
	for _, route := range routes {
		site, named := siteOf(route.hosts, site), named || route.namesHost()
		issuers := ahead
		if len(route.hosts) > 0 || route.group != "" {
			issuers = make(map[string]bool)
		}
		for _, handler := range route.handlers {
			if err := handler.validate(issuers, site, named); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h rawHandler) validate(ahead map[string]bool, site string, named bool) error {
	switch h.Handler {
	case "subroute":
		var routes []caddyhttp.Route
		if json.Unmarshal(h.Routes, &routes) != nil {
			return nil // Caddy says why
		}
		return validateRouteList(unloaded(routes), site, named)
	case "oidc_session":
		issuers := h.Issuers
		if len(issuers) == 0 {
			issuers = []string{""}
			if !named {
				return fmt.Errorf("site %s: %w", site, errNoIssuer)
			}
		}
		for _, issuer := range issuers {
			if ahead[issuer] {
				return fmt.Errorf("site %s: %w", site, errTwice)
			}
			ahead[issuer] = true
		}
	}
	return nil
}

// hostsOf returns the hosts that sets of matchers let in.
func hostsOf(sets []caddyhttp.MatcherSet) [][]string {
	all := make([][]string, len(sets))
	for i, set := range sets {
		for _, matcher := range set {
			if hosts, ok := matcher.(*caddyhttp.MatchHost); ok {
				all[i] = *hosts
			}
		}
	}
	return all
}

// siteOf names a site for people by the hosts of its route; around: by those of the route around.
func siteOf(hosts [][]string, around string) string {
	return cmp.Or(strings.Join(slices.Concat(hosts...), ", "), around)
}

// namesHost reports whether requests match for one host only: every set of matchers names it,
// without a pattern.
func (r rawRoute) namesHost() bool {
	first := ""
	for _, hosts := range r.hosts {
		if len(hosts) != 1 || strings.ContainsAny(hosts[0], "*{") ||
			first != "" && hosts[0] != first {
			return false
		}
		first = hosts[0]
	}
	return first != ""
}
