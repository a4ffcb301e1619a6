package oidcsession

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// errNoIssuer says that a site which takes more hosts than can be named has no issuer. Whoever asked first would say there which
// host the OP is at, by a Host of their own making.
var errNoIssuer = errors.New("oidc_session needs an issuer on a site for wildcard or any host names")

// requireIssuers tells whether each handler without an issuer stands behind routes that name its hosts.
func requireIssuers(app *caddyhttp.App) error {
	for name, server := range app.Servers {
		if err := requireIssuersIn(server.Routes, false); err != nil {
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
				if handler.Issuer == "" && !named {
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

// namesHosts tells whether requests match for hosts in a list only: every set of matchers has a list, without patterns.
func namesHosts(sets caddyhttp.MatcherSets) bool {
	for _, set := range sets {
		if !setNamesHosts(set) {
			return false
		}
	}
	return len(sets) > 0
}

func setNamesHosts(set caddyhttp.MatcherSet) bool {
	for _, matcher := range set {
		hosts, ok := matcher.(*caddyhttp.MatchHost)
		if ok && len(*hosts) > 0 && !strings.ContainsAny(strings.Join(*hosts, " "), "*{") {
			return true
		}
	}
	return false
}
