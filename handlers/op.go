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

// What an OP's ID tokens may be known to have, before any was seen.
const (
	IDTokensKid = "kid" // the name of the key that signed it
	IDTokensSid = "sid" // the name of the OP's session
)

// An OP is what is known of the OpenID Provider at a site. It never changes: what is learnt anew
// makes a new one.
type OP struct {
	// Issuer is what all that is recorded and sealed of the OP goes by: its issuer identifier,
	// exactly as its document has it; of an OP with several, the first that is configured, which
	// may end in a *.
	Issuer string
	// Origin is the issuer's origin (RFC 6454).
	Origin string
	// DiscoveryPath, AuthorizationPath, TokenPath, PushedPath, EndSessionPath, JWKSPath and
	// RegistrationPath are the paths of the OP's endpoints on that origin, not escaped. Empty: not
	// known, or elsewhere.
	DiscoveryPath, AuthorizationPath, TokenPath, PushedPath, EndSessionPath, JWKSPath, RegistrationPath string

	Path           string       // that its issuers share, without a slash at its end
	Names          []IssuerName // one at least
	places         []pattern    // where documents are that are not at their issuers' own places
	DocumentIssuer string       // that the document names which the fields below are of
	DocumentPath   string       // the path of that document
	// of an OP with several documents: the OP by each, the latest first
	views   []*OP
	guessed []guess // of such an OP, by the latest

	// Metadata is the OP's document; zero before it is discovered. Its Issuer may be another one
	// of the OP's issuers.
	Metadata
	Discovered bool
	owners     map[string]string // the names of the document's members that name a path
	Cookies    cookieNames
	// of the origin, with the port if that is not the scheme's default
	Host        string
	defaultPort string
}

// ErrIssuer says that a string is no issuer identifier (OpenID Connect Discovery 1.0, section 3).
var ErrIssuer = errors.New("invalid issuer")

// NewOP returns what its issuers say of an OP before anything is learnt.
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
			return nil, fmt.Errorf("%w %q: it must have the origin of the others, %s", ErrIssuer, issuer, op.Origin)
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

// newOPOf returns what the one or first issuer of an OP says of it.
func newOPOf(issuer string) (*OP, error) {
	origin, err := sessionstate.Origin(issuer)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w; it must be a URL, such as https://op.example.com", ErrIssuer, issuer, err)
	}
	u, err := url.Parse(issuer)
	if err != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(issuer, "#") || len(issuer) > MaxClientID {
		return nil, fmt.Errorf("%w %q: it has a query or a fragment, or is too long; write it as the OP's discovery document has it", ErrIssuer, issuer)
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

// withPlaces returns the OP with the paths of documents that are not at their issuers' own places.
// It is asked at the first that is one path.
func (op *OP) withPlaces(paths []string) (*OP, error) {
	with := *op
	var err error
	if with.places, err = parseDiscoveryPaths(paths); err != nil {
		return nil, err
	}
	with.DiscoveryPath = with.AskedPath()
	return &with, nil
}

// With returns the OP with what its document says, and the names of the endpoints that cannot be
// observed.
func (op *OP) With(m Metadata) (learnt *OP, elsewhere []string) {
	known := *op
	known.Discovered, known.DocumentPath = true, op.DiscoveryPath
	if known.Issues(m.Issuer) {
		known.DocumentIssuer = m.Issuer
	}
	known.Metadata = m
	known.RegistrationPath = EndpointPath(m.RegistrationEndpoint, op.Origin)
	known.JWKSPath = EndpointPath(m.JWKSURI, op.Origin)
	known.AuthorizationPath = EndpointPath(m.AuthorizationEndpoint, op.Origin)
	known.TokenPath = EndpointPath(m.TokenEndpoint, op.Origin)
	known.PushedPath = EndpointPath(m.PushedEndpoint, op.Origin)
	known.EndSessionPath = EndpointPath(m.EndSessionEndpoint, op.Origin)
	known.owners = m.owners(op.Origin)
	if known.AuthorizationPath == "" {
		elsewhere = append(elsewhere, "authorization_endpoint")
	}
	if known.TokenPath == "" && m.TokenEndpoint != "" {
		elsewhere = append(elsewhere, "token_endpoint")
	}
	return &known, elsewhere
}

// discoveryURL is where the OP's document stands.
func (op *OP) discoveryURL() string { return op.Origin + op.DiscoveryPath }

// Hostname is the issuer's host without a port.
func (op *OP) Hostname() string {
	if name, _, err := net.SplitHostPort(op.Host); err == nil {
		return name
	}
	return op.Host
}

// Serves reports whether a request is for the issuer's host. A request for another host, on a site
// that takes any, is not ours.
func (op *OP) Serves(r *http.Request) bool {
	return r.Host == op.Host || strings.EqualFold(strings.TrimSuffix(r.Host, op.defaultPort), op.Host)
}

// Owner returns the member of the OP's metadata by which a path is an endpoint of the OP's own;
// empty: none is known.
func (op *OP) Owner(path string) string {
	for _, view := range op.views {
		if member := view.owners[path]; member != "" {
			return member
		}
	}
	return op.owners[path]
}

// plainHTTP reports whether browsers get the OP's pages by http from a host that they do not treat
// as trustworthy.
func (op *OP) plainHTTP() bool { return !op.Cookies.Trustworthy }
