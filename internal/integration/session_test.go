package integration

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oidc-session/caddy-oidc-session/internal/clock"
)

const directives = "oidc_session {\n\t\tissuer ISSUER\n\t\tlogin_cookie login\n\t}\n\t"

const testKey = "an example of a shared key, 32 bytes or longer"

func TestASessionFromSignInToSignOut(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	runCaddy(t, t.TempDir(), site.caddyfile("", directives+op.proxy()))
	b := newBrowser(t)

	shop := b.authorize(site, "shop", "alice", nil)
	if !b.matches(shop) || b.ask(site, shop) != "unchanged" {
		t.Fatalf("after sign-in: cookie matches: %v, the server says %s", b.matches(shop), b.ask(site, shop))
	}
	if got := b.redeem(site, shop); got.StatusCode != http.StatusOK || !strings.Contains(got.body, "id_token") {
		t.Fatalf("the token response is %s %s", got.Status, got.body)
	}
	state := b.state()
	wiki := b.authorize(site, "wiki", "", nil)
	if b.state() != state || !b.matches(shop) || !b.matches(wiki) {
		t.Error("single sign-on at another client changed the browser state")
	}
	if shop.sessionState() == wiki.sessionState() {
		t.Error("two clients have one session_state")
	}

	b.get(site.issuer + "/logout")
	for _, a := range []answer{shop, wiki} {
		if b.matches(a) || b.ask(site, a) != "changed" {
			t.Errorf("after sign-out, %s: cookie matches: %v, the server says %s", a.clientID, b.matches(a), b.ask(site, a))
		}
	}
	refused := b.authorize(site, "shop", "", url.Values{"prompt": {"none"}})
	if refused.values.Get("error") != "login_required" || !b.matches(refused) {
		t.Errorf("prompt=none after sign-out: %v, its session_state matches: %v", refused.values, b.matches(refused))
	}
	if got := b.ask(site, refused); got != "unknown" {
		t.Errorf("the server knows of an anonymous state: %s", got)
	}

	again := b.authorize(site, "shop", "bob", nil)
	if !b.matches(again) || b.ask(site, again) != "unchanged" || b.ask(site, shop) != "changed" || b.state() == state {
		t.Error("a new sign-in is not a new session")
	}
}

func TestAnotherUserEndsTheSessionOfTheFirst(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	runCaddy(t, t.TempDir(), site.caddyfile("", directives+op.proxy()))
	b := newBrowser(t)
	first := b.authorize(site, "shop", "alice", nil)
	b.redeem(site, first)
	second := b.authorize(site, "shop", "bob", url.Values{"prompt": {"login"}})
	b.redeem(site, second)
	if got := b.ask(site, first); got != "changed" {
		t.Errorf("alice's session is %s", got)
	}
	if got := b.ask(site, second); got != "unchanged" {
		t.Errorf("bob's session is %s", got)
	}
	third := b.authorize(site, "wiki", "", nil)
	if !b.matches(third) || b.matches(second) || b.ask(site, second) != "unchanged" {
		t.Error("the browser did not move on to bob's session at its next response")
	}
}

func TestTheIssuerIsDiscoveredAtTheOP(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	runCaddy(t, t.TempDir(), site.caddyfile("", "oidc_session\n\t"+op.proxy()))
	b := newBrowser(t)
	if a := b.authorize(site, "shop", "alice", nil); !b.matches(a) || b.ask(site, a) != "unchanged" {
		t.Error("sign-in has no session_state that holds")
	}
}

