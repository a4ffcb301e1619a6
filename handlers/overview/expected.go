package overview

import (
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
)

// Expected are the requests that must come to a site whose issuer is configured or discovered: the
// host of the issuer without its port, and paths there. An empty path is not known or not needed.
type Expected struct {
	Host, Discovery, CheckSession, EndSession, Authorization string

	// MayHaveCheckSession: the OP may have a check page of its own, which it keeps.
	MayHaveCheckSession bool
}

// Paths are the paths that are known.
func (e Expected) Paths() (paths []string) {
	for _, path := range []string{e.Discovery, e.CheckSession, e.EndSession, e.Authorization} {
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// Expects returns what must come to the site of an OP, or nothing while that is nil: not known. An
// OP may have an end_session endpoint of its own, so that ours counts only if it is configured.
func Expects(op *handlers.OP, check *check.CheckSession, end *logout.EndSession) (e Expected) {
	if op == nil {
		return e
	}
	e.Host = op.Hostname()
	e.Discovery, e.Authorization = op.DiscoveryPath, op.AuthorizationPath
	replaced := check.SessionState.Replaces(op)
	if !op.HasCheckSession() || replaced {
		e.CheckSession = op.EndpointPath(check.Path, handlers.DefaultCheckSessionPath)
	}
	e.MayHaveCheckSession = !op.Discovered && !replaced
	if end.Explicit {
		e.EndSession = op.EndpointPath(end.Path, handlers.DefaultEndSessionPath)
	}
	return e
}
