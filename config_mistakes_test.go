package oidcsession

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
)

// A mistake is a configuration that is refused: the option "oidc_session" of the global block, the
// block of the directive, the words, and the line of the Caddyfile, as in expectMistake.
type mistake struct {
	global, site, want string
	line               int
}

func expectMistakes(t *testing.T, mistakes map[string]mistake) {
	t.Helper()
	for name, tt := range mistakes {
		t.Run(name, func(t *testing.T) {
			global := ""
			if tt.global != "" {
				global = "oidc_session {\n\t\t" + tt.global + "\n\t}"
			}
			err := validate(t, siteCaddyfile(global, "oidc_session {\n\t\t"+tt.site+"\n\t}"))
			expectMistake(t, err, tt.want, tt.line)
			if strings.Contains(err.Error(), "oidc_secret") {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestAMisspeltWordIsToldWithTheNearest(t *testing.T) {
	expectMistakes(t, map[string]mistake{
		"a global option": {"stor memory", "", "unrecognized oidc_session option 'stor': did you mean 'store'?", 4},
		"a store":         {"store flie", "", "store is 'flie', but must be one of file, memory: did you mean 'file'?", 4},
		"an option":       {"", "isuer https://op.example.com", "unrecognized oidc_session option 'isuer': did you mean 'issuer'?", 8},
		"an option with a hyphen": {
			"", "login-cookie a", "unrecognized oidc_session option 'login-cookie': did you mean 'login_cookie'?", 8,
		},
		"an option that is like none": {"", "tls internal", "unrecognized oidc_session option 'tls'", 8},
		"a part of an option":         {"", "end_session {\n\t\t\tcookies a\n\t\t}", "did you mean 'clear_cookies'?", 9},
		"an option of end_session":    {"", "end_session {\n\t\t\tconfrim always\n\t\t}", "unrecognized end_session option 'confrim': did you mean 'confirm'?", 9},
		"an option of upstream":       {"", "end_session {\n\t\t\tupstream /x {\n\t\t\t\tforms a b\n\t\t\t}\n\t\t}", "unrecognized upstream option 'forms': did you mean 'form'?", 10},
		"an option of clear_cookies":  {"", "end_session {\n\t\t\tclear_cookies a {\n\t\t\t\tdomian x\n\t\t\t}\n\t\t}", "unrecognized clear_cookies option 'domian': did you mean 'domain'?", 10},
		"an option of the back channel": {
			"", "backchannel_logout {\n\t\t\tsigning_keys a\n\t\t}", "unrecognized backchannel_logout option 'signing_keys': did you mean 'signing_key'?", 9,
		},
		"an option of a client": {
			"", "client a {\n\t\t\tpost_logout_redirect_uris https://a.example/\n\t\t}",
			"unrecognized client option 'post_logout_redirect_uris': did you mean 'post_logout_redirect_uri'?", 9,
		},
		"a value of confirm":       {"", "end_session {\n\t\t\tconfirm alway\n\t\t}", `confirm is "alway", but must be needed or always: did you mean 'always'?`, 9},
		"a value of session_state": {"", "session_state kep", `session_state is "kep", but must be auto, keep or replace: did you mean 'keep'?`, 8},
		"a value of logout_token":  {"", "client a {\n\t\t\tlogout_token sids\n\t\t}", `logout_token is "sids", but must be sid, sub or both: did you mean 'sid'?`, 9},
		"a value of id_tokens":     {"", "id_tokens kdi", `id_tokens is "kdi", but must be kid, sid or both: did you mean 'kid'?`, 8},
		"an algorithm":             {"", "client a {\n\t\t\tid_token_signed_response_alg RS265\n\t\t}", `id_token_signed_response_alg "RS265" is not known: did you mean 'RS256'?`, 9},
	})
}

func TestPathsOfOursThatAreTakenAreRefused(t *testing.T) {
	t.Setenv("OIDC_TEST_PATH", "/x")
	const document = "the OP's discovery document is there; choose a path of its own"
	expectMistakes(t, map[string]mistake{
		"both at one path": {
			"", "check_session /x\n\t\tend_session /x", `check_session is "/x", but end_session has "/x" and "/x/confirm": each needs a path of its own`, 9,
		},
		"check_session at end_session's question":    {"", "end_session /x\n\t\tcheck_session /x/confirm", "each needs a path of its own", 9},
		"check_session at the default of the other":  {"", "issuer ISSUER/a\n\t\tlogin_cookie a\n\t\tcheck_session /a/oidc/end-session", "each needs a path of its own", 10},
		"end_session at the default of the other":    {"", "issuer ISSUER\n\t\tend_session /oidc/check-session", "each needs a path of its own", 9},
		"one at a variable's path":                   {"", "check_session {env.OIDC_TEST_PATH}\n\t\tend_session /x", "each needs a path of its own", 0},
		"check_session at the start page":            {"", "check_session /", `check_session: invalid path "/": that is the start page of the site; choose a path of its own, such as /oidc/check-session`, 8},
		"end_session at the start page":              {"", "end_session /", `end_session: invalid path "/": that is the start page of the site`, 8},
		"check_session at the discovery document":    {"", "check_session /.well-known/openid-configuration", "check_session: invalid path \"/.well-known/openid-configuration\": " + document, 8},
		"end_session at an issuer's document":        {"", "issuer ISSUER/a\n\t\tend_session /a/.well-known/openid-configuration", document, 9},
		"end_session at a configured document":       {"", "end_session /documents/x\n\t\tdiscovery /documents /documents/*", document, 9},
		"end_session's question at such a document":  {"", "end_session /documents\n\t\tdiscovery /documents/confirm", document, 9},
		"a template of documents covers the default": {"", "issuer ISSUER\n\t\tdiscovery /oidc/*\n\t\tlogin_cookie a", document, 9},
	})
}

func TestMistakesInTheFirstLineOfABlockAreToldThere(t *testing.T) {
	expectMistakes(t, map[string]mistake{
		"an upstream": {"", "end_session {\n\t\t\tupstream logout {\n\t\t\t\tbody x\n\t\t\t}\n\t\t}", "it must be a path on the issuer's origin, such as /logout", 9},
		"a cookie":    {"", "end_session {\n\t\t\tclear_cookies a=b {\n\t\t\t\tpath /\n\t\t\t}\n\t\t}", "clear_cookies: no cookie can have the name", 9},
		"a client":    {"", "client \"a\tb\" {\n\t\t\tname x\n\t\t}", "client_id must be 1 to", 8},
		"the first of two": {
			"", "client a {\n\t\t\tpost_logout_redirect_uri ftp://a/\n\t\t\tlogout_token x\n\t\t}", "post_logout_redirect_uri 1 has a scheme", 9,
		},
	})
}

func TestPathsOfOursThatDifferAreAccepted(t *testing.T) {
	for name, site := range map[string]string{
		"the check page alone":                    "issuer ISSUER\n\t\tcheck_session /oidc/end-session",
		"each its own":                            "issuer ISSUER\n\t\tcheck_session /a\n\t\tend_session /b",
		"below an issuer that is not known":       "issuer {env.OIDC_TEST_OP}\n\t\tend_session /oidc/check-session",
		"a mistake that a later option mends":     "discovery /o/*\n\t\tissuer ISSUER",
		"http that a later option of it allows":   "client a {\n\t\t\tbackchannel_logout_uri http://nas.lan/\n\t\t\tinsecure_http\n\t\t}",
		"a resolved path that is not the other's": "check_session {env.OIDC_TEST_PATH}\n\t\tend_session /y",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OIDC_TEST_PATH", "/x")
			t.Setenv("OIDC_TEST_OP", "http://op.localhost:8080/a")
			if err := validate(t, siteCaddyfile("", "oidc_session {\n\t\t"+site+"\n\t}")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPlaceholdersThatAreUnknownAtStartAreRefused(t *testing.T) {
	expectMistakes(t, map[string]mistake{
		"a request's host in issuer": {
			"", "issuer https://{host}", `issuer: "https://{http.request.host}" has the placeholder {http.request.host} of a request, but the value is the same for all requests: ` +
				"write it out, or use {env.NAME} or {file./path}", 8,
		},
		"a request's host beside an issuer": {"", "issuer ISSUER {http.request.scheme}://{http.request.host}/b", "of a request", 8},
		"a variable of the site":            {"", "login_cookie {vars.cookie}", "of a request", 8},
		"a misspelt namespace":              {"", "op_address {envv.OP}", `"{envv.OP}" has the unknown placeholder {envv.OP}: write the value out, or use {env.NAME} or {file./path}`, 8},
		"in upstream":                       {"", "end_session {\n\t\t\tupstream {path}\n\t\t}", "of a request", 9},
		"in op_logout":                      {"", "op_logout POST {path}", "of a request", 8},
		"in clear_cookies":                  {"", "end_session {\n\t\t\tclear_cookies a {\n\t\t\t\tdomain {host}\n\t\t\t}\n\t\t}", "of a request", 10},
		"in the store's path":               {"store file {host}", "", `store: "{host}" has the unknown placeholder {host}: write`, 4},
		"in trusted_ca":                     {"", "backchannel_logout {\n\t\t\ttrusted_ca {nope}\n\t\t}", "has the unknown placeholder {nope}", 9},
	})
}

func TestAKeyThatOnlySaysWhereTheKeyIsIsRefused(t *testing.T) {
	const path = "it looks like the path of a file: write {file./path}, so that the file's content is used"
	const unresolved = "it looks like a placeholder that is not replaced: write {file./path} or {env.NAME}"
	const unknown = "a placeholder is unknown or empty: write {file./path} or {env.NAME}"
	long := "/run/secrets/of_the_whole_company/oidc_secret"
	t.Setenv("OIDC_TEST_KEY_FILE", long)
	expectMistakes(t, map[string]mistake{
		"a path":                          {"key " + long, "", "key 1: " + path, 4},
		"a short path":                    {"key /run/oidc_secret", "", "key 1: " + path, 4},
		"a relative path":                 {"key \"" + testKey + "\" ./secrets/oidc_secret", "", "key 2: " + path, 4},
		"a path of Windows":               {`key C:\secrets\oidc_secret`, "", "key 1: " + path, 4},
		"a variable with a path":          {"key {env.OIDC_TEST_KEY_FILE}", "", "key 1: " + path, 0},
		"a variable of a shell":           {"key $oidc_secret_of_the_whole_company_2026", "", "key 1: " + unresolved, 4},
		"a variable of a shell in braces": {"key ${oidc_secret_of_the_whole_company_2026}", "", "key 1: " + unknown, 4},
		"a variable of Windows":           {"key %oidc_secret_of_the_whole_company_2026%", "", "key 1: " + unresolved, 4},
		"a placeholder without braces":    {"key file./run/secrets/of_the_whole_company/oidc_secret", "", "key 1: " + unresolved, 4},
		"half a placeholder":              {"key {file./run/secrets/of_the_whole_company/oidc_secret", "", "key 1: " + unresolved, 4},
		"a path of base64's characters":   {"key /run/secrets/company/oidcsession/production", "", "key 1: " + path, 4},
		"a misspelt placeholder":          {"key {envv.oidc_secret}", "", "key 1: " + unknown, 4},
		"a signing key's path":            {"", "backchannel_logout {\n\t\t\tsigning_key /run/oidc_secret.pem\n\t\t}", "signing_key 1: " + path, 9},
		"a signing key's misspelt name":   {"", "backchannel_logout {\n\t\t\tsigning_key {flie./run/oidc_secret.pem}\n\t\t}", "signing_key 1: " + unknown, 9},
	})
}

func TestAKeyMayLookLikeAPathIfItIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("/0123456789/abcdef/0123456789/abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]string{
		"base64":              "/+0123456789abcdefghijklmnopqrstuvwxyzABCDE=",
		"base64 without =":    "/+0123456789abcdefghijklmnopqrstuvwxyzABCDE",
		"one with a brace":    "`{0$x{y 0123456789 abcdef0123456789`",
		"a random text":       "`/x8$0123456789 abcdef0123456789 abcdef`",
		"the content of file": "{file." + file + "}",
	} {
		if err := validate(t, siteCaddyfile("oidc_session {\n\t\tkey "+key+"\n\t}", "oidc_session")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheDirectiveTwiceForOneIssuerIsRefused(t *testing.T) {
	const one = "oidc_session {\n\t\tissuer ISSUER\n\t}\n\t"
	const other = "oidc_session {\n\t\tissuer ISSUER/b\n\t}\n\t"
	for name, tt := range map[string]struct {
		directives string
		refused    bool
	}{
		"twice":                    {one + one, true},
		"twice without an issuer":  {strings.Repeat("oidc_session\n\t", 2), true},
		"twice in a route":         {"route {\n\t" + one + one + "}", true},
		"twice under one handle":   {"handle /a/* {\n\t" + one + one + "}", true},
		"for two issuers":          {one + other, false},
		"in two handles":           {"handle /a/* {\n\t" + one + "}\n\thandle {\n\t" + one + "}", false},
		"under two matchers":       {strings.Replace(one, "session", "session /a/*", 1) + strings.Replace(one, "session", "session /b/*", 1), false},
		"once, and once on a path": {one + strings.Replace(other, "session", "session /b/*", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			err := validate(t, siteCaddyfile("", tt.directives))
			if refused := err != nil && strings.Contains(err.Error(), "site op.localhost: oidc_session is there twice for one issuer"); refused != tt.refused || err != nil && !refused {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// The rules of the Caddyfile hold for JSON, which has no lines: they are applied when it is provisioned.
func TestMistakesInJSONAreToldInTheSameWords(t *testing.T) {
	for name, tt := range map[string]struct{ app, handler, want string }{
		"equal paths":         {`{}`, `"check_session":{"path":"/x"},"end_session":{"path":"/x"}`, "each needs a path of its own"},
		"no issuer":           {`{}`, `"login_cookie":"a"`, "site any host: oidc_session needs an issuer"},
		"a request's host":    {`{}`, `"issuers":["https://{http.request.host}"]`, `issuer: "https://{http.request.host}" has the placeholder {http.request.host} of a request`},
		"a key's path":        {`{"keys":["/run/secrets/oidc_secret"]}`, `"issuers":["https://op.example.com"]`, "key 1: it looks like the path of a file"},
		"a key left as it is": {`{"keys":["{$OIDC_KEY}"]}`, `"issuers":["https://op.example.com"]`, "key 1: a placeholder is unknown or empty"},
		"a misspelt alg": {
			`{}`, `"issuers":["https://op.example.com"],"clients":[{"client_id":"a","id_token_signed_response_alg":"ES265"}]`, "did you mean 'ES256'?",
		},
	} {
		t.Run(name, func(t *testing.T) {
			handler := `{"handler":"oidc_session",` + tt.handler + `}`
			if name != "no issuer" && !strings.Contains(tt.handler, "issuers") {
				handler = `{"handler":"oidc_session","issuers":["https://op.example.com"],` + tt.handler + `}`
			}
			expectMistake(t, validateJSON(t, tt.app, handler), tt.want, 0)
		})
	}
}

func TestMethodsAreInUpperCaseHoweverTheyAreWritten(t *testing.T) {
	h := &Handler{
		CheckSession: new(check.CheckSession),
		EndSession:   &logout.Config{Upstream: &logout.Upstream{Method: "put", Path: "/logout"}},
		OPLogouts:    []signin.OPLogout{{Method: "delete", Paths: []string{"/session"}}},
	}
	if err := h.resolve(); err != nil {
		t.Fatal(err)
	}
	if h.EndSession.Upstream.Method != "PUT" || h.OPLogouts[0].Method != "DELETE" {
		t.Errorf("methods are %q and %q", h.EndSession.Upstream.Method, h.OPLogouts[0].Method)
	}
}

func validateJSON(t *testing.T, app, handler string) error {
	t.Helper()
	return validateDocument(t, []byte(`{"apps":{"oidc_session":`+app+
		`,"http":{"servers":{"s":{"listen":["127.0.0.1:0"],"routes":[{"handle":[`+handler+`]}]}}}}}`))
}

func TestSitesForAnyHostNeedAnIssuer(t *testing.T) {
	tests := map[string]struct {
		address, directives string
		refused             bool
	}{
		"a site for one host":                         {"http://op.localhost:%d", "oidc_session", false},
		"a site for two hosts":                        {"http://op.localhost:%d, http://op2.localhost:%[1]d", "oidc_session", true},
		"a wildcard site":                             {"http://*.localhost:%d", "oidc_session", true},
		"a wildcard site beside a host":               {"http://op.localhost:%d, http://*.localhost:%[1]d", "oidc_session", true},
		"a catch-all site":                            {"http://:%d", "oidc_session", true},
		"a catch-all site with a matcher for a host":  {"http://:%d", "@op host op.localhost\n\toidc_session @op", false},
		"a catch-all site with a matcher for a path":  {"http://:%d", "@op path /op/*\n\toidc_session @op", true},
		"a catch-all site with a handle block inside": {"http://:%d", "handle /op/* {\n\t\toidc_session\n\t}", true},
		"a wildcard site with an issuer":              {"http://*.localhost:%d", "oidc_session {\n\t\tissuer http://op.localhost\n\t}", false},
		"a catch-all site with an issuer":             {"http://:%d", "oidc_session {\n\t\tissuer http://op.localhost\n\t}", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			config := fmt.Sprintf(tt.address, 8080) + " {\n\tbind 127.0.0.1\n\t" + tt.directives + "\n}\n"
			err := validate(t, config)
			if refused := err != nil && strings.Contains(err.Error(), "oidc_session needs an issuer on a site for several, wildcard or any host names"); refused != tt.refused || err != nil && !refused {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// The file itself is not touched then, for Caddy may run with it.
func TestAStoresPathThatCanOnlyBeADirectoryIsRefused(t *testing.T) {
	directory := t.TempDir()
	t.Setenv("OIDC_TEST_DIRECTORY", directory)
	const want = `" is the path of a directory: write that of a file, such as `
	expectMistakes(t, map[string]mistake{
		"the root":                 {"store file /", "", `store: "/` + want + "/registry.db", 4},
		"with a slash":             {"store file " + directory + "/new/", "", `store: "` + directory + "/new/" + want + directory + "/new/registry.db", 4},
		"the root, by detour":      {"store file /tmp/..", "", `store: "/` + want + "/registry.db", 0},
		"a variable's, with slash": {"store file {env.OIDC_TEST_DIRECTORY}/a/", "", want, 0},
	})
	if err := validate(t, siteCaddyfile("oidc_session {\n\t\tstore file "+directory+"/missing/registry.db\n\t}", "oidc_session")); err != nil {
		t.Error(err)
	}
	if files, err := os.ReadDir(directory); len(files) != 0 || err != nil {
		t.Errorf("made %v, %v", files, err)
	}
}

func TestNamesThatPagesCannotShowAreToldWithWhatWouldDo(t *testing.T) {
	t.Setenv("OIDC_TEST_NAME", "Example\u200b ID")
	long := strings.Repeat("x", 101)
	expectMistakes(t, map[string]mistake{
		"a control character": {"", "name \"a\x01b\"", `name is "a\x01b", but must be 1 to 100 characters that can be seen: write "ab"`, 8},
		"a character that turns the text": {
			"", "name \"a\u202eb\"", `name is "a\u202eb", but must be 1 to 100 characters that can be seen: write "ab"`, 8,
		},
		"nothing to see": {"", "name \" \"", `name is " ", but must be 1 to 100 characters that can be seen`, 8},
		"too much":       {"", "name " + long, `but must be 1 to 100 characters that can be seen: write "` + long[:99] + `…"`, 8},
		"of a variable": {
			"", "name {env.OIDC_TEST_NAME}", `name is "Example\u200b ID", but must be 1 to 100 characters that can be seen: write "Example ID"`, 0,
		},
		"of an unknown variable": {"", "name {env.OIDC_TEST_NOWHERE}", "OIDC_TEST_NOWHERE", 0},
	})
}
