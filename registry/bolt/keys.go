package bolt

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
)

func (t *tx) Spent(value [16]byte) (time.Time, bool) {
	return get(t, bucketSpent, t.key(value[:]), decodeTime)
}

func (t *tx) PutSpent(value [16]byte, expires time.Time) {
	key := t.key(value[:])
	if old, found := t.Spent(value); found {
		t.dontExpireAt(old, kindSpent, key)
	}
	t.put(bucketSpent, key, appendTime(nil, expires))
	t.expireAt(expires, kindSpent, key)
}

// keyKey is the key of a public key's record: IDs have any length, expiry entries have not.
func (t *tx) keyKey(id string) []byte {
	sum := sha256.Sum256([]byte(id))
	return t.key(sum[:16])
}

func (t *tx) Keys() []rules.Key {
	var keys []rules.Key
	for _, key := range t.keys(bucketKeys, t.key()) {
		if recorded, found := get(t, bucketKeys, key, decodeKey); found {
			keys = append(keys, recorded)
		}
	}
	slices.SortFunc(keys, func(a, b rules.Key) int { return strings.Compare(a.ID, b.ID) })
	return keys
}

func (t *tx) PutKey(key rules.Key) {
	at := t.keyKey(key.ID)
	if old, found := get(t, bucketKeys, at, decodeKey); found {
		t.dontExpireAt(old.Until, kindKey, at)
	}
	t.put(bucketKeys, at, encodeKey(key))
	t.expireAt(key.Until, kindKey, at)
}

func (t *tx) DeleteKey(key rules.Key) {
	at := t.keyKey(key.ID)
	t.dontExpireAt(key.Until, kindKey, at)
	t.delete(bucketKeys, at)
}

func decodeTime(value []byte) (time.Time, error) {
	d := decoder{rest: value}
	at := d.time()
	return at, d.end()
}

func encodeKey(key rules.Key) []byte {
	return appendText(appendText(appendTime(nil, key.Until), key.ID), string(key.JWK))
}

func decodeKey(value []byte) (rules.Key, error) {
	d := decoder{rest: value}
	key := rules.Key{Until: d.time(), Key: registry.Key{ID: d.text(), JWK: []byte(d.text())}}
	return key, d.end()
}
