package oidcsession

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// App holds what all sites with the `oidc_session` handler share: the key and the registry of sessions.
type App struct {
	// The shared keys: secrets of at least 32 bytes, which are taken as they are. The first one seals cookies and
	// session states, all of them open, so that a key can be rotated. Servers with the same keys agree on all values; those
	// of browsers that are not signed in are the same on all of them. Takes placeholders that are known at start, such as
	// {file./run/secrets/oidc_session} or {env.OIDC_SESSION_KEY}; one that is unknown or empty is an error.
	// So is a key that looks like a path or an unresolved placeholder, unless it is the content of a {file.*}.
	//
	// Default: one key, generated at first use and kept in Caddy's storage under `oidc_session/key`.
	Keys []string `json:"keys,omitempty"`

	// Where sessions are recorded.
	//
	// Default: file, in Caddy's data directory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=oidc_session.stores inline_key=module"`

	http      func() (any, error) // Caddy's HTTP app, once all apps are there
	logger    *zap.Logger
	keys      *keySource[*sessionstate.Keyring]
	poolKey   string // of the registry; empty: not taken
	registry  *registry.Lazy
	loggers   *loggers          // of those that share the registry
	unhurried registry.Registry // the same, for what no login waits for
	issuers   [][]string        // of each handler; complete once all are provisioned
	endpoints *handlers.Endpoints
	worker    *notify.Worker
	sites     *sites
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "oidc_session", New: func() caddy.Module { return new(App) }}
}

// now is the clock of all sites. Tests have one of their own.
var now = time.Now

// registries are the open registries of this process, by their openers' sharing keys. They live on over reloads.
var registries = caddy.NewUsagePool()

// Provision resolves the keys and names the registry. It opens nothing: `caddy validate` must work beside a running Caddy.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	a.endpoints = handlers.NewEndpoints(a.logger)
	a.http = func() (any, error) { return ctx.AppIfConfigured("http") }
	secrets, err := resolveSecrets(a.Keys)
	if err != nil {
		return err
	}
	if a.keys, err = newKeySource(secrets, ctx.Storage(), a.logger); err != nil {
		return err
	}
	opener, err := a.loadStore(ctx)
	if err != nil {
		return fmt.Errorf("loading the store: %w", err)
	}
	shared, _, err := registries.LoadOrNew(opener.SharingKey(), func() (caddy.Destructor, error) {
		log := newLoggers(a)
		return sharedRegistry{registry.NewLazy(opener, log.logger(), now), log}, nil
	})
	if err != nil {
		return err
	}
	a.poolKey = opener.SharingKey()
	a.registry, a.loggers = shared.(sharedRegistry).Lazy, shared.(sharedRegistry).loggers
	return a.takeWorker()
}

// addSite notes a handler that is provisioned, within other modules. The first one has all routes looked at.
func (a *App) addSite(around []caddy.Module, issuers []string) error {
	if len(a.issuers) == 0 {
		if err := validateRoutes(around); err != nil {
			return err
		}
	}
	a.issuers = append(a.issuers, issuers)
	return nil
}

// allIssuers returns the issuers of each handler, once all are provisioned.
func (a *App) allIssuers() [][]string { return a.issuers }

// Start begins to open the registry, so that the first login does not wait for it, and to
// deliver what is owed.
func (a *App) Start() error {
	a.loggers.use(a)
	a.sites.start()
	a.registry.Warm()
	a.warnOfPlacement()
	return nil
}

// Stop does nothing: what is shared is released in Cleanup, after the new configuration has taken it.
func (*App) Stop() error { return nil }

// Cleanup releases the registry, if this app has taken it.
func (a *App) Cleanup() error {
	if a.poolKey == "" {
		return nil
	}
	a.loggers.release(a)
	err := a.releaseWorker() // before the registry, which it writes to
	_, closeErr := registries.Delete(a.poolKey)
	return errors.Join(err, closeErr)
}

// sharedRegistry is a registry in the pool.
type sharedRegistry struct {
	*registry.Lazy

	loggers *loggers
}

// Destruct closes the registry when no configuration uses it any more.
func (s sharedRegistry) Destruct() error { return s.Close() }

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
