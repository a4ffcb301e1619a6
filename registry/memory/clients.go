package memory

import (
	"bytes"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

func (t *tx) CountClients() int { return len(t.clients) }

func (t *tx) Client(id string) (registry.Client, bool) {
	client, found := t.clients[id]
	client.Metadata = bytes.Clone(client.Metadata)
	return client, found
}

func (t *tx) ClientIDAt(uri string) string { return t.clientAt[uri] }

func (t *tx) IdlestClient() (registry.Client, bool) {
	id, found := t.idlest.first()
	if !found {
		return registry.Client{}, false
	}
	return t.Client(id)
}

func (t *tx) PutClient(client registry.Client) {
	t.prepare()
	t.idlest.set(client.ID, client.Used)
	client.Metadata = bytes.Clone(client.Metadata)
	t.clients[client.ID] = client
	if client.URI != "" {
		t.clientAt[client.URI] = client.ID
	}
}

func (t *tx) DeleteClient(client registry.Client) {
	t.idlest.remove(client.ID)
	delete(t.clients, client.ID)
	delete(t.clientAt, client.URI)
}
