package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/internal/freeport"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A cluster is two Caddys with registries of their own, in front of one OP, and a proxy before them that sends requests to each
// in turn.
type cluster struct {
	site
	op      *scriptedOP
	ports   [2]int
	servers [2]*caddyProcess

	requests atomic.Int64
	only     atomic.Int64 // the server that gets all requests; negative: each in turn
}

// newCluster starts both servers with these keys.
func newCluster(t *testing.T, keys string) *cluster {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	c := &cluster{site: site{port, fmt.Sprintf("http://op.localhost:%d", port)}}
	c.only.Store(-1)
	c.op = newScriptedOP(t, c.issuer)
	inner := transport()
	inner.DisableKeepAlives = true // a reload closes idle connections, just when they are used perhaps
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: c.rewrite, Transport: patient{inner}})
	_ = front.Listener.Close()
	front.Listener = listener
	front.Start()
	t.Cleanup(front.Close)
	for i := range c.servers {
		c.ports[i] = freeport.Hold(t)
		c.servers[i] = startCaddy(t, c.config(i, keys))
	}
	return c
}

// A patient client asks again when its connection was reset: a reload hands the listener over, and resets who waits there just then.
type patient struct{ network http.RoundTripper }

func (p patient) RoundTrip(r *http.Request) (response *http.Response, err error) {
	var body []byte
	if r.Body != nil {
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	for range 5 {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		if response, err = p.network.RoundTrip(again); err == nil || r.Context().Err() != nil {
			break
		}
	}
	return response, err
}

func (c *cluster) rewrite(r *httputil.ProxyRequest) {
	i := c.only.Load()
	if i < 0 {
		i = c.requests.Add(1) % 2
	}
	r.SetURL(&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", c.ports[i])})
	r.Out.Host = r.In.Host
}

// config is the configuration of one server.
func (c *cluster) config(i int, keys string) string {
	inner := site{c.ports[i], fmt.Sprintf("http://op.localhost:%d", c.ports[i])}
	return inner.caddyfile("oidc_session {\n\t\tkey "+keys+"\n\t}", strings.ReplaceAll(directives, "ISSUER", c.issuer)+c.op.proxy())
}

// A checkPage is what the check page does for one RP, except that it asks the server at each poll and remembers nothing.
type checkPage struct {
	cluster *cluster
	browser *browser
	answer  answer
	hidden  bool // the browser does not show the page its cookie
}

// poll returns the reply to the RP; empty: silence.
func (p checkPage) poll() string {
	p.browser.t.Helper()
	state := ""
	if !p.hidden {
		state = p.browser.state()
	}
	asking := newBrowser(p.browser.t)
	asking.header.Set("Origin", p.cluster.issuer)
	got := asking.post(p.cluster.issuer+"/oidc/check-session", url.Values{
		"client_id": {p.answer.clientID}, "session_state": {p.answer.sessionState()}, "origin": {p.answer.origin}, "browser_state": {state},
	})
	if got.StatusCode != http.StatusOK {
		p.browser.t.Fatalf("the check is answered with %s: %s", got.Status, got.body)
	}
	switch {
	case got.body == "changed" || got.body == "error":
		return got.body
	case state != "" && sessionstate.Verify(p.answer.sessionState(), p.answer.clientID, p.answer.origin, state):
		return "unchanged"
	case got.body == "unknown" && state != "":
		return "changed"
	case got.body == "unknown":
		return ""
	default:
		return got.body
	}
}

// pages are the check pages of one answer, where the browser shows its cookie and where it hides it.
func (c *cluster) pages(b *browser, a answer) (readable, hidden checkPage) {
	return checkPage{c, b, a, false}, checkPage{c, b, a, true}
}

func TestServersWithOneKeyAndNoCommonRegistryNeverSayAWrongChanged(t *testing.T) {
	c := newCluster(t, `"`+testKey+`"`)
	b := newBrowser(t)
	var rps []answer
	for i := range 11 {
		a := b.authorize(c.site, fmt.Sprintf("rp%d", i), "alice", nil)
		if got := b.redeem(c.site, a); got.StatusCode != http.StatusOK {
			t.Fatalf("the token response is %s", got.Status)
		}
		rps = append(rps, a)
	}
	state, replies := b.state(), make(map[string]int)
	for round := range int64(19) { // the server answers questions about one session_state twenty times at once, no more
		for _, a := range rps {
			readable, hidden := c.pages(b, a)
			c.only.Store(round % 2)
			if got := readable.poll(); got != "unchanged" {
				t.Fatalf("%s, cookie readable: %q", a.clientID, got)
			}
			c.only.Store(1 - round%2)
			replies[hidden.poll()]++
		}
	}
	c.only.Store(-1)
	if replies["changed"] != 0 || replies["error"] != 0 || replies["unchanged"] == 0 || replies[""] == 0 {
		t.Errorf("cookie hidden: %v", replies)
	}
	for i := range 4 {
		if a := b.authorize(c.site, fmt.Sprintf("later%d", i), "", nil); b.state() != state || !b.matches(a) {
			t.Fatal("single sign-on through the other server changed the browser state")
		}
	}
}

func TestServersWithOneKeyAgreeOnWhoIsNotSignedIn(t *testing.T) {
	c := newCluster(t, `"`+testKey+`"`)
	var first string
	for i := range 4 {
		b := newBrowser(t)
		a := b.authorize(c.site, "shop", "", url.Values{"prompt": {"none"}})
		if first == "" {
			first = b.state()
		}
		readable, hidden := c.pages(b, a)
		if b.state() == "" || b.state() != first {
			t.Errorf("browser %d has another state", i)
		}
		if got, silent := readable.poll(), hidden.poll(); got != "unchanged" || silent != "" {
			t.Errorf("browser %d: %q, and %q where the cookie is hidden", i, got, silent)
		}
	}
}

func TestASignOutOnOneServerShowsOnAllWhereTheCookieIsReadable(t *testing.T) {
	c := newCluster(t, `"`+testKey+`"`)
	b := newBrowser(t)
	var rps []answer
	for i := range int64(2) { // one session, joined through both servers
		c.only.Store(i)
		rps = append(rps, b.authorize(c.site, fmt.Sprintf("rp%d", i), "alice", nil))
	}
	expect := func(when string) {
		t.Helper()
		for i := range int64(2) {
			c.only.Store(i)
			for _, a := range rps {
				if readable, _ := c.pages(b, a); readable.poll() != "changed" {
					t.Errorf("%s, server %d says of %s: %q", when, i, a.clientID, readable.poll())
				}
			}
		}
	}
	c.only.Store(1)
	b.get(c.issuer + "/logout")
	expect("after sign-out")
	c.only.Store(1)
	bob := b.authorize(c.site, "rp1", "bob", nil)
	expect("after another sign-in")
	c.only.Store(-1)
	for range 4 {
		if readable, _ := c.pages(b, bob); readable.poll() != "unchanged" {
			t.Error("the new session has changed")
		}
	}
}

// A file belongs to one process at a time: who comes second serves by cookies alone, and takes the file over once it is free.
func TestTheSecondCaddyOnARegistryFileWaitsForIt(t *testing.T) {
	site, file := newSite(t), filepath.Join(t.TempDir(), "registry.db")
	op := newScriptedOP(t, site.issuer)
	second := freeport.Hold(t)
	config := func(port int) string {
		inner := fmt.Sprintf("http://op.localhost:%d", port)
		return strings.Replace(site.caddyfile("oidc_session {\n\t\tkey \""+testKey+"\"\n\t\tstore file "+file+"\n\t}", directives+op.proxy()),
			site.issuer+" {", inner+" {", 1)
	}
	holder := startCaddy(t, config(site.port))
	early := newBrowser(t)
	recorded := early.authorize(site, "shop", "alice", nil)
	if got := early.ask(site, recorded); got != "unchanged" {
		t.Fatalf("the first Caddy says %s", got)
	}

	waiting := startCaddy(t, config(second))
	atSecond := func(b *browser) *browser {
		b.client.Transport = dialing(t, second)
		return b
	}
	late := atSecond(newBrowser(t))
	a := late.authorize(site, "shop", "bob", nil)
	if !late.matches(a) {
		t.Error("sign-in does not work by cookies alone")
	}
	waiting.log.expect(t, "locked by another process")
	if got := questionAt(t, atSecond(newBrowser(t)), site, recorded); got != "unknown" {
		t.Errorf("without the file, the second Caddy says %q of a session in it", got)
	}

	holder.stop(t)
	deadline := time.Now().Add(time.Minute)
	for questionAt(t, atSecond(newBrowser(t)), site, recorded) != "unchanged" {
		if time.Now().After(deadline) {
			t.Fatalf("the second Caddy does not take the file over, its log is\n%s", waiting.log)
		}
		time.Sleep(250 * time.Millisecond) // there is nothing to wait for but the other process's next try
	}
	waiting.log.expect(t, "available again")
	joined := late.authorize(site, "wiki", "", nil)
	if got := questionAt(t, atSecond(newBrowser(t)), site, joined); got != "unchanged" || !late.matches(a) {
		t.Errorf("the session that began by cookies alone is %q, its cookie matches: %v", got, late.matches(a))
	}
}

// questionAt asks as the check page does, with the browser's own way to the server.
func questionAt(t *testing.T, asking *browser, s site, a answer) string {
	t.Helper()
	asking.header.Set("Origin", s.issuer)
	got := asking.post(s.issuer+"/oidc/check-session", url.Values{
		"client_id": {a.clientID}, "session_state": {a.sessionState()}, "origin": {a.origin},
	})
	if got.StatusCode != http.StatusOK {
		t.Fatalf("the check is answered with %s: %s", got.Status, got.body)
	}
	return got.body
}

// dialing reaches a port of this machine, whatever address is asked for.
func dialing(t *testing.T, port int) *http.Transport {
	there := transport()
	dial := there.DialContext
	there.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, fmt.Sprintf("127.0.0.1:%d", port))
	}
	t.Cleanup(there.CloseIdleConnections)
	return there
}

