package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// A tlsSite is a site on https with a certificate of the test's own.
type tlsSite struct {
	site
	roots     *x509.CertPool
	directive string
}

func newTLSSite(t *testing.T) tlsSite {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"op.localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir, roots := t.TempDir(), x509.NewCertPool()
	for kind, der := range map[string][]byte{"CERTIFICATE": certificate, "PRIVATE KEY": private} {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		roots.AppendCertsFromPEM(text)
		if err := os.WriteFile(filepath.Join(dir, kind), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t)
	s.issuer = strings.Replace(s.issuer, "http:", "https:", 1)
	return tlsSite{s, roots, fmt.Sprintf("tls %q %q\n\t", filepath.Join(dir, "CERTIFICATE"), filepath.Join(dir, "PRIVATE KEY"))}
}

// run runs Caddy with the site in front of an OP.
func (s tlsSite) run(t *testing.T) *scriptedOP {
	t.Helper()
	op := newScriptedOP(t, s.issuer)
	runCaddy(t, t.TempDir(), s.caddyfile("auto_https disable_redirects", s.directive+directives+op.proxy()))
	return op
}

func (s tlsSite) clientConfig() *tls.Config {
	return &tls.Config{RootCAs: s.roots, ServerName: "op.localhost", MinVersion: tls.VersionTLS13, NextProtos: []string{http3.NextProtoH3}}
}

// http2 and http3 are the ways of a client to the site.
func (s tlsSite) http2(t *testing.T) http.RoundTripper {
	there := transport()
	there.TLSClientConfig = &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12}
	there.ForceAttemptHTTP2 = true
	t.Cleanup(there.CloseIdleConnections)
	return there
}

func (s tlsSite) http3(t *testing.T) http.RoundTripper {
	there := &http3.Transport{
		TLSClientConfig: s.clientConfig(),
		Dial: func(ctx context.Context, _ string, config *tls.Config, settings *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, fmt.Sprintf("127.0.0.1:%d", s.port), config, settings)
		},
	}
	t.Cleanup(func() { _ = there.Close() })
	return there
}

func TestSignInWorksOverEveryVersionOfHTTP(t *testing.T) {
	site := newTLSSite(t)
	op := site.run(t)
	for version, network := range map[int]http.RoundTripper{2: site.http2(t), 3: site.http3(t)} {
		t.Run(fmt.Sprintf("HTTP/%d", version), func(t *testing.T) {
			b, asking := newBrowser(t), newBrowser(t)
			b.client.Transport, asking.client.Transport = network, network
			if page := b.get(site.issuer + "/oidc/check-session"); page.ProtoMajor != version || !strings.Contains(page.body, "<script>") {
				t.Fatalf("the check page comes by %s: %s", page.Proto, page.Status)
			}
			a := b.authorize(site.site, "shop", "alice", nil)
			redeemed := asking.post(site.issuer+"/token", url.Values{
				"grant_type": {"authorization_code"}, "code": {a.values.Get("code")}, "client_id": {a.clientID}, "redirect_uri": {a.origin + "/cb"},
			})
			if redeemed.StatusCode != http.StatusOK || !strings.Contains(redeemed.body, "id_token") {
				t.Errorf("the token response is %s %s", redeemed.Status, redeemed.body)
			}
			if got := questionAt(t, asking, site.site, a); got != "unchanged" || !b.matches(a) {
				t.Errorf("after sign-in the server says %q, the cookie matches: %v", got, b.matches(a))
			}
			b.signOut(site.site, op)
			if got := questionAt(t, asking, site.site, a); got != "changed" || b.matches(a) {
				t.Errorf("after sign-out the server says %q, the cookie matches: %v", got, b.matches(a))
			}
		})
	}
}

// A proxy in front says that a request came early by a header field (RFC 8470, section 5.1).
func TestAQuestionInEarlyDataOfAProxyIsAskedForAgain(t *testing.T) {
	site := newTLSSite(t)
	site.run(t)
	b := newBrowser(t)
	b.client.Transport = site.http2(t)
	b.header = http.Header{"Origin": {site.issuer}, "Early-Data": {"1"}}
	form := url.Values{"client_id": {"shop"}, "session_state": {"h.s"}, "origin": {"https://shop.example"}}
	if got := b.post(site.issuer+"/oidc/check-session", form); got.StatusCode != http.StatusTooEarly {
		t.Errorf("answered with %s", got.Status)
	}
	if got := b.get(site.issuer + "/oidc/check-session"); got.StatusCode != http.StatusOK {
		t.Errorf("the page, which may come early, is answered with %s", got.Status)
	}
}

