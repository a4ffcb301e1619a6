package integration

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// signOut is what these tests configure, but for the lines that are wrong.
func signOut(options string) string {
	return "oidc_session {\n\t\tissuer ISSUER\n" + options + "\t\tclient shop {\n\t\t\tpost_logout_redirect_uri " + shopBye + "\n\t\t}\n\t}\n\t"
}

// What is wrong with the way in which a site ends the OP's session is logged when a user signs in,
// or out, and no page says that the user is signed out meanwhile.
func TestMistakesInSigningOutAreLogged(t *testing.T) {
	for name, tt := range map[string]struct {
		options         string
		shape           deletion
		start           string // what the log says at the start; empty: nothing
		signIn          bool   // the log says so at the sign-in
		signOut, advice string // what it says at the sign-out; empty: nothing
	}{
		"a login cookie that does not exist": {
			options: "\t\tlogin_cookie misspelt\n\t\tend_session {\n\t\t\tupstream GET /logout\n\t\t}\n",
			signIn:  true,
			signOut: "the browser has no cookie misspelt, and none was observed that reaches the endpoint",
			advice:  "check the name: it must be that of the cookie by which the OP knows users who are signed in",
		},
		"a cookie to clear that does not exist": {
			options: "\t\tend_session {\n\t\t\tclear_cookies misspelt\n\t\t}\n",
			signOut: "the browser has no cookie misspelt", advice: "check the name",
		},
		"a request that the OP answers by a page": {
			options: "\t\tlogin_cookie login\n\t\tend_session {\n\t\t\tupstream GET /account\n\t\t}\n",
			signOut: "its answer does not delete the cookie login", advice: "name the status of its answer in the option success of upstream",
		},
		"a request, and no login cookie to see it by": {
			options: "\t\tend_session {\n\t\t\tupstream GET /logout\n\t\t}\n",
			start:   "nothing shows whether end_session signs users out",
			signOut: "its answer does not show it", advice: "set login_cookie, or name the status",
		},
		"a login cookie that nothing deletes": {
			options: "\t\tlogin_cookie login\n\t\tend_session {\n\t\t\tclear_cookies csrf\n\t\t}\n",
			start:   "end_session does not delete the login cookie",
			signOut: "the browser keeps the cookie login", advice: "have clear_cookies delete the login cookie",
		},
		"none of these": {options: "\t\tlogin_cookie login\n\t\tend_session {\n\t\t\tupstream GET /logout\n\t\t}\n"},
		"none, by the status": {
			options: "\t\tlogin_cookie login\n\t\tend_session {\n\t\t\tupstream GET /logout {\n\t\t\t\tsuccess 200\n\t\t\t}\n\t\t}\n",
			shape:   byNothing,
		},
	} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			op.traits.signOut = tt.shape
			log := runLogged(t, t.TempDir(), site.caddyfile("", signOut(tt.options)+
				"@account path /account\n\trespond @account \"Your account\" 200\n\t"+op.proxy()))
			for _, message := range []string{"nothing shows whether end_session signs users out", "end_session does not delete the login cookie"} {
				if log.has(message) != (message == tt.start) {
					t.Errorf("at the start: %q is logged: %v", message, log.has(message))
				}
			}
			b := newBrowser(t)
			shop := b.authorize(site, "shop", "alice", nil)
			hint := b.hintFor(site, shop)
			got := b.endSession(site, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {shopBye}})
			if failed := got.StatusCode == http.StatusBadGateway; failed != (tt.signOut != "") || !failed && got.Header.Get("Location") != shopBye {
				t.Errorf("got %s to %q: %s", got.Status, got.Header.Get("Location"), got.body)
			}
			const unobserved = `"msg":"login cookie not observed at a sign-in","issuer":"ISSUER","login_cookie":"misspelt","advice":"set login_cookie to`
			if log.has(strings.Replace(unobserved, "ISSUER", site.issuer, 1)) != tt.signIn {
				t.Errorf("at the sign-in, the log says so: %v", !tt.signIn)
			}
			if tt.signOut != "" {
				log.expect(t, tt.signOut)
				log.expect(t, tt.advice)
			}
			if log.has(hint) {
				t.Error("the hint is in the log")
			}
		})
	}
}

// A site without `success` and without `login_cookie` among the recipes could never say that
// anybody is signed out.
func TestSignOutsOfEveryRecipeCanBeProved(t *testing.T) {
	for op, text := range recipes(t) {
		for _, block := range blocks(text, "caddyfile") {
			if strings.Contains(block, "upstream ") && !strings.Contains(block, "login_cookie ") && !strings.Contains(block, "success ") {
				t.Errorf("the recipe for %s has an upstream request whose success nothing shows:\n%s", op, block)
			}
		}
	}
}
