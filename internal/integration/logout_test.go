package integration

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-jose/go-jose/v4"
)

const (
	endSessionPath = "/oidc/end-session"
	shopBye        = "https://shop.example/bye"
)

// withSignOut is a site whose OP is signed out of by its own page.
const withSignOut = `oidc_session {
		issuer ISSUER
		login_cookie login
		end_session {
			upstream GET /logout
		}
		client shop {
			name "The Shop"
			post_logout_redirect_uri ` + shopBye + `
		}
	}
	`

// hintFor redeems the code of a response and returns the ID token.
func (b *browser) hintFor(s site, a answer) string {
	b.t.Helper()
	var response struct {
		IDToken string `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(b.redeem(s, a).body), &response); err != nil || response.IDToken == "" {
		b.t.Fatalf("no ID token: %v", err)
	}
	return response.IDToken
}

// endSession asks to be signed out, and follows the endpoint's redirect to itself.
func (b *browser) endSession(s site, parameters url.Values) page {
	b.t.Helper()
	got := b.get(s.issuer + endSessionPath + "?" + parameters.Encode())
	if location := got.Header.Get("Location"); strings.HasPrefix(location, endSessionPath) {
		got = b.get(s.issuer + location)
	}
	return got
}

func TestSignOutEndsTheOPsSessionAndOurs(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	runCaddy(t, t.TempDir(), site.caddyfile("", withSignOut+op.proxy()))
	b := newBrowser(t)
	shop := b.authorize(site, "shop", "alice", nil)
	hint := b.hintFor(site, shop)
	wiki := b.authorize(site, "wiki", "", nil)
	b.redeem(site, wiki)

	wrong := b.endSession(site, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {shopBye + "/"}})
	if wrong.StatusCode != http.StatusBadRequest || b.ask(site, shop) != "unchanged" {
		t.Errorf("a wrong address: %s, the server says %s", wrong.Status, b.ask(site, shop))
	}
	got := b.endSession(site, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {shopBye}, "state": {"a&b c"}})
	if location := got.Header.Get("Location"); got.StatusCode != http.StatusSeeOther || location != shopBye+"?state=a%26b+c" {
		t.Errorf("got %s to %q: %s", got.Status, location, got.body)
	}
	for _, a := range []answer{shop, wiki} {
		if b.matches(a) || b.ask(site, a) != "changed" {
			t.Errorf("after sign-out, %s: cookie matches: %v, the server says %s", a.clientID, b.matches(a), b.ask(site, a))
		}
	}
	if refused := b.authorize(site, "shop", "", url.Values{"prompt": {"none"}}); refused.values.Get("error") != "login_required" {
		t.Errorf("prompt=none after sign-out: %v", refused.values)
	}
	if again := b.endSession(site, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {shopBye}}); again.Header.Get("Location") != shopBye {
		t.Errorf("already signed out: %s to %q", again.Status, again.Header.Get("Location"))
	}
}

var confirmationField = regexp.MustCompile(`name="confirmation" value="([^"]+)"`)

func TestSignOutAsksWhoDoesNotComeWithAHint(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	runCaddy(t, t.TempDir(), site.caddyfile("", withSignOut+op.proxy()))
	b := newBrowser(t)
	shop := b.authorize(site, "shop", "alice", nil)
	b.redeem(site, shop)
	for _, answer := range []string{"stay", "sign_out"} {
		question := b.endSession(site, url.Values{"client_id": {"shop"}, "post_logout_redirect_uri": {shopBye}})
		found := confirmationField.FindStringSubmatch(question.body)
		if question.StatusCode != http.StatusOK || found == nil || !strings.Contains(question.body, "The Shop") || b.ask(site, shop) != "unchanged" {
			t.Fatalf("the question is %s %s", question.Status, question.body)
		}
		b.header.Set("Sec-Fetch-Site", "same-origin")
		got := b.post(site.issuer+endSessionPath+"/confirm", url.Values{"confirmation": {found[1]}, "answer": {answer}})
		b.header.Del("Sec-Fetch-Site")
		if out := answer == "sign_out"; out != (b.ask(site, shop) == "changed") || out != (got.Header.Get("Location") == shopBye) {
			t.Errorf("after %s: %s to %q, the server says %s", answer, got.Status, got.Header.Get("Location"), b.ask(site, shop))
		}
	}
}

func TestDiscoveryNamesTheEndSessionEndpointWhereTheOPHasNone(t *testing.T) {
	for name, tt := range map[string]struct{ directives, want string }{
		"with a login cookie":    {directives, endSessionPath},
		"with an upstream":       {withSignOut, endSessionPath},
		"with a path of its own": {"oidc_session {\n\t\tissuer ISSUER\n\t\tend_session /out {\n\t\t\tclear_cookies a\n\t\t}\n\t}\n\t", "/out"},
		"with a block alone":     {"oidc_session {\n\t\tissuer ISSUER\n\t\tend_session\n\t}\n\t", endSessionPath},
		"with nothing to end by": {"oidc_session {\n\t\tissuer ISSUER\n\t}\n\t", ""},
	} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			runCaddy(t, t.TempDir(), site.caddyfile("", tt.directives+op.proxy()))
			b := newBrowser(t)
			var document map[string]any
			if err := json.Unmarshal([]byte(b.get(site.issuer+"/.well-known/openid-configuration").body), &document); err != nil {
				t.Fatal(err)
			}
			got, _ := document["end_session_endpoint"].(string)
			if tt.want != "" && got != site.issuer+tt.want || tt.want == "" && got != "" {
				t.Errorf("it names %q", got)
			}
			if got := b.get(site.issuer + endSessionPath); (tt.want == endSessionPath) != strings.Contains(got.body, "You are signed out") {
				t.Errorf("the endpoint says %s", got.body)
			}
		})
	}
}

