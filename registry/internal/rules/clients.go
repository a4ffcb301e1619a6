package rules

import (
	"fmt"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// CheckClient tells whether a client keeps the bounds.
func CheckClient(issuer string, client registry.Client) error {
	if len(client.Metadata) == 0 || len(client.Metadata) > registry.MaxClient {
		return fmt.Errorf("%w: client of %d bytes", registry.ErrInvalid, len(client.Metadata))
	}
	return first(CheckIssuer(issuer), checkName("client ID", client.ID), checkLength("client's URI", client.URI))
}

// PutClient records a client, unless there are too many.
func PutClient(tx Tx, client registry.Client) error {
	before, found := tx.Client(client.ID)
	if !found && tx.CountClients() >= registry.MaxClients {
		return fmt.Errorf("%w: over %d clients", registry.ErrInvalid, registry.MaxClients)
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
