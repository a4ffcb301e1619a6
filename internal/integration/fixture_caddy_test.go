package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/oidc-session/caddy-oidc-session"
	"github.com/oidc-session/caddy-oidc-session/internal/freeport"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// runCaddy runs Caddy in this process with a Caddyfile until the test ends. Caddy is one to a process: tests that use it do not run
// in parallel. Its storage is in storage; the admin endpoint is off.
func runCaddy(t *testing.T, storage, caddyfile string) {
	t.Helper()
	loadCaddy(t, storage, caddyfile)
	stopAtEnd(t)
}

// stopAtEnd stops Caddy when the test ends.
func stopAtEnd(t *testing.T) {
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
}

// loadCaddy loads a configuration in place of the one that runs, as a reload does.
func loadCaddy(t *testing.T, storage, caddyfile string) {
	t.Helper()
	if err := caddy.Load(testConfig(t, storage, caddyfile), true); err != nil {
		t.Fatalf("loading Caddy: %v", err)
	}
}

// signingKeys are the generated keys of all storages: it takes long to make them.
var signingKeys = sync.OnceValues(func() ([]byte, error) {
	_, document, err := tokens.GenerateSigningKeys()
	return document, err
})

// prepare puts the signing keys into a storage, as its first use would.
func prepare(t *testing.T, storage string) {
	t.Helper()
	document, err := signingKeys()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(storage, "oidc_session", "signing_keys")
	if _, err := os.Stat(path); err == nil {
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, document, 0o600); err != nil {
		t.Fatal(err)
	}
}

// testConfig adapts a Caddyfile and adds what tests need: no admin endpoint, a storage of their own, silence.
func testConfig(t *testing.T, storage, caddyfile string) []byte {
	t.Helper()
	prepare(t, storage)
	adapted, err := adapt(caddyfile)
	if err != nil {
		t.Fatalf("adapting: %v", err)
	}
	var config map[string]any
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	config["admin"] = map[string]any{"disabled": true, "config": map[string]any{"persist": false}}
	config["storage"] = map[string]any{"module": "file_system", "root": storage}
	if !testing.Verbose() {
		config["logging"] = map[string]any{"logs": map[string]any{"default": map[string]any{"writer": map[string]any{"output": "discard"}}}}
	}
	return marshal(t, config)
}

// configWith is testConfig with one more part.
func configWith(t *testing.T, storage, caddyfile, name string, part map[string]any) []byte {
	t.Helper()
	var config map[string]any
	if err := json.Unmarshal(testConfig(t, storage, caddyfile), &config); err != nil {
		t.Fatal(err)
	}
	config[name] = part
	return marshal(t, config)
}

func marshal(t *testing.T, value any) []byte {
	t.Helper()
	document, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// adapt turns a Caddyfile into JSON, in which warnings are errors.
func adapt(input string) ([]byte, error) {
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	for _, warning := range warnings {
		if !strings.Contains(warning.Message, "not formatted") {
			err = errors.Join(err, errors.New(warning.String()))
		}
	}
	return adapted, err
}

// validate does what `caddy validate` does.
func validate(t *testing.T, caddyfile string) error {
	t.Helper()
	if _, err := adapt(caddyfile); err != nil {
		return err
	}
	var config caddy.Config
	if err := json.Unmarshal(testConfig(t, t.TempDir(), caddyfile), &config); err != nil {
		t.Fatal(err)
	}
	return caddy.Validate(&config)
}

// A site is an OP's site on this machine: an issuer on plain http at op.localhost, which browsers treat as trustworthy.
type site struct {
	port   int
	issuer string
}

func newSite(t *testing.T) site {
	port := freeport.Hold(t)
	return site{port: port, issuer: fmt.Sprintf("http://op.localhost:%d", port)}
}

// caddyfile returns a Caddyfile for the site in front of an upstream: global options, then the site's directives.
func (s site) caddyfile(global, directives string) string {
	return fmt.Sprintf("{\n\tskip_install_trust\n\t%s\n}\n%s {\n\tbind 127.0.0.1\n\t%s\n}\n", global, s.issuer, strings.ReplaceAll(directives, "ISSUER", s.issuer))
}

// transport reaches every *.localhost at 127.0.0.1, which Go's resolver does not.
func transport() *http.Transport {
	dialer := &net.Dialer{Timeout: 20 * time.Second}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			var connection net.Conn
			for range 5 { // a reload hands the listener over, and resets who waits there just then
				connection, err = dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
				if err == nil || ctx.Err() != nil {
					break
				}
			}
			return connection, err
		},
	}
}
