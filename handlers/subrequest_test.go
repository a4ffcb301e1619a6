package handlers_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
)

func TestASubRequestIsTheOPsOwn(t *testing.T) {
	w := handlerstest.NewWorld(t)
	caller := httptest.NewRequest(http.MethodPost, "https://other.example.com/login?user=x", strings.NewReader("password=x"))
	caller.RemoteAddr = "192.0.2.7:4711"
	caller.AddCookie(&http.Cookie{Name: "login", Value: "secret"})
	for _, field := range []string{"Authorization", "X-Forwarded-For", "Range", "If-None-Match", "Accept-Language", "Connection"} {
		caller.Header.Set(field, "secret")
	}
	prepared := false
	w.Env.Prepare = func(sub, of *http.Request, rw http.ResponseWriter) *http.Request {
		prepared = of == caller && rw != nil
		return sub
	}
	_, err := w.Ask(t, caller, handlerstest.Issuer+"/a%20path/x?y=1", reply.Handler(func(_ http.ResponseWriter, r *http.Request) {
		want := http.Header{"Accept": {"application/json"}, "Accept-Encoding": {"identity"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"op.example.com"}}
		if len(r.Header) != len(want) {
			t.Errorf("header is %v", r.Header)
		}
		for field := range want {
			if r.Header.Get(field) != want.Get(field) {
				t.Errorf("%s is %q", field, r.Header.Get(field))
			}
		}
		if r.Method != http.MethodGet || r.Host != "op.example.com" || r.RemoteAddr != "192.0.2.7:4711" || r.TLS == nil {
			t.Errorf("got %s at %q from %s, TLS %v", r.Method, r.Host, r.RemoteAddr, r.TLS)
		}
		if r.URL.Path != "/a path/x" || r.URL.RawQuery != "y=1" || r.RequestURI != "/a%20path/x?y=1" || r.URL.Host != "" {
			t.Errorf("URL is %v, request URI %q", r.URL, r.RequestURI)
		}
		if body := reply.ReadAll(t, r.Body); body != "" {
			t.Errorf("body is %q", body)
		}
	}))
	if err != nil || !prepared {
		t.Errorf("got %v, prepared: %v", err, prepared)
	}
}

func TestASubRequestHasTheIssuersScheme(t *testing.T) {
	tests := []struct {
		name    string
		caller  string
		target  string
		withTLS bool
	}{
		{"https from a caller by https", "https://op.example.com/", handlerstest.DocumentURL, true},
		{"https from a caller whose TLS ended in front", "http://op.example.com/", handlerstest.DocumentURL, true},
		{"http from a caller by https", "https://op.example.com/", "http://op.example.com/", false},
		{"http from a caller by http", "http://op.example.com/", "http://op.example.com/", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			caller := httptest.NewRequest("GET", tt.caller, nil)
			_, err := handlerstest.NewWorld(t).Ask(t, caller, tt.target, reply.Handler(func(_ http.ResponseWriter, r *http.Request) {
				if (r.TLS != nil) != tt.withTLS || r.Header.Get("X-Forwarded-Proto") != strings.Split(tt.target, ":")[0] {
					t.Errorf("TLS is %v, header %v", r.TLS, r.Header)
				}
				if r.TLS != nil && (caller.TLS != nil && r.TLS != caller.TLS || !r.TLS.HandshakeComplete && caller.TLS == nil) {
					t.Errorf("TLS is %v, the caller's %v", r.TLS, caller.TLS)
				}
			}))
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAnAnswerIsRecorded(t *testing.T) {
	tests := []struct {
		name    string
		respond http.HandlerFunc
		status  int
		body    string
	}{
		{"body alone", reply.Page, 200, "<form>"},
		{"status and body", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); _, _ = io.WriteString(w, "no") }, 404, "no"},
		{"after an informational status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(503) }, 503, ""},
		{"two statuses", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); w.WriteHeader(200) }, 500, ""},
		{"nothing", func(http.ResponseWriter, *http.Request) {}, 0, ""},
		{"copied", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, reply.PlainReader("copied")) }, 200, "copied"},
		{"exactly at the bound", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, exchange.MaxJSON)) }, 200, string(make([]byte, exchange.MaxJSON))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := handlerstest.NewWorld(t).Ask(t, httptest.NewRequest("GET", handlerstest.Issuer, nil), handlerstest.DocumentURL, reply.Handler(tt.respond))
			if err != nil || a.Status != tt.status || a.Body().String() != tt.body {
				t.Errorf("got %+v, %v", a, err)
			}
		})
	}
}

func TestASubRequestFails(t *testing.T) {
	behind := errors.New("dial failed")
	tests := []struct {
		name string
		next caddyhttp.HandlerFunc
		want error
	}{
		{"with the error of a handler behind", func(http.ResponseWriter, *http.Request) error { return behind }, behind},
		{"when a handler behind panics", func(http.ResponseWriter, *http.Request) error { panic("broken") }, nil},
		{"when a handler behind aborts", func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }, nil},
		{"when the answer is too large", func(w http.ResponseWriter, _ *http.Request) error {
			for range 3 {
				_, _ = w.Write(make([]byte, exchange.MaxJSON/2))
			}
			return nil
		}, exchange.ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := handlerstest.NewWorld(t).Ask(t, httptest.NewRequest("GET", handlerstest.Issuer, nil), handlerstest.DocumentURL, tt.next)
			if err == nil || a != nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, %v", a, err)
			}
		})
	}
}

func TestASubRequestOutlivesItsCallerButNotItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := handlerstest.NewWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		caller := httptest.NewRequest("GET", handlerstest.Issuer, nil).WithContext(ctx)
		began := time.Now()
		question, err := handlers.NewSubRequest(w.Env, caller, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			if r.Context().Err() != nil {
				t.Error("it was cancelled with its caller")
			}
			<-r.Context().Done()
			return r.Context().Err()
		}), handlerstest.DocumentURL)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := question.Send(); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != handlers.SubRequestTimeout {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}
