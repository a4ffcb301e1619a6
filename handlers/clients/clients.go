package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// clientsFileLook is how often the file is checked for changes.
const clientsFileLook = 2 * time.Second

// Clients are the clients of one site: those of the configuration, those of a file that may
// change, and those that have registered themselves at the OP, which are in the registry.
type Clients struct {
	// List holds the clients of the configuration.
	List []Client
	// File is the path of the file; empty: none.
	File string
	// Configured are those of List by their IDs, after Setup.
	Configured clientsFile

	env    handlers.Env
	loaded atomic.Pointer[clientsFile] // the last good file; an empty one without a path

	mu      sync.Mutex // of those who look
	looked  time.Time
	seen    os.FileInfo // of the file as it was last read, good or not; nil: it could not be read
	failing bool
}

// Setup checks the clients and reads the file, which must be there and be good at start.
func (c *Clients) Setup(env handlers.Env) error {
	c.env = env
	c.Configured = clientsFile{Clients: make(map[string]Client)}
	for _, client := range c.List {
		if err := c.Configured.add(client); err != nil {
			return err
		}
	}
	c.warn(&c.Configured)
	c.loaded.Store(new(clientsFile))
	if c.File == "" {
		return nil
	}
	loaded, seen, err := readClientsFile(c.File)
	if err != nil {
		return fmt.Errorf("reading the clients_file: %w", err)
	}
	c.loaded.Store(loaded)
	c.warn(loaded)
	c.seen, c.looked = seen, env.Now()
	return nil
}

// Find returns the client of an ID: the configured one, else that of the file, else one that has
// registered itself with the issuer. While the registry is unavailable, none of those is known.
func (c *Clients) Find(ctx context.Context, issuer, id string) (client Client, known bool) {
	client, known, err := c.LookUp(ctx, issuer, id)
	if err != nil {
		handlers.LogUnrecorded(c.env.Logger,
			"clients that have registered themselves are not known", err)
	}
	return client, known
}

// LookUp is Find for callers that must not take a client for unknown while the registry is
// unavailable.
func (c *Clients) LookUp(
	ctx context.Context, issuer, id string,
) (client Client, known bool, err error) {
	if client, known = c.Configured.Clients[id]; known {
		return client, true, nil
	}
	if client, known = c.listed().Clients[id]; known {
		return client, true, nil
	}
	return c.Registered(ctx, issuer, id)
}

// Registered returns a client that has registered itself. The registry is asked each time: other
// sites and other servers with the same one register clients, too.
func (c *Clients) Registered(
	ctx context.Context, issuer, id string,
) (client Client, known bool, err error) {
	if id == "" || len(id) > handlers.MaxClientID {
		return Client{}, false, nil
	}
	record, found, err := c.env.Registry.Registered(ctx, issuer, id)
	if err != nil || !found {
		return Client{}, false, err
	}
	// What was good when it was recorded may not be so for another version.
	if json.Unmarshal(record.Metadata, &client) != nil || client.ID != id {
		return Client{}, false, nil
	}
	client.Name, client.InsecureHTTP, client.registered = "", false, true
	if client.Validate() != nil {
		return Client{}, false, nil
	}
	return client, true, nil
}

// Add records a client that has registered itself, and where its registration is changed, if that
// is known.
func (c *Clients) Add(ctx context.Context, issuer, uri string, client Client) error {
	metadata, err := json.Marshal(client)
	if err != nil {
		return fmt.Errorf("writing a registration: %w", err)
	}
	record := registry.Registered{ID: client.ID, URI: uri, Metadata: metadata}
	return c.env.Registry.Register(ctx, issuer, record)
}

// IDOf returns the ID that has a hash, of a client of the configuration or the file.
func (c *Clients) IDOf(hash [16]byte) (id string, known bool) {
	for _, clients := range []map[string]Client{c.Configured.Clients, c.listed().Clients} {
		for id := range clients {
			if handlers.Hash(id) == hash {
				return id, true
			}
		}
	}
	return "", false
}

// HasNotifiable reports whether any client of the configuration or the file can be notified by
// back channel.
func (c *Clients) HasNotifiable() bool {
	return c.Configured.anyNotifiable || c.listed().anyNotifiable
}

// HasFramed reports whether any client of the configuration or the file can be notified by front
// channel.
func (c *Clients) HasFramed() bool { return c.Configured.anyFramed || c.listed().anyFramed }

// Listed returns the clients of the configuration and the file, by their IDs.
func (c *Clients) Listed() (clients []Client) {
	all := maps.Clone(c.Configured.Clients)
	for id, client := range c.listed().Clients {
		if _, configured := all[id]; !configured {
			all[id] = client
		}
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		clients = append(clients, all[id])
	}
	return clients
}

// listed returns the clients of the file, which is read again if it has changed. While one request
// does so, the others use what was read before.
func (c *Clients) listed() *clientsFile {
	if c.File != "" && c.mu.TryLock() {
		c.refresh()
	}
	return c.loaded.Load()
}

// refresh reads the file again if it has changed. The caller has locked the clients, which it
// unlocks.
func (c *Clients) refresh() {
	defer c.mu.Unlock()
	now := c.env.Now()
	if now.Sub(c.looked) < clientsFileLook {
		return
	}
	c.looked = now
	info, err := os.Stat(c.File)
	if err == nil && isSame(info, c.seen) {
		return
	}
	loaded, seen, err := readClientsFile(c.File)
	c.seen = seen
	if err != nil {
		if !c.failing {
			c.env.Logger.Error("the clients_file cannot be used: "+
				"the clients that it had before stay in use until it is mended",
				zap.String("path", c.File), zap.Error(err))
		}
		c.failing = true
		return
	}
	message := "the clients_file was read again"
	if c.failing {
		message = "the clients_file is in order again"
	}
	c.failing = false
	c.loaded.Store(loaded)
	c.env.Logger.Info(message, zap.String("path", c.File), zap.Int("clients", len(loaded.Clients)))
	c.warn(loaded)
}