// Threat 19: tokens in logs. All that Caddy and this plugin log of sign-outs, good and bad, holds nothing secret of a request: of an
// address that is refused, where it leads to.
func TestThreatTokensInLogs(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	logFile := filepath.Join(t.TempDir(), "caddy.log")
	directives := strings.Replace(withSignOut, "upstream GET /logout", "upstream POST /broken {\n\t\t\t\theader X-Token {http.request.cookie.login}\n\t\t\t}", 1)
	broken := "@broken path /broken\n\terror @broken \"broken\" 500\n\t"
	config := testConfig(t, t.TempDir(), site.caddyfile("", "log\n\t"+directives+broken+op.proxy()))
	var document map[string]any
	if err := json.Unmarshal(config, &document); err != nil {
		t.Fatal(err)
	}
	document["logging"] = map[string]any{"logs": map[string]any{"default": map[string]any{
		"level": "DEBUG", "writer": map[string]any{"output": "file", "filename": logFile},
	}}}
	config, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })

	b := newBrowser(t)
	shop := b.authorize(site, "shop", "alice", nil)
	hint := b.hintFor(site, shop)
	login := b.cookies["login"]
	for _, parameters := range []url.Values{
		{"id_token_hint": {hint[:len(hint)-3] + "AAA"}, "state": {"secret-state"}, "logout_hint": {"alice-secret"}},
		{"id_token_hint": {hint}, "post_logout_redirect_uri": {"https://user:secret-word@evil.example/away?secret-query#secret-fragment"}, "state": {"secret-state"}},
		{"id_token_hint": {hint, hint}, "state": {"secret-state"}},
		{"id_token_hint": {hint}, "post_logout_redirect_uri": {shopBye}, "state": {"secret-state"}},
	} {
		b.endSession(site, parameters)
		b.post(site.issuer+endSessionPath, parameters)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	logged, err := os.ReadFile(logFile)
	if err != nil {
		t.Fatal(err)
	}
	_, sinceLeaving, _ := strings.Cut(string(logged), `"msg":"end_session"`) // codes before that are those of Caddy's own access log
	if !strings.Contains(string(logged), `"outcome":"failed"`) || !strings.Contains(string(logged), `"outcome":"refused"`) {
		t.Errorf("the outcomes are not logged: %s", logged)
	}
	for _, secret := range []string{"eyJ", hint[20:40], "secret-state", "alice-secret", "secret-word", "secret-query", "secret-fragment", login, b.cookies["__Host-oidc_session"]} {
		if secret != "" && strings.Contains(sinceLeaving, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if strings.Contains(sinceLeaving, endSessionPath+"?") {
		t.Error("Caddy's access log holds the requests")
	}
}

func TestTheAccessLogCanBeKept(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	kept := strings.Replace(withSignOut, "upstream GET /logout", "upstream GET /logout\n\t\t\taccess_log", 1)
	runCaddy(t, t.TempDir(), site.caddyfile("", "log_append skipped {http.vars.log_skip}\n\theader X-Skip {http.vars.log_skip}\n\t"+kept+op.proxy()))
	if got := newBrowser(t).get(site.issuer + endSessionPath); got.StatusCode != http.StatusOK || got.Header.Get("X-Skip") == "true" {
		t.Errorf("got %s, %v", got.Status, got.Header)
	}
}

// Django takes a POST only with the token of its cookie in a header.
func TestACSRFTokenInACookieIsSentAlong(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	django := strings.Replace(withSignOut, "upstream GET /logout", "upstream POST /logout {\n\t\t\t\theader X-CSRFToken {http.request.cookie.csrftoken}\n\t\t\t}", 1)
	guard := `@forged {
		path /logout
		not header X-CSRFToken known-token
	}
	respond @forged 403
	`
	runCaddy(t, t.TempDir(), site.caddyfile("", django+guard+op.proxy()))
	for token, want := range map[string]int{"known-token": http.StatusSeeOther, "another": http.StatusBadGateway} {
		b := newBrowser(t)
		shop := b.authorize(site, "shop", "alice", nil)
		hint := b.hintFor(site, shop)
		b.cookies["csrftoken"], b.scopes["csrftoken"] = token, scope{host: strings.TrimPrefix(site.issuer, "http://"), path: "/"}
		got := b.endSession(site, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {shopBye}})
		if got.StatusCode != want {
			t.Errorf("with %s: %s", token, got.Status)
		}
	}
}

func TestAHintOfBeforeTheOPReplacedItsKeyIsGood(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	runCaddy(t, t.TempDir(), site.caddyfile("", withReceivers("", newReceiver(t, site, "shop", jose.ES256))+op.proxy()))
	b := newBrowser(t)
	hint := b.hintFor(site, b.authorize(site, "shop", "alice", nil))
	for range 1000 { // who signs in does not wait for it
		if op.keysServed.Load() > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	op.rollOver()
	got := b.endSession(site, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {shopBye}})
	if got.Header.Get("Location") != shopBye {
		t.Errorf("got %s to %q: %s", got.Status, got.Header.Get("Location"), got.body)
	}
}
