package handlers

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
)

// behindWall refuses whoever comes through the site.
var behindWall = handler(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })

// at returns the address of an OP of the test's own.
func (w *world) at(t *testing.T, op http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(op)
	t.Cleanup(server.Close)
	w.address(t, server.URL)
	return server.URL
}

func (w *world) address(t *testing.T, address string) {
	t.Helper()
	var err error
	if w.env.OPAddress, err = NewOPAddress(address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.env.OPAddress.Close)
}

func TestTheOPIsAskedAtItsAddress(t *testing.T) {
	w := newWorld(t)
	var got *http.Request
	w.at(t, func(rw http.ResponseWriter, r *http.Request) {
		got = r
		answering(document(issuer))(rw, r)
	})
	caller := involved(issuer)
	caller.RemoteAddr = "10.0.0.1:4711"
	caller.Header.Set("X-Forwarded-For", "10.9.9.9, 203.0.113.9")
	caller.Header.Set("X-Forwarded-Host", "evil.example")
	caller = caller.WithContext(context.WithValue(caller.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "203.0.113.9"}))
	w.env.Prepare = func(sub, caller *http.Request, _ http.ResponseWriter) *http.Request {
		return sub.WithContext(caller.Context())
	}
	if op := w.provide(t, "").Find(caller, behindWall); op == nil || op.Issuer != issuer {
		t.Fatalf("got %+v, logged %s", op, w.logged())
	}
	if got.Host != "op.example.com" || got.RequestURI != wellKnown {
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
		w := newWorld(t)
		proto := ""
		w.at(t, func(_ http.ResponseWriter, r *http.Request) { proto = r.Header.Get("X-Forwarded-Proto") })
		r := involved("http://op.example.com")
		r.Header.Set("X-Forwarded-Proto", "https")
		r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.TrustedProxyVarKey: trusted}))
		w.env.Prepare = func(sub, caller *http.Request, _ http.ResponseWriter) *http.Request {
			return sub.WithContext(caller.Context())
		}
		if w.provide(t, "").Find(r, behindWall); proto != want {
			t.Errorf("trusted: %v: the OP is asked as by %q", trusted, proto)
		}
	}
}

func TestTheOPIsAskedAtASocket(t *testing.T) {
	w := newWorld(t)
	socket := filepath.Join(t.TempDir(), "op.sock")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: answering(document(issuer))}}
	server.Start()
	t.Cleanup(server.Close)
	w.address(t, "unix/"+socket)
	if op := w.provide(t, issuer).Find(involved(issuer), behindWall); op == nil || op.AuthorizationPath == "" {
		t.Errorf("got %+v, logged %s", op, w.logged())
	}
}

func TestTheKeysAreAskedForAtTheOPsAddress(t *testing.T) {
	x := newExit(t)
	x.w.at(t, x.op)
	x.setUp()
	r := httptest.NewRequest(http.MethodGet, issuer+endSession, nil)
	if !x.e.Keys.Find(x.w.op, r, behindWall, "1").Has("1") {
		t.Errorf("the key is not known: %s", x.w.logged())
	}
}

func TestTheSignOutGoesToTheOPsAddress(t *testing.T) {
	x := newExit(t)
	body := ""
	x.w.at(t, func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		body = string(sent)
		x.op(w, r)
	})
	x.e.Upstream = &Upstream{Path: "/logout", Form: map[string]string{"all": "1"}}
	x.setUp()
	x.signedIn(clientID, "alice")
	got := x.once(httptest.NewRequest(http.MethodGet, issuer+endSession+"?id_token_hint="+x.hint(clientID, "alice"), nil))
	if got.StatusCode != http.StatusOK || x.logouts.Load() != 1 || body != "all=1" {
		t.Fatalf("got %s after %d questions, with %q", got.Status, x.logouts.Load(), body)
	}
	if !strings.Contains(x.logout.Header.Get("Cookie"), "login=alice") || !strings.Contains(strings.Join(got.Header["Set-Cookie"], "\n"), "login=; ") {
		t.Errorf("the OP got %v, and the browser %v", x.logout.Header, got.Header)
	}
}

func TestAnAnswerAtTheOPsAddressIsBounded(t *testing.T) {
	for name, op := range map[string]http.HandlerFunc{
		"over 1 MiB": answering(document(issuer) + strings.Repeat(" ", maxJSON)),
		"a redirect": redirect("/elsewhere"),
		"a header over 64 KiB": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Large", strings.Repeat("x", 2*maxForm))
			answering(document(issuer))(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			asked := 0
			w.at(t, func(rw http.ResponseWriter, r *http.Request) {
				asked++
				if r.URL.Path == "/elsewhere" {
					answering(document(issuer))(rw, r)
					return
				}
				op(rw, r)
			})
			if got := w.provide(t, "").Find(involved(issuer), behindWall); got != nil || asked != 1 {
				t.Errorf("got %+v after %d questions", got, asked)
			}
		})
	}
}

func TestAQuestionAtTheOPsAddressEndsInTime(t *testing.T) {
	w := newWorld(t)
	w.at(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	question, err := newSubRequest(w.env, involved(issuer), behindWall, documentURL)
	if err != nil {
		t.Fatal(err)
	}
	if deadline, ok := question.request.Context().Deadline(); !ok || time.Until(deadline) > subRequestTimeout {
		t.Errorf("it may last until %v", deadline)
	}
	question.cancel()
	if _, err := question.send(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAnOPThatIsNotAtItsAddressYetIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	w.address(t, "http://"+address)
	now := w.clock
	p := &Provider{Issuers: []string{issuer}}
	if err := p.Setup(w.env); err != nil {
		t.Fatal(err)
	}
	if op := p.Find(involved(issuer), behindWall); op.learnt {
		t.Fatal("it is there")
	}
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Skip("another process has the port now")
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: answering(document(issuer))}}
	server.Start()
	t.Cleanup(server.Close)
	now.advance(askPause)
	if op := p.Find(involved(issuer), behindWall); !op.learnt {
		t.Errorf("it is not learnt: %s", w.logged())
	}
}

func TestAddressesThatCannotBeAsked(t *testing.T) {
	for address, want := range map[string]bool{
		"http://localhost:8000": true, "http://localhost:8000/": true, "https://op.internal": true, "http://[::1]:8000": true, "unix//run/op.sock": true,
		"": false, "localhost:8000": false, "unix/": false, "ftp://localhost": false, "http://": false, "http://:8000": false, "http://localhost/path": false,
		"http://localhost?x": false, "http://localhost#x": false, "http://user@localhost": false, "http://local host": false, "h2c://localhost": false,
	} {
		if _, err := NewOPAddress(address); (err == nil) != want {
			t.Errorf("%q: %v", address, err)
		}
	}
}
