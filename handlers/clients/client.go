package clients

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A Client is what is configured of one relying party (RP), in the words of client registration
// metadata (OpenID Connect Dynamic Client Registration 1.0, section 2).
type Client struct {
	// The client ID, as the OP has it.
	ID string `json:"client_id"`

	// The name that users know the app by.
	//
	// Default: the client ID.
	Name string `json:"client_name,omitempty"`

	// Where users may be sent after they signed out (RP-Initiated Logout 1.0, section 3.1).
	// Compared byte for byte. They must be absolute, without fragment, and https; http for
	// loopback hosts; or of a scheme of a native app's own.
	//
	// Default: none; users stay on a page of the OP.
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris,omitempty"`

	// Where the client is notified, from server to server, that a session of its users has ended
	// (Back-Channel Logout 1.0, section 2.2): an https URL; http for loopback hosts.
	//
	// Default: none; it is not notified so.
	BackChannelLogoutURI string `json:"backchannel_logout_uri,omitempty"`

	// Whether a notification must name the session that has ended (sid). The client cannot be
	// notified at all then if the OP's ID tokens do not name sessions.
	//
	// Default: false.
	BackChannelLogoutSessionRequired bool `json:"backchannel_logout_session_required,omitempty"`

	// What the logout token names (Back-Channel Logout 1.0, section 2.4): `sid`, the session;
	// `sub`, the user, which ends all of the user's sessions at the client; or `both`, as far as
	// the ID tokens had them. `sub` is for clients that keep the session when there is a sid;
	// `sid` for those that end all sessions when there is a sub. With `sid`, the client cannot be
	// notified if its ID tokens had none.
	//
	// Default: both.
	LogoutToken string `json:"logout_token,omitempty"`

	// Where the client is notified in a frame of the user's browser (Front-Channel Logout 1.0,
	// section 2): an https URL; http for loopback hosts.
	//
	// Default: none; it is not notified so.
	FrontChannelLogoutURI string `json:"frontchannel_logout_uri,omitempty"`

	// As backchannel_logout_session_required, for the front channel.
	//
	// Default: false.
	FrontChannelLogoutSessionRequired bool `json:"frontchannel_logout_session_required,omitempty"`

	// The algorithm that the OP signs this client's ID tokens by; logout tokens are signed by the
	// same: RS256, PS256, ES256 or EdDSA, as far as there are signing keys for it.
	//
	// Default: the algorithm of the ID tokens that the client gets.
	IDTokenSignedResponseAlg string `json:"id_token_signed_response_alg,omitempty"`

	// Allows http for hosts other than loopback ones.
	//
	// Default: false.
	InsecureHTTP bool `json:"insecure_http,omitempty"`

	registered bool // itself, and nobody has configured it
}

// What logout tokens name.
const (
	LogoutTokenBoth = "both"
	LogoutTokenSid  = "sid"
	LogoutTokenSub  = "sub"
)

// Bounds of a client.
const (
	MaxClientURI  = 2 << 10 // bytes of an address
	maxClientURIs = 64
	maxClientName = 128 // bytes
	maxAlgorithm  = 16  // bytes
)

// ErrClient says that a client's metadata cannot be used.
var ErrClient = errors.New("invalid client")

// RegisteredItself reports whether the client is none that the operator has configured: it has
// registered itself at the OP.
func (c Client) RegisteredItself() bool { return c.registered }

// Validate reports why a client cannot be used. Its errors wrap ErrClient.
func (c Client) Validate() error {
	if c.ID == "" || len(c.ID) > handlers.MaxClientID || !isVSCHAR(c.ID) {
		return fmt.Errorf("%w: client_id must be 1 to %d visible ASCII characters",
			ErrClient, handlers.MaxClientID)
	}
	switch {
	case len(c.Name) > maxClientName:
		return c.invalid("client_name is longer than %d bytes", maxClientName)
	case len(c.IDTokenSignedResponseAlg) > maxAlgorithm:
		return c.invalid("id_token_signed_response_alg is longer than %d bytes", maxAlgorithm)
	case len(c.PostLogoutRedirectURIs) > maxClientURIs:
		return c.invalid("more than %d post_logout_redirect_uris", maxClientURIs)
	case c.LogoutToken == LogoutTokenSub && c.BackChannelLogoutSessionRequired:
		return c.invalid("logout_token is sub, " +
			"but backchannel_logout_session_required needs the sid")
	}
	for i, uri := range c.PostLogoutRedirectURIs {
		if reason := c.refuses(uri); reason != "" {
			// By its place: one that is refused may have a password in it, and errors are logged.
			return c.invalid("post_logout_redirect_uri %d %s", i+1, reason)
		}
	}
	if err := errors.Join(c.validateWeb("backchannel_logout_uri", c.BackChannelLogoutURI),
		c.validateWeb("frontchannel_logout_uri", c.FrontChannelLogoutURI)); err != nil {
		return err
	}
	if c.FrontChannelLogoutURI != "" && !assets.CanFrame(c.FrontChannelLogoutURI) {
		return c.invalid("frontchannel_logout_uri has a host that no Content-Security-Policy can " +
			"allow a frame of: it must be of letters, digits, hyphens and dots " +
			"(no underscore, no IPv6 address), with a port up to 65535")
	}
	err := handlers.OneOf("logout_token", c.LogoutToken,
		LogoutTokenSid, LogoutTokenSub, LogoutTokenBoth)
	if err != nil {
		return c.invalid("%w", err)
	}
	return nil
}