func TestTheValidateCommandWorksBesideARunningCaddy(t *testing.T) {
	site, file := newSite(t), filepath.Join(t.TempDir(), "registry.db")
	op := newScriptedOP(t, site.issuer)
	config := site.caddyfile("oidc_session {\n\t\tkey \""+testKey+"\"\n\t\tstore file "+file+"\n\t}", directives+op.proxy())
	running := startCaddy(t, config)
	b := newBrowser(t)
	a := b.authorize(site, "shop", "alice", nil)
	if got := b.ask(site, a); got != "unchanged" {
		t.Fatalf("the registry is not open: %s", got)
	}

	dir := t.TempDir()
	caddyfile := filepath.Join(dir, "Caddyfile")
	for name, valid := range map[string]bool{config: true, strings.Replace(config, "login_cookie login", "login_cookie a=b", 1): false} {
		if err := os.WriteFile(caddyfile, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		output, err := processCommand(ctx, commanded, dir, "validate", "--config", caddyfile, "--adapter", "caddyfile").CombinedOutput()
		cancel()
		if (err == nil) != valid || strings.Contains(string(output), "Valid configuration") != valid {
			t.Errorf("valid: %v, but %v and\n%s", valid, err, output)
		}
	}
	if got := b.ask(site, a); got != "unchanged" || running.log.has("unavailable") {
		t.Errorf("validating broke the running registry: %s, and its log is\n%s", got, running.log)
	}
}
