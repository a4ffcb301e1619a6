package memory

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
)

func (t *tx) Spent(value [16]byte) (time.Time, bool) {
	expires, found := t.spent[value]
	return expires, found
}

func (t *tx) PutSpent(value [16]byte, expires time.Time) {
	t.prepare()
	t.spent[value] = expires
	t.expireAt(expires, kindSpent, value)
}

func (t *tx) Keys() []rules.Key {
	keys := slices.SortedFunc(maps.Values(t.keys), func(a, b rules.Key) int { return strings.Compare(a.ID, b.ID) })
	for i := range keys {
		keys[i].JWK = bytes.Clone(keys[i].JWK)
	}
	return keys
}

func (t *tx) PutKey(key rules.Key) {
	t.prepare()
	key.JWK = bytes.Clone(key.JWK)
	t.keys[keyID(key)] = key
	t.expireAt(key.Until, kindKey, keyID(key))
}

func (t *tx) DeleteKey(key rules.Key) {
	delete(t.keys, keyID(key))
	t.dontExpire(kindKey, keyID(key))
}

func keyID(key rules.Key) [16]byte {
	sum := sha256.Sum256([]byte(key.ID))
	return [16]byte(sum[:16])
}
