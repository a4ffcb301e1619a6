package integration

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A headed network sends header fields with every request: a client at its place, as walls and
// proxies see it.
type headed struct {
	http.RoundTripper

	header http.Header
}

func (h headed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	maps.Copy(r.Header, h.header)
	return h.RoundTripper.RoundTrip(r)
}

// newBrowserAs returns a browser that sends header fields, and so does what goes elsewhere from
// it.
func newBrowserAs(t *testing.T, fields ...string) *browser {
	b := newBrowser(t)
	header := make(http.Header)
	for i := 0; i < len(fields); i += 2 {
		header.Set(fields[i], fields[i+1])
	}
	b.client.Transport = headed{b.client.Transport, header}
	return b
}

// signsInAndOut goes through a session, and fails the test where it is not noticed.
func (b *browser) signsInAndOut(s site) {
	b.t.Helper()
	a := b.authorize(s, "shop", "alice", nil)
	if a.sessionState() == "" || !b.matches(a) || b.ask(s, a) != "unchanged" {
		b.t.Fatalf("after sign-in: session_state %q, the server says %s", a.sessionState(), b.ask(s, a))
	}
	hint := b.hintFor(s, a)
	got := b.endSession(s, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {shopBye}})
	if got.Header.Get("Location") != shopBye || b.ask(s, a) != "changed" {
		b.t.Errorf("sign-out: %s to %q, the server says %s: %.300s", got.Status, got.Header.Get("Location"), b.ask(s, a), got.body)
	}
	if refused := b.authorize(s, "shop", "", url.Values{"prompt": {"none"}}); refused.values.Get("error") != "login_required" {
		b.t.Errorf("the OP's own session goes on: %v", refused.values)
	}
}

// atItsAddress is the same site, where the OP is asked directly.
func (op *scriptedOP) atItsAddress(directives string) string {
	return strings.Replace(directives, "login_cookie login", "login_cookie login\n\t\top_address "+op.server.URL, 1)
}

// discovers has a client fetch both of the OP's documents.
func (b *browser) discovers(s site) {
	b.t.Helper()
	for _, path := range []string{"/.well-known/openid-configuration", "/jwks"} {
		if got := b.get(s.issuer + path); got.StatusCode != http.StatusOK {
			b.t.Fatalf("%s: %s", path, got.Status)
		}
	}
}

// The password is "open sesame". Apps redeem codes past the wall.
const basicAuth = `basic_auth @walled {
		alice $2a$04$4U/0WYNyYoasBM6N6IHyQeMAMrtOSZOz4CmzFkOKLXOhRHSttsBiW
	}
	@walled not path /token
	`

func TestASiteBehindBasicAuthSignsInAndOut(t *testing.T) {
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("op_address %v", direct), func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			directives := withSignOut
			if direct {
				directives = op.atItsAddress(directives)
			}
			runCaddy(t, t.TempDir(), site.caddyfile("", directives+basicAuth+op.proxy()))
			const credentials = "Basic YWxpY2U6b3BlbiBzZXNhbWU="
			stranger, b := newBrowser(t), newBrowserAs(t, "Authorization", credentials)
			if got := stranger.get(site.issuer + "/authorize?client_id=shop"); got.StatusCode != http.StatusUnauthorized {
				t.Fatalf("there is no wall: %s", got.Status)
			}
			if !direct { // the wall refuses our own questions: what a client gets is used
				b.discovers(site)
			}
			b.signsInAndOut(site)
			if got := op.asked.to("/logout").Header.Get("Authorization"); got != credentials {
				t.Errorf("the sign-out came with %q", got)
			}
		})
	}
}

func TestASiteBehindForwardAuthSignsInAndOut(t *testing.T) {
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("gate"); err == nil && c.Value == "open" || r.Header.Get("X-Forwarded-Uri") == "/token" {
			w.Header().Set("X-User", "alice")
			return
		}
		http.Redirect(w, r, "https://gate.example/", http.StatusFound)
	}))
	t.Cleanup(gate.Close)
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("op_address %v", direct), func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			directives := withSignOut
			if direct {
				directives = op.atItsAddress(directives)
			}
			runCaddy(t, t.TempDir(), site.caddyfile("", directives+"forward_auth "+gate.URL+" {\n\t\turi /check\n\t\tcopy_headers X-User\n\t}\n\t"+op.proxy()))
			stranger, b := newBrowser(t), newBrowser(t)
			if got := stranger.get(site.issuer + "/authorize?client_id=shop"); got.Header.Get("Location") != "https://gate.example/" {
				t.Fatalf("there is no wall: %s", got.Status)
			}
			b.cookies["gate"] = "open"
			if !direct {
				b.discovers(site)
			}
			b.signsInAndOut(site)
			if out := op.asked.to("/logout"); !direct && out.Header.Get("X-User") != "alice" {
				t.Errorf("the sign-out did not pass the gate: %v", out.Header)
			}
		})
	}
}

