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
	if !found || client.ID != id {
		return registry.Client{}, false
	}
	client.Used, _ = get(t, bucketUses, t.useKey(id), decodeTime) // none in files of earlier versions
	return client, true
}

// The keys of the bucket "uses": for a client, when it was used last, and for that time, the
// client.

func (t *tx) useKey(id string) []byte {
	sum := sha256.Sum256([]byte(id))
	return t.key([]byte("u"), sum[:16])
}

func (t *tx) usedKey(client registry.Client) []byte {
	sum := sha256.Sum256([]byte(client.ID))
	return t.key([]byte("t"), appendTime(nil, client.Used), sum[:16])
}

func (t *tx) IdlestClient() (registry.Client, bool) {
	bucket := t.bucket(bucketUses)
	if bucket == nil {
		return registry.Client{}, false
	}
	key, _ := bucket.Cursor().Seek(t.key([]byte("t")))
	if !bytes.HasPrefix(key, t.key([]byte("t"))) {
		return registry.Client{}, false
	}
	id, _ := get(t, bucketUses, key, decodeText)
	return t.Client(id)
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
	t.put(bucketUses, t.useKey(client.ID), appendTime(nil, client.Used))
	t.put(bucketUses, t.usedKey(client), appendText(nil, client.ID))
}

func (t *tx) DeleteClient(client registry.Client) {
	t.count(t.CountClients() - 1)
	t.delete(bucketClients, t.keyKey(client.ID))
	if client.URI != "" {
		t.delete(bucketClients, t.uriKey(client.URI))
	}
	t.delete(bucketUses, t.useKey(client.ID))
	t.delete(bucketUses, t.usedKey(client))
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
