// Package placement looks at where the handlers of this plugin are among the routes of Caddy's
// HTTP app: it refuses what cannot work, and logs what surely does not.
//
// [Validate] reads the routes as JSON, before their handlers are loaded: routes.go. [Checker.Warn]
// follows a request through the provisioned routes: walk.go. From how it comes to each handler,
// warnings.go says what is wrong around one of ours, and chain.go what the handlers outside of it
// and behind it take away.
//
// Of the plugin it knows package overview alone, which says what requests must come to a site.
package placement

import (
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers/overview"
)

// A Site is one handler of ours, for the OP of a site.
type Site struct {
	// Issuers are the configured ones; empty: the issuer is discovered.
	Issuers []string
	// Expects returns which requests must reach the handler, as far as is known.
	Expects func() overview.Expected

	reported   atomic.Bool // the log has which paths do not reach it
	discovered sync.Once
}

// name returns what identifies the OP.
func (s *Site) name() string {
	if len(s.Issuers) == 0 {
		return ""
	}
	return s.Issuers[0]
}

// A Checker checks one configuration.
type Checker struct {
	// HTTP returns Caddy's HTTP app, once all apps are there. An error: there is none.
	HTTP   func() (any, error)
	Logger *zap.Logger
	// Ours returns the site of one of our handlers; nil: the handler is another.
	Ours func(caddyhttp.MiddlewareHandler) *Site
}
