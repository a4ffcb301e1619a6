package handlers

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// The paths of our endpoints behind the issuer's own path, unless others are configured.
const (
	DefaultCheckSessionPath = "/oidc/check-session"
	DefaultEndSessionPath   = "/oidc/end-session"

	// ConfirmSuffix is where the answer to the question is posted, behind the path of the
	// end_session endpoint: no request of an app is taken for it.
	ConfirmSuffix = "/confirm"
)

// ErrPath says that a configured path cannot be served.
var ErrPath = errors.New("invalid path")

// ValidateMethod reports why a word cannot be a method (RFC 9110, section 9.1). An empty one is
// the default.
func ValidateMethod(option, method string) error {
	if method != "" && !httpguts.ValidHeaderFieldName(method) {
		return fmt.Errorf("%s: %q is no method, such as GET, POST or DELETE", option, method)
	}
	return nil
}

// ValidatePath reports why a path cannot be one on the issuer's origin. An empty one is the
// default.
func ValidatePath(option, path string) error {
	if path == "" {
		return nil
	}
	u, err := url.ParseRequestURI(path)
	if err != nil || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") ||
		u.Path != path || u.EscapedPath() != path {
		return fmt.Errorf("%s: %w %q: it must begin with one slash "+
			"and have neither a query or fragment nor escapes or what needs them",
			option, ErrPath, path)
	}
	return nil
}

// ValidateEndpoint reports why a path cannot be that of an endpoint of ours, check_session or
// end_session. An empty one is the default.
func ValidateEndpoint(option, path string) error {
	if path == "/" {
		return fmt.Errorf("%s: %w %q: that is the start page of the site; "+
			"choose a path of its own, such as /oidc/%s",
			option, ErrPath, path, strings.ReplaceAll(option, "_", "-"))
	}
	return ValidatePath(option, path)
}

// ValidateEndpoints reports why endpoints of ours cannot be where they are configured: each needs a
// path of its own, where no document of the OP is. An empty path is the default; end is nil if
// there is no end_session endpoint. Without issuers, the path of the issuer is not known, and so
// neither are the defaults behind it. ValidateIssuers and ValidateDiscovery report issuers and
// paths that are wrong themselves.
func ValidateEndpoints(issuers, discovery []string, check string, end *string) error {
	op := &OP{Names: []IssuerName{{document: pattern{before: WellKnown}}}}
	byDefault := len(issuers) > 0
	var err error
	if byDefault {
		if op, err = NewOP(issuers...); err != nil {
			return nil
		}
	}
	if op, err = op.withDocumentPaths(discovery); err != nil {
		return nil
	}
	if check == "" && byDefault {
		check = op.EndpointPath(check, DefaultCheckSessionPath)
	}
	if err := op.validateOwn("check_session", check); err != nil || end == nil {
		return err
	}
	path := *end
	if path == "" && byDefault {
		path = op.EndpointPath(path, DefaultEndSessionPath)
	}
	if path != "" && (check == path || check == path+ConfirmSuffix) {
		return fmt.Errorf("check_session is %q, but end_session has %q and %q: "+
			"each needs a path of its own", check, path, path+ConfirmSuffix)
	}
	return errors.Join(
		op.validateOwn("end_session", path), op.validateOwn("end_session", path+ConfirmSuffix))
}

// validateOwn reports why an endpoint of ours cannot be at a path.
func (op *OP) validateOwn(option, path string) error {
	if op.HasDocument(path) {
		return fmt.Errorf("%s: %w %q: the OP's discovery document is there; "+
			"choose a path of its own", option, ErrPath, path)
	}
	return nil
}

// EndpointPath returns the path of an endpoint of ours: the configured one, or the default behind
// the issuer's own path.
func (op *OP) EndpointPath(configured, byDefault string) string {
	if configured != "" {
		return configured
	}
	return op.Path + byDefault
}

// IsAt reports whether a path is that of an endpoint of ours. It allocates nothing.
func (op *OP) IsAt(path, configured, byDefault string) bool {
	if configured != "" {
		return path == configured
	}
	behind, ok := strings.CutPrefix(path, op.Path)
	return ok && behind == byDefault
}
