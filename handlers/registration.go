package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A Registration observes the OP's registration endpoint (OpenID Connect Dynamic Client Registration 1.0, section 3) and the clients'
// own configuration endpoints (section 4; RFC 7592): what clients register for logout is kept here, and echoed where the OP drops it.
//
// The OP decides who may register what; only what it has accepted is learnt. A member that could not be configured by hand either is
// not learnt, and not echoed, which tells the client so (RFC 7591, section 3.2.1).
type Registration struct {
	// Clients keeps what is learnt.
	Clients *Clients

	env Env
}

// Setup gives the handler its world.
func (g *Registration) Setup(env Env) { g.env = env }

// Serves tells whether a request is for the registration endpoint, or for the configuration of a client: one that was learnt, or that may
// change what was registered before anything was learnt.
func (g *Registration) Serves(op *OP, r *http.Request) bool {
	switch {
	case op.RegistrationPath == "":
		return false
	case r.URL.Path == op.RegistrationPath || g.Clients.registered.at(r.URL.RequestURI()) != "":
		return true
	case op.RegistrationPath == "/" || !strings.HasPrefix(r.URL.Path, strings.TrimSuffix(op.RegistrationPath, "/")+"/"):
		return false
	case r.Method == http.MethodPut:
		return true
	}
	return g.Clients.Load(recording(r), op.Issuer) == nil && g.Clients.registered.at(r.URL.RequestURI()) != ""
}

// Serve passes a request on, and learns from it and from the answer.
func (g *Registration) Serve(op *OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if err := g.Clients.Load(recording(r), op.Issuer); err != nil {
		unrecorded(g.env.Logger, "registrations pass without being learnt", err)
		return next.ServeHTTP(w, r)
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut:
		body, r := readBody(r)
		return g.serve(w, r, next, []int{http.StatusOK, http.StatusCreated}, func(document []byte) ([]byte, error) {
			return g.learn(op, r, body, document)
		})
	case http.MethodGet:
		return g.serve(w, r, next, []int{http.StatusOK}, g.echo)
	case http.MethodDelete:
		return observe(w, r, next, func(status int, _ http.Header) *hold {
			if status == http.StatusNoContent || status == http.StatusOK {
				g.forget(op, r)
			}
			return nil
		})
	}
	return next.ServeHTTP(w, r)
}

// serve holds an answer that says what is registered now.
func (g *Registration) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, good []int, edit func([]byte) ([]byte, error)) error {
	e := documentEdit{edit: edit, failed: func(err error) {
		g.env.Logger.Warn("the answer to a registration passes as it came", zap.Error(err))
	}}
	return observe(w, unencoded(r), next, func(status int, header http.Header) *hold {
		if !slices.Contains(good, status) || !isJSON(header) {
			return nil
		}
		return &hold{limit: maxJSON, edit: e.applyPlain}
	})
}

