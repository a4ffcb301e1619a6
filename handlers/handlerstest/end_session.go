package handlerstest

import (
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// EndElsewhere ends the session in the registry alone.
func (x *Exit) EndElsewhere() {
	x.T.Helper()
	x.W.End(x.T, x.OpenS().Browser, registry.ReasonOperator)
}
