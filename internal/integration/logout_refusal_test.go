package integration

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestALogoutRequestThatIsRefusedIsInTheLogAndOnThePage(t *testing.T) {
	t.Setenv("OIDC_TEST_NAME", "Example ID")
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	directive := strings.Replace(withSignOut, "login_cookie login", "login_cookie login\n\t\tname {env.OIDC_TEST_NAME}", 1)
	log := runLogged(t, t.TempDir(), site.caddyfile("", directive+op.proxy()))
	b := newBrowser(t)
	hint := b.hintFor(site, b.authorize(site, "shop", "alice", nil))
	wrong := url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {"https://shop.example/away?secret=1"}}
	page := b.endSession(site, wrong)
	if page.StatusCode != http.StatusBadRequest || !strings.Contains(page.body, `<p class="issuer">Example ID</p>`) ||
		!strings.Contains(page.body, "to an address at shop.example that is not registered for it. You were not signed out.") ||
		!strings.Contains(page.body, `<a class="button" href="https://shop.example/">Back to The Shop</a>`) {
		t.Errorf("signed in: %s %s", page.Status, page.body)
	}
	b.endSession(site, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {shopBye}})
	page = b.endSession(site, wrong)
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, "<h1>You are signed out</h1>") || !strings.Contains(page.body, "You were not sent on:") {
		t.Errorf("signed out: %s %s", page.Status, page.body)
	}
	var levels []string
	for _, line := range log.lines(t, "end_session") {
		levels = append(levels, line["level"].(string)+" "+line["outcome"].(string))
		if line["outcome"] == "refused" && (line["client_id"] != "shop" || line["post_logout_redirect_uri"] != "https://shop.example/away" ||
			line["why"] != "it is not registered for the client" || line["advice"] != "register the address for the client exactly as it is sent, or mend the app") {
			t.Errorf("logged %v", line)
		}
	}
	if got := strings.Join(levels, ", "); got != "warn refused, info signed out, warn refused, info not signed in" {
		t.Errorf("logged are %s", got)
	}
	if log.has("secret=1") || log.has(hint) {
		t.Error("the log has what it must not have")
	}
}
