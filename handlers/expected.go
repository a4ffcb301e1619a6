package handlers

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

// Expects returns what must come to the site of an OP, or nothing while that is nil: not known. An OP may
// have an end_session endpoint of its own, so that ours counts only if it is configured.
func Expects(op *OP, check *CheckSession, end *EndSession) (e Expected) {
	if op == nil {
		return e
	}
	e.Host = op.hostname()
	e.Discovery, e.Authorization = op.DiscoveryPath, op.AuthorizationPath
	replaced := check.SessionState.Replaces(op)
	if !op.checksSessions || replaced {
		e.CheckSession = op.place(check.Path, DefaultCheckSessionPath)
	}
	e.MayHaveCheckSession = !op.learnt && !replaced
	if end.Explicit {
		e.EndSession = op.place(end.Path, DefaultEndSessionPath)
	}
	return e
}
