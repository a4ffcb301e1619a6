package handlers_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
)

// rewrittenTo is a request that the browser sent for a path, after the handlers before us.
func rewrittenTo(from, to string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+to, nil)
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, *httptest.NewRequest(http.MethodGet, handlerstest.Issuer+from, nil)))
}

func TestPathsAreThoseOfTheBrowser(t *testing.T) {
	tests := []struct {
		name, from, to string
		ours           string // the path that we serve by
		asked          string // where the OP is asked for /auth/jwks
		warned         bool
	}{
		{"untouched", "/auth/x", "/auth/x", "", "", false},
		{"a prefix is stripped", "/auth/x", "/x", "/auth/x", "/jwks", false},
		{"escaped", "/auth/a%2Fb", "/a%2Fb", "/auth/a/b", "/jwks", false},
		{"slashes are merged", "/auth//a//b", "/a/b", "/auth/a/b", "/jwks", false},
		{"in capitals", "/AUTH/x", "/x", "/AUTH/x", "/jwks", false},
		{"another prefix is stripped", "/other/x", "/x", "/other/x", "/auth/jwks", false},
		{"the prefix alone", "/auth", "/", "/auth", "/auth/jwks", false},
		{"another path", "/login", "/idp/login", "/login", "/auth/jwks", true},
		{"a suffix is stripped", "/auth/x.html", "/auth/x", "/auth/x.html", "/auth/jwks", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			p := new(handlers.Paths)
			p.Setup(w.Env)
			var asked []string
			behind := reply.Handler(func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r.URL.EscapedPath()) })
			r := rewrittenTo(tt.from, tt.to)
			way := p.Restore(r, behind)
			if (way != nil) != (tt.ours != "") {
				t.Fatalf("got %+v", way)
			}
			if way == nil {
				return
			}
			err := way.Serve(nil, r, func(_ http.ResponseWriter, ours *http.Request, next caddyhttp.Handler) error {
				if ours != r || ours.URL.Path != tt.ours {
					t.Errorf("we serve by %s", ours.URL.Path)
				}
				_ = next.ServeHTTP(nil, ours)
				return next.ServeHTTP(nil, httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/auth/jwks", nil))
			})
			if err != nil || len(asked) != 2 || asked[0] != tt.to || asked[1] != tt.asked || r.URL.EscapedPath() != tt.to {
				t.Errorf("the handlers behind are asked for %q, %v; afterwards the path is %s", asked, err, r.URL.Path)
			}
			if warned := w.Logs.FilterMessageSnippet("rewritten before").Len(); (warned == 1) != tt.warned {
				t.Errorf("logged %s", w.Logged())
			}
		})
	}
}

// What is not below the prefix comes as it was sent, and has the OP asked all the same.
func TestThePrefixIsKnownForRequestsOutsideIt(t *testing.T) {
	w, p := handlerstest.NewWorld(t), new(handlers.Paths)
	p.Setup(w.Env)
	behind := reply.Handler(func(http.ResponseWriter, *http.Request) {})
	if p.Restore(rewrittenTo("/other", "/other"), behind) != nil {
		t.Error("a prefix is known before anything was stripped")
	}
	p.Restore(rewrittenTo("/auth/x", "/x"), behind)
	if way := p.Restore(rewrittenTo("/other", "/other"), behind); way == nil || way.Prefix() != "/auth" || *way.From() != *way.To() {
		t.Errorf("got %+v", way)
	}
	if p.Restore(rewrittenTo("/auth/x", "/auth/x"), behind) != nil {
		t.Error("a path below the prefix that was not stripped is taken for one that was")
	}
	for _, odd := range [][2]string{{"//auth//x", "/x"}, {"/auth//x", "/x"}, {"/auth/./x", "/x"}, {"/authority", "/ority"}, {"/authority", "ority"}} { // anybody may send them
		p.Restore(rewrittenTo(odd[0], "/"), behind)
		r := rewrittenTo(odd[0], "/")
		r.URL.Path = odd[1]
		p.Restore(r, behind)
	}
	if w.Logged() != "" {
		t.Errorf("logged %s", w.Logged())
	}
	if got := *p.Prefix().Load(); got != "/auth" {
		t.Errorf("the prefix is %s", got)
	}
}
