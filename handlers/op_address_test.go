package handlers_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
)

// behindWall refuses whoever comes through the site.
var behindWall = reply.Handler(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })

func TestTheOPIsAskedAtItsAddress(t *testing.T) {
	w := handlerstest.NewWorld(t)
	var got *http.Request
	w.At(t, func(rw http.ResponseWriter, r *http.Request) {
		got = r
		reply.Answering(handlerstest.Document(handlerstest.Issuer))(rw, r)
	})
	caller := handlerstest.Involved(handlerstest.Issuer)
	caller.RemoteAddr = "10.0.0.1:4711"
	caller.Header.Set("X-Forwarded-For", "10.9.9.9, 203.0.113.9")
	caller.Header.Set("X-Forwarded-Host", "evil.example")
	caller = caller.WithContext(context.WithValue(caller.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "203.0.113.9"}))
	w.Env.Prepare = func(sub, caller *http.Request, _ http.ResponseWriter) *http.Request {
		return sub.WithContext(caller.Context())
	}
	if op := w.Provide(t, "").Find(caller, behindWall); op == nil || op.Issuer != handlerstest.Issuer {
		t.Fatalf("got %+v, logged %s", op, w.Logged())
	}
	if got.Host != "op.example.com" || got.RequestURI != handlers.WellKnown {
		t.Errorf("asked for %s at %s", got.RequestURI, got.Host)
	}
	for field, want := range map[string]string{"X-Forwarded-Host": "op.example.com", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"} {
		if values := got.Header.Values(field); len(values) != 1 || values[0] != want {
			t.Errorf("%s is %q, want %s", field, values, want)
		}
	}
}

// Only a proxy that Caddy trusts tells the scheme of an issuer that is not known yet.
func TestWhoForwardsTheCallerTellsTheSchemeOnlyIfTrusted(t *testing.T) {
	for trusted, want := range map[bool]string{true: "https", false: "http"} {
		w := handlerstest.NewWorld(t)
		proto := ""
		w.At(t, func(_ http.ResponseWriter, r *http.Request) { proto = r.Header.Get("X-Forwarded-Proto") })
		r := handlerstest.Involved("http://op.example.com")
		r.Header.Set("X-Forwarded-Proto", "https")
		r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.TrustedProxyVarKey: trusted}))
		w.Env.Prepare = func(sub, caller *http.Request, _ http.ResponseWriter) *http.Request {
			return sub.WithContext(caller.Context())
		}
		if w.Provide(t, "").Find(r, behindWall); proto != want {
			t.Errorf("trusted: %v: the OP is asked as by %q", trusted, proto)
		}
	}
}

func TestTheOPIsAskedAtASocket(t *testing.T) {
	w := handlerstest.NewWorld(t)
	socket := filepath.Join(t.TempDir(), "op.sock")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: reply.Answering(handlerstest.Document(handlerstest.Issuer))}}
	server.Start()
	t.Cleanup(server.Close)
	w.Address(t, "unix/"+socket)
	if op := w.Provide(t, handlerstest.Issuer).Find(handlerstest.Involved(handlerstest.Issuer), behindWall); op == nil || op.AuthorizationPath == "" {
		t.Errorf("got %+v, logged %s", op, w.Logged())
	}
}

func TestTheKeysAreAskedForAtTheOPsAddress(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.W.At(t, x.OP)
	x.SetUp()
	r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession, nil)
	if !x.E.Keys.Find(x.W.OP, r, behindWall, "1").Has("1") {
		t.Errorf("the key is not known: %s", x.W.Logged())
	}
}