func TestDiscoveryNamesTheCheckPageWhichEveryPageMayFrame(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	header := "header {\n\t\t>X-Frame-Options DENY\n\t\t-Server\n\t\tdefer\n\t}\n\tencode gzip\n\t"
	runCaddy(t, t.TempDir(), site.caddyfile("", directives+header+op.proxy()))
	b := newBrowser(t)
	var document struct {
		CheckSessionIframe string `json:"check_session_iframe"`
	}
	got := b.get(site.issuer + "/.well-known/openid-configuration")
	if err := json.Unmarshal([]byte(got.body), &document); err != nil {
		t.Fatal(err)
	}
	if document.CheckSessionIframe != site.issuer+"/oidc/check-session" {
		t.Fatalf("the document is %s", got.body)
	}
	check := b.get(document.CheckSessionIframe)
	if check.StatusCode != http.StatusOK || check.Header.Get("X-Frame-Options") != "" || !strings.Contains(check.body, "<script>") {
		t.Errorf("the check page is %s, %v", check.Status, check.Header)
	}
	if other := b.get(site.issuer + "/else"); other.Header.Get("X-Frame-Options") != "DENY" || other.Header.Get("Server") != "" {
		t.Errorf("the rest of the site lost its header fields: %v", other.Header)
	}
}

func TestHandleBlocksKeepTheirGroupsAfterASubRequest(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	runCaddy(t, t.TempDir(), site.caddyfile("", directives+"handle /nothing* {\n\t\trespond 404\n\t}\n\thandle {\n\t\t"+op.proxy()+"\n\t}"))
	b := newBrowser(t)
	if a := b.authorize(site, "shop", "alice", nil); !b.matches(a) {
		t.Error("the first request, which asks the OP, lost its answer")
	}
}

func TestServersWithTheSameKeyAgreeOnBrowsersThatAreNotSignedIn(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	states := make(map[string]bool)
	for range 2 {
		t.Run("server", func(t *testing.T) {
			runCaddy(t, t.TempDir(), site.caddyfile("oidc_session {\n\t\tkey \""+testKey+"\"\n\t\tstore memory\n\t}", directives+op.proxy()))
			b := newBrowser(t)
			a := b.authorize(site, "shop", "", url.Values{"prompt": {"none"}})
			if !b.matches(a) || b.state() == "" {
				t.Fatal("the error response has no session_state that holds")
			}
			states[b.state()] = true
		})
	}
	if len(states) != 1 {
		t.Errorf("two servers gave %d browser states", len(states))
	}
}

func TestSessionsOutlastReloadsAndRestarts(t *testing.T) {
	site, storage := newSite(t), t.TempDir()
	op := newScriptedOP(t, site.issuer)
	file := filepath.Join(t.TempDir(), "registry.db")
	config := site.caddyfile("oidc_session {\n\t\tstore file "+file+"\n\t}", directives+op.proxy())
	b := newBrowser(t)
	var shop answer
	t.Run("first run", func(t *testing.T) {
		runCaddy(t, storage, config)
		shop = b.authorize(site, "shop", "alice", nil)
		loadCaddy(t, storage, strings.Replace(config, "bind", "log\n\tbind", 1))
		if got := b.ask(site, shop); got != "unchanged" {
			t.Errorf("after a reload the server says %s", got)
		}
	})
	t.Run("second run", func(t *testing.T) {
		runCaddy(t, storage, config)
		wiki := b.authorize(site, "wiki", "", nil)
		if got := b.ask(site, shop); got != "unchanged" || !b.matches(shop) || !b.matches(wiki) {
			t.Errorf("after a restart the server says %s, the cookie matches %v and %v", got, b.matches(shop), b.matches(wiki))
		}
	})
}

