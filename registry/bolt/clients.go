package bolt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// The keys of the bucket "clients" are told apart by their lengths: the issuer alone for the number of its clients, with the hash of
// an ID for a client, and with that of a URI and a byte before it for the ID of the client there.

func (t *tx) countKey() []byte { return t.key() }

func (t *tx) uriKey(uri string) []byte {
	sum := sha256.Sum256([]byte(uri))
	return t.key([]byte("u"), sum[:16])
}

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

func (t *tx) Client(id string) (registry.Client, bool) {
	client, found := get(t, bucketClients, t.keyKey(id), decodeClient)
	return client, found && client.ID == id
}

func (t *tx) ClientIDAt(uri string) string {
	if uri == "" {
		return ""
	}
	id, _ := get(t, bucketClients, t.uriKey(uri), decodeText)
	return id
}

func (t *tx) PutClient(client registry.Client) {
	t.count(t.CountClients() + 1)
	t.put(bucketClients, t.keyKey(client.ID), append(appendText(appendText(nil, client.ID), client.URI), client.Metadata...))
	if client.URI != "" {
		t.put(bucketClients, t.uriKey(client.URI), appendText(nil, client.ID))
	}
}

func (t *tx) DeleteClient(client registry.Client) {
	t.count(t.CountClients() - 1)
	t.delete(bucketClients, t.keyKey(client.ID))
	if client.URI != "" {
		t.delete(bucketClients, t.uriKey(client.URI))
	}
}

func decodeClient(value []byte) (client registry.Client, err error) {
	d := decoder{rest: value}
	client.ID, client.URI = d.text(), d.text()
	client.Metadata = bytes.Clone(d.rest)
	return client, d.err
}

func decodeText(value []byte) (string, error) {
	d := decoder{rest: value}
	text := d.text()
	return text, d.end()
}
