package memory

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

func (t *tx) CountClients() int { return len(t.clients) }

func (t *tx) HasClient(id string) bool {
	_, found := t.clients[id]
	return found
}

func (t *tx) PutClient(client registry.Client) {
	t.prepare()
	client.Metadata = bytes.Clone(client.Metadata)
	t.clients[client.ID] = client
}

func (t *tx) DeleteClient(id string) { delete(t.clients, id) }

func (t *tx) Clients() []registry.Client {
	clients := slices.SortedFunc(maps.Values(t.clients), func(a, b registry.Client) int { return strings.Compare(a.ID, b.ID) })
	for i := range clients {
		clients[i].Metadata = bytes.Clone(clients[i].Metadata)
	}
	return clients
}
