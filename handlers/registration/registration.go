package registration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
)

// A Registration observes the OP's registration endpoint (OpenID Connect Dynamic Client
// Registration 1.0, section 3) and the clients' own configuration endpoints (section 4; RFC 7592)
// at or below it: what clients register for logout is kept here, and echoed where the OP drops it.
//
// The OP decides who may register what; only what it has accepted is learnt. A member that could
// not be configured by hand either is not learnt. One that is not learnt, or that nobody would act
// upon, is not echoed, which tells the client so (RFC 7591, section
// 3.2.1).
type Registration struct {
	// Clients keeps what is learnt.
	Clients *clients.Clients
	// EndSession and BackChannel act upon what is learnt.
	EndSession  *logout.EndSession
	BackChannel *backchannel.BackChannel

	env handlers.Env
}

// Setup gives the handler its world.
func (g *Registration) Setup(env handlers.Env) { g.env = env }

// Serves reports whether a request registers a client, or reads, changes or deletes a
// registration. The latter come with a token of their own (RFC 7592, section 2), and not from
// pages, which may be below that path as well.
func (g *Registration) Serves(op *handlers.OP, r *http.Request) bool {
	if !isRegistration(op, r.URL.Path) {
		return false
	}
	switch r.Method {
	case http.MethodPost:
		return r.URL.Path == op.RegistrationPath
	case http.MethodGet, http.MethodPut, http.MethodDelete:
		return strings.HasPrefix(strings.ToLower(r.Header.Get("Authorization")), "bearer ")
	}
	return false
}

// isRegistration reports whether a path is that of the registration endpoint, or below it.
func isRegistration(op *handlers.OP, path string) bool {
	if op.RegistrationPath == "" || op.RegistrationPath == "/" {
		return op.RegistrationPath != "" && path == op.RegistrationPath
	}
	return handlers.IsPathBelow(path, strings.TrimSuffix(op.RegistrationPath, "/"))
}

// Serve passes a request on, and learns from it and from the answer.
func (g *Registration) Serve(op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	switch r.Method {
	case http.MethodGet:
		return g.serve(w, r, next, func(answer []byte) ([]byte, error) { return g.echo(handlers.RecordingContext(r), op, answer) })
	case http.MethodDelete:
		sent := handlers.AsSent(r, next)
		return exchange.Observe(w, r, next, func(status int, _ http.Header) *exchange.Hold {
			if status == http.StatusNoContent {
				g.forget(op, sent)
			}
			return nil
		})
	}
	body, r := exchange.ReadBody(r, exchange.MaxForm)
	return g.serve(w, r, next, func(answer []byte) ([]byte, error) {
		if r.Method == http.MethodPut && !g.isUpdate(op, r, answer) {
			return answer, nil
		}
		return g.learn(op, r, body, answer)
	})
}

// isUpdate reports whether an answer says what is registered now of the client whose registration
// is changed at this very address (RFC 7592, section 2.2). Anything else that is below the
// endpoint says nothing of clients.
func (g *Registration) isUpdate(op *handlers.OP, r *http.Request, answer []byte) bool {
	answered, err := readRegistration(answer)
	if err != nil {
		return false
	}
	client, found, err := g.env.Registry.RegisteredAt(handlers.RecordingContext(r), op.Issuer, r.URL.RequestURI())
	if err != nil {
		handlers.LogUnrecorded(g.env.Logger, "a change of a registration is not learnt", err)
	}
	return err == nil && found && client.ID == text(answered, "client_id")
}

// serve holds an answer that says what is registered now.
func (g *Registration) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, edit func([]byte) ([]byte, error)) error {
	e := exchange.DocumentEdit{Edit: edit, Failed: func(err error) {
		g.env.Logger.Warn("the answer to a registration passes as it came", zap.Error(err))
	}}
	return exchange.Observe(w, exchange.Unencoded(r), next, func(status int, header http.Header) *exchange.Hold {
		if status != http.StatusOK && (status != http.StatusCreated || r.Method != http.MethodPost) || !exchange.IsJSON(header) {
			return nil
		}
		return &exchange.Hold{Limit: exchange.MaxJSON, Edit: e.ApplyPlain}
	})
}

