package integration

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Sites that take a prefix away before the plugin: the OP's pages and documents name it all the
// same.
var strippings = map[string]string{
	"handle_path":           "handle_path /auth/* {\n\t\tOIDC\n\t\tPROXY\n\t}",
	"strip_prefix in route": "route {\n\t\turi strip_prefix /auth\n\t\tOIDC\n\t\tPROXY\n\t}",
	"a route in a route":    "route /auth/* {\n\t\turi strip_prefix /auth\n\t\troute {\n\t\t\tOIDC\n\t\t\tPROXY\n\t\t}\n\t}",
	"strip_prefix behind":   "handle /auth/* {\n\t\turi strip_prefix /auth\n\t\tOIDC\n\t\tPROXY\n\t}", // directives are put in order
	"strip_prefix, /AUTH":   "route {\n\t\turi strip_prefix /AUTH\n\t\tOIDC\n\t\tPROXY\n\t}",
}

func TestASiteThatStripsAPrefixSignsInAndOut(t *testing.T) {
	for name, directives := range strippings {
		for _, direct := range []bool{false, true} {
			if direct && name == "strip_prefix behind" {
				continue // what is stripped behind the plugin is not known to it
			}
			t.Run(fmt.Sprintf("%s, op_address %v", name, direct), func(t *testing.T) {
				site := newSite(t)
				below := site
				below.issuer += "/auth"
				op := newScriptedOP(t, below.issuer)
				op.traits.prefix = "/auth"
				oidc := strings.ReplaceAll(withSignOut, "ISSUER", below.issuer)
				oidc = strings.Replace(oidc, "GET /logout", "GET /auth/logout", 1)
				if direct {
					oidc = op.atItsAddress(oidc)
				}
				runCaddy(t, t.TempDir(), site.caddyfile("", strings.NewReplacer("OIDC", oidc, "PROXY", op.proxy()).Replace(directives)))
				b := newBrowser(t)
				b.get(site.issuer + "/elsewhere?x=y") // is stripped of nothing, and may have the OP asked
				a := b.authorize(below, "shop", "alice", nil)
				if a.sessionState() == "" || !b.matches(a) || b.askBelow(below, a) != "unchanged" {
					t.Fatalf("after sign-in: session_state %q, the server says %q", a.sessionState(), b.askBelow(below, a))
				}
				hint := b.hintFor(below, a)
				got := b.get(below.issuer + endSessionPath + "?" + url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {shopBye}}.Encode())
				if location := got.Header.Get("Location"); strings.HasPrefix(location, "/") {
					got = b.get(site.issuer + location)
				}
				if got.Header.Get("Location") != shopBye || b.askBelow(below, a) != "changed" {
					t.Errorf("sign-out: %s to %q: %.300s", got.Status, got.Header.Get("Location"), got.body)
				}
				if document := b.get(below.issuer + "/.well-known/openid-configuration").body; !strings.Contains(document, `"`+below.issuer+`/oidc/check-session"`) {
					t.Errorf("the document is %s", document)
				}
			})
		}
	}
}

// askBelow asks at an issuer that has a path.
func (b *browser) askBelow(s site, a answer) string {
	b.t.Helper()
	origin, err := sessionstate.Origin(s.issuer)
	if err != nil {
		b.t.Fatal(err)
	}
	asking := b.elsewhere()
	asking.header.Set("Origin", origin)
	return asking.post(s.issuer+"/oidc/check-session", url.Values{"client_id": {a.clientID}, "session_state": {a.sessionState()}, "origin": {a.origin}}).body
}

// Whatever is stripped, the handlers behind get each request just as they do without the plugin.
func TestTheHandlersBehindGetStrippedPathsAsTheyCame(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer+"/auth")
	plugin := "oidc_session {\n\t\t\tissuer ISSUER/auth\n\t\t\tlogin_cookie login\n\t\t\top_address " + op.server.URL + "\n\t\t}\n\t\t"
	paths := []string{
		"/auth/", "/auth/page", "/auth/a%2Fb/c%20d?x=%2F&y", "/auth/auth/x", "/auth//double//x", "/AUTH/page?x", "/other", "/rewritten?x",
		"/auth/.well-known/openid-configuration?x",
		"/auth/authorize?client_id=shop&redirect_uri=https%3A%2F%2Fshop.example%2Fcb&response_type=code",
	}
	collect := func(plugin, cookie string) (bodies []string) {
		loadCaddy(t, t.TempDir(), site.caddyfile("", "route {\n\t\turi strip_prefix /auth\n\t\trewrite /rewritten /elsewhere?{query}&more\n\t\t"+plugin+
			`respond "{http.request.uri} {http.request.orig_uri} {path}"`+"\n\t}"))
		for _, path := range paths {
			b := newBrowser(t)
			b.header.Set("Cookie", cookie)
			bodies = append(bodies, b.get(site.issuer+path).body)
		}
		return bodies
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	want := collect("", "")
	for _, cookie := range []string{"", "login=x; __Host-oidc_pending_x=y"} { // not involved, and observed
		if got := collect(plugin, cookie); !slices.Equal(got, want) || want[2] != "/a%2Fb/c%20d?x=%2F&y /auth/a%2Fb/c%20d?x=%2F&y /a/b/c d" {
			t.Errorf("cookie %q: got %q, want %q", cookie, got, want)
		}
	}
}
