package handlerstest

import (
	"context"
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
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
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
