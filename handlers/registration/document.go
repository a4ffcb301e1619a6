package registration

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// A document is a request to register, or the response: its members by their exact names. Go's own
// reading would take Client_ID for client_id, and an OP may echo what it does not know.
type document map[string]json.RawMessage

// errNoRegistration says that a response does not say which client was registered.
var errNoRegistration = errors.New("it is no JSON object with a client_id")

// readDocument reads a document, as far as it can be read; with an error if it has no client_id.
func readDocument(text []byte) (members document, err error) {
	if json.Unmarshal(text, &members) != nil || members.id() == "" {
		return members, errNoRegistration
	}
	return members, nil
}

func (d document) id() string { return member[string]("client_id", d) }

// member returns the value of a member in the first document that has it; zero: none has, or of
// another type.
func member[T any](name string, documents ...document) (value T) {
	for _, d := range documents {
		var own T
		raw := d[name]
		if len(raw) > 0 && !bytes.Equal(raw, []byte("null")) && json.Unmarshal(raw, &own) == nil {
			return own
		}
	}
	return value
}

// clientOf returns the client that a response names. Each other member is that of the first
// document that has it.
func clientOf(responded document, others ...document) clients.Client {
	all := append([]document{responded}, others...)
	text := func(name string) string { return member[string](name, all...) }
	required := func(name string) bool { return member[bool](name, all...) }
	return clients.Client{
		ID:                                responded.id(),
		PostLogoutRedirectURIs:            member[[]string]("post_logout_redirect_uris", all...),
		BackChannelLogoutURI:              text("backchannel_logout_uri"),
		BackChannelLogoutSessionRequired:  required("backchannel_logout_session_required"),
		FrontChannelLogoutURI:             text("frontchannel_logout_uri"),
		FrontChannelLogoutSessionRequired: required("frontchannel_logout_session_required"),
		IDTokenSignedResponseAlg:          text("id_token_signed_response_alg"),
	}
}

// maxRegisteredURIs bounds the post_logout_redirect_uris of a client that registers itself, in
// bytes of all.
const maxRegisteredURIs = 8 << 10

// acceptable leaves out what cannot be used. Of a client that registers itself nothing is plain
// http except on loopback hosts. It has no name either: anybody can choose that text, and it would
// stand on the OP's pages.
func acceptable(wanted clients.Client, redirectURIs []string) clients.Client {
	client := clients.Client{ID: wanted.ID}
	try := func(set func(*clients.Client)) {
		with := client
		if set(&with); with.Validate() == nil {
			client = with
		}
	}
	try(func(c *clients.Client) { c.IDTokenSignedResponseAlg = wanted.IDTokenSignedResponseAlg })
	if len(strings.Join(wanted.PostLogoutRedirectURIs, "")) <= maxRegisteredURIs {
		try(func(c *clients.Client) { c.PostLogoutRedirectURIs = wanted.PostLogoutRedirectURIs })
	}
	if clients.SharesHost(wanted.BackChannelLogoutURI, redirectURIs) {
		try(func(c *clients.Client) {
			c.BackChannelLogoutURI = wanted.BackChannelLogoutURI
			c.BackChannelLogoutSessionRequired = wanted.BackChannelLogoutSessionRequired
		})
	}
	if clients.SharesOrigin(wanted.FrontChannelLogoutURI, redirectURIs) {
		try(func(c *clients.Client) {
			c.FrontChannelLogoutURI = wanted.FrontChannelLogoutURI
			c.FrontChannelLogoutSessionRequired = wanted.FrontChannelLogoutSessionRequired
		})
	}
	return client
}

// logoutMembers are the members of a registration that are about logout, as far as they are set.
func logoutMembers(c clients.Client) (members []exchange.Member) {
	add := func(name string, value any, set bool) {
		if set {
			members = append(members, exchange.Member{Name: name, Value: value})
		}
	}
	add("post_logout_redirect_uris", c.PostLogoutRedirectURIs, len(c.PostLogoutRedirectURIs) > 0)
	add("backchannel_logout_uri", c.BackChannelLogoutURI, c.BackChannelLogoutURI != "")
	add("backchannel_logout_session_required", true, c.BackChannelLogoutSessionRequired)
	add("frontchannel_logout_uri", c.FrontChannelLogoutURI, c.FrontChannelLogoutURI != "")
	add("frontchannel_logout_session_required", true, c.FrontChannelLogoutSessionRequired)
	return members
}
