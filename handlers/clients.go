package handlers

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// clientsFileLook is how often it is looked whether the file has changed.
const clientsFileLook = 2 * time.Second

// Clients are the clients of one site: those of the configuration, and those of a file that may change.
type Clients struct {
	// List holds the clients of the configuration.
	List []Client
	// File is the path of the file; empty: none.
	File string

	env         Env
	configured  map[string]Client
	registered  registeredClients
	anyTellable bool                        // of those
	anyFramed   bool                        // of those
	loaded      atomic.Pointer[clientsFile] // the last good one; nil without a file

	mu      sync.Mutex // of those who look
	looked  time.Time
	seen    os.FileInfo // of the file as it was last read, good or not; nil: it could not be read
	failing bool
}

// Setup checks the clients and reads the file, which must be there and be good at start.
func (c *Clients) Setup(env Env) error {
	c.env = env
	c.configured = make(map[string]Client)
	for _, client := range c.List {
		if err := client.Validate(); err != nil {
			return err
		}
		if _, given := c.configured[client.ID]; given {
			return fmt.Errorf("%w %q: it is given twice", ErrClient, client.ID)
		}
		c.configured[client.ID] = client
		c.anyFramed = c.anyFramed || client.FrontChannelLogoutURI != ""
		c.anyTellable = c.anyTellable || client.BackChannelLogoutURI != ""
	}
	if c.File == "" {
		return nil
	}
	loaded, seen, err := readClientsFile(c.File)
	if err != nil {
		return fmt.Errorf("reading the clients_file: %w", err)
	}
	c.loaded.Store(loaded)
	c.seen, c.looked = seen, env.Now()
	return nil
}

// Find returns the client of an ID: the configured one, else that of the file, which is read again if it has changed, else one that
// has registered itself, as far as those are loaded.
func (c *Clients) Find(id string) (client Client, known bool) {
	if client, known = c.configured[id]; known {
		return client, true
	}
	if c.File != "" {
		c.refresh()
		if client, known = c.loaded.Load().clients[id]; known {
			return client, true
		}
	}
	return c.registered.find(id)
}

// tellable tells whether any client can be told by back channel.
func (c *Clients) tellable() bool {
	if c.anyTellable {
		return true
	}
	loaded := c.loaded.Load()
	return loaded != nil && loaded.anyTellable
}

// framed tells whether any client can be told by front channel.
func (c *Clients) framed() bool {
	if c.anyFramed {
		return true
	}
	loaded := c.loaded.Load()
	return loaded != nil && loaded.anyFramed
}

// refresh reads the file again if it has changed. While one request does, the others go on with what is known.
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
	c.succeeded(len(loaded.clients))
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
