package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// A registeredClient is a client that has registered itself.
type registeredClient struct {
	Client

	// URI is where its registration is read and changed, as a request names it: path and query on the issuer's origin.
	URI string `json:"registration_client_uri,omitempty"`
}

// registeredClients are the clients that have registered themselves at one issuer. The registry has them; here they are at hand.
type registeredClients struct {
	mu     sync.RWMutex
	issuer string // whose clients were loaded; empty: none yet
	byID   map[string]registeredClient
	byURI  map[string]string // IDs
}

// Load reads the registered clients of an issuer, once. It must be called before they are asked for.
func (c *Clients) Load(ctx context.Context, issuer string) error {
	s := &c.registered
	s.mu.RLock()
	loaded := s.issuer == issuer
	s.mu.RUnlock()
	if loaded {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.issuer == issuer {
		return nil
	}
	recorded, err := c.env.Registry.Clients(ctx, issuer)
	if err != nil {
		return err
	}
	s.byID, s.byURI = make(map[string]registeredClient), make(map[string]string)
	for _, record := range recorded {
		var client registeredClient
		if json.Unmarshal(record.Metadata, &client) != nil || client.ID != record.ID {
			continue
		}
		client.InsecureHTTP = false
		if client.Validate() == nil {
			s.put(client)
		}
	}
	s.issuer = issuer
	return nil
}

// put takes a client in. The caller holds the lock.
func (s *registeredClients) put(client registeredClient) {
	s.drop(client.ID)
	s.byID[client.ID] = client
	if client.URI != "" {
		s.byURI[client.URI] = client.ID
	}
}

// drop takes a client out. The caller holds the lock.
func (s *registeredClients) drop(id string) {
	if before, found := s.byID[id]; found {
		delete(s.byURI, before.URI)
		delete(s.byID, id)
	}
}

func (s *registeredClients) find(id string) (Client, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	client, found := s.byID[id]
	return client.Client, found
}

// at returns the ID of the client whose registration is at an address; empty: none.
func (s *registeredClients) at(uri string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byURI[uri]
}

func (s *registeredClients) uriOf(id string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byID[id].URI
}

// learn records a client that has registered itself.
func (c *Clients) learn(ctx context.Context, issuer string, client registeredClient) error {
	metadata, err := json.Marshal(client)
	if err != nil {
		return fmt.Errorf("writing a registration: %w", err)
	}
	s := &c.registered
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := c.env.Registry.PutClient(ctx, issuer, registry.Client{ID: client.ID, Metadata: metadata}); err != nil {
		return err
	}
	s.put(client)
	return nil
}

// forget forgets a client that has registered itself.
func (c *Clients) forget(ctx context.Context, issuer, id string) error {
	s := &c.registered
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := c.env.Registry.DeleteClient(ctx, issuer, id); err != nil {
		return err
	}
	s.drop(id)
	return nil
}

// isRegistered tells whether a client is known by its own registration alone.
func (c *Clients) isRegistered(id string) bool {
	if _, configured := c.configured[id]; configured {
		return false
	}
	if loaded := c.loaded.Load(); loaded != nil {
		if _, listed := loaded.clients[id]; listed {
			return false
		}
	}
	_, registered := c.registered.find(id)
	return registered
}
