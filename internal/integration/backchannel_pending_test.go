package integration

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// owed counts the notices that an issuer owes, and that are still tried or held back.
func owed(t *testing.T, issuer string) (n int) {
	t.Helper()
	for _, notice := range notices(t, issuer) {
		if !notice.GivenUp {
			n++
		}
	}
	return n
}

// discovering is a Caddyfile's site without its issuer, which it discovers then.
func discovering(directives string) string {
	return strings.Replace(directives, "issuer ISSUER\n", "\n", 1)
}

// The session of the user before would be over an hour later, and so was the browser's cookie.
func TestWhoSignedInAfterAnotherUserSignsOutHoursLater(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	clock := setClock(t)
	shop := newReceiver(t, site, "shop")
	runCaddy(t, t.TempDir(), site.caddyfile("", withReceivers("\t\tsession_lifetime 8h\n", shop)+op.proxy()))
	b := newBrowser(t)
	b.now = clock.Now
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	clock.advance(7 * time.Hour)
	bobs := b.authorize(site, "shop", "bob", url.Values{"prompt": {"login"}})
	b.redeem(site, bobs)
	if got := shop.notified(1); got[0].Sub != "alice" {
		t.Errorf("notified of %s", got[0].Sub)
	}
	eventually(t, "that is recorded", func() bool { return owed(t, site.issuer) == 0 }) // or it comes again after its lease
	clock.advance(2 * time.Hour)
	b.get(site.issuer + "/logout")
	if got := shop.notified(2); got[1].Sub != "bob" {
		t.Errorf("notified of %s", got[1].Sub)
	}
	if got := b.ask(site, bobs); got != "changed" {
		t.Errorf("bob's app is notified %q", got)
	}
}

func TestAnOperatorEndsASessionBeforeTheIssuerIsDiscovered(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	clock := setClock(t)
	shop := newReceiver(t, site, "shop")
	storage := t.TempDir()
	config := site.caddyfile("oidc_session {\n\t\tstore file "+filepath.Join(storage, "r.db")+"\n\t}",
		discovering(withReceivers("", shop))+"respond /session {http.oidc_session.id}\n\t"+op.proxy())
	runCaddy(t, storage, config)
	b := newBrowser(t)
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	id := b.get(site.issuer + "/session").body
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	loadCaddy(t, storage, config)
	if status, body := operate(t, http.MethodDelete, id, site.issuer); status != http.StatusOK || !strings.Contains(body, id) {
		t.Errorf("the operator sees %d %s", status, body)
	}
	b.get(site.issuer + "/.well-known/openid-configuration") // the issuer is discovered now
	clock.advance(5 * time.Second)                           // the notice is looked at again
	wake(t, site)
	if got := shop.notified(1); got[0].Sub != "alice" {
		t.Errorf("notified of %s", got[0].Sub)
	}
}

// What nobody is to be notified of is not collected, for the day when somebody may be.
func TestWhereNobodyIsNotifiedNothingIsOwed(t *testing.T) {
	for name, directives := range map[string]string{"discovered": "", "configured": "issuer ISSUER\n"} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			clock := setClock(t)
			runCaddy(t, t.TempDir(), site.caddyfile("", "oidc_session {\n\t\t"+directives+"\t\tlogin_cookie login\n\t\tsession_lifetime 1h\n\t}\n\t"+op.proxy()))
			b := newBrowser(t)
			b.redeem(site, b.authorize(site, "shop", "alice", nil))
			clock.advance(61 * time.Minute)
			wake(t, site)
			awaitEnd(t, site, "alice")
			if n := owed(t, site.issuer); n != 0 {
				t.Errorf("%d notices are owed", n)
			}
		})
	}
}

// One of them knows nothing of the client: it must not speak for the other.
func TestAllSitesOfAnIssuerCount(t *testing.T) {
	for name, order := range map[string][2]string{"the one that notifies is first": {"", "/x*"}, "the other is first": {"/x*", ""}} {
		for kind, other := range map[string]string{
			"without clients":       "oidc_session {\n\t\tissuer ISSUER\n\t}\n\t",
			"with an empty setting": "oidc_session {\n\t\tissuer ISSUER\n\t\tbackchannel_logout\n\t}\n\t",
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				site := newSite(t)
				op := newScriptedOP(t, site.issuer)
				clock := setClock(t)
				shop := newReceiver(t, site, "shop")
				blocks := map[string]string{"": withReceivers("\t\tsession_lifetime 1h\n", shop), "/x*": other}
				var config string
				for _, path := range order {
					config += "handle " + path + " {\n\t" + blocks[path] + op.proxy() + "\n\t}\n\t"
				}
				runCaddy(t, t.TempDir(), site.caddyfile("", config))
				b := newBrowser(t)
				b.redeem(site, b.authorize(site, "shop", "alice", nil))
				clock.advance(61 * time.Minute)
				wake(t, site)
				if got := shop.notified(1); got[0].Sub != "alice" {
					t.Errorf("notified of %s", got[0].Sub)
				}
			})
		}
	}
}

func TestAClientsFileThatGainsItsFirstAddress(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	clock := setClock(t)
	shop := newReceiver(t, site, "shop")
	file := filepath.Join(t.TempDir(), "clients.json")
	write := func(client map[string]string) {
		document, err := json.Marshal([]map[string]string{client})
		if err == nil {
			err = os.WriteFile(file, document, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(map[string]string{"client_id": "shop"})
	runCaddy(t, t.TempDir(), site.caddyfile("",
		"oidc_session {\n\t\tissuer ISSUER\n\t\tlogin_cookie login\n\t\tclients_file "+file+"\n\t}\n\t"+op.proxy()))
	b := newBrowser(t)
	b.get(site.issuer + "/.well-known/openid-configuration")
	write(map[string]string{"client_id": "shop", "backchannel_logout_uri": shop.uri()})
	clock.advance(time.Minute)
	b.redeem(site, b.authorize(site, "shop", "alice", nil))
	if body := b.get(site.issuer + "/.well-known/openid-configuration").body; !strings.Contains(body, `"backchannel_logout_supported":true`) {
		t.Errorf("the document is %s", body)
	}
	b.get(site.issuer + "/logout")
	if n := owed(t, site.issuer); n != 1 { // for the address is not public
		t.Errorf("%d notices are owed", n)
	}
}
