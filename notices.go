package oidcsession

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

const (
	// noticesLimit is how long one call of the registry may take that delivers notices, and noticesInFlight is how many may be
	// stuck in it: no login waits for them, and what takes longer would be done again.
	noticesLimit    = 5 * time.Second
	noticesInFlight = 16
)

// workers are the workers that deliver notices, by their registries' sharing keys. They live on over reloads.
var workers = caddy.NewUsagePool()

// sharedWorker is a worker in the pool.
type sharedWorker struct{ *notify.Worker }

// Destruct stops the worker when no configuration uses it any more. What is owed stays in the registry.
func (s sharedWorker) Destruct() error { return s.Close() }

// takeWorker takes the worker of the app's registry.
func (a *App) takeWorker() error {
	shared, _, err := workers.LoadOrNew(a.poolKey, func() (caddy.Destructor, error) {
		return sharedWorker{notify.NewWorker(now)}, nil
	})
	if err != nil {
		return err
	}
	a.worker = shared.(sharedWorker).Worker
	a.unhurried = registry.Bound(a.registry, noticesLimit, noticesInFlight)
	a.sites = &sites{app: a, known: make(map[string][]*handlers.BackChannel)}
	return nil
}

// releaseWorker releases it.
func (a *App) releaseWorker() error {
	if a.worker == nil {
		return nil
	}
	a.sites.stop()
	_, err := workers.Delete(a.poolKey)
	return err
}

// sites are the sites of one configuration, by what is known of whose clients are told.
type sites struct {
	app *App

	mu      sync.Mutex
	known   map[string][]*handlers.BackChannel // by issuer
	mayTell bool                               // there are some whose clients may have to be told, whether or not they know their issuers
	started bool                               // the configuration is in use
}

// provisioned takes in a site when it is provisioned; its issuer may be empty: it is to be learnt.
func (s *sites) provisioned(b *handlers.BackChannel, issuer string) {
	s.mu.Lock()
	s.mayTell = s.mayTell || b.MayTell()
	s.mu.Unlock()
	if issuer != "" {
		s.adopt(b, issuer)
	}
}

// adopt takes in the issuer of a site, configured or learnt. Of several sites with one issuer all count.
func (s *sites) adopt(b *handlers.BackChannel, issuer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.known[issuer], b) {
		return
	}
	s.known[issuer] = append(s.known[issuer], b)
	if s.started {
		s.use()
	}
}

// start begins to deliver what is owed.
func (s *sites) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	s.use()
}

// stop ends what start began.
func (s *sites) stop() {
	s.mu.Lock()
	s.started = false
	s.mu.Unlock()
	s.app.worker.Release(s.app)
	s.app.registry.ForgetSilence(s.app)
}

// use has the worker and the registry go by the sites as they are known now. The caller holds the lock.
func (s *sites) use() {
	served := make(map[string]notify.Site)
	silence := registry.Silence{All: !s.mayTell}
	for issuer := range s.known {
		if told := s.telling(issuer); len(told) > 0 {
			served[issuer] = &handlers.Notices{Issuer: issuer, BackChannels: told, Registry: s.app.unhurried}
		} else {
			silence.Issuers = append(silence.Issuers, issuer)
		}
	}
	s.app.registry.SetSilence(s.app, silence)
	s.app.worker.Use(s.app, s.app.logger.Named("notify"), served)
}

// tells says whether clients of an issuer may have to be told.
func (s *sites) tells(issuer string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mayTell && (len(s.known[issuer]) == 0 || len(s.telling(issuer)) > 0)
}

// telling are the sites of an issuer whose clients may have to be told. The caller holds the lock.
func (s *sites) telling(issuer string) []*handlers.BackChannel {
	return slices.DeleteFunc(slices.Clone(s.known[issuer]), func(b *handlers.BackChannel) bool { return !b.MayTell() })
}

// of are all sites of an issuer that is configured or was learnt.
func (s *sites) of(issuer string) []*handlers.BackChannel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.known[issuer])
}

// unnotified lists the clients of an issuer that cannot be notified, each as its sites have it.
func (s *sites) unnotified(ctx context.Context, issuer string) (all []handlers.Unnotified, err error) {
	for _, b := range s.of(issuer) {
		list, err := b.Unnotified(ctx, issuer)
		if err != nil {
			return nil, err
		}
		for _, client := range list {
			if !slices.Contains(all, client) {
				all = append(all, client)
			}
		}
	}
	return all, nil
}
