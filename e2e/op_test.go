package e2e

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// A provider is an OpenID Provider (OP) of the tests: how it is started, and what its users do at
// it.
type provider struct {
	name string
	// options are those of the oidc_session directive on its site. PORT in them is Caddy's.
	options string
	// users are the subjects of two users.
	users [2]string
	// sso reports whether it remembers who is signed in.
	sso bool

	// start starts it for clients with their redirect URIs, and returns the address that it
	// listens on.
	start func(t *testing.T, issuer string, clients map[string][]string) string
	// login gives the login page what it asks for.
	login func(t *testing.T, page *tab, user string)
	// signOut signs out, in a tab that shows a page of the OP's origin.
	signOut func(t *testing.T, page *tab)
	// switchUser signs the second user in in place of the first, at the OP and at a relying party,
	// whose tab it returns.
	switchUser func(t *testing.T, c *cell) *tab
}

var (
	nodeProvider = provider{
		name: "npm oidc-provider 9", options: "login_cookie _session", users: [2]string{"alice", "bob"}, sso: true,
		start: startProvider,
		login: clickUser,
		signOut: func(t *testing.T, page *tab) {
			page.run(t, "opening the sign-out page", evaluate("location.assign('/session/end')"))
			page.click(t, `button[name="logout"]`)
			page.waitFor(t, "location.pathname.endsWith('/success')")
		},
		switchUser: func(t *testing.T, c *cell) *tab {
			rp := c.open(t, wikiHost, "")
			rp.run(t, "asking for a password again", evaluate(`manager.signinRedirect({prompt: 'login'})`))
			clickUser(t, rp, "bob")
			rp.waitFor(t, signedInAs("bob"))
			return rp
		},
	}
	exampleProvider = provider{
		name: "zitadel/oidc exampleop", users: [2]string{"id1", "id2"},
		start: startExampleOP,
		login: func(t *testing.T, page *tab, user string) {
			name := map[string]string{"id1": "'test-user@' + location.hostname", "id2": "'test-user2'"}[user]
			page.run(t, "filling in the login page", chromedp.WaitVisible("#username", chromedp.ByQuery),
				evaluate(`document.querySelector('#username').value = `+name+`; document.querySelector('#password').value = 'verysecure'`))
			page.click(t, `button[type="submit"]`)
		},
		signOut: func(t *testing.T, page *tab) {
			page.run(t, "signing out", evaluate("location.assign('/end_session')"))
			page.waitFor(t, "document.body.textContent.includes('signed out successfully')")
		},
		switchUser: func(t *testing.T, c *cell) *tab { return c.signInTwice(t) },
	}
	scriptedProvider = provider{
		name: "scripted OP", options: "login_cookie login\n\t\tsession_state replace", users: [2]string{"alice", "bob"}, sso: true,
		start: func(t *testing.T, issuer string, clients map[string][]string) string {
			return serveOP(t, newScriptedOP(t, issuer, clients))
		},
		login: clickUser,
		signOut: func(t *testing.T, page *tab) {
			page.click(t, "#sign-out")
			page.waitFor(t, "document.body.dataset.done === 'sign-out'")
		},
		// The OP's cookie and the sid stay what they were: only the token response tells.
		switchUser: func(t *testing.T, c *cell) *tab {
			page := c.browser.open(t, c.site.url(c.host, "/"))
			page.click(t, "#switch")
			page.waitFor(t, "document.body.dataset.done === 'switch'")
			return c.signInTwice(t)
		},
	}
	providers = []provider{nodeProvider, exampleProvider, scriptedProvider}
)

// serveOP serves an OP that runs in the test itself.
func serveOP(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// clickUser clicks on the button that signs a user in.
func clickUser(t *testing.T, page *tab, user string) {
	t.Helper()
	page.click(t, `button[value="`+user+`"]`)
}

// host is the name of the OP's host in a place. It is in lower case, as browsers have it.
func (p provider) host(where placement) string {
	label := strings.NewReplacer(" ", "-", "/", "-").Replace(strings.ToLower(p.name))
	return label + "." + domains[where]
}