// learn keeps what a client has registered: what the answer says, and else what was asked for.
func (g *Registration) learn(op *handlers.OP, r *http.Request, request, answer []byte) ([]byte, error) {
	// the OP took it all the same if it is none: only what it says counts
	asked, _ := readRegistration(request)
	answered, err := readRegistration(answer)
	if err != nil {
		return nil, err
	}
	ctx := handlers.RecordingContext(r)
	wanted := answered.client(asked)
	client := acceptable(wanted, member[[]string]("redirect_uris", answered, asked))
	if err := g.Clients.Add(ctx, op.Issuer, g.uri(ctx, op, client.ID, answered, asked), client); err != nil {
		handlers.LogUnrecorded(g.env.Logger, "a registration is not learnt", err)
		return nil, err
	}
	g.env.Logger.Info("learnt a client's registration", zap.String("issuer", op.Issuer), zap.String("client_id", client.ID),
		zap.Bool("backchannel_logout", client.BackChannelLogoutURI != ""), zap.Bool("frontchannel_logout", client.FrontChannelLogoutURI != ""))
	if dropped := namesWithout(logoutMembers(wanted), logoutMembers(client)); len(dropped) > 0 {
		g.env.Logger.Warn("members of a registration cannot be used, and are not learnt", zap.String("client_id", client.ID), zap.Strings("members", dropped))
	}
	return exchange.AddMembers(answer, g.acted(op, client))
}

// namesWithout returns the names of members that are not among others.
func namesWithout(members, others []exchange.Member) (names []string) {
	for _, m := range members {
		if !slices.ContainsFunc(others, func(other exchange.Member) bool { return other.Name == m.Name }) {
			names = append(names, m.Name)
		}
	}
	return names
}

// uri returns where the registration of a client is changed, as a request names it: path and
// query; empty: not known. The OP says so, and not the client, who must not (RFC 7592, section
// 2.2): an OP may echo what it does not know.
func (g *Registration) uri(ctx context.Context, op *handlers.OP, id string, answered, asked registration) string {
	uri := text(answered, "registration_client_uri")
	_, echoed := asked["registration_client_uri"]
	u, err := url.Parse(uri)
	if err == nil && !echoed && len(uri) <= clients.MaxClientURI && isRegistration(op, handlers.EndpointPath(uri, op.Origin)) {
		return u.RequestURI()
	}
	before, _, err := g.env.Registry.Registered(ctx, op.Issuer, id)
	if err != nil {
		handlers.LogUnrecorded(g.env.Logger, "where a registration is changed is not known", err)
	}
	return before.URI
}

// echo adds what is kept of a client to an answer that says what is registered.
func (g *Registration) echo(ctx context.Context, op *handlers.OP, answer []byte) ([]byte, error) {
	answered, err := readRegistration(answer)
	if err != nil {
		return answer, nil // something else of the OP's that is below its endpoint
	}
	client, known, err := g.Clients.Registered(ctx, op.Issuer, text(answered, "client_id"))
	if err != nil {
		handlers.LogUnrecorded(g.env.Logger, "what a client has registered for logout is not known", err)
	}
	if !known {
		return answer, nil
	}
	return exchange.AddMembers(answer, g.acted(op, client))
}

// forget forgets the client whose registration was deleted at its address (RFC 7592, section 2.3).
func (g *Registration) forget(op *handlers.OP, r *http.Request) {
	ctx := handlers.RecordingContext(r)
	client, found, err := g.env.Registry.RegisteredAt(ctx, op.Issuer, r.URL.RequestURI())
	if err == nil && found {
		err = g.env.Registry.Deregister(ctx, op.Issuer, client.ID)
	}
	if err != nil {
		handlers.LogUnrecorded(g.env.Logger, "a client that was deleted is still known", err)
	}
}

