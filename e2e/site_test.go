package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Four registrable domains: no public suffix list knows their top-level domain, so each label below it is one.
const (
	opHost      = "op.provider.test"
	shopHost    = "app.shop.test"
	wikiHost    = "www.wiki.test"
	foreignHost = "www.foreign.test"
)

const checkSessionPath = "/oidc/check-session"

// A site is a running Caddy: an OP with the plugin, two relying parties and a stranger.
type site struct {
	caddy       *process
	certificate certificate
	port        string
}

// The header block is that of a careful operator, who denies frames; its deferred field is written after all others.
const siteCaddyfile = `
{
	admin off
	persist_config off
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

op.provider.test:%[1]s {
	import common
	header {
		X-Frame-Options DENY
		-Server
	}
	oidc_session {
		issuer https://op.provider.test:%[1]s
		login_cookie _session
	}
	reverse_proxy %[4]s
}

app.shop.test:%[1]s, www.wiki.test:%[1]s, www.foreign.test:%[1]s {
	import common
	handle /oidc-client-ts/* {
		root %[5]q
		uri replace /oidc-client-ts/ /oidc-client-ts/dist/browser/
		file_server
	}
	handle {
		root %[6]q
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

func startSite(t *testing.T) *site {
	t.Helper()
	s := &site{port: freePort(t)}
	upstream := startProvider(t, s.url(opHost, ""), "shop="+s.url(shopHost, ""), "wiki="+s.url(wikiHost, ""))
	pages, err := filepath.Abs(filepath.Join("testdata", "pages"))
	if err != nil {
		t.Fatal(err)
	}
	s.certificate = newCertificate(t, opHost, shopHost, wikiHost, foreignHost, cookieHost)
	s.caddy = startCaddy(t, fmt.Sprintf(strings.TrimSpace(siteCaddyfile), s.port, s.certificate.file, s.certificate.keyFile,
		upstream, needPackages(t), pages))
	t.Cleanup(func() { expectNoComplaints(t, s.caddy) })
	return s
}

// url returns an address on one of the hosts.
func (s *site) url(host, path string) string {
	return "https://" + host + ":" + s.port + path
}

// client returns an HTTP client that finds the hosts on the loopback interface and follows no redirects.
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

// authorizations counts the authorization requests of a client so far.
func (s *site) authorizations(client string) int {
	return len(answered(s.caddy, func(e logEntry) bool {
		return strings.HasPrefix(e.Request.Host, opHost) && strings.HasPrefix(e.Request.URI, "/auth?") &&
			strings.Contains(e.Request.URI, "client_id="+client)
	}))
}

// checkTimes are the times, in seconds, of the questions of check pages to the server so far.
func (s *site) checkTimes() []float64 {
	return answered(s.caddy, func(e logEntry) bool {
		return e.Request.Method == http.MethodPost && e.Request.URI == checkSessionPath
	})
}
