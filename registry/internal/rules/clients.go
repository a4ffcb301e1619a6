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
	return first(CheckIssuer(issuer), checkName("client ID", client.ID))
}

// PutClient records a client, unless there are too many.
func PutClient(tx Tx, client registry.Client) error {
	if !tx.HasClient(client.ID) && tx.CountClients() >= registry.MaxClients {
		return fmt.Errorf("%w: over %d clients", registry.ErrInvalid, registry.MaxClients)
	}
	tx.PutClient(client)
	return nil
}
