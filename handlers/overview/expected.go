package overview

import (
	"slices"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
)

// Expected are the requests that must come to a site whose issuer is configured or discovered: the
// host of the issuer without its port, and paths there. An empty path is unknown or not needed.
type Expected struct {
	Host, Discovery, CheckSession, EndSession, Authorization string

	// MayHaveCheckSession: the OP may have a check page of its own, which it keeps.
	MayHaveCheckSession bool
}

// Paths returns the paths that are not empty.
func (e Expected) Paths() []string {
	paths := []string{e.Discovery, e.CheckSession, e.EndSession, e.Authorization}
	return slices.DeleteFunc(paths, func(path string) bool { return path == "" })
}

// Expects returns what must come to the site of an OP; nothing while there is none. An OP may have
// an end_session endpoint of its own, so that ours counts only if it is configured.
func Expects(op *handlers.OP, check *check.Endpoint, end *logout.EndSession) (e Expected) {
	if op == nil {
		return e
	}
	e.Host = op.Hostname()
	e.Discovery, e.Authorization = op.DiscoveryPath, op.AuthorizationPath
	replaced := check.SessionState.Replaces(op)
	if !op.HasCheckSession() || replaced {
		e.CheckSession = check.PathAt(op)
	}
	e.MayHaveCheckSession = !op.Discovered && !replaced
	if end.Explicit {
		e.EndSession = end.PathAt(op)
	}
	return e
}
