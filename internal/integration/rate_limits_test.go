package integration

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(counter{})
	httpcaddyfile.RegisterHandlerDirective("oidc_session_test_count", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return counter{}, nil
	})
}

// A counter counts requests where a site would limit their rate.
type counter struct{}

// counted is how many requests have passed a counter, by their paths.
var counted = struct {
	sync.Mutex
	paths map[string]int
}{paths: make(map[string]int)}

func (counter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.oidc_session_test_count", New: func() caddy.Module { return new(counter) }}
}

func (counter) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	counted.Lock()
	counted.paths[r.URL.Path]++
	counted.Unlock()
	return next.ServeHTTP(w, r)
}

// Nobody but the plugin asks for the OP's documents and calls its sign-out here.
func TestOwnRequestsCountInRateLimitsOnlyWithoutOPAddress(t *testing.T) {
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("op_address %v", direct), func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			directives := withSignOut
			if direct {
				directives = op.atItsAddress(directives)
			}
			counted.paths = make(map[string]int)
			runCaddy(t, t.TempDir(), site.caddyfile("", "route {\n\t"+directives+"oidc_session_test_count\n\t"+op.proxy()+"\n\t}"))
			newBrowser(t).signsInAndOut(site)
			counted.Lock()
			defer counted.Unlock()
			for _, path := range []string{"/.well-known/openid-configuration", "/jwks", "/logout"} {
				if op.asked.to(path).URL == nil {
					t.Errorf("%s was not asked for", path)
				}
				if passed := counted.paths[path] > 0; passed == direct {
					t.Errorf("%s: %d requests passed the limit", path, counted.paths[path])
				}
			}
			if counted.paths["/authorize"] == 0 {
				t.Errorf("the browser's own requests did not pass the limit: %v", counted.paths)
			}
		})
	}
}
