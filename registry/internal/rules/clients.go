package rules

import (
	"fmt"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// CheckClient reports whether a client keeps the bounds.
func CheckClient(issuer string, client registry.Client) error {
	if len(client.Metadata) == 0 || len(client.Metadata) > registry.MaxClient {
		return fmt.Errorf("%w: client of %d bytes", registry.ErrInvalid, len(client.Metadata))
	}
	return first(CheckIssuer(issuer), checkName("client ID", client.ID), checkLength("client's URI", client.URI))
}

// PutClient records a client, unless there are too many and none gives way.
func PutClient(tx Tx, client registry.Client, now time.Time) error {
	before, found := tx.Client(client.ID)
	if !found && tx.CountClients() >= registry.MaxClients {
		idlest, found := tx.IdlestClient()
		if !found || now.Sub(idlest.Used) < registry.IdleClient {
			return fmt.Errorf("%w: over %d clients", registry.ErrInvalid, registry.MaxClients)
		}
		tx.DeleteClient(idlest)
	}
	if client.Used = before.Used; client.Used.IsZero() {
		client.Used = instant(now.Add(-registry.IdleClient))
	}
	if owner := tx.ClientIDAt(client.URI); owner != "" && owner != client.ID {
		client.URI = ""
	}
	if found {
		tx.DeleteClient(before)
	}
	tx.PutClient(client)
	return nil
}

// usedPrecision is how precisely it is recorded when clients are used: few sign-ins write for it.
const usedPrecision = 24 * time.Hour

// useClient notes that a client takes part in a session, if it has registered itself.
func useClient(tx Tx, id string, now time.Time) {
	client, found := tx.Client(id)
	if !found || now.Sub(client.Used) < usedPrecision {
		return
	}
	tx.DeleteClient(client)
	client.Used = instant(now)
	tx.PutClient(client)
}

// DeleteClient forgets a client, if it is there.
func DeleteClient(tx Tx, id string) {
	if client, found := tx.Client(id); found {
		tx.DeleteClient(client)
	}
}

// ClientAt returns the client with a URI.
func ClientAt(tx Tx, uri string) (registry.Client, bool) {
	id := tx.ClientIDAt(uri)
	if id == "" {
		return registry.Client{}, false
	}
	return tx.Client(id)
}
