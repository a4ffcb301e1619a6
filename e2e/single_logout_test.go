package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A receiver is a relying party of express-openid-connect's: see receiver.mjs.
type receiver struct {
	client  string
	port    string
	process *process
}

// startReceiver starts one for a client, which finds the OP of a host of a running site.
func (r *receiver) start(t *testing.T, s *site, host string) {
	t.Helper()
	environment := []string{"NODE_EXTRA_CA_CERTS=" + s.certificate.file}
	dir := filepath.Dir(needPackages(t))
	r.process = start(t, dir, environment, needProgram(t, "node"), "receiver.mjs", s.url(host, ""), r.client, r.port)
	r.process.waitLine(t, "that it listens", func(line string) (string, bool) { return line, line == "listening" })
}

func (r *receiver) uri() string { return "http://127.0.0.1:" + r.port + "/backchannel-logout" }

// told waits for the logout token that the library accepts.
func (r *receiver) told(t *testing.T) (token map[string]string) {
	t.Helper()
	line := r.process.waitLine(t, "a logout token", func(line string) (string, bool) { return strings.CutPrefix(line, "told ") })
	if err := json.Unmarshal([]byte(line), &token); err != nil {
		t.Fatal(err)
	}
	return token
}

// singleLogout is npm oidc-provider without logout of its own, with more options for its site.
func singleLogout(options string) provider {
	op := leavable[0]
	op.options = "login_cookie _session\n\t\tend_session {\n\t\t\tclear_cookies _session _session.sig\n\t\t}\n\t\t" + options
	return op
}

// client is a block of the Caddyfile.
func client(id, name string, options ...string) string {
	return fmt.Sprintf("client %s {\n\t\t\tname %q\n\t\t\tpost_logout_redirect_uri https://app.shop.test:PORT/bye.html\n\t\t\t%s\n\t\t}\n\t\t", id, name, strings.Join(options, "\n\t\t\t"))
}

func TestSingleLogoutTellsEveryClient(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	needPackages(t)
	inBothModes(t, func(t *testing.T, mode thirdPartyCookies) {
		shop, wiki := &receiver{client: "shop", port: freePort(t)}, &receiver{client: "wiki", port: freePort(t)}
		op := singleLogout("backchannel_logout {\n\t\t\tallow_private 127.0.0.1\n\t\t\tredirect_wait 10s\n\t\t}\n\t\t" +
			client("shop", "The Shop", "backchannel_logout_uri "+shop.uri()) + client("wiki", "The Wiki", "backchannel_logout_uri "+wiki.uri()))
		s := newSite(t)
		s.addOP(t, op.host(crossSite), op)
		s.start(t)
		host := op.host(crossSite)
		for _, r := range []*receiver{shop, wiki} {
			r.start(t, s, host)
		}
		l := &leaver{cell: cell{op: op, site: s, browser: startBrowser(t, mode), host: host}}
		l.signInAsBoth(t, "alice")
		l.ask(t, url.Values{"id_token_hint": {l.hint(t)}})
		l.expectPage(t, "without a redirect", "You are signed out")
		receipt := eval[string](t, l.shop, "document.querySelector('ul').textContent.trim().replace(/\\s*\\n\\s*/g, ', ')")
		if receipt != "The Shop, The Wiki" {
			t.Errorf("the receipt names %q: %s", receipt, eval[string](t, l.shop, "document.body.innerText"))
		}
		for _, r := range []*receiver{shop, wiki} {
			token := r.told(t)
			if token["iss"] != s.url(host, "") || token["aud"] != r.client || token["sub"] == "" {
				t.Errorf("%s was told %v", r.client, token)
			}
		}
		l.expectSignedOut(t)
		refusesForgeries(t, shop)
	})
}

// refusesForgeries shows that the library looks at what it gets.
func refusesForgeries(t *testing.T, r *receiver) {
	t.Helper()
	response, err := http.PostForm(r.uri(), url.Values{"logout_token": {"eyJhbGciOiJSUzI1NiJ9.e30.AAAA"}})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("a forged token is answered with %s", response.Status)
	}
}

// A framed server is an app's front-channel logout endpoint, on the loopback interface.
type framedServer struct {
	*httptest.Server

	mu      sync.Mutex
	queries []url.Values
}

func newFramedServer(t *testing.T, answer http.HandlerFunc) *framedServer {
	f := new(framedServer)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.queries = append(f.queries, r.URL.Query())
		f.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func TestFrontChannelTellsEveryClientAndGoesOn(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	needPackages(t)
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for name, answer := range map[string]http.HandlerFunc{
		"an app that answers":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "signed out") },
		"an app that denies frames": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Frame-Options", "DENY") },
		"an app that hangs":         func(_ http.ResponseWriter, r *http.Request) { wait(hang, r) },
		"an app that cuts the line": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newFramedServer(t, answer)
			op := singleLogout("frontchannel_timeout 2s\n\t\t" +
				client("shop", "The Shop", "frontchannel_logout_uri https://app.shop.test:PORT/front.html?a=b") +
				client("wiki", "The Wiki", "frontchannel_logout_uri "+app.URL+"/front"))
			s := newSite(t)
			s.addOP(t, op.host(crossSite), op)
			s.start(t)
			l := &leaver{cell: cell{op: op, site: s, browser: startBrowser(t, blocked), host: op.host(crossSite)}}
			l.signInAsBoth(t, "alice")
			l.ask(t, url.Values{"id_token_hint": {l.hint(t)}, "post_logout_redirect_uri": {s.url(shopHost, "/bye.html")}, "state": {"1"}})
			l.expectBack(t, "1")
			shops := answered(s.caddy, func(e logEntry) bool { return strings.HasPrefix(e.Request.URI, "/front.html?a=b") })
			app.mu.Lock()
			defer app.mu.Unlock()
			if len(shops) != 1 || len(app.queries) != 1 {
				t.Errorf("the shop was told %d times, the other %d times", len(shops), len(app.queries))
			}
			for _, query := range app.queries {
				if query.Has("iss") != query.Has("sid") || query.Has("iss") && query.Get("iss") != s.url(l.host, "") {
					t.Errorf("it was told %v", query)
				}
			}
		})
	}
}

// wait waits until the test is over, or nobody waits for the answer any more.
func wait(over <-chan struct{}, r *http.Request) {
	select {
	case <-over:
	case <-r.Context().Done():
	case <-time.After(time.Minute):
	}
}