// A question that comes before the handshake is complete may be a replay. Here the client reads nothing of the server's, and so
// cannot complete it, before the question is with the server; how long that takes is guessed, and more patiently again.
func TestAQuestionInEarlyDataOfHTTP3IsAskedForAgain(t *testing.T) {
	site := newTLSSite(t)
	site.run(t)
	tickets := ticketCache{tls.NewLRUClientSessionCache(1), make(chan struct{}, 1)}
	config := site.clientConfig()
	config.ClientSessionCache = tickets
	read := make(chan struct{})
	close(read)
	if status, _ := earlyQuestion(t, site, config, read); status != http.StatusOK {
		t.Fatalf("without a ticket of an earlier connection, there is nothing early: %d", status)
	}
	select {
	case <-tickets.put:
	case <-time.After(time.Minute):
		t.Fatal("the server gives no ticket")
	}
	for patience := 50 * time.Millisecond; patience < 2*time.Second; patience *= 2 {
		read := make(chan struct{})
		time.AfterFunc(patience, func() { close(read) })
		status, early := earlyQuestion(t, site, config, read)
		if early && status == http.StatusTooEarly {
			return
		}
		t.Logf("after %s: answered with %d, early: %v", patience, status, early)
	}
	t.Error("no early question was refused")
}

// earlyQuestion asks as soon as can be over a new connection, which reads nothing before the channel is closed.
func earlyQuestion(t *testing.T, s tlsSite, config *tls.Config, read <-chan struct{}) (status int, early bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	connection, err := quic.DialEarly(ctx, lateReader{socket, read}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.port}, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.CloseWithError(0, "") }()
	stream, err := new(http3.Transport).NewClientConn(connection).OpenRequestStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"client_id": {"shop"}, "session_state": {"h.s"}, "origin": {"https://shop.example"}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.issuer+"/oidc/check-session", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Origin": {s.issuer}, "Content-Type": {"application/x-www-form-urlencoded"}}
	if err := stream.SendRequestHeader(r); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stream, form); err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	response, err := stream.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, connection.ConnectionState().Used0RTT
}

// A lateReader is a socket that reads nothing before a channel is closed.
type lateReader struct {
	net.PacketConn

	read <-chan struct{}
}

func (c lateReader) ReadFrom(p []byte) (int, net.Addr, error) {
	<-c.read
	return c.PacketConn.ReadFrom(p)
}

// A ticketCache notes when a session ticket was put into it.
type ticketCache struct {
	tls.ClientSessionCache

	put chan struct{}
}

func (c ticketCache) Put(key string, state *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, state)
	select {
	case c.put <- struct{}{}:
	default:
	}
}

// On plain http, browsers refuse what frames of other sites need of a cookie, unless the host is this machine.
func TestAHostOnPlainHTTPGetsTheCookiesThatBrowsersTakeThere(t *testing.T) {
	lan := newSite(t)
	lan.issuer = strings.Replace(lan.issuer, "op.localhost", "op.lan", 1)
	op := newScriptedOP(t, lan.issuer)
	caddy := startCaddy(t, lan.caddyfile("", directives+op.proxy()))
	b := newBrowser(t)
	a := b.authorize(lan, "shop", "alice", nil)
	if got := b.ask(lan, a); got != "unchanged" {
		t.Errorf("after sign-in the server says %q", got)
	}
	wiki := b.begin(lan, "wiki", nil)
	ours := 0
	for _, c := range wiki.at.Cookies() {
		if !strings.HasPrefix(c.Name, "op_browser_state") && !strings.HasPrefix(c.Name, "oidc_") {
			continue
		}
		ours++
		if c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.HttpOnly == strings.HasPrefix(c.Name, "op_") {
			t.Errorf("cookie %s", c)
		}
	}
	if ours < 2 || b.cookie("__") != "" {
		t.Errorf("%d cookies of ours, all are %v", ours, b.cookies)
	}
	b.signOut(lan, op)
	if got := b.ask(lan, a); got != "changed" {
		t.Errorf("after sign-out the server says %q", got)
	}
	caddy.log.expect(t, "the issuer is on plain http")
	if caddy.log.has(a.sessionState()) {
		t.Errorf("the log has a session_state:\n%s", caddy.log)
	}
}

// A page that isolates itself by Cross-Origin-Embedder-Policy can frame only what says both of these (HTML, section 7.1.4).
func TestPagesThatIsolateThemselvesMayFrameTheCheckPage(t *testing.T) {
	site := newTLSSite(t)
	site.run(t)
	b := newBrowser(t)
	b.client.Transport = site.http2(t)
	page := b.get(site.issuer + "/oidc/check-session")
	if got := page.Header; got.Get("Cross-Origin-Embedder-Policy") != "require-corp" || got.Get("Cross-Origin-Resource-Policy") != "cross-origin" {
		t.Errorf("%v", got)
	}
}
