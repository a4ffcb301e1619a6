package handlers

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ErrPath says that a configured path cannot be served.
var ErrPath = errors.New("invalid path")

// validatePath tells why a path cannot be that of an endpoint of ours. An empty one is the default.
func validatePath(path string) error {
	if path == "" {
		return nil
	}
	u, err := url.ParseRequestURI(path)
	if err != nil || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || u.Path != path || u.EscapedPath() != path {
		return fmt.Errorf("%w %q: it must begin with one slash and have neither a query or fragment nor escapes or what needs them", ErrPath, path)
	}
	return nil
}

// place is the path of an endpoint of ours: the configured one, or the default behind the issuer's own path.
func (op *OP) place(configured, byDefault string) string {
	if configured != "" {
		return configured
	}
	return op.path + byDefault
}

// isAt reports whether a path is that of an endpoint of ours. It allocates nothing.
func (op *OP) isAt(path, configured, byDefault string) bool {
	if configured != "" {
		return path == configured
	}
	behind, ok := strings.CutPrefix(path, op.path)
	return ok && behind == byDefault
}