// invalid returns an error that wraps ErrClient and names the client.
func (c Client) invalid(format string, args ...any) error {
	return fmt.Errorf("%w %q: %w", ErrClient, c.ID, fmt.Errorf(format, args...))
}

// validateWeb reports why an address cannot be one where the client is notified. An empty one is
// none.
func (c Client) validateWeb(name, uri string) error {
	if uri == "" {
		return nil
	}
	if reason := c.refuses(uri); reason != "" {
		return c.invalid("%s %s", name, reason)
	}
	scheme, _, _ := strings.Cut(strings.ToLower(uri), ":")
	if scheme != "https" && scheme != "http" {
		return c.invalid("%s is no https URL", name)
	}
	return nil
}

// signingAlgorithms are those that ID tokens can be signed by (RFC 7518, section 3.1, RFC 8037,
// RFC 8812 and RFC 9864).
var signingAlgorithms = strings.Fields("HS256 HS384 HS512 RS256 RS384 RS512 PS256 PS384 PS512 " +
	"ES256 ES384 ES512 ES256K EdDSA Ed25519 Ed448")

// ValidateConfigured is Validate for a client that an operator writes down, who can correct a
// misspelt algorithm: at registration, it is the OP who refuses one. An algorithm that is like none
// of those that are known may be new: it is left alone.
func (c Client) ValidateConfigured() error {
	err := c.Validate()
	algorithm := c.IDTokenSignedResponseAlg
	if slices.Contains(signingAlgorithms, algorithm) {
		return err
	}
	if meant := handlers.DidYouMean(algorithm, signingAlgorithms); meant != "" {
		unknown := c.invalid("id_token_signed_response_alg %q is not known%s", algorithm, meant)
		return errors.Join(err, unknown)
	}
	return err
}

// Notifiable reports whether the client can be notified by back channel of the end of a session for
// which its ID tokens had this sid, or none.
func (c Client) Notifiable(sid string) bool {
	return c.BackChannelLogoutURI != "" &&
		(sid != "" || !c.BackChannelLogoutSessionRequired && c.LogoutToken != LogoutTokenSid)
}

// Names returns what the client's logout token names of a sub and a sid.
func (c Client) Names(sub, sid string) (tokenSub, tokenSid string) {
	switch {
	case c.LogoutToken == LogoutTokenSub:
		return sub, ""
	case c.LogoutToken == LogoutTokenSid && sid != "":
		return "", sid
	default:
		return sub, sid
	}
}

// MayReturnTo reports whether users may be sent to an address: it is registered, byte for byte
// (RP-Initiated Logout 1.0, section 3).
func (c Client) MayReturnTo(uri string) bool {
	return slices.Contains(c.PostLogoutRedirectURIs, uri)
}

// isVSCHAR reports whether a string is of the characters that client IDs are of (RFC 6749,
// appendix A.1).
func isVSCHAR(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c > 0x7e })
}

// refuses returns why an address cannot be registered; empty: it can.
func (c Client) refuses(uri string) string {
	u, err := url.Parse(uri)
	switch {
	case len(uri) > MaxClientURI:
		return "is too long"
	case !isVSCHAR(uri) || strings.ContainsAny(uri, " \\\"<>^`{|}"):
		return "has characters that a URI cannot have"
	case strings.Contains(uri, "#"):
		return "has a fragment"
	case err != nil || !u.IsAbs():
		return "is not absolute"
	case u.User != nil:
		return "has user information"
	default:
		return c.refusesScheme(u)
	}
}

func (c Client) refusesScheme(u *url.URL) string {
	switch {
	case u.Scheme == "https" || u.Scheme == "http":
		if u.Hostname() == "" || u.Opaque != "" {
			return "has no host"
		}
		if strings.Contains(u.Host, "%") || !isVSCHAR(u.Host) {
			// Browsers would decode it to another name, or refuse it.
			return "has a host with percent-encoding"
		}
		if u.Scheme == "http" && !c.InsecureHTTP && !handlers.IsLoopback(u.Hostname()) {
			return "must be https (or the client must have insecure_http)"
		}
		return ""
	case strings.Contains(u.Scheme, "."):
		return "" // a native app's own, by a domain name of its maker's (RFC 8252, section 7.1)
	default:
		return "has a scheme that browsers are not sent to: https, " +
			"or a native app's own with a dot in it, such as com.example.app"
	}
}

// SharesOrigin reports whether an address has the scheme, domain and port of a registered redirect
// URI (Front-Channel Logout 1.0, section 2).
func SharesOrigin(uri string, redirectURIs []string) bool {
	origin, err := sessionstate.Origin(uri)
	return err == nil && slices.ContainsFunc(redirectURIs, func(redirect string) bool {
		other, err := sessionstate.Origin(redirect)
		return err == nil && other == origin
	})
}

// SharesHost reports whether an address has the host of a registered redirect URI: a client that
// registers itself must not have this server ask others' hosts.
func SharesHost(uri string, redirectURIs []string) bool {
	u, err := url.Parse(uri)
	if err != nil || u.Hostname() == "" {
		return false
	}
	return slices.ContainsFunc(redirectURIs, func(redirect string) bool {
		other, err := url.Parse(redirect)
		return err == nil && strings.EqualFold(other.Hostname(), u.Hostname())
	})
}
