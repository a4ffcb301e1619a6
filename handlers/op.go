package handlers

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// An OP is what is known of the OpenID Provider at a site. It never changes: what is learnt anew makes a new one.
type OP struct {
	// Issuer is what all that is recorded and sealed of the OP goes by: its issuer identifier, exactly as its document has it; of an
	// OP with several, the first that is configured, which may end in a *.
	Issuer string
	// Origin is the issuer's origin (RFC 6454).
	Origin string
	// DiscoveryPath, AuthorizationPath, TokenPath, PushedPath, EndSessionPath, JWKSPath and RegistrationPath are the paths of the OP's endpoints on that
	// origin, not escaped. Empty: not known, or elsewhere.
	DiscoveryPath, AuthorizationPath, TokenPath, PushedPath, EndSessionPath, JWKSPath, RegistrationPath string

	path     string       // that its issuers share, without a slash at its end
	issuers  []issuerName // one at least
	places   []pattern    // where documents are that are not at their issuers' own places
	issuer   string       // that the document names which the fields below are of
	document string       // the path of that document
	views    []*OP        // of an OP with several documents: the OP by each, the latest first
	guessed  []guess      // of such an OP, by the latest

	learnt         bool              // from the OP's document, which the fields below are of
	tellsClients   bool              // the OP has back-channel logout of its own
	framesClients  bool              // the OP has front-channel logout of its own
	checksSessions bool              // the OP's document names a check_session_iframe
	endsSessions   bool              // the OP's document has an end_session_endpoint of its own, wherever that is
	owners         map[string]string // the names of the document's members that name a path
	jwksURI        string            // as the OP's document has it; empty: not known
	algorithms     []string          // that the OP signs ID tokens with, as its document has them
	publicSubjects bool
	claimsSID      bool // the OP's document says that ID tokens have a sid
	requestObjects bool // requests may be in request objects
	requestURIs    bool // requests may be pushed, or elsewhere
	cookies        cookieNames
	host           string // of the origin, with the port if that is not the scheme's default
	defaultPort    string
}

// ErrIssuer says that a string is no issuer identifier (OpenID Connect Discovery 1.0, section 3).
var ErrIssuer = errors.New("invalid issuer")

// newOP returns what its issuers say of an OP before anything is learnt.
func newOP(issuers ...string) (*OP, error) {
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
	if op.issuers, err = parseIssuers(issuers); err != nil {
		return nil, err
	}
	op.path = sharedPath(op.issuers)
	if !op.hasSeveralIssuers() {
		op.issuer = op.Issuer
	}
	op.DiscoveryPath = op.asked()
	return op, nil
}

// newOPOf returns what the one or first issuer of an OP says of it.
func newOPOf(issuer string) (*OP, error) {
	origin, err := sessionstate.Origin(issuer)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w; it must be a URL, such as https://op.example.com", ErrIssuer, issuer, err)
	}
	u, err := url.Parse(issuer)
	if err != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(issuer, "#") || len(issuer) > maxClientID {
		return nil, fmt.Errorf("%w %q: it has a query or a fragment, or is too long; write it as the OP's discovery document has it", ErrIssuer, issuer)
	}
	scheme, host, _ := strings.Cut(origin, "://")
	return &OP{
		Issuer:      issuer,
		Origin:      origin,
		cookies:     newCookieNames(issuer, origin, u.Path),
		host:        host,
		defaultPort: map[string]string{"http": ":80", "https": ":443"}[scheme],
	}, nil
}

// withPlaces returns the OP with the paths of documents that are not at their issuers' own places. It is asked at the first that
// is one path.
func (op *OP) withPlaces(paths []string) (*OP, error) {
	with := *op
	var err error
	if with.places, err = parseDiscoveryPaths(paths); err != nil {
		return nil, err
	}
	with.DiscoveryPath = with.asked()
	return &with, nil
}

// with returns the OP with what its document says, and the names of the endpoints that cannot be observed.
func (op *OP) with(m metadata) (learnt *OP, elsewhere []string) {
	known := *op
	known.learnt, known.document = true, op.DiscoveryPath
	if known.issues(m.Issuer) {
		known.issuer = m.Issuer
	}
	known.tellsClients, known.framesClients = m.BackChannelLogout, m.FrontChannelLogout
	known.RegistrationPath = endpointPath(m.RegistrationEndpoint, op.Origin)
	known.JWKSPath = endpointPath(m.JWKSURI, op.Origin)
	known.AuthorizationPath = endpointPath(m.AuthorizationEndpoint, op.Origin)
	known.TokenPath = endpointPath(m.TokenEndpoint, op.Origin)
	known.PushedPath = endpointPath(m.PushedEndpoint, op.Origin)
	known.EndSessionPath = endpointPath(m.EndSessionEndpoint, op.Origin)
	known.checksSessions = m.CheckSessionIframe != ""
	known.endsSessions = m.EndSessionEndpoint != ""
	known.owners = m.owners(op.Origin)
	known.jwksURI, known.algorithms = m.JWKSURI, m.SigningAlgorithms
	// A sub means something at its own issuer only (OpenID Connect Core 1.0, section 2).
	known.publicSubjects = m.publicSubjects() && !op.hasSeveralIssuers()
	known.claimsSID = slices.Contains(m.ClaimsSupported, IDTokensSid)
	known.requestObjects = m.RequestParameter || m.SignedRequestObjects
	known.requestURIs = m.RequestURIParameter || m.PushedEndpoint != ""
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

// hostname is the issuer's host without a port.
func (op *OP) hostname() string {
	if name, _, err := net.SplitHostPort(op.host); err == nil {
		return name
	}
	return op.host
}

// serves reports whether a request is for the issuer's host. A request for another host, on a site that takes any, is not ours.
func (op *OP) serves(r *http.Request) bool {
	return r.Host == op.host || strings.EqualFold(strings.TrimSuffix(r.Host, op.defaultPort), op.host)
}

// owner returns the member of the OP's metadata by which a path is an endpoint of the OP's own;
// empty: none is known.
func (op *OP) owner(path string) string {
	for _, view := range op.views {
		if member := view.owners[path]; member != "" {
			return member
		}
	}
	return op.owners[path]
}

// plainHTTP reports whether browsers get the OP's pages by http from a host that they do not treat as trustworthy.
func (op *OP) plainHTTP() bool { return !op.cookies.trustworthy }
