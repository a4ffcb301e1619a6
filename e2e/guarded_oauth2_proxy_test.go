package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// forwardAuth are the lines of a site, whose app knows nothing of sign-ins: Caddy asks oauth2-proxy
// before each request for its private pages, as oauth2-proxy's documentation has it.
const forwardAuth = `handle /oauth2/* {
		reverse_proxy %[1]s {
			header_up X-Real-IP {remote_host}
			header_up X-Forwarded-Uri {uri}
		}
	}
	handle /private {
		forward_auth %[1]s {
			uri /oauth2/auth
			header_up X-Real-IP {remote_host}
			copy_headers X-Auth-Request-User
			@unauthorized status 401
			handle_response @unauthorized {
				redir * /oauth2/start?rd={uri}
			}
		}
		reverse_proxy %[2]s
	}
	handle {
		respond "welcome"
	}`

// oauth2ProxyApp is oauth2-proxy behind Caddy's forward_auth, with its session in the cookie.
func oauth2ProxyApp() guardedApp {
	return guardedApp{
		name: "oauth2-proxy", callback: "/oauth2/callback", signIn: "/oauth2/start?rd=%2Fprivate", private: "/private", cookie: "_oauth2_proxy",
		lacks: installOAuth2Proxy,
		start: func(t *testing.T, site, issuer, ca string) string {
			t.Helper()
			app := serveOP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprint(w, "user: "+r.Header.Get("X-Auth-Request-User"))
			}))
			return fmt.Sprintf(forwardAuth, startOAuth2Proxy(t, "oauth2-proxy", site, issuer, ca), app)
		},
	}
}

var installOAuth2Proxy = sync.OnceValue(func() error { return installApp("oauth2-proxy") })

// startOAuth2Proxy starts oauth2-proxy and returns the address that it listens on.
func startOAuth2Proxy(t *testing.T, name, site, issuer, ca string) string {
	t.Helper()
	program, err := filepath.Abs(filepath.Join(installedApps, "oauth2-proxy"))
	if err != nil {
		t.Fatal(err)
	}
	socket := shortSocket(t)
	p := start(t, t.TempDir(), nil, program,
		"--http-address=unix://"+socket, "--reverse-proxy", "--upstream=static://202", "--set-xauthrequest", "--skip-provider-button",
		"--provider=oidc", "--oidc-issuer-url="+issuer, "--provider-ca-file="+ca, "--code-challenge-method=S256",
		"--client-id="+name, "--client-secret="+name+"-secret", "--redirect-url="+site+"/oauth2/callback",
		"--scope=openid", "--oidc-email-claim=sub", "--skip-claims-from-profile-url", "--email-domain=*", "--cookie-secret=a secret of the test of 32 bytes")
	for deadline := time.Now().Add(waitLimit); ; time.Sleep(20 * time.Millisecond) {
		connection, err := net.Dial("unix", socket)
		if err == nil {
			connection.Close()
			return "unix/" + socket
		}
		if time.Now().After(deadline) {
			t.Fatalf("oauth2-proxy does not listen: %v: %q", err, p.output.snapshot())
		}
	}
}

// shortSocket returns a name for a Unix socket. It may have 107 letters, fewer than a name below
// the test's own directory may come to.
func shortSocket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "oauth2-proxy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "socket")
}
