package opkeys

import (
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// What the tests beside this package use of it.

const KeysMaxAge = keysMaxAge

func (x *Keys) Have(kid string) (tokens.KeySet, bool) { return x.have(kid) }
