package handlers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// A LoginPlace is the paths that the OP sets its login cookie for, as far as they were seen. A cookie that is set for a part of the site
// does not reach an endpoint elsewhere on it. The zero value has seen nothing.
type LoginPlace struct {
	mu    sync.Mutex
	paths []string
}

// maxLoginPaths is how many are remembered: an OP has one, and an odd one two.
const maxLoginPaths = 8

// note looks for the cookie among the Set-Cookie lines of a response.
func (p *LoginPlace) note(lines []string, name, requestPath string) {
	for _, line := range lines {
		if !strings.HasPrefix(line, name+"=") {
			continue
		}
		if c, err := http.ParseSetCookie(line); err == nil && c.Value != "" && c.MaxAge >= 0 {
			p.add(cookiePath(c.Path, requestPath))
		}
	}
}

func (p *LoginPlace) add(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.paths) < maxLoginPaths && !slices.Contains(p.paths, path) {
		p.paths = append(p.paths, path)
	}
}

// missed tells whether the cookie is known not to reach a path: it was seen, and never for that path.
func (p *LoginPlace) missed(path string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.paths) == 0 || slices.ContainsFunc(p.paths, func(set string) bool { return reaches(set, path) }) {
		return nil
	}
	return fmt.Errorf("%w: its login cookie is set for %s, which does not reach %s: give end_session a path below that",
		errNotEnded, strings.Join(p.paths, " and "), path)
}

// reaches tells whether a cookie for one path is sent to another (RFC 6265, section 5.1.4).
func reaches(set, path string) bool {
	rest, below := strings.CutPrefix(path, set)
	return below && (rest == "" || strings.HasSuffix(set, "/") || rest[0] == '/')
}