func TestSignInWorksWhateverBecameOfTheRegistry(t *testing.T) {
	tests := map[string]func(t *testing.T, file string){
		"its file is corrupt": func(t *testing.T, file string) {
			if err := os.WriteFile(file, []byte(strings.Repeat("this is no database ", 4096)), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"a directory is in its place": func(t *testing.T, file string) {
			if err := os.Mkdir(file, 0o700); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			site, file := newSite(t), filepath.Join(t.TempDir(), "registry.db")
			damage(t, file)
			op := newScriptedOP(t, site.issuer)
			runCaddy(t, t.TempDir(), site.caddyfile("oidc_session {\n\t\tstore file "+file+"\n\t}", directives+op.proxy()))
			b := newBrowser(t)
			a := b.authorize(site, "shop", "alice", nil)
			if !b.matches(a) || b.redeem(site, a).StatusCode != http.StatusOK {
				t.Error("sign-in does not work")
			}
			if got := b.ask(site, a); got != "unchanged" && got != "unknown" {
				t.Errorf("the server says %s of what it cannot know to have ended", got)
			}
			b.get(site.issuer + "/logout")
			if b.matches(a) {
				t.Error("sign-out did not reach the browser's cookie")
			}
		})
	}
}

func TestValidatingWorksBesideARunningCaddy(t *testing.T) {
	site, storage := newSite(t), t.TempDir()
	op := newScriptedOP(t, site.issuer)
	config := site.caddyfile("oidc_session {\n\t\tstore file "+filepath.Join(t.TempDir(), "registry.db")+"\n\t}", directives+op.proxy())
	runCaddy(t, storage, config)
	b := newBrowser(t)
	a := b.authorize(site, "shop", "alice", nil)
	var other caddy.Config
	if err := json.Unmarshal(testConfig(t, storage, config), &other); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&other); err != nil {
		t.Fatal(err)
	}
	if got := b.ask(site, a); got != "unchanged" {
		t.Errorf("validating broke the running registry: %s", got)
	}
}

func TestASessionLastsAsLongAsConfigured(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	clock := setClock(t)
	runCaddy(t, t.TempDir(), site.caddyfile("oidc_session {\n\t\tstore memory\n\t}", "oidc_session {\n\t\tissuer ISSUER\n\t\tlogin_cookie login\n\t\tsession_lifetime 2h\n\t}\n\t"+op.proxy()))
	b := newBrowser(t)
	shop := b.signIn(site, "shop", "alice", nil)
	clock.advance(119 * time.Minute)
	if got := b.ask(site, shop); got != "unchanged" {
		t.Errorf("within its lifetime: %s", got)
	}
	clock.advance(time.Minute)
	if got := b.ask(site, shop); got != "changed" {
		t.Errorf("after its lifetime: %s", got)
	}
}

// A movedClock goes on, like any other, from where it was moved to: what is tried again after a
// second comes.
type movedClock struct{ by atomic.Int64 }

// Now is the clock's time.
func (c *movedClock) Now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

func (c *movedClock) advance(by time.Duration) { c.by.Add(int64(by)) }

// setClock gives all that is loaded afterwards a clock that the test moves.
func setClock(t *testing.T) *movedClock {
	moved := new(movedClock)
	useClock(t, moved.Now)
	return moved
}

// defaultLifetime is how long a session lasts where nothing else is configured.
const defaultLifetime = 30 * 24 * time.Hour

// useClock gives all that is loaded until the test ends a clock.
func useClock(t *testing.T, now func() time.Time) {
	before := clock.Now
	clock.Now = now
	t.Cleanup(func() { clock.Now = before })
}

func TestASessionEndsWhenNobodyUsesItForAWhile(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	clock := setClock(t)
	runCaddy(t, t.TempDir(), site.caddyfile("", "oidc_session {\n\t\tissuer ISSUER\n\t\tlogin_cookie login\n\t\tidle_timeout 12h\n\t}\n\t"+op.proxy()))
	b := newBrowser(t)
	shop := b.signIn(site, "shop", "alice", nil)
	clock.advance(11 * time.Hour)
	wiki := b.authorize(site, "wiki", "", nil)
	clock.advance(11 * time.Hour)
	for _, a := range []answer{shop, wiki} {
		if got := b.ask(site, a); got != "unchanged" {
			t.Errorf("used 11 hours ago, %s: %s", a.clientID, got)
		}
	}
	clock.advance(time.Hour)
	for _, a := range []answer{shop, wiki} {
		if got := b.ask(site, a); got != "changed" {
			t.Errorf("used 12 hours ago, %s: %s", a.clientID, got)
		}
	}
}