// readBody reads a request's body, up to maxForm bytes, and returns the request with its body as it was. A larger or broken one is nil.
func readBody(r *http.Request) ([]byte, *http.Request) {
	if r.Body == nil || r.ContentLength > maxForm {
		return nil, r
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	replayed := r.WithContext(r.Context()) // the caller's request keeps its own body
	replayed.Body = replay{io.MultiReader(bytes.NewReader(body), rest(r.Body, err)), r.Body}
	if err != nil || len(body) > maxForm {
		return nil, replayed
	}
	return body, replayed
}

// errNoRegistration says that an answer does not say which client was registered.
var errNoRegistration = errors.New("it is no JSON object with a client_id")

// A registrationDocument is what is used of a request and of the answer to it.
type registrationDocument struct {
	registeredClient

	RedirectURIs []string `json:"redirect_uris"`
}

// learn keeps what a client has registered: what the answer says, and else what was asked for.
func (g *Registration) learn(op *OP, r *http.Request, request, answer []byte) ([]byte, error) {
	var effective registrationDocument
	if json.Unmarshal(request, &effective) != nil {
		effective = registrationDocument{} // the OP took it all the same: only what it says counts
	}
	asked := effective.registeredClient
	effective.ID, effective.URI = "", ""
	if err := json.Unmarshal(answer, &effective); err != nil || effective.ID == "" {
		return nil, errNoRegistration
	}
	client := g.acceptable(op, effective)
	if r.Method == http.MethodPut && client.URI == "" {
		client.URI = g.Clients.registered.uriOf(client.ID)
	}
	if err := g.Clients.learn(recording(r), op.Issuer, client); err != nil {
		unrecorded(g.env.Logger, "a registration is not learnt", err)
		return nil, err
	}
	g.env.Logger.Info("learnt a client's registration", zap.String("issuer", op.Issuer), zap.String("client_id", client.ID),
		zap.Bool("backchannel_logout", client.BackChannelLogoutURI != ""), zap.Bool("frontchannel_logout", client.FrontChannelLogoutURI != ""))
	if dropped := asked.logoutMembers(); len(dropped) > len(client.logoutMembers()) {
		g.env.Logger.Warn("members of a registration cannot be used, and are not learnt", zap.String("client_id", client.ID))
	}
	return appendMembers(answer, client.logoutMembers())
}

// acceptable leaves out what cannot be used. Of a client that registers itself nothing is plain http but on loopback hosts.
func (g *Registration) acceptable(op *OP, d registrationDocument) registeredClient {
	client := registeredClient{Client: Client{ID: d.ID}}
	try := func(set func(*Client)) {
		with := client.Client
		if set(&with); with.Validate() == nil {
			client.Client = with
		}
	}
	try(func(c *Client) { c.Name = d.Name })
	try(func(c *Client) { c.PostLogoutRedirectURIs = d.PostLogoutRedirectURIs })
	try(func(c *Client) { c.IDTokenSignedResponseAlg = d.IDTokenSignedResponseAlg })
	try(func(c *Client) {
		c.BackChannelLogoutURI, c.BackChannelLogoutSessionRequired = d.BackChannelLogoutURI, d.BackChannelLogoutSessionRequired
	})
	if sharesOrigin(d.FrontChannelLogoutURI, d.RedirectURIs) {
		try(func(c *Client) {
			c.FrontChannelLogoutURI, c.FrontChannelLogoutSessionRequired = d.FrontChannelLogoutURI, d.FrontChannelLogoutSessionRequired
		})
	}
	if u, err := url.Parse(d.URI); err == nil && endpointPath(d.URI, op.Origin) != "" && len(d.URI) <= maxClientURI {
		client.URI = u.RequestURI()
	}
	return client
}

// sharesOrigin tells whether an address has the scheme, domain and port of a registered redirect URI (Front-Channel Logout 1.0,
// section 2).
func sharesOrigin(uri string, redirectURIs []string) bool {
	origin, err := sessionstate.Origin(uri)
	return err == nil && slices.ContainsFunc(redirectURIs, func(redirect string) bool {
		other, err := sessionstate.Origin(redirect)
		return err == nil && other == origin
	})
}

// echo adds what is kept of a client to an answer that says what is registered.
func (g *Registration) echo(answer []byte) ([]byte, error) {
	var named Client
	if err := json.Unmarshal(answer, &named); err != nil || named.ID == "" {
		return nil, errNoRegistration
	}
	client, known := g.Clients.registered.find(named.ID)
	if !known {
		return answer, nil
	}
	return appendMembers(answer, client.logoutMembers())
}

// forget forgets the client whose configuration was deleted.
func (g *Registration) forget(op *OP, r *http.Request) {
	id := g.Clients.registered.at(r.URL.RequestURI())
	if id == "" {
		return
	}
	if err := g.Clients.forget(recording(r), op.Issuer, id); err != nil {
		unrecorded(g.env.Logger, "a client that was deleted is still known", err)
	}
}

// logoutMembers are the members of a registration that are about logout, as far as they are set.
func (c Client) logoutMembers() []Member {
	var members []Member
	add := func(name string, value any, set bool) {
		if set {
			members = append(members, Member{Name: name, Value: value})
		}
	}
	add("post_logout_redirect_uris", c.PostLogoutRedirectURIs, len(c.PostLogoutRedirectURIs) > 0)
	add("backchannel_logout_uri", c.BackChannelLogoutURI, c.BackChannelLogoutURI != "")
	add("backchannel_logout_session_required", true, c.BackChannelLogoutSessionRequired)
	add("frontchannel_logout_uri", c.FrontChannelLogoutURI, c.FrontChannelLogoutURI != "")
	add("frontchannel_logout_session_required", true, c.FrontChannelLogoutSessionRequired)
	return members
}
