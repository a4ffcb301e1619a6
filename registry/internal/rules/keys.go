package rules

import (
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// KeepKeys records keys, and forgets those that are over the bound.
func KeepKeys(tx Tx, keeping registry.Keeping) {
	recorded := make(map[string]Key)
	for _, key := range tx.Keys() {
		recorded[key.ID] = key
	}
	until := instant(keeping.Until)
	for _, key := range keeping.Keys {
		if before, found := recorded[key.ID]; found && !before.Until.Before(until) {
			continue
		}
		kept := Key{Key: key, Until: until}
		recorded[key.ID] = kept
		tx.PutKey(kept)
	}
	if len(recorded) <= registry.MaxKeys {
		return
	}
	soonest := slices.SortedStableFunc(slices.Values(tx.Keys()), func(a, b Key) int { return a.Until.Compare(b.Until) })
	for _, key := range soonest[:len(soonest)-registry.MaxKeys] {
		tx.DeleteKey(key)
	}
}

// Keys lists the keys whose time is not over.
func Keys(tx Tx, now time.Time) []registry.Key {
	var keys []registry.Key
	for _, key := range tx.Keys() {
		if now.Before(key.Until) {
			keys = append(keys, key.Key)
		}
	}
	return keys
}
