package bolt

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// countKey is the key of the number of an issuer's clients; a client's own keys are longer.
func (t *tx) countKey() []byte { return t.key() }

func (t *tx) CountClients() int {
	count, _ := get(t, bucketClients, t.countKey(), func(value []byte) (int, error) {
		d := decoder{rest: value}
		count := int(binary.BigEndian.Uint32(d.take(4)))
		return count, d.end()
	})
	return count
}

func (t *tx) count(n int) {
	t.put(bucketClients, t.countKey(), binary.BigEndian.AppendUint32(nil, uint32(n)))
}

func (t *tx) HasClient(id string) bool {
	_, found := get(t, bucketClients, t.keyKey(id), decodeClient)
	return found
}

func (t *tx) PutClient(client registry.Client) {
	if !t.HasClient(client.ID) {
		t.count(t.CountClients() + 1)
	}
	t.put(bucketClients, t.keyKey(client.ID), append(appendText(nil, client.ID), client.Metadata...))
}

func (t *tx) DeleteClient(id string) {
	if t.HasClient(id) {
		t.count(t.CountClients() - 1)
		t.delete(bucketClients, t.keyKey(id))
	}
}

func (t *tx) Clients() []registry.Client {
	var clients []registry.Client
	for _, key := range t.keys(bucketClients, t.key()) {
		if bytes.Equal(key, t.countKey()) {
			continue
		}
		if client, found := get(t, bucketClients, key, decodeClient); found {
			clients = append(clients, client)
		}
	}
	slices.SortFunc(clients, func(a, b registry.Client) int { return strings.Compare(a.ID, b.ID) })
	return clients
}

func decodeClient(value []byte) (registry.Client, error) {
	d := decoder{rest: value}
	id := d.text()
	return registry.Client{ID: id, Metadata: bytes.Clone(d.rest)}, d.err
}
