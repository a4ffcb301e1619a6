package oidcsession

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/oidc-session/caddy-oidc-session/tokens"
)

func TestConfigurationsThatCannotWorkAreRefusedWithAReason(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("OIDC_TEST_EMPTY", "")
	t.Setenv("OIDC_TEST_NO_SLASH", "logout")
	tests := map[string]struct {
		global, site, want string
		line               int // of the Caddyfile, when it is adapted; 0: when it is validated
	}{
		"a key in a file that is not there":    {"key {file." + filepath.Join(dir, "nowhere") + "}", "", "key 1: a placeholder is unknown or empty", 0},
		"a key in a variable that is empty":    {"key {env.OIDC_TEST_EMPTY}", "", "a placeholder is unknown or empty", 0},
		"a key of an unknown placeholder":      {"key {nonsense.x}", "", "a placeholder is unknown or empty", 4},
		"a key in an empty file":               {"key {file." + write("empty", "") + "}", "", "a placeholder is unknown or empty", 0},
		"a key with braces":                    {"key \"" + testKey + "\" `a secret with {0123456789abcdef} in it`", "", "key 2: a placeholder is unknown or empty", 4},
		"a key of spaces":                      {"key {file." + write("spaces", strings.Repeat(" ", 40)) + "}", "", "shared key is empty", 0},
		"an empty literal key":                 {`key ""`, "", "shared key is empty", 4},
		"a short key":                          {"key {file." + write("short", "0123456789abcdef\n") + "}", "", "shared key is too short (key 1 has 16 bytes, at least 32 are needed)", 0},
		"a short second key":                   {"key \"" + testKey + "\" short", "", "key 2 has 5 bytes", 4},
		"one key twice":                        {"key \"" + testKey + "\" \"" + testKey + "\"", "", "shared key is given twice", 4},
		"an issuer without a scheme":           {"", "issuer op.example.com", "invalid issuer", 8},
		"an issuer with a query":               {"", "issuer https://op.example.com?x=y", "invalid issuer", 8},
		"an issuer with a fragment":            {"", "issuer https://op.example.com#x", "invalid issuer", 8},
		"an issuer that is no web address":     {"", "issuer urn:op", "invalid issuer", 8},
		"an issuer of an empty variable":       {"", "issuer {env.OIDC_TEST_EMPTY}", "is empty", 0},
		"a cookie name that is none":           {"", "login_cookie a=b", "login_cookie is no cookie name", 8},
		"a session_state of another kind":      {"", "session_state drop", `session_state is "drop", but must be auto, keep or replace`, 8},
		"a sign-out of the OP without a slash": {"", "op_logout POST {env.OIDC_TEST_NO_SLASH}", "invalid path", 0},
		"a sign-out of the OP by no method":    {"", "op_logout PO,ST /logout", "is no method", 8},
		"a check page without a slash":         {"", "check_session check", "invalid path", 8},
		"a check page with a query":            {"", "check_session /check?x", "invalid path", 8},
		"a check page on another host":         {"", "check_session //evil.example/x", "invalid path", 8},

		"a lifetime of seconds":              {"", "session_lifetime 30s", "session_lifetime is 30s, but must be 1m0s to 400 days", 8},
		"a lifetime of years":                {"", "session_lifetime 401d", "to 400 days", 8},
		"a negative lifetime":                {"", "session_lifetime -1h", "to 400 days", 8},
		"an end_session on another host":     {"", "login_cookie a\n\t\tend_session //evil.example/", "invalid path", 9},
		"an upstream on another host":        {"", "end_session {\n\t\t\tupstream https://evil.example/\n\t\t}", "must be a path on the issuer's origin", 9},
		"an upstream that succeeds with 600": {"", "end_session {\n\t\t\tupstream /x {\n\t\t\t\tsuccess 600\n\t\t\t}\n\t\t}", "600 is no status code", 10},
		"a question of another kind":         {"", "login_cookie a\n\t\tend_session {\n\t\t\tconfirm never\n\t\t}", `confirm is "never", but must be needed or always`, 10},
		"a cookie to clear that cannot be":   {"", "end_session {\n\t\t\tclear_cookies __Host-a {\n\t\t\t\tpath /x\n\t\t\t}\n\t\t}", "can have no domain and no other path", 10},
		"templates that are not there":       {"", "login_cookie a\n\t\tend_session {\n\t\t\ttemplates " + filepath.Join(dir, "nowhere") + "\n\t\t}", "has none of the templates", 0},
		"a template that is broken":          {"", "login_cookie a\n\t\tend_session {\n\t\t\ttemplates " + filepath.Dir(write("error.html", "{{.Nope}}")) + "\n\t\t}", "error.html:1", 0},
		"a client with a script for address": {"", "client a {\n\t\t\tpost_logout_redirect_uri javascript:alert(1)\n\t\t}", "has a scheme that browsers are not sent to", 9},
		"a client with http":                 {"", "client a {\n\t\t\tpost_logout_redirect_uri http://rp.example.com/\n\t\t}", "must be https", 9},
		"issuers of two origins":             {"", "issuer http://op.localhost https://op.localhost", "it must have the origin of the others, http://op.localhost", 8},
		"an issuer twice":                    {"", "issuer" + strings.Repeat(" http://op.localhost", 2), "it is given twice", 8},
		"an issuer with and without a slash": {"", "issuer http://op.localhost http://op.localhost/", "stands for it already", 8},
		"an issuer that a pattern covers":    {"", "issuer http://op.localhost/o/shop/ http://op.localhost/o/*/", "\"http://op.localhost/o/*/\" stands for it already", 8},
		"a pattern before what it covers":    {"", "issuer http://op.localhost/o/* http://op.localhost/o/shop", "\"http://op.localhost/o/*\" stands for it already", 8},
		"a * amid an issuer":                 {"", "issuer http://op.localhost/*/o", "a * may only be its last path segment", 8},
		"a * as a part of a segment":         {"", "issuer http://op.localhost/o-*", "a * may only be its last path segment", 8},
		"a * for the host of an issuer":      {"", "issuer http://*/", "invalid issuer", 8},
		"two * in an issuer":                 {"", "issuer http://op.localhost/*/*", "a * may only be its last path segment", 8},
		"a discovery path without a slash":   {"", "discovery documents", "it must begin with one slash", 8},
		"a discovery path with two *":        {"", "discovery /*/*", "a * may only be one whole segment", 8},
		"a discovery path with half a *":     {"", "discovery /a*", "a * may only be one whole segment", 8},
		"nowhere to ask for the issuer":      {"", "discovery /o/*", "without an issuer, the OP must be asked at a path without *", 8},
		"a discovery path twice":             {"", "discovery /a /a", "it is given twice", 8},
		"a client twice":                     {"", "client a\n\t\tclient a", "given twice", 9},
		"a clients_file that is not there":   {"", "clients_file " + filepath.Join(dir, "nowhere.json"), "reading the clients_file", 0},
		"a clients_file that is broken":      {"", "clients_file " + write("clients.json", "[\n{]"), "line 2", 0},
		"a jwks_uri that is no address":      {"", "jwks_uri /jwks", "jwks_uri", 8},
		"a jwks_uri of an empty variable":    {"", "jwks_uri {env.OIDC_TEST_EMPTY}", "is empty", 0},

		"an op_address with a path":          {"", "op_address http://localhost:8000/realm", "op_address is \"http://localhost:8000/realm\", but must be", 8},
		"an op_address without a scheme":     {"", "op_address localhost:8000", "must be http://host:port", 8},
		"an op_address of an empty variable": {"", "op_address {env.OIDC_TEST_EMPTY}", "is empty", 0},

		"an idle_timeout of seconds":           {"", "idle_timeout 30s", "idle_timeout is 30s, but must be 1m0s to 400 days", 8},
		"a frontchannel_timeout of minutes":    {"", "frontchannel_timeout 5m", "frontchannel_timeout is 5m0s, but must be at most 30s", 8},
		"a signing_key that is none":           {"", "backchannel_logout {\n\t\t\tsigning_key {file." + write("none.pem", "0123456789abcdef") + "}\n\t\t}", "neither PEM nor a JWK", 0},
		"a signing_key in a file that is away": {"", "backchannel_logout {\n\t\t\tsigning_key {file." + filepath.Join(dir, "away") + "}\n\t\t}", "signing_key 1: a placeholder is unknown or empty", 0},
		"a signing_key that is half a JWK":     {"", "backchannel_logout {\n\t\t\tsigning_key `{\"d\":\"0123456789abcdef\"` `{0123456789abcdef}`\n\t\t}", "signing_key 2: a placeholder is unknown or empty", 9},
		"a signing_key that is no JWK":         {"", "backchannel_logout {\n\t\t\tsigning_key `{\"d\":\"0123456789abcdef\"}`\n\t\t}", "JWK 1 cannot be read", 9},
		"an allowed address that is none":      {"", "backchannel_logout {\n\t\t\tallow_private example.com\n\t\t}", `allow_private: "example.com" is no IP address or range`, 9},
		"a trusted_ca that is not there":       {"", "backchannel_logout {\n\t\t\ttrusted_ca " + filepath.Join(dir, "away") + "\n\t\t}", "reading a trusted_ca", 0},
		"a trusted_ca without a certificate":   {"", "backchannel_logout {\n\t\t\ttrusted_ca " + write("ca.pem", "none") + "\n\t\t}", "has no certificate in PEM", 0},
		"retrying for months":                  {"", "backchannel_logout {\n\t\t\tretry_for 60d\n\t\t}", "retry_for is 1440h0m0s, but must be", 9},
		"retrying for nothing":                 {"", "backchannel_logout {\n\t\t\tretry_for 1ns\n\t\t}", "retry_for is 1ns, but must be 1s to 720h0m0s", 9},
		"browsers that wait for nothing":       {"", "backchannel_logout {\n\t\t\tredirect_wait 1us\n\t\t}", "redirect_wait is 1µs, but must be 1ms to 30s", 9},
		"browsers that wait for minutes":       {"", "backchannel_logout {\n\t\t\tredirect_wait 5m\n\t\t}", "redirect_wait is 5m0s, but must be", 9},
		"a backchannel_logout_uri with http":   {"", "client a {\n\t\t\tbackchannel_logout_uri http://rp.example.com/\n\t\t}", "backchannel_logout_uri must be https", 9},
		"a backchannel_logout_uri of an app":   {"", "client a {\n\t\t\tbackchannel_logout_uri com.example.app:/x\n\t\t}", "backchannel_logout_uri is no https URL", 9},
		"a logout_token of another kind":       {"", "client a {\n\t\t\tlogout_token all\n\t\t}", `logout_token is "all", but must be sid, sub or both`, 9},
		"a logout_token without the sid":       {"", "client a {\n\t\t\tbackchannel_logout_session_required\n\t\t\tlogout_token sub\n\t\t}", "backchannel_logout_session_required needs the sid", 10},
		"a frontchannel_logout_uri to a part":  {"", "client a {\n\t\t\tfrontchannel_logout_uri https://rp.example.com/#x\n\t\t}", "frontchannel_logout_uri has a fragment", 9},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			global := ""
			if tt.global != "" {
				global = "oidc_session {\n\t\t" + tt.global + "\n\t}"
			}
			err := validate(t, siteCaddyfile(global, "oidc_session {\n\t\t"+tt.site+"\n\t}"))
			expectMistake(t, err, tt.want, tt.line)
			if strings.Contains(err.Error(), "0123456789abcdef") || strings.Contains(err.Error(), testKey) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

// expectMistake expects an error with a text: at a line of the Caddyfile, which ends what is told
// when it is adapted, or at none, if line is 0.
func expectMistake(t *testing.T, err error, want string, line int) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("error is %v, want one with %q", err, want)
	}
	if at := fmt.Sprintf("at Caddyfile:%d", line); line > 0 && !strings.HasSuffix(err.Error(), at) {
		t.Errorf("error is %v, want it %s", err, at)
	}
	if line == 0 && strings.Contains(err.Error(), "at Caddyfile:") {
		t.Errorf("error is %v, want it when the configuration is validated", err)
	}
}

