package oidcsession

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
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
	tests := map[string]struct{ global, site, want string }{
		"a key in a file that is not there": {"key {file." + filepath.Join(dir, "nowhere") + "}", "", "is empty"},
		"a key in a variable that is empty": {"key {env.OIDC_TEST_EMPTY}", "", "is empty"},
		"a key of an unknown placeholder":   {"key {nonsense.x}", "", "unrecognized placeholder"},
		"a key in an empty file":            {"key {file." + write("empty", "") + "}", "", "is empty"},
		"a key of spaces":                   {"key {file." + write("spaces", strings.Repeat(" ", 40)) + "}", "", "shared key is empty"},
		"an empty literal key":              {`key ""`, "", "shared key is empty"},
		"a short key":                       {"key {file." + write("short", "0123456789abcdef\n") + "}", "", "shared key is too short (key 1 has 16 bytes, at least 32 are needed)"},
		"a short second key":                {"key \"" + testKey + "\" short", "", "key 2 has 5 bytes"},
		"one key twice":                     {"key \"" + testKey + "\" \"" + testKey + "\"", "", "shared key is given twice"},
		"an issuer without a scheme":        {"", "issuer op.example.com", "invalid issuer"},
		"an issuer with a query":            {"", "issuer https://op.example.com?x=y", "invalid issuer"},
		"an issuer with a fragment":         {"", "issuer https://op.example.com#x", "invalid issuer"},
		"an issuer that is no web address":  {"", "issuer urn:op", "invalid issuer"},
		"an issuer of an empty variable":    {"", "issuer {env.OIDC_TEST_EMPTY}", "is empty"},
		"a cookie name that is none":        {"", "login_cookie a=b", "login_cookie is no cookie name"},
		"a session_state of another kind":   {"", "session_state drop", `session_state is "drop", but must be keep or replace`},
		"a check page without a slash":      {"", "check_session check", "invalid path"},
		"a check page with a query":         {"", "check_session /check?x", "invalid path"},
		"a check page on another host":      {"", "check_session //evil.example/x", "invalid path"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			global := ""
			if tt.global != "" {
				global = "oidc_session {\n\t\t" + tt.global + "\n\t}"
			}
			err := validate(t, newSite(t).caddyfile(global, "oidc_session {\n\t\t"+tt.site+"\n\t}"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error is %v, want one with %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "0123456789abcdef") || strings.Contains(err.Error(), testKey) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestJSONIsCheckedAsTheCaddyfileIs(t *testing.T) {
	for name, handler := range map[string]string{
		"a bad path":        `{"handler":"oidc_session","check_session":{"path":"x"}}`,
		"a bad issuer":      `{"handler":"oidc_session","issuer":"x"}`,
		"a bad cookie name": `{"handler":"oidc_session","login_cookie":"a b"}`,
		"an unknown field":  `{"handler":"oidc_session","login_cookies":"a"}`,
	} {
		t.Run(name, func(t *testing.T) {
			config := `{"admin":{"disabled":true},"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:0"],"routes":[{"handle":[` + handler + `]}]}}}}}`
			var parsed caddy.Config
			if err := json.Unmarshal([]byte(config), &parsed); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(&parsed); err == nil {
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

// validate does what `caddy validate` does.
func validate(t *testing.T, caddyfile string) error {
	t.Helper()
	var config caddy.Config
	if err := json.Unmarshal(testConfig(t, t.TempDir(), caddyfile), &config); err != nil {
		t.Fatal(err)
	}
	return caddy.Validate(&config)
}
