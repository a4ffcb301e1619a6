package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// recipes returns the document by OP: the text of each section, by its heading.
func recipes(t *testing.T) map[string]string {
	t.Helper()
	document, err := os.ReadFile(inRoot("docs", "recipes.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string]string)
	for _, section := range strings.Split(string(document), "\n## ")[1:] {
		heading, text, _ := strings.Cut(section, "\n")
		sections[heading] = text
	}
	return sections
}

// recipe returns the Caddyfile of an OP that has some text in it, with other names in place of its own, on loopback.
func recipe(t *testing.T, op, having string, names ...string) string {
	t.Helper()
	found := slices.DeleteFunc(blocks(recipes(t)[op], "caddyfile"), func(block string) bool { return !strings.Contains(block, having) })
	if len(found) != 1 {
		t.Fatalf("%d recipes for %s have %q", len(found), op, having)
	}
	for i := 0; i < len(names); i += 2 {
		if !strings.Contains(found[0], names[i]) {
			t.Fatalf("the recipe for %s has no %q", op, names[i])
		}
	}
	return strings.Replace(strings.NewReplacer(names...).Replace(found[0]), "{\n", "{\n\tbind 127.0.0.1\n", 1)
}

func TestRecipesAreValidForEveryOP(t *testing.T) {
	sections := recipes(t)
	all := "oidc-provider (npm), Zitadel, Ory Hydra, Dex, Authelia, authentik, Kanidm, django-oidc-provider, Keycloak"
	for op := range strings.SplitSeq(all, ", ") {
		if len(blocks(sections[op], "caddyfile")) == 0 {
			t.Errorf("there is no recipe for %s", op)
		}
		if !strings.Contains(sections[op], "**Run**: ") {
			t.Errorf("whether the recipe for %s was run is not said", op)
		}
	}
	clients := filepath.Join(t.TempDir(), "clients.json")
	for op, text := range sections {
		for _, listed := range blocks(text, "json") {
			if err := os.WriteFile(clients, []byte(listed), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, block := range blocks(text, "caddyfile") {
			if err := validate(t, strings.Replace(block, "clients.json", clients, 1)); err != nil {
				t.Errorf("%s: %v in\n%s", op, err, block)
			}
		}
	}
}

// A stand-in for Authelia: its sign-out takes JSON and nothing else.
func TestTheRecipeForAutheliaSendsTheBodyItNeeds(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	standIn := "@sign_out expression `{http.request.method} == 'POST' && {http.request.uri.path} == '/api/logout' && " +
		"{http.request.header.Content-Type} == 'application/json' && {http.request.body} == '{}'`\n\t" +
		"respond @sign_out 200\n\trespond /api/logout 500\n\t" + op.proxy()
	config := recipe(t, "Authelia", "", "auth.example.com {", site.issuer+" {", "https://auth.example.com", site.issuer,
		"authelia_session", "login", "domain example.com", "", "reverse_proxy localhost:9091", standIn,
		"https://shop.example.com/signed-out", shopBye)
	runCaddy(t, t.TempDir(), config)
	b := newBrowser(t)
	shop := b.authorize(site, "shop", "alice", nil)
	got := b.endSession(site, url.Values{"id_token_hint": {b.hintFor(site, shop)}, "post_logout_redirect_uri": {shopBye}})
	if got.Header.Get("Location") != shopBye || b.ask(site, shop) != "changed" {
		t.Errorf("got %s to %q, the server says %s: %s", got.Status, got.Header.Get("Location"), b.ask(site, shop), got.body)
	}
}

// The recipe for Django serves a saved document that does not have the OP's own endpoint.
func TestTheRecipeForDjangoHidesTheOPsOwnEndpoint(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	issuer, dir := site.issuer+"/openid", t.TempDir()
	document := fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"jwks_uri":%q}`,
		issuer, issuer+"/authorize", issuer+"/token", issuer+"/jwks")
	for name, content := range map[string]string{"openid-configuration.json": document, "clients.json": "[]"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runCaddy(t, t.TempDir(), recipe(t, "django-oidc-provider", "end_session {", "id.example.com {", site.issuer+" {",
		"https://id.example.com/openid", issuer, "/etc/caddy", dir, "clients.json", filepath.Join(dir, "clients.json"),
		"reverse_proxy localhost:8000", op.proxy()))
	b := newBrowser(t)
	var metadata struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := json.Unmarshal([]byte(b.get(issuer+"/.well-known/openid-configuration").body), &metadata); err != nil {
		t.Fatal(err)
	}
	if metadata.EndSession != issuer+endSessionPath {
		t.Errorf("the document names %q", metadata.EndSession)
	}
	if got := b.get(metadata.EndSession); got.StatusCode != http.StatusOK || !strings.Contains(got.body, "You are signed out") {
		t.Errorf("the endpoint says %s %s", got.Status, got.body)
	}
	for path, want := range map[string]int{"/end-session/": http.StatusNotFound, "/authorize-not": http.StatusOK} {
		if got := b.get(issuer + path); got.StatusCode != want {
			t.Errorf("%s: %s", path, got.Status)
		}
	}
}
