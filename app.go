package oidcsession

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
	"github.com/oidc-session/caddy-oidc-session/internal/clock"
	"github.com/oidc-session/caddy-oidc-session/internal/placement"
	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func init() {
	caddy.RegisterModule(App{})
}

// App holds what all sites with the `oidc_session` handler share: the key and the registry of
// sessions. It delivers the logout notifications that clients are owed.
//
// Caddyfile syntax, as a global option:
//
//	oidc_session {
//		key   <secret...>
//		store file [<path>] | memory
//	}
type App struct {
	// The shared keys: secrets of at least 32 bytes, which are used as they are. The first one
	// seals cookies and session states, all of them open, so that a key can be rotated. Servers
	// with the same keys agree on all values; those of browsers that are not signed in are the
	// same on all of them. Takes placeholders that are known at start, such as
	// {file./run/secrets/oidc_session} or {env.OIDC_SESSION_KEY}; one that is unknown or empty is
	// an error. So is a key that looks like a path or an unresolved placeholder, unless it is the
	// content of a {file.*}.
	//
	// Default: one key, generated at first use and kept in Caddy's storage under
	// `oidc_session/key`.
	Keys []string `json:"keys,omitempty"`

	// Where sessions are recorded.
	//
	// Default: file, in Caddy's data directory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=oidc_session.stores inline_key=module"` //nolint:lll // a tag is one line

	run running // what Provision makes of the above
}

// running is an App at work.
type running struct {
	*sharedRegistry // nil: not taken

	poolKey   string // of the registry
	logger    *zap.Logger
	keys      *keySource[*sessionstate.Keyring]
	placement *placement.Checker
	issuers   [][]string // of each handler; complete once all are provisioned
	guards    []*guard.Guard
	endpoints *handlers.Endpoints
	sites     *sites
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID: "oidc_session", New: func() caddy.Module { return new(App) },
	}
}

// registries are the open registries of this process, by their openers' sharing keys. They live on
// over reloads.
var registries = caddy.NewUsagePool()

// Provision resolves the keys and names the registry. It opens nothing: `caddy validate` must work
// beside a running Caddy.
func (a *App) Provision(ctx caddy.Context) error {
	a.run.logger = ctx.Logger()
	a.run.endpoints = handlers.NewEndpoints(a.run.logger)
	a.run.placement = &placement.Checker{
		HTTP:   func() (any, error) { return ctx.AppIfConfigured("http") },
		Logger: a.run.logger, Ours: placed,
	}
	a.run.sites = &sites{known: make(map[string][]*backchannel.BackChannel)}
	secrets, err := resolveSecrets(a.Keys)
	if err != nil {
		return err
	}
	if a.run.keys, err = newKeySource(secrets, ctx.Storage(), a.run.logger); err != nil {
		return err
	}
	opener, err := a.loadStore(ctx)
	if err != nil {
		return fmt.Errorf("loading the store: %w", err)
	}
	key := opener.SharingKey()
	pooled, _, err := registries.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newSharedRegistry(a, opener), nil
	})
	if err != nil {
		return err
	}
	a.run.poolKey, a.run.sharedRegistry = key, pooled.(*sharedRegistry)
	return nil
}

// placed returns where a handler is placed, if it is one of ours.
func placed(handler caddyhttp.MiddlewareHandler) *placement.Site {
	if h, ok := handler.(*Handler); ok && h.site != nil {
		return h.site.placed
	}
	return nil
}

// addHandler adds a handler that is provisioned within other modules. The first one has all routes
// checked.
func (a *App) addHandler(around []caddy.Module, issuers []string) error {
	if len(a.run.issuers) == 0 {
		if err := placement.Validate(around); err != nil {
			return err
		}
	}
	a.run.issuers = append(a.run.issuers, issuers)
	return nil
}

// isGuarded reports whether an oidc_guard refuses the sessions of the app at an origin.
func (a *App) isGuarded(origin string) bool {
	return slices.ContainsFunc(a.run.guards, func(g *guard.Guard) bool { return g.Guards(origin) })
}

// allIssuers returns the issuers of each handler, once all are provisioned.
func (a *App) allIssuers() [][]string { return a.run.issuers }

// Start begins to open the registry, so that the first login does not wait for it, and to
// deliver what is owed.
func (a *App) Start() error {
	a.run.loggers.use(a)
	a.run.worker.Use(a, a.run.logger.Named("notify"),
		&backchannel.Notices{BackChannels: a.run.sites.notifying})
	a.run.registry.Warm()
	a.run.placement.Warn()
	if len(a.run.guards) > 0 && len(a.run.issuers) == 0 {
		a.run.logger.Warn("oidc_guard cannot see the sessions of any OpenID Provider",
			zap.String("advice", "have the provider's site, with oidc_session, in this Caddy"))
	}
	return nil
}

// Stop does nothing: what is shared is released in Cleanup, after the new configuration has taken
// it.
func (*App) Stop() error { return nil }

// Cleanup releases the registry, if this app has taken it.
func (a *App) Cleanup() error {
	if a.run.sharedRegistry == nil {
		return nil
	}
	a.run.loggers.release(a)
	a.run.worker.Release(a)
	_, err := registries.Delete(a.run.poolKey)
	return err
}

// sharedRegistry is a registry in the pool, with the worker that delivers what its sessions owe.
type sharedRegistry struct {
	registry *registry.Registry
	worker   *notify.Worker
	loggers  *loggers
}

func newSharedRegistry(a *App, opener registry.Opener) *sharedRegistry {
	s := &sharedRegistry{loggers: &loggers{used: []*App{a}}}
	s.registry = registry.Open(opener, s.ended, s.loggers.logger())
	s.worker = notify.NewWorker(s.registry, clock.Now)
	return s
}

// ended logs sessions that a call of this process has ended, and delivers what they owe.
func (s *sharedRegistry) ended(sessions []*registry.Session) {
	app := s.loggers.current()
	for _, session := range sessions {
		app.logEnd(session)
		s.worker.Deliver(session.Leased())
	}
	s.worker.Wake() // for what is not leased
}

// logEnd logs that a session has ended, and which of its clients no notice reaches.
func (a *App) logEnd(session *registry.Session) {
	sites := a.run.sites.of(session.Issuer)
	env := handlers.Env{
		Logger: a.run.logger, Keys: a.run.keys.get,
		LogSubject: slices.ContainsFunc(sites, (*backchannel.BackChannel).LogsSubject),
	}
	env.LogEnd(context.Background(), session)
	expired := session.Reason == registry.ReasonExpiry
	if !session.Silent && !expired && a.run.sites.mayNotifyOf(session.Issuer) {
		backchannel.LogUnnotified(a.run.logger, session)
	}
}

// Destruct closes the worker and the registry when no configuration uses them any more. What is
// owed stays in the registry.
func (s *sharedRegistry) Destruct() error {
	return errors.Join(s.worker.Close(), s.registry.Close())
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
