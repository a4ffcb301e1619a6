package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/internal/freeport"
)

// Four registrable domains: no public suffix list knows their top-level domain, so each label
// below it is one.
const (
	opHost      = "op.provider.test"
	shopHost    = "app.shop.test"
	wikiHost    = "www.wiki.test"
	foreignHost = "www.foreign.test"
	memberHost  = "app.provider.test" // an app on the OP's site
)

const (
	checkSessionPath = "/oidc/check-session"
	endSessionPath   = "/oidc/end-session"
)

// A site is a running Caddy: OPs with the plugin, two relying parties and a stranger.
type site struct {
	caddy       *process
	certificate certificate
	port        string
	admin       string            // the address of its admin endpoint, or off
	dir         string            // has Caddy's files
	global      string            // global options
	environment []string          // of Caddy
	clients     map[string]string // ID -> host
	ops         []string          // blocks of the Caddyfile
	caddyfile   string
	complaint   string // is in each warning of the plugin; empty: there may be none
	careless    bool   // it may warn of anything
}

const siteCaddyfile = `
{
	admin %[7]s
	persist_config off
	%[8]s
	auto_https disable_redirects
	log {
		output stderr
		format json
	}
	servers {
		protocols h1 h2
	}
}

(common) {
	tls %[2]q %[3]q
	log
}

app.shop.test:%[1]s, www.wiki.test:%[1]s, www.foreign.test:%[1]s, app.provider.test:%[1]s {
	import common
	header /front-scripted.html Set-Cookie "served=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=None"
	handle /oidc-client-ts/* {
		root %[4]q
		uri replace /oidc-client-ts/ /oidc-client-ts/dist/browser/
		file_server
	}
	handle /posted {
		reverse_proxy %[6]s
	}
	handle {
		header /isolated/* {
			Cross-Origin-Embedder-Policy require-corp
			Cross-Origin-Opener-Policy same-origin
		}
		root %[5]q
		file_server
	}
}

cookies.provider.test:%[1]s {
	import common
	header Content-Type text/html
	header /set Set-Cookie "remembered=yes; Path=/; Secure; SameSite=None"
	respond "<script>parent.postMessage(document.cookie || 'no cookies', '*')</script>"
}
`

// The header block is that of a careful operator, who denies frames; its deferred field is written
// after all others.
const opCaddyfile = `
%[2]s:%[1]s {
	import common
	header {
		X-Frame-Options DENY
		-Server
	}
	oidc_session {
		issuer https://%[2]s:%[1]s
		%[4]s
	}
	reverse_proxy %[3]s
}
`

// startSite starts a site whose OP is npm oidc-provider.
func startSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.addOP(t, opHost, nodeProvider)
	s.start(t)
	return s
}

// newSite returns a site that is to be started once its OPs are added.
func newSite(t *testing.T) *site {
	return &site{port: strconv.Itoa(freeport.Hold(t)), dir: t.TempDir(), admin: "off", clients: map[string]string{"shop": shopHost, "wiki": wikiHost}}
}

// addOP starts an OP, to be behind Caddy at a host.
func (s *site) addOP(t *testing.T, host string, p provider) {
	t.Helper()
	clients := make(map[string][]string)
	for id, rp := range s.clients {
		for _, path := range []string{"/callback.html", "/silent.html", "/answer.html", "/isolated/answer.html", "/posted"} {
			clients[id] = append(clients[id], s.url(rp, path))
		}
	}
	upstream := p.start(t, s.url(host, ""), clients)
	s.ops = append(s.ops, fmt.Sprintf(opCaddyfile, s.port, host, upstream, strings.ReplaceAll(p.options, "PORT", s.port)))
}

// start starts Caddy.
func (s *site) start(t *testing.T) {
	t.Helper()
	pages, err := filepath.Abs(filepath.Join("testdata", "pages"))
	if err != nil {
		t.Fatal(err)
	}
	s.certificate = newCertificate(t, "*.provider.test", "*.shop.test", "*.wiki.test", "*.foreign.test")
	caddyfile := fmt.Sprintf(siteCaddyfile, s.port, s.certificate.file, s.certificate.keyFile, needPackages(t), pages, startPosted(t), s.admin, s.global)
	s.caddyfile = strings.TrimSpace(caddyfile + strings.Join(s.ops, ""))
	s.caddy = startCaddy(t, s.dir, s.caddyfile, s.environment...)
	t.Cleanup(func() {
		if !s.careless {
			expectNoComplaints(t, s.caddy, s.complaint)
		}
	})
}

// restart kills Caddy, does something meanwhile, and starts Caddy again.
func (s *site) restart(t *testing.T, meanwhile func()) {
	t.Helper()
	s.caddy.kill()
	meanwhile()
	s.caddy = startCaddy(t, s.dir, s.caddyfile, s.environment...)
}

// url returns an address on one of the hosts.
func (s *site) url(host, path string) string {
	return "https://" + host + ":" + s.port + path
}

// client returns an HTTP client that finds the hosts on the loopback interface and follows no
// redirects.
func (s *site) client(t *testing.T) *http.Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", s.port))
		},
		TLSClientConfig: &tls.Config{RootCAs: s.certificate.pool},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// authorizations counts the authorization requests of a client at the OP of a host so far.
func (s *site) authorizations(host, client string) int {
	return len(answered(s.caddy, func(e logEntry) bool {
		return strings.HasPrefix(e.Request.Host, host) && strings.HasPrefix(e.Request.URI, "/auth?") &&
			strings.Contains(e.Request.URI, "client_id="+client)
	}))
}

// checkTimes are the times, in seconds, of the questions of check pages to the server so far.
func (s *site) checkTimes() []float64 {
	return answered(s.caddy, func(e logEntry) bool {
		return e.Request.Method == http.MethodPost && e.Request.URI == checkSessionPath
	})
}
