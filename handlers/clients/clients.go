package clients

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
)

// clientsFileLook is how often it is looked whether the file has changed.
const clientsFileLook = 2 * time.Second

// Clients are the clients of one site: those of the configuration, those of a file that may
// change, and those that have registered themselves at the OP, which are in the registry.
type Clients struct {
	// List holds the clients of the configuration.
	List []Client
	// File is the path of the file; empty: none.
	File string

	env        handlers.Env
	Configured clientsFile
	loaded     atomic.Pointer[clientsFile] // the last good one; nil without a file

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
	c.warnOfPatterns(c.Configured.Clients)
	if c.File == "" {
		return nil
	}
	loaded, seen, err := readClientsFile(c.File)
	if err != nil {
		return fmt.Errorf("reading the clients_file: %w", err)
	}
	c.loaded.Store(loaded)
	c.warnOf(loaded)
	c.seen, c.looked = seen, env.Now()
	return nil
}

// Find returns the client of an ID: the configured one, else that of the file, else one that has
// registered itself with the issuer. While the registry is away, none of those is known.
func (c *Clients) Find(ctx context.Context, issuer, id string) (client Client, known bool) {
	client, known, err := c.LookUp(ctx, issuer, id)
	if err != nil {
		handlers.LogUnrecorded(c.env.Logger, "clients that have registered themselves are not known", err)
	}
	return client, known
}

// LookUp is Find for those who must not take a client for unknown while the registry is away.
func (c *Clients) LookUp(ctx context.Context, issuer, id string) (client Client, known bool, err error) {
	if client, known = c.Configured.Clients[id]; known {
		return client, true, nil
	}
	if client, known = c.listed().Clients[id]; known {
		return client, true, nil
	}
	return c.Registered(ctx, issuer, id)
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

// HasNotifiable reports whether any client of the configuration or the file can be told by back
// channel.
func (c *Clients) HasNotifiable() bool { return c.Configured.anyTellable || c.listed().anyTellable }

// HasFramed reports whether any client of the configuration or the file can be told by front
// channel.
func (c *Clients) HasFramed() bool { return c.Configured.anyFramed || c.listed().anyFramed }

// listed returns what the file holds, which is read again if it has changed. Without a file that
// is nothing.
func (c *Clients) listed() *clientsFile {
	if c.File == "" {
		return &noFile
	}
	c.refresh()
	return c.loaded.Load()
}

var noFile clientsFile

// refresh reads the file again if it has changed. While one request does, the others go on with
// what is known.
func (c *Clients) refresh() {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	now := c.env.Now()
	if now.Sub(c.looked) < clientsFileLook {
		return
	}
	c.looked = now
	info, err := os.Stat(c.File)
	if err == nil && sameState(info, c.seen) {
		return
	}
	loaded, seen, err := readClientsFile(c.File)
	c.seen = seen
	if err != nil {
		c.failed(err)
		return
	}
	c.loaded.Store(loaded)
	c.succeeded(len(loaded.Clients))
	c.warnOf(loaded)
}

// warnOf warns of what is probably not meant in a file that can be used.
func (c *Clients) warnOf(loaded *clientsFile) {
	c.warnOfMembers(loaded.unknown)
	c.warnOfPatterns(loaded.Clients)
}

// failed says that the file is broken, once, however often that is found.
func (c *Clients) failed(err error) {
	if !c.failing {
		c.env.Logger.Error("the clients_file cannot be used: the clients that it had before stay in use until it is mended",
			zap.String("path", c.File), zap.Error(err))
	}
	c.failing = true
}

// succeeded says that the file was read again, and whether it was broken before.
func (c *Clients) succeeded(clients int) {
	message := "the clients_file was read again"
	if c.failing {
		message = "the clients_file is in order again"
	}
	c.failing = false
	c.env.Logger.Info(message, zap.String("path", c.File), zap.Int("clients", clients))
}

// Known are the clients of the configuration and the file, by their IDs.
func (c *Clients) Listed() []Client {
	all := make(map[string]Client)
	maps.Copy(all, c.listed().Clients)
	maps.Copy(all, c.Configured.Clients)
	var clients []Client
	for _, id := range slices.Sorted(maps.Keys(all)) {
		clients = append(clients, all[id])
	}
	return clients
}