func TestTheSignOutGoesToTheOPsAddress(t *testing.T) {
	x := handlerstest.NewExit(t)
	body := ""
	x.W.At(t, func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		body = string(sent)
		x.OP(w, r)
	})
	x.E.Upstream = &logout.Upstream{Path: "/logout", Form: map[string]string{"all": "1"}}
	x.SetUp()
	x.SignedIn(handlerstest.ClientID, "alice")
	got := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?id_token_hint="+x.Hint(handlerstest.ClientID, "alice"), nil))
	if got.StatusCode != http.StatusOK || x.Logouts.Load() != 1 || body != "all=1" {
		t.Fatalf("got %s after %d questions, with %q", got.Status, x.Logouts.Load(), body)
	}
	if !strings.Contains(x.Logout.Header.Get("Cookie"), "login=alice") || !strings.Contains(strings.Join(got.Header["Set-Cookie"], "\n"), "login=; ") {
		t.Errorf("the OP got %v, and the browser %v", x.Logout.Header, got.Header)
	}
}

func TestAnAnswerAtTheOPsAddressIsBounded(t *testing.T) {
	for name, op := range map[string]http.HandlerFunc{
		"over 1 MiB": reply.Answering(handlerstest.Document(handlerstest.Issuer) + strings.Repeat(" ", exchange.MaxJSON)),
		"a redirect": reply.Redirect("/elsewhere"),
		"a header over 64 KiB": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Large", strings.Repeat("x", 2*exchange.MaxForm))
			reply.Answering(handlerstest.Document(handlerstest.Issuer))(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			asked := 0
			w.At(t, func(rw http.ResponseWriter, r *http.Request) {
				asked++
				if r.URL.Path == "/elsewhere" {
					reply.Answering(handlerstest.Document(handlerstest.Issuer))(rw, r)
					return
				}
				op(rw, r)
			})
			if got := w.Provide(t, "").Find(handlerstest.Involved(handlerstest.Issuer), behindWall); got != nil || asked != 1 {
				t.Errorf("got %+v after %d questions", got, asked)
			}
		})
	}
}

func TestAQuestionAtTheOPsAddressEndsInTime(t *testing.T) {
	w := handlerstest.NewWorld(t)
	w.At(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	question, err := handlers.NewSubRequest(w.Env, handlerstest.Involved(handlerstest.Issuer), behindWall, handlerstest.DocumentURL)
	if err != nil {
		t.Fatal(err)
	}
	if deadline, ok := question.Request().Context().Deadline(); !ok || time.Until(deadline) > handlers.SubRequestTimeout {
		t.Errorf("it may last until %v", deadline)
	}
	question.Cancel()()
	if _, err := question.Send(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAnOPThatIsNotAtItsAddressYetIsAskedAgain(t *testing.T) {
	w := handlerstest.NewWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	w.Address(t, "http://"+address)
	now := w.Clock
	p := &handlers.Provider{Issuers: []string{handlerstest.Issuer}}
	if err := p.Setup(w.Env); err != nil {
		t.Fatal(err)
	}
	if op := p.Find(handlerstest.Involved(handlerstest.Issuer), behindWall); op.Discovered {
		t.Fatal("it is there")
	}
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Skip("another process has the port now")
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: reply.Answering(handlerstest.Document(handlerstest.Issuer))}}
	server.Start()
	t.Cleanup(server.Close)
	now.Advance(handlers.AskPause)
	if op := p.Find(handlerstest.Involved(handlerstest.Issuer), behindWall); !op.Discovered {
		t.Errorf("it is not learnt: %s", w.Logged())
	}
}

func TestAddressesThatCannotBeAsked(t *testing.T) {
	for address, want := range map[string]bool{
		"http://localhost:8000": true, "http://localhost:8000/": true, "https://op.internal": true, "http://[::1]:8000": true, "unix//run/op.sock": true,
		"": false, "localhost:8000": false, "unix/": false, "ftp://localhost": false, "http://": false, "http://:8000": false, "http://localhost/path": false,
		"http://localhost?x": false, "http://localhost#x": false, "http://user@localhost": false, "http://local host": false, "h2c://localhost": false,
	} {
		if _, err := handlers.NewOPAddress(address); (err == nil) != want {
			t.Errorf("%q: %v", address, err)
		}
	}
}
