package handlers

import "net"

// Expected are the requests that must come to a site whose issuer is configured: the host of the
// issuer without its port, and paths there. An empty path is not known or not needed.
type Expected struct {
	Host, Discovery, CheckSession, EndSession string
}

// Paths are the paths that are known.
func (e Expected) Paths() (paths []string) {
	for _, path := range []string{e.Discovery, e.CheckSession, e.EndSession} {
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// Expects returns what must come to the site, or nothing where the issuer is discovered. An OP may
// have an end_session endpoint of its own, so that ours counts only if it is configured.
func (p *Provider) Expects(end *EndSession) (e Expected) {
	if p.named == nil {
		return e
	}
	e.Host = p.named.host
	if host, _, err := net.SplitHostPort(e.Host); err == nil {
		e.Host = host
	}
	e.Discovery = p.named.DiscoveryPath
	e.CheckSession = p.named.place(p.Check.Path, DefaultCheckSessionPath)
	if end.Explicit {
		e.EndSession = p.named.place(end.Path, DefaultEndSessionPath)
	}
	return e
}
