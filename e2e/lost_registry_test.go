package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// losses are how what is recorded of alice's browser is lost. Most lose bob's as well.
var losses = map[string]struct {
	memory  bool
	lose    func(t *testing.T, s *site, file string, expect func(when, ofAlice, ofBob string))
	ofBob   string // what the server says then
	message string // of the log; empty: there need be none
}{
	"the file is deleted while Caddy is stopped": {ofBob: "unknown", lose: func(t *testing.T, s *site, file string, _ func(string, string, string)) {
		s.restart(t, func() { remove(t, file) })
	}},
	"the file is deleted while Caddy runs": {ofBob: "unknown", lose: func(t *testing.T, s *site, file string, expect func(string, string, string)) {
		remove(t, file)
		expect("until it is restarted", "unchanged", "unchanged")
		s.restart(t, func() {})
	}},
	"the store is memory, and Caddy is restarted": {memory: true, ofBob: "unknown", lose: func(t *testing.T, s *site, _ string, _ func(string, string, string)) {
		s.restart(t, func() {})
	}},
	"a byte of her record is another one": {ofBob: "unchanged", message: "session record lost: damaged", lose: func(t *testing.T, s *site, file string, _ func(string, string, string)) {
		s.restart(t, func() { damage(t, file, "alice") })
	}},
}

// Not recorded is never signed out: nothing is seen of a loss, the next sign-in goes on with the
// session, and a later sign-out is seen.
func TestALostRegistryIsNoSignOut(t *testing.T) {
	t.Parallel()
	for name, loss := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothModes(t, func(t *testing.T, mode thirdPartyCookies) {
				s, host := newSite(t), scriptedProvider.host(crossSite)
				file := filepath.Join(s.dir, "registry.db")
				s.careless = true // a server that has just started may be slow to open its file
				s.global = "oidc_session {\n\t\tstore file " + file + "\n\t}"
				if loss.memory {
					s.global = "oidc_session {\n\t\tstore memory\n\t}"
				}
				s.addOP(t, host, scriptedProvider)
				s.start(t)
				c := &cell{op: scriptedProvider, site: s, browser: startBrowser(t, mode), host: host, readable: mode == allowed}
				shop := c.open(t, shopHost, "")
				c.signIn(t, shop, "alice", true)
				shop.waitFor(t, "replies.unchanged > 0")
				alice := signedInHere(t, shop, "shop")
				p := newPerson(t, s, host)
				bob, err := p.signIn("shop", "bob")
				if err != nil {
					t.Fatal(err)
				}
				expect := func(when, ofAlice, ofBob string) {
					t.Helper()
					p.expectAnswer(t, when, alice, ofAlice)
					p.expectAnswer(t, when, bob, ofBob)
				}
				expect("before", "unchanged", "unchanged")

				loss.lose(t, s, file, expect)
				expect("after the loss", "unknown", loss.ofBob)
				// some polls: she is told nothing, or unchanged where the cookie decides
				time.Sleep(5 * time.Second)
				expectUnchanged(t, shop, 1)

				wiki := c.open(t, wikiHost, "")
				c.signIn(t, wiki, "alice", false)
				s.caddy.waitLine(t, "log of the loss", func(line string) (string, bool) { return line, strings.Contains(line, loss.message) })
				expect("after the next sign-in, which goes on with the session", "unchanged", loss.ofBob)
				before := replies(t, shop, "unchanged")
				expectUnchanged(t, wiki, 1)
				expectUnchanged(t, shop, before+2)

				c.op.signOut(t, c.browser.open(t, s.url(host, "/")))
				for _, page := range []*tab{shop, wiki} {
					if got := event(t, page); got != "signed out" {
						t.Errorf("after the sign-out, the events are %q", got)
					}
				}
				expect("after the sign-out", "changed", loss.ofBob)
			})
		})
	}
}

// signedInHere is what the client got that a tab is signed in at.
func signedInHere(t *testing.T, page *tab, client string) signedIn {
	t.Helper()
	return signedIn{
		client: client, origin: eval[string](t, page, "location.origin"),
		sessionState: eval[string](t, page, "manager.getUser().then((user) => user.session_state)"),
		hint:         eval[string](t, page, "manager.getUser().then((user) => user.id_token)"),
	}
}

func remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

// damage turns round a bit of each record in the file that has a text.
func damage(t *testing.T, file, text string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(content, []byte(text)) {
		t.Fatalf("the file has no %s: %v", text, err)
	}
	other := strings.ToUpper(text[:1]) + text[1:]
	if err := os.WriteFile(file, bytes.ReplaceAll(content, []byte(text), []byte(other)), 0o600); err != nil {
		t.Fatal(err)
	}
}
