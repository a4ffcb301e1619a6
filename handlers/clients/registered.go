package clients

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// Registered returns a client that has registered itself. The registry is asked each time: other
// sites and other servers with the same one learn of clients, too.
func (c *Clients) Registered(ctx context.Context, issuer, id string) (client Client, known bool, err error) {
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
	client.Name, client.InsecureHTTP, client.Registered = "", false, true
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
	return c.env.Registry.Register(ctx, issuer, registry.Registered{ID: client.ID, URI: uri, Metadata: metadata})
}
