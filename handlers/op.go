package handlers

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// What an OP's ID tokens may be configured to have, before any was observed.
const (
	IDTokensKid = "kid" // the name of the key that signed it
	IDTokensSid = "sid" // the name of the OP's session
)

// An OP is what is known of the OpenID Provider at a site. It never changes: what is discovered
// makes a new one.
type OP struct {
	// Issuer identifies the OP in all that is recorded and sealed: its issuer identifier, exactly
	// as its document has it. Of an OP with several, it is the first that is configured, which may
	// end in a *.
	Issuer string
	// Origin is the issuer's origin (RFC 6454).
	Origin string
	// Host is the origin's host, with the port if that is not the scheme's default.
	Host        string
	defaultPort string
	// Path is the path that the issuers share, without a slash at its end.
	Path string
	// Names are the configured issuers, at least one.
	Names []IssuerName
	// Cookies are the names of our cookies at the OP.
	Cookies cookieNames

	documentPaths []pattern // of documents that are not at their issuers' own paths

	// DiscoveryPath, AuthorizationPath, TokenPath, PushedPath, EndSessionPath, JWKSPath and
	// RegistrationPath are the paths of the OP's endpoints on that origin, not escaped. Empty: not
	// discovered, or elsewhere.
	DiscoveryPath, AuthorizationPath, TokenPath, PushedPath string
	EndSessionPath, JWKSPath, RegistrationPath              string

	// Discovered reports whether a document of the OP was read.
	Discovered bool
	// Metadata is that document. Its Issuer may be another one of the OP's issuers.
	Metadata
	// DocumentIssuer is the issuer that the document names, and DocumentPath where it was.
	DocumentIssuer, DocumentPath string

	owners  map[string]string // the members of the document that name a path, by path
	views   []*OP             // of an OP with several documents: the OP by each, the latest first
	guessed []guess           // of such an OP, by the latest
}

// ErrIssuer says that a string is no issuer identifier (OpenID Connect Discovery 1.0, section 3).
var ErrIssuer = errors.New("invalid issuer")

// NewOP returns what its issuers say of an OP before anything is discovered. Its errors wrap
// ErrIssuer.
func NewOP(issuers ...string) (*OP, error) {
	op, err := newOPOf(issuers[0])
	if err != nil {
		return nil, err
	}
	for _, issuer := range issuers[1:] {
		other, err := newOPOf(issuer)
		if err != nil {
			return nil, err
		}
		if other.Origin != op.Origin {
			return nil, fmt.Errorf("%w %q: it must have the origin of the others, %s",
				ErrIssuer, issuer, op.Origin)
		}
	}
	if op.Names, err = parseIssuers(issuers); err != nil {
		return nil, err
	}
	op.Path = sharedPath(op.Names)
	if !op.HasSeveralIssuers() {
		op.DocumentIssuer = op.Issuer
	}
	op.DiscoveryPath = op.AskedPath()
	return op, nil
}

// newOPOf returns what one issuer says of its OP.
func newOPOf(issuer string) (*OP, error) {
	origin, err := sessionstate.Origin(issuer)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w; it must be a URL, such as https://op.example.com",
			ErrIssuer, issuer, err)
	}
	u, err := url.Parse(issuer)
	if err != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(issuer, "#") ||
		len(issuer) > MaxClientID {
		return nil, fmt.Errorf("%w %q: it has a query or a fragment, or is too long; "+
			"write it as the OP's discovery document has it", ErrIssuer, issuer)
	}
	scheme, host, _ := strings.Cut(origin, "://")
	return &OP{
		Issuer:      issuer,
		Origin:      origin,
		Cookies:     newCookieNames(issuer, origin, u.Path),
		Host:        host,
		defaultPort: map[string]string{"http": ":80", "https": ":443"}[scheme],
	}, nil
}

// withDocumentPaths returns the OP with the paths of documents that are not at their issuers' own
// paths. It is asked at the first that is one path.
func (op *OP) withDocumentPaths(paths []string) (*OP, error) {
	with := *op
	var err error
	if with.documentPaths, err = parseDiscoveryPaths(paths); err != nil {
		return nil, err
	}
	with.DiscoveryPath = with.AskedPath()
	return &with, nil
}

// With returns the OP with what its document says, and the names of the endpoints that cannot be
// observed.
func (op *OP) With(m Metadata) (discovered *OP, elsewhere []string) {
	with := *op
	with.Discovered, with.Metadata, with.DocumentPath = true, m, op.DiscoveryPath
	if with.Issues(m.Issuer) {
		with.DocumentIssuer = m.Issuer
	}
	with.AuthorizationPath = EndpointPath(m.AuthorizationEndpoint, op.Origin)
	with.TokenPath = EndpointPath(m.TokenEndpoint, op.Origin)
	with.PushedPath = EndpointPath(m.PushedEndpoint, op.Origin)
	with.EndSessionPath = EndpointPath(m.EndSessionEndpoint, op.Origin)
	with.JWKSPath = EndpointPath(m.JWKSURI, op.Origin)
	with.RegistrationPath = EndpointPath(m.RegistrationEndpoint, op.Origin)
	with.owners, with.members = m.owners(op.Origin), nil
	if with.AuthorizationPath == "" {
		elsewhere = append(elsewhere, "authorization_endpoint")
	}
	if with.TokenPath == "" && m.TokenEndpoint != "" {
		elsewhere = append(elsewhere, "token_endpoint")
	}
	return &with, elsewhere
}

// discoveryURL is the address of the OP's document.
func (op *OP) discoveryURL() string { return op.Origin + op.DiscoveryPath }

// Hostname is the issuer's host without a port.
func (op *OP) Hostname() string {
	if name, _, err := net.SplitHostPort(op.Host); err == nil {
		return name
	}
	return op.Host
}

// Serves reports whether a request is for the issuer's host. A site may take requests for any
// host.
func (op *OP) Serves(r *http.Request) bool {
	return r.Host == op.Host ||
		strings.EqualFold(strings.TrimSuffix(r.Host, op.defaultPort), op.Host)
}

// Owner returns the member of the OP's metadata that names a path, which is an endpoint of the
// OP's own then; empty: none does.
func (op *OP) Owner(path string) string {
	for _, view := range op.views {
		if member := view.owners[path]; member != "" {
			return member
		}
	}
	return op.owners[path]
}
