package opkeys

import "github.com/oidc-session/caddy-oidc-session/tokens"

// What the tests beside this package use of it.

// MaxAge is maxAge.
const MaxAge = maxAge

// Have returns the keys at hand.
func (k *Keys) Have() tokens.KeySet {
	keys, _ := k.have("")
	return keys
}
