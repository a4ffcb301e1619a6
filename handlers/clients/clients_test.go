package clients_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
)

func TestAddressesThatCanBeRegistered(t *testing.T) {
	for _, uri := range []string{
		"https://rp.example.com", "https://rp.example.com/", "https://rp.example.com:8443/bye?a=b&c=%20", "https://xn--bcher-kva.example/x",
		"https://[2001:db8::1]/", "http://localhost:3000/", "http://app.localhost/", "http://127.0.0.1/", "http://127.9.9.9:80/x", "http://[::1]:8080/",
		"com.example.app:/signed-out", "com.example.app://signed-out", "HTTPS://rp.example.com/",
	} {
		if err := (clients.Client{ID: "a", PostLogoutRedirectURIs: []string{uri}}).Validate(); err != nil {
			t.Error(err)
		}
	}
	if err := (clients.Client{ID: "a", InsecureHTTP: true, PostLogoutRedirectURIs: []string{"http://nas.lan/x"}}).Validate(); err != nil {
		t.Error(err)
	}
}

// ZITADEL and mod_auth_openidc sent browsers to such addresses.
func TestThreatCVE202567495ScriptTargetsCannotBeRegistered(t *testing.T) {
	for _, uri := range append(handlerstest.ScriptTargets, "https://rp.example.com/"+strings.Repeat("x", clients.MaxClientURI)) {
		if err := (clients.Client{ID: "a", PostLogoutRedirectURIs: []string{uri}}).Validate(); !errors.Is(err, clients.ErrClient) {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

// Threat 23: an address is compared byte for byte.
func TestThreatCaseFoldingOfAddresses(t *testing.T) {
	c := clients.Client{ID: "a", PostLogoutRedirectURIs: []string{"https://rp.example.com/cb%2f"}}
	if !c.MayReturnTo("https://rp.example.com/cb%2f") {
		t.Error("the registered address itself is refused")
	}
	for _, uri := range []string{
		"https://rp.example.com/CB%2f", "https://rp.example.com/cb%2F", "https://rp.example.com/cb/", "https://RP.example.com/cb%2f", "https://rp.example.com:443/cb%2f",
		"https://rp.example.com/cb%2f/", "https://rp.example.com/cb%2f?", "https://rp.example.com/cb%2f#", "https://rp.example.com/cb%2f?x", "https://rp.example.com/cb%2f ",
		"http://rp.example.com/cb%2f", "https://rp.example.com//cb%2f", "https://rp.example.com/./cb%2f", "",
	} {
		if c.MayReturnTo(uri) {
			t.Errorf("%q is taken for it", uri)
		}
	}
}

func TestErrorsShowNothingOfARefusedAddress(t *testing.T) {
	c := clients.Client{ID: "a", PostLogoutRedirectURIs: []string{"https://rp.example.com/", "https://user:hunter2@rp.example.com/"}}
	if err := c.Validate(); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "post_logout_redirect_uri 2 has user information") {
		t.Error(err)
	}
}

func TestClientsThatCannotBe(t *testing.T) {
	for name, c := range map[string]clients.Client{
		"no ID": {}, "a long ID": {ID: strings.Repeat("x", handlers.MaxClientID+1)}, "an ID with a line end": {ID: "a\n"}, "an ID that is not ASCII": {ID: "ä"},
		"a long name": {ID: "a", Name: strings.Repeat("x", clients.MaxClientName+1)}, "many addresses": {ID: "a", PostLogoutRedirectURIs: slices.Repeat([]string{"https://rp.example.com/"}, clients.MaxClientURIs+1)},
	} {
		if err := c.Validate(); !errors.Is(err, clients.ErrClient) {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := &clients.Clients{List: []clients.Client{{ID: "a"}, {ID: "a"}}}
	if err := twice.Setup(handlerstest.NewWorld(t).Env); !errors.Is(err, clients.ErrClient) {
		t.Errorf("one client twice: %v", err)
	}
}

// goodClientsAt is clientsAt for clients that can be used.
func goodClientsAt(t *testing.T, w *handlerstest.World, content string) (*clients.Clients, string) {
	t.Helper()
	c, path, err := clientsAt(t, w, content)
	if err != nil {
		t.Fatal(err)
	}
	return c, path
}

// clientsAt sets up clients with a file.
func clientsAt(t *testing.T, w *handlerstest.World, content string) (*clients.Clients, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clients.json")
	rewrite(t, path, content)
	c := &clients.Clients{List: []clients.Client{{ID: "shop", Name: "configured"}}, File: path}
	return c, path, c.Setup(w.Env)
}

var written time.Duration

// rewrite writes a file with a time that it never had.
func rewrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	written += time.Second
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(written)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestTheClientsFileIsReadAgainWhenItChanges(t *testing.T) {
	w := handlerstest.NewWorld(t)
	c, path := goodClientsAt(t, w, `[{"client_id": "wiki", "client_name": "Wiki", "post_logout_redirect_uris": ["https://wiki.example.com/"], "token_endpoint_auth_method": "none"}, {"client_id": "shop"}]`)
	if wiki, known := c.Find(t.Context(), handlerstest.Issuer, "wiki"); !known || wiki.Name != "Wiki" || !wiki.MayReturnTo("https://wiki.example.com/") {
		t.Errorf("wiki is %+v, %v", wiki, known)
	}
	if shop, _ := c.Find(t.Context(), handlerstest.Issuer, "shop"); shop.Name != "configured" {
		t.Error("the file goes before the configuration")
	}
	rewrite(t, path, `{"clients": [{"client_id": "mail"}]}`)
	if _, known := c.Find(t.Context(), handlerstest.Issuer, "mail"); known {
		t.Error("it is looked for changes at each request")
	}
	w.Clock.Advance(3 * time.Second)
	if _, known := c.Find(t.Context(), handlerstest.Issuer, "mail"); !known {
		t.Error("the new client is not known")
	}
	if _, known := c.Find(t.Context(), handlerstest.Issuer, "wiki"); known {
		t.Error("the old client is known still")
	}

	rewrite(t, path, `{"clients": [{"client_id": "mail"},`)
	for range 3 {
		w.Clock.Advance(3 * time.Second)
		if _, known := c.Find(t.Context(), handlerstest.Issuer, "mail"); !known {
			t.Error("a broken file made its clients unknown")
		}
	}
	broken := w.Logs.FilterMessageSnippet("cannot be used").All()
	if len(broken) != 1 || broken[0].Level != zapcore.ErrorLevel || !strings.Contains(broken[0].ContextMap()["error"].(string), "line 1") {
		t.Errorf("the broken file is logged as %v", broken)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(3 * time.Second)
	if _, known := c.Find(t.Context(), handlerstest.Issuer, "mail"); !known {
		t.Error("a missing file made its clients unknown")
	}
	rewrite(t, path, `[{"client_id": "wiki"}]`)
	w.Clock.Advance(3 * time.Second)
	if _, known := c.Find(t.Context(), handlerstest.Issuer, "wiki"); !known {
		t.Error("the mended file is not read")
	}
	if n := w.Logs.FilterMessageSnippet("in order again").Len(); n != 1 {
		t.Errorf("that the file is mended is logged %d times", n)
	}
	rewrite(t, path, `{`)
	w.Clock.Advance(3 * time.Second)
	c.Find(t.Context(), handlerstest.Issuer, "wiki")
	if n := w.Logs.FilterMessageSnippet("cannot be used").Len(); n != 2 {
		t.Errorf("a file that broke twice is logged %d times", n)
	}
}

func TestClientsFilesThatCannotBe(t *testing.T) {
	for name, tt := range map[string]struct{ content, want string }{
		"nothing":                      {"", "neither a JSON array"},
		"another document":             {`{"client": []}`, "neither a JSON array"},
		"a broken line":                {"[\n{\"client_id\": \"a\"},\n{]", "line 3"},
		"a member of a type":           {"[\n{\"client_id\": 1}]", "line 2: client_id must not be of type number"},
		"a client without an ID":       {`[{"client_id": "a"}, {}]`, "client 2"},
		"a client twice":               {`[{"client_id": "a"}, {"client_id": "a"}]`, "given twice"},
		"a bad address":                {`[{"client_id": "a", "post_logout_redirect_uris": ["javascript:x"]}]`, "scheme"},
		"a client that is a number":    {"[{\"client_id\": \"a\"},\n1]", "client 2: line 2: it must not be of type number"},
		"an address of a type":         {"[{\"client_id\": \"a\"}\n,\n{\"client_id\": \"b\",\n\"post_logout_redirect_uris\": [\ntrue]}]", "client 2: line 5: post_logout_redirect_uris must not be of type bool"},
		"null":                         {"null", "neither a JSON array"},
		"clients that are null":        {`{"clients": null}`, "neither a JSON array"},
		"a client that is null":        {"[null]", "client 1"},
		"more after the clients":       {"[] []", "line 1"},
		"too many clients":             {manyClients(clients.MaxClients + 1), "more than 100000 clients"},
		"a file full of empty objects": {"[" + strings.Repeat("{},", 1<<20) + "{}]", "client 1:"},
		"a large file":                 {"[" + strings.Repeat(" ", clients.MaxClientsFile) + "]", "larger than"},
	} {
		if _, _, err := clientsAt(t, handlerstest.NewWorld(t), tt.content); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	missing := &clients.Clients{File: filepath.Join(t.TempDir(), "nowhere")}
	if err := missing.Setup(handlerstest.NewWorld(t).Env); err == nil {
		t.Error("a file that is not there is accepted at start")
	}
}

// manyClients is a file of so many clients.
func manyClients(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,{"client_id":"%d"}`, i)
	}
	return "[" + b.String()[1:] + "]"
}

// A relative reference, a script or an address with a password never gets into the configuration.
// The oracle knows nothing of net/url.
func FuzzPostLogoutRedirectURI(f *testing.F) {
	for _, uri := range append(handlerstest.ScriptTargets, "https://rp.example.com/", "com.example.app:/bye", "http://[::1]:80/", "HTTPS://a?@", "https://a?#") {
		f.Add(uri, false)
		f.Add(uri, true)
	}
	f.Fuzz(func(t *testing.T, uri string, insecure bool) {
		c := clients.Client{ID: "a", InsecureHTTP: insecure, PostLogoutRedirectURIs: []string{uri}}
		if c.Validate() != nil {
			return
		}
		if len(uri) > clients.MaxClientURI || strings.ContainsFunc(uri, func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' || c == '#' }) {
			t.Errorf("%q has characters or a length that none may have", uri)
		}
		scheme, rest, _ := strings.Cut(uri, ":")
		scheme = strings.ToLower(scheme)
		if scheme != "https" && scheme != "http" && !strings.Contains(scheme, ".") || strings.Contains(scheme, "/") {
			t.Errorf("%q has the scheme %q", uri, scheme)
		}
		authority, _, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "/")
		authority, _, _ = strings.Cut(authority, "?")
		if strings.HasPrefix(rest, "//") && strings.Contains(authority, "@") {
			t.Errorf("%q has user information", uri)
		}
		if strings.HasPrefix(scheme, "http") && !strings.Contains(scheme, ".") && (!strings.HasPrefix(rest, "//") || authority == "" || authority[0] == ':') {
			t.Errorf("%q has no host", uri)
		}
		if scheme == "http" && !insecure && !strings.Contains(strings.ToLower(authority), "localhost") && !strings.HasPrefix(authority, "127.") && !strings.HasPrefix(authority, "[") {
			t.Errorf("%q is http, but not of a loopback host", uri)
		}
		if !c.MayReturnTo(uri) || c.MayReturnTo(uri+"/") || c.MayReturnTo("x"+uri) {
			t.Errorf("%q is not compared byte for byte", uri)
		}
	})
}

func FuzzClientsFile(f *testing.F) {
	for _, uri := range handlerstest.ScriptTargets {
		document, err := json.Marshal([]clients.Client{{ID: "a", PostLogoutRedirectURIs: []string{uri}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(document)
	}
	for _, seed := range []string{`[]`, `{"clients":[]}`, `[{"client_id":"a","insecure_http":true,"post_logout_redirect_uris":["http://a/"]}]`, `[null]`, `{"clients":null}`, " \n["} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		loaded, err := clients.ParseClients(document)
		if err != nil {
			return
		}
		for id, client := range loaded.Clients {
			if id == "" || client.Validate() != nil {
				t.Errorf("client %q is not valid", id)
			}
			for _, uri := range client.PostLogoutRedirectURIs {
				if lower := strings.ToLower(uri); strings.HasPrefix(lower, "javascript:") || strings.HasPrefix(lower, "data:") || !strings.Contains(uri, ":") || strings.ContainsAny(uri, " \r\n#\\") {
					t.Errorf("%q is accepted", uri)
				}
			}
		}
	})
}