// A registration is a request to register, or an answer to it: its members by their exact names.
// Go's own reading would take Client_ID for client_id, and an OP may echo what it does not know.
type registration map[string]json.RawMessage

// errNoRegistration says that an answer does not say which client was registered.
var errNoRegistration = errors.New("it is no JSON object with a client_id")

func readRegistration(document []byte) (registration, error) {
	var members registration
	if err := json.Unmarshal(document, &members); err != nil || text(members, "client_id") == "" {
		return members, errNoRegistration
	}
	return members, nil
}

// member returns the value of a member in the first document that has it; zero: none has, or of
// another type.
func member[T any](name string, documents ...registration) (value T) {
	for _, document := range documents {
		var own T
		raw := document[name]
		if len(raw) > 0 && !bytes.Equal(raw, []byte("null")) && json.Unmarshal(raw, &own) == nil {
			return own
		}
	}
	return value
}

func text(document registration, name string) string { return member[string](name, document) }

// client returns what the first document says that says something.
func (r registration) client(others ...registration) clients.Client {
	all := append([]registration{r}, others...)
	return clients.Client{
		ID:                                text(r, "client_id"),
		PostLogoutRedirectURIs:            member[[]string]("post_logout_redirect_uris", all...),
		BackChannelLogoutURI:              member[string]("backchannel_logout_uri", all...),
		BackChannelLogoutSessionRequired:  member[bool]("backchannel_logout_session_required", all...),
		FrontChannelLogoutURI:             member[string]("frontchannel_logout_uri", all...),
		FrontChannelLogoutSessionRequired: member[bool]("frontchannel_logout_session_required", all...),
		IDTokenSignedResponseAlg:          member[string]("id_token_signed_response_alg", all...),
	}
}

// maxRegisteredURIs bounds the post_logout_redirect_uris of a client that registers itself, in
// bytes of all.
const maxRegisteredURIs = 8 << 10

// acceptable leaves out what cannot be used. Of a client that registers itself nothing is plain
// http but on loopback hosts. It has no name either: that is anybody's text, and would stand on
// the OP's pages.
func acceptable(d clients.Client, redirectURIs []string) clients.Client {
	client := clients.Client{ID: d.ID}
	try := func(set func(*clients.Client)) {
		with := client
		if set(&with); with.Validate() == nil {
			client = with
		}
	}
	try(func(c *clients.Client) { c.IDTokenSignedResponseAlg = d.IDTokenSignedResponseAlg })
	if len(strings.Join(d.PostLogoutRedirectURIs, "")) <= maxRegisteredURIs {
		try(func(c *clients.Client) { c.PostLogoutRedirectURIs = d.PostLogoutRedirectURIs })
	}
	if clients.SharesHost(d.BackChannelLogoutURI, redirectURIs) {
		try(func(c *clients.Client) {
			c.BackChannelLogoutURI, c.BackChannelLogoutSessionRequired = d.BackChannelLogoutURI, d.BackChannelLogoutSessionRequired
		})
	}
	if clients.SharesOrigin(d.FrontChannelLogoutURI, redirectURIs) {
		try(func(c *clients.Client) {
			c.FrontChannelLogoutURI, c.FrontChannelLogoutSessionRequired = d.FrontChannelLogoutURI, d.FrontChannelLogoutSessionRequired
		})
	}
	return client
}

// acted returns the members of a registration that are acted upon at an OP.
func (g *Registration) acted(op *handlers.OP, client clients.Client) []exchange.Member {
	if !g.BackChannel.Notifies(op) {
		client.BackChannelLogoutURI, client.BackChannelLogoutSessionRequired = "", false
	}
	if !g.EndSession.IsServed(op) {
		client.PostLogoutRedirectURIs = nil
	}
	if !g.EndSession.IsServed(op) || op.FrontChannelLogout {
		client.FrontChannelLogoutURI, client.FrontChannelLogoutSessionRequired = "", false
	}
	return logoutMembers(client)
}

// logoutMembers are the members of a registration that are about logout, as far as they are set.
func logoutMembers(c clients.Client) []exchange.Member {
	var members []exchange.Member
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
