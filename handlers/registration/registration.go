package registration

import (
	"context"
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

// A Registration observes the OP's registration endpoint and the clients' own configuration
// endpoints (OpenID Connect Dynamic Client Registration 1.0, section 4; RFC 7592) at or below it.
//
// The OP decides who may register what; only what it has accepted is kept. A member that could not
// be configured by hand either is dropped. One that is dropped, or that nothing would be done with,
// is not echoed, which is how the client gets to know (RFC 7591, section 3.2.1).
type Registration struct {
	// Clients keeps what is registered.
	Clients *clients.Clients
	// EndSession and BackChannel act upon it.
	EndSession  *logout.EndSession
	BackChannel *backchannel.BackChannel

	env handlers.Env
}

// Setup prepares the handler for requests.
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

// Serve passes a request on, and keeps what it and the response say.
func (g *Registration) Serve(
	op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler,
) error {
	switch r.Method {
	case http.MethodGet:
		return g.serve(w, r, next, func(response []byte) ([]byte, error) {
			return g.echo(handlers.RecordingContext(r), op, response)
		})
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
	return g.serve(w, r, next, func(response []byte) ([]byte, error) {
		if r.Method == http.MethodPut && !g.isUpdate(op, r, response) {
			return response, nil
		}
		return g.keep(op, r, body, response)
	})
}

// serve holds a response that says what is registered now.
func (g *Registration) serve(
	w http.ResponseWriter, r *http.Request, next caddyhttp.Handler,
	edit func([]byte) ([]byte, error),
) error {
	e := exchange.DocumentEdit{Edit: edit, Failed: func(err error) {
		g.env.Logger.Warn("the answer to a registration passes as it came", zap.Error(err))
	}}
	hold := func(status int, header http.Header) *exchange.Hold {
		created := status == http.StatusCreated && r.Method == http.MethodPost
		if status != http.StatusOK && !created || !exchange.IsJSON(header) {
			return nil
		}
		return &exchange.Hold{Limit: exchange.MaxJSON, Edit: e.ApplyPlain}
	}
	return exchange.Observe(w, exchange.Unencoded(r), next, hold)
}

// echo adds what is kept of a client to a response that says what is registered.
func (g *Registration) echo(
	ctx context.Context, op *handlers.OP, response []byte,
) ([]byte, error) {
	responded, err := readDocument(response)
	if err != nil {
		return response, nil // another page of the OP that is below its endpoint
	}
	client, known, err := g.Clients.Registered(ctx, op.Issuer, responded.id())
	if err != nil {
		handlers.LogUnrecorded(g.env.Logger,
			"what a client has registered for logout is not known", err)
	}
	if !known {
		return response, nil
	}
	return exchange.AddMembers(response, g.acted(op, client))
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

// isUpdate reports whether a response says what is registered now of the client whose registration
// is changed at this very address (RFC 7592, section 2.2). Anything else that is below the
// endpoint says nothing of clients.
func (g *Registration) isUpdate(op *handlers.OP, r *http.Request, response []byte) bool {
	responded, err := readDocument(response)
	if err != nil {
		return false
	}
	ctx := handlers.RecordingContext(r)
	client, found, err := g.env.Registry.RegisteredAt(ctx, op.Issuer, r.URL.RequestURI())
	if err != nil {
		handlers.LogUnrecorded(g.env.Logger, "a change of a registration is not recorded", err)
	}
	return err == nil && found && client.ID == responded.id()
}

// keep keeps what a client has registered: what the response says, and else what the request does.
func (g *Registration) keep(
	op *handlers.OP, r *http.Request, request, response []byte,
) ([]byte, error) {
	// The OP took the request even if it cannot be read: only the response counts then.
	requested, _ := readDocument(request)
	responded, err := readDocument(response)
	if err != nil {
		return nil, err
	}
	ctx := handlers.RecordingContext(r)
	wanted := clientOf(responded, requested)
	client := acceptable(wanted, member[[]string]("redirect_uris", responded, requested))
	uri := g.uri(ctx, op, client.ID, responded, requested)
	if err := g.Clients.Add(ctx, op.Issuer, uri, client); err != nil {
		handlers.LogUnrecorded(g.env.Logger, "a registration is not recorded", err)
		return nil, err
	}
	g.env.Logger.Info("client registration recorded",
		zap.String("issuer", op.Issuer), zap.String("client_id", client.ID),
		zap.Bool("backchannel_logout", client.BackChannelLogoutURI != ""),
		zap.Bool("frontchannel_logout", client.FrontChannelLogoutURI != ""))
	var dropped []string
	kept := logoutMembers(client)
	for _, m := range logoutMembers(wanted) {
		if !slices.ContainsFunc(kept, func(k exchange.Member) bool { return k.Name == m.Name }) {
			dropped = append(dropped, m.Name)
		}
	}
	if len(dropped) > 0 {
		g.env.Logger.Warn("members of a registration cannot be used, and are not recorded",
			zap.String("client_id", client.ID), zap.Strings("members", dropped))
	}
	return exchange.AddMembers(response, g.acted(op, client))
}

// uri returns where the registration of a client is changed, as a request names it: path and
// query; empty: not known. The OP says so, and not the client, who must not (RFC 7592, section
// 2.2): an OP may echo what it does not know.
func (g *Registration) uri(
	ctx context.Context, op *handlers.OP, id string, responded, requested document,
) string {
	uri := member[string]("registration_client_uri", responded)
	_, echoed := requested["registration_client_uri"]
	u, err := url.Parse(uri)
	if err == nil && !echoed && len(uri) <= clients.MaxClientURI &&
		isRegistration(op, handlers.EndpointPath(uri, op.Origin)) {
		return u.RequestURI()
	}
	before, _, err := g.env.Registry.Registered(ctx, op.Issuer, id)
	if err != nil {
		handlers.LogUnrecorded(g.env.Logger, "where a registration is changed is not known", err)
	}
	return before.URI
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