// A JWK begins with a brace, as a placeholder does.
func TestASigningKeyMayBeWrittenOut(t *testing.T) {
	_, set, err := tokens.GenerateSigningKeys()
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]string{
		"a JWK":     `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`,
		"a JWK Set": string(set),
	} {
		if err := validate(t, siteCaddyfile("", "oidc_session {\n\t\tbackchannel_logout {\n\t\t\tsigning_key `"+key+"`\n\t\t}\n\t}")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJSONIsCheckedAsTheCaddyfileIs(t *testing.T) {
	for name, handler := range map[string]string{
		"a bad path":        `{"handler":"oidc_session","check_session":{"path":"x"}}`,
		"a bad issuer":      `{"handler":"oidc_session","issuers":["x"]}`,
		"a bad cookie name": `{"handler":"oidc_session","login_cookie":"a b"}`,
		"an unknown field":  `{"handler":"oidc_session","login_cookies":"a"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := validateJSON(t, `{}`, handler); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestTheExampleIsValid(t *testing.T) {
	example, err := os.ReadFile("Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(t, string(example)); err != nil {
		t.Error(err)
	}
}

// testKey is a shared key.
const testKey = "an example of a shared key, 32 bytes or longer"

// siteCaddyfile is a Caddyfile of global options and a site for op.localhost with directives.
func siteCaddyfile(global, directives string) string {
	const issuer = "http://op.localhost:8080"
	return fmt.Sprintf("{\n\tskip_install_trust\n\t%s\n}\n%s {\n\tbind 127.0.0.1\n\t%s\n}\n", global, issuer, strings.ReplaceAll(directives, "ISSUER", issuer))
}

// validate does what `caddy validate` does, and finds and leaves nothing of the user's.
func validate(t *testing.T, caddyfile string) error {
	t.Helper()
	adapted, err := adapt(caddyfile)
	if err != nil {
		return err
	}
	return validateDocument(t, adapted)
}

func validateDocument(t *testing.T, document []byte) error {
	t.Helper()
	var config caddy.Config
	if err := json.Unmarshal(document, &config); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	config.Admin = &caddy.AdminConfig{Disabled: true}
	config.StorageRaw = json.RawMessage(fmt.Sprintf(`{"module":"file_system","root":%q}`, t.TempDir()))
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}
	return caddy.Validate(&config)
}
