package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	_ "github.com/oidc-session/caddy-oidc-session"
)

// issuer is the OP's in this process.
const issuer = "https://op.example.com"

// provision gives an environment to load handlers in: Caddy's, without servers, silent but for
// errors. The function it returns cleans them up.
func provision(dir string) (caddy.Context, context.CancelFunc, error) {
	object := func(value map[string]any) json.RawMessage { return caddyconfig.JSON(value, nil) }
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:      &caddy.AdminConfig{Disabled: true},
		StorageRaw: object(map[string]any{"module": "file_system", "root": dir}),
		Logging:    &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}},
		AppsRaw: caddy.ModuleMap{"oidc_session": object(map[string]any{
			"keys": []string{rand.Text() + rand.Text()}, "store": map[string]any{"module": "memory"},
		})},
	})
	if err != nil {
		return caddy.Context{}, nil, err
	}
	ctx, cancel := caddy.NewContext(ctx)
	return ctx, cancel, nil
}

// loadHandler loads a handler from its configuration.
func loadHandler(ctx caddy.Context, name string, config map[string]any) (caddyhttp.MiddlewareHandler, error) {
	loaded, err := ctx.LoadModuleByID("http.handlers."+name, caddyconfig.JSON(config, nil))
	if err != nil {
		return nil, err
	}
	handler, ok := loaded.(caddyhttp.MiddlewareHandler)
	if !ok {
		return nil, fmt.Errorf("module %T is no handler", loaded)
	}
	return handler, nil
}

// loadPlugin loads the handler for an OP and lets it learn the OP's endpoints.
func loadPlugin(ctx caddy.Context) (caddyhttp.MiddlewareHandler, error) {
	plugin, err := loadHandler(ctx, "oidc_session", map[string]any{"issuers": []string{issuer}, "login_cookie": "login"})
	if err != nil {
		return nil, err
	}
	o := &op{issuer: issuer}
	answer := httptest.NewRecorder()
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		o.discovery(w, r)
		return nil
	})
	if err := plugin.ServeHTTP(answer, request(discoveryPath), next); err != nil {
		return nil, err
	}
	if !strings.Contains(answer.Body.String(), "check_session_iframe") {
		return nil, fmt.Errorf("the discovery document is not completed: %s", answer.Body)
	}
	return plugin, nil
}

// request returns a GET for the OP, as Caddy hands requests to handlers.
func request(path string) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, issuer+path, http.NoBody)
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server))
}
