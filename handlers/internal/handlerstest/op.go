package handlerstest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/discovery"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
)

// Document is the discovery document of an OP.
func Document(issuer string) string {
	return fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":"%[1]s/authorize","token_endpoint":"%[1]s/token","subject_types_supported":["public"]}`,
		strings.TrimSuffix(issuer, "/"))
}

// A Source is an OP that counts how often its document was asked for.
type Source struct {
	Respond func(w http.ResponseWriter, r *http.Request) error
	Fetches atomic.Int32
}

func (s *Source) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	s.Fetches.Add(1)
	return s.Respond(w, r)
}

// Provide returns a provider in the world, whose clock is the bubble's inside synctest.
func (w *World) Provide(t *testing.T, issuer string) *handlers.Provider {
	t.Helper()
	env := w.Env
	env.Now = time.Now
	p := &handlers.Provider{}
	if issuer != "" {
		p.Issuers = []string{issuer}
	}
	if err := p.Setup(env); err != nil {
		t.Fatal(err)
	}
	return p
}

// Involved is a request that may be part of a sign-in. It came to port 8443.
func Involved(url string) *http.Request {
	r := httptest.NewRequest("GET", url+"/login?x=y", nil)
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8443}))
}

// Failing is an OP of which the site behind gives an error.
func Failing(status int) *Source {
	return &Source{Respond: func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(status, errors.New("failed")) }}
}

// From gives a request another client.
func From(r *http.Request, address string) *http.Request {
	r.RemoteAddr = address + ":4711"
	return r
}

var Refusals = map[string]caddyhttp.HandlerFunc{
	"401 by an error": func(http.ResponseWriter, *http.Request) error {
		return caddyhttp.Error(401, errors.New("not authenticated"))
	},
	"403": func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(403); return nil },
	"404": func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(404); return nil },
	"429": func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(429); return nil },
	"a login redirect": func(w http.ResponseWriter, r *http.Request) error {
		reply.Redirect("https://gate.example/")(w, r)
		return nil
	},
	"a page":   func(w http.ResponseWriter, r *http.Request) error { reply.Page(w, r); return nil },
	"nothing":  func(http.ResponseWriter, *http.Request) error { return nil },
	"an abort": func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) },
}

// Slugs is an OP that has an issuer for each of its clients.
const Slugs = Issuer + "/application/o/*/"

// A crowd is an OP with an issuer for each client, whose documents and keys are answered by the
// client's name.
type crowd struct {
	Source
	W *World
	P *handlers.Provider
}

func NewCrowd(t *testing.T, configured string, paths ...string) *crowd {
	t.Helper()
	c := &crowd{W: NewWorld(t)}
	c.Respond = func(w http.ResponseWriter, r *http.Request) error {
		client, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/application/o/"), handlers.WellKnown)
		if !ok || strings.HasPrefix(client, "none") {
			http.NotFound(w, r)
			return nil
		}
		reply.Answering(crowdDocument(client))(w, r)
		return nil
	}
	c.P = &handlers.Provider{Issuers: []string{configured}, Discovery: paths}
	if err := c.P.Setup(c.W.Env); err != nil {
		t.Fatal(err)
	}
	return c
}

func crowdDocument(client string) string {
	return fmt.Sprintf(`{"issuer":"%[1]s/application/o/%[2]s/","authorization_endpoint":"%[1]s/authorize","token_endpoint":"%[1]s/token",`+
		`"jwks_uri":"%[1]s/application/o/%[2]s/jwks/","end_session_endpoint":"%[1]s/application/o/%[2]s/end/","subject_types_supported":["public"],`+
		`"id_token_signing_alg_values_supported":["ES256"]}`, Issuer, client)
}

func (c *crowd) Find(path string) *handlers.OP {
	return c.P.Find(httptest.NewRequest("GET", Issuer+path, nil), c)
}

// HintOf is a token of an issuer whose signature fits no key.
func HintOf(t *testing.T, issuer string) string {
	t.Helper()
	claims := fmt.Sprintf(`{"iss":%q,"sub":"alice","aud":"shop","exp":%d}`, issuer, time.Now().Add(time.Hour).Unix())
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return strings.Join([]string{encode(`{"alg":"ES256","kid":"x"}`), encode(claims), encode(strings.Repeat("x", 64))}, ".")
}

// At returns the address of an OP of the test's own.
func (w *World) At(t *testing.T, op http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(op)
	t.Cleanup(server.Close)
	w.Address(t, server.URL)
	return server.URL
}

func (w *World) Address(t *testing.T, address string) {
	t.Helper()
	var err error
	if w.Env.OPAddress, err = handlers.NewOPAddress(address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Env.OPAddress.Close)
}

// Find looks for a key as a request of the endpoint does.
func (x *Exit) Find(kid string) bool {
	x.T.Helper()
	r := httptest.NewRequest(http.MethodGet, Issuer+EndSession, nil)
	return x.E.Keys.Find(x.W.OP, r, reply.Handler(x.OP), kid).Has(kid)
}

// SignsInOnce has an ID token pass in a token response, and waits until the OP's keys are recorded
// because of it.
func (x *Exit) SignsInOnce(token string) {
	x.T.Helper()
	x.SignedIn(ClientID, "alice")
	endpoint := signin.Observer{OPKeys: x.E.Keys}
	endpoint.Setup(x.W.Env)
	r := httptest.NewRequest(http.MethodPost, Issuer+"/token", strings.NewReader(CodeForm("c").Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	err := endpoint.ServeToken(x.W.OP, httptest.NewRecorder(), r, reply.Handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			x.OP(w, r)
			return
		}
		reply.Answering(`{"access_token":"a","id_token":"`+token+`"}`)(w, r)
	}))
	if err != nil {
		x.T.Fatal(err)
	}
	x.AwaitKeys()
}

// AwaitKeys waits until the OP's keys are recorded, for which no token response waits.
func (x *Exit) AwaitKeys() {
	x.T.Helper()
	Eventually(x.T, "the OP's keys are not recorded after a sign-in", func() bool {
		kept, err := x.W.Env.Registry.Keys(x.T.Context(), Issuer)
		return err == nil && len(kept) > 0
	})
}

const CheckPage = Issuer + handlers.DefaultCheckSessionPath

// Discover sends a request for the discovery document, which the OP answers as respond says.
func (w *World) Discover(t *testing.T, r *http.Request, respond http.HandlerFunc) *http.Response {
	t.Helper()
	d := discovery.Discovery{Observe: func(op *handlers.OP, _ *http.Request, _ []byte) *handlers.OP { return op }}
	d.Setup(w.Env)
	recorder := httptest.NewRecorder()
	members := func(op *handlers.OP) []exchange.Member {
		return (&check.Endpoint{Path: handlers.DefaultCheckSessionPath}).Members(op, false)
	}
	if err := d.Serve(w.OP, recorder, r, reply.Handler(respond), members); err != nil {
		t.Fatal(err)
	}
	return recorder.Result()
}