// Threat: a caller whom the site refuses kept the plugin from discovering the OP, for everybody.
func TestACallerWhomTheSiteRefusesKeepsNobodyFromTheOP(t *testing.T) {
	for name, tt := range map[string]struct{ global, wall, stranger, member string }{
		"a list of client_ip behind a trusted proxy": {
			"servers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t}", "@stranger not client_ip 203.0.113.0/24\n\trespond @stranger 403\n\t",
			"X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.9",
		},
		"a list of client_ip by another header": {
			"servers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t\tclient_ip_headers X-Real-Ip\n\t}", "@stranger not client_ip 203.0.113.0/24\n\tabort @stranger\n\t",
			"X-Real-Ip: 198.51.100.1", "X-Real-Ip: 203.0.113.9",
		},
		"a filter of User-Agents": {
			"", "@bot not header User-Agent *Mozilla*\n\trespond @bot 403\n\t", "User-Agent: curl/8", "User-Agent: Mozilla/5.0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			runCaddy(t, t.TempDir(), site.caddyfile(tt.global, withSignOut+tt.wall+op.proxy()))
			as := func(field string) *browser {
				name, value, _ := strings.Cut(field, ": ")
				return newBrowserAs(t, name, value)
			}
			stranger := as(tt.stranger)
			for range 3 {
				response, err := stranger.client.Get(site.issuer + "/authorize?client_id=shop")
				if err != nil {
					continue // aborted
				}
				_ = response.Body.Close()
				if response.StatusCode != http.StatusForbidden {
					t.Fatalf("there is no wall: %s", response.Status)
				}
			}
			as(tt.member).signsInAndOut(site)
		})
	}
}

// The OP sees the client at a sign-out, and not the proxy.
func TestTheOPSeesTheClientBehindATrustedProxy(t *testing.T) {
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("op_address %v", direct), func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			directives := withSignOut
			if direct {
				directives = op.atItsAddress(directives)
			}
			runCaddy(t, t.TempDir(), site.caddyfile("servers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t}", directives+op.proxy()))
			newBrowserAs(t, "X-Forwarded-For", "203.0.113.9").signsInAndOut(site)
			for _, path := range []string{"/.well-known/openid-configuration", "/jwks", "/logout"} {
				asked := op.asked.to(path)
				if client, _, _ := strings.Cut(asked.Header.Get("X-Forwarded-For"), ","); client != "203.0.113.9" {
					t.Errorf("%s is asked for by %q", path, asked.Header.Get("X-Forwarded-For"))
				}
				if asked.Header.Get("X-Forwarded-Proto") != "http" || "http://"+asked.Header.Get("X-Forwarded-Host") != site.issuer || "http://"+asked.Host != site.issuer {
					t.Errorf("%s is asked for at %s with %v", path, asked.Host, asked.Header)
				}
			}
		})
	}
}

// Nobody who is not trusted chooses what the OP sees.
func TestTheOPTakesNoAddressFromAnybody(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	runCaddy(t, t.TempDir(), site.caddyfile("", withSignOut+op.proxy()))
	newBrowserAs(t, "X-Forwarded-For", "203.0.113.9").signsInAndOut(site)
	for _, path := range []string{"/.well-known/openid-configuration", "/jwks", "/logout"} {
		if got := op.asked.to(path).Header.Get("X-Forwarded-For"); got != "127.0.0.1" {
			t.Errorf("%s is asked for by %q", path, got)
		}
	}
}

func TestAnOPOnASocketIsAskedThere(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	socket := filepath.Join(t.TempDir(), "op.sock")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: op, ReadHeaderTimeout: time.Minute}}
	server.Start()
	t.Cleanup(server.Close)
	address := "unix/" + socket
	runCaddy(t, t.TempDir(), site.caddyfile("", strings.Replace(withSignOut, "login_cookie login", "login_cookie login\n\t\top_address "+address, 1)+
		"@documents path /.well-known/* /jwks\n\trespond @documents 403\n\treverse_proxy "+address))
	newBrowser(t).signsInAndOut(site)
}

func TestAnOPThatStillStartsIsFoundByTheNextRequest(t *testing.T) {
	clock := setClock(t)
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	runCaddy(t, t.TempDir(), site.caddyfile("", withSignOut+op.proxy()))
	op.starting.Store(true)
	b := newBrowser(t)
	if got := b.get(site.issuer + "/authorize?client_id=shop"); got.StatusCode != http.StatusBadGateway {
		t.Fatalf("the OP does not start: %s", got.Status)
	}
	op.starting.Store(false)
	clock.advance(250 * time.Millisecond)
	b.now = clock.Now
	b.signsInAndOut(site)
}
