package oidcsession

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// errNoIssuer says that a site which takes more hosts than one has no issuer. Whoever asked first would say there which
// host the OP is at, by a Host of their own making.
var errNoIssuer = errors.New("oidc_session needs an issuer on a site for several, wildcard or any host names")

// requireIssuers reports whether each handler without an issuer stands behind routes that name its host. Named routes may be invoked
// from anywhere.
func requireIssuers(app *caddyhttp.App) error {
	for name, server := range app.Servers {
		routes := server.Routes
		for _, route := range server.NamedRoutes {
			routes = append(slices.Clip(routes), *route)
		}
		if err := requireIssuersIn(routes, false); err != nil {
			return fmt.Errorf("server %s: %w", name, err)
		}
	}
	return nil
}

// requireIssuersIn looks at routes. named: a route around them names the hosts that they get.
func requireIssuersIn(routes caddyhttp.RouteList, named bool) error {
	for _, route := range routes {
		named := named || namesHosts(route.MatcherSets)
		for _, handler := range route.Handlers {
			switch handler := handler.(type) {
			case *Handler:
				if len(handler.Issuers) == 0 && !named {
					return errNoIssuer
				}
			case *caddyhttp.Subroute:
				if err := requireIssuersIn(handler.Routes, named); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// namesHosts reports whether requests match for one host only: every set of matchers has one, without a pattern.
func namesHosts(sets caddyhttp.MatcherSets) bool {
	first := ""
	for _, set := range sets {
		host := namedHost(set)
		if host == "" || first != "" && host != first {
			return false
		}
		first = host
	}
	return first != ""
}

// namedHost returns the one host that a set of matchers names; empty: it names none, several, or a pattern.
func namedHost(set caddyhttp.MatcherSet) string {
	for _, matcher := range set {
		hosts, ok := matcher.(*caddyhttp.MatchHost)
		if ok && len(*hosts) == 1 && !strings.ContainsAny((*hosts)[0], "*{") {
			return (*hosts)[0]
		}
	}
	return ""
}
