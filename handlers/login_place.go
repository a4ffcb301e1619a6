package handlers

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

// A LoginPlace is the path that the OP sets its login cookie for, as far as it was seen. A cookie that is set for a part of the site does
// not reach an endpoint elsewhere on it. The zero value has seen nothing.
type LoginPlace struct {
	path atomic.Pointer[string]
}

// note looks for the cookie among the Set-Cookie lines of a response.
func (p *LoginPlace) note(lines []string, name, requestPath string) {
	for _, line := range lines {
		if !strings.HasPrefix(line, name+"=") {
			continue
		}
		c, err := http.ParseSetCookie(line)
		if err != nil || c.Value == "" || c.MaxAge < 0 {
			continue
		}
		path := cookiePath(c.Path, requestPath)
		if known := p.path.Load(); known == nil || *known != path {
			p.path.Store(&path)
		}
	}
}

// missed tells whether the cookie is known not to reach a path (RFC 6265, section 5.1.4).
func (p *LoginPlace) missed(path string) error {
	set := p.path.Load()
	if set == nil || path == *set || strings.HasPrefix(path, *set) && (strings.HasSuffix(*set, "/") || path[len(*set)] == '/') {
		return nil
	}
	return fmt.Errorf("%w: its login cookie is set for %s, which does not reach %s: give end_session a path below that", errNotEnded, *set, path)
}
