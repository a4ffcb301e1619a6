package oidcsession

import (
	"context"
	"slices"
	"sync"

	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
)

// sites are the sites of one configuration, by what is known of whose clients are told.
type sites struct {
	app *App

	mu      sync.Mutex
	known   map[string][]*backchannel.BackChannel // by issuer
	mayTell bool                                  // there are some whose clients may have to be told, whether or not they know their issuers
}

// provisioned takes in a site when it is provisioned; its issuer may be empty: it is to be learnt.
func (s *sites) provisioned(b *backchannel.BackChannel, issuer string) {
	s.mu.Lock()
	s.mayTell = s.mayTell || b.MayNotify()
	s.mu.Unlock()
	if issuer != "" {
		s.adopt(b, issuer)
	}
}

// adopt takes in the issuer of a site, configured or learnt. Of several sites with one issuer all count.
func (s *sites) adopt(b *backchannel.BackChannel, issuer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.known[issuer], b) {
		return
	}
	s.known[issuer] = append(s.known[issuer], b)
}

// start begins to deliver what is owed.
func (s *sites) start() {
	s.app.worker.Use(s.app, s.app.logger.Named("notify"), &backchannel.Notices{BackChannels: s.notifying})
}

// notifying are the sites of an issuer whose clients may have to be notified.
func (s *sites) notifying(issuer string) []*backchannel.BackChannel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.telling(issuer)
}

// tells says whether clients of an issuer may have to be told.
func (s *sites) tells(issuer string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mayTell && (len(s.known[issuer]) == 0 || len(s.telling(issuer)) > 0)
}

// telling are the sites of an issuer whose clients may have to be told. The caller holds the lock.
func (s *sites) telling(issuer string) []*backchannel.BackChannel {
	return slices.DeleteFunc(slices.Clone(s.known[issuer]), func(b *backchannel.BackChannel) bool { return !b.MayNotify() })
}

// of are all sites of an issuer that is configured or was learnt.
func (s *sites) of(issuer string) []*backchannel.BackChannel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.known[issuer])
}

// unnotified lists the clients of an issuer that cannot be notified, each as its sites have it.
func (s *sites) unnotified(ctx context.Context, issuer string) (all []backchannel.Unnotified, err error) {
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
