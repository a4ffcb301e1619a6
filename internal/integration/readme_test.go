package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// inRoot is a path in the repository's root directory.
func inRoot(elements ...string) string { return filepath.Join("..", "..", filepath.Join(elements...)) }

// What the README shows must work as it stands there.

func readme(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(inRoot("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// blocks returns the code blocks of one language.
func blocks(document, language string) []string {
	var found []string
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(document, -1) {
		found = append(found, match[1])
	}
	return found
}

func TestTheCaddyfilesOfTheReadmeAreValid(t *testing.T) {
	t.Setenv("OIDC_SESSION_KEY", testKey)
	clients := filepath.Join(t.TempDir(), "clients.json")
	if err := os.WriteFile(clients, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	known := strings.NewReplacer(
		"[<path>]\n", "/out\n", "frontchannel_timeout <duration>", "frontchannel_timeout 5s", "<duration>", "12h", "<client_id>", "shop", "clients_file  <path>", "clients_file "+clients,
		"<secret...>", "{env.OIDC_SESSION_KEY}", "file [<path>] | memory", "memory",
		" [<matcher>]", "", "<url>", "https://op.example.com", "<url...>", "https://op.example.com", "<path...>", "/documents/*", "<name>", "sessionid", "<path>", "/check", "auto | keep | replace", "auto",
		"[<method>] <path...>", "POST /logout", "[kid] [sid]", "kid sid",
		"<name...>", "sessionid", "strip | 401 | redirect <url>", "redirect https://app.example.com/bye", "on | off", "off", "refuse | allow", "allow",
	)
	found := blocks(readme(t), "caddyfile")
	if len(found) < 3 {
		t.Fatalf("the README has %d Caddyfiles", len(found))
	}
	for _, block := range found {
		config := known.Replace(block)
		if strings.HasPrefix(config, "oidc_session") || strings.HasPrefix(config, "oidc_guard") {
			config = "op.example.com {\n" + config + "}\n"
		}
		if err := validate(t, config); err != nil {
			t.Errorf("%v in\n%s", err, block)
		}
	}
}

func TestTheJSONOfTheReadmeIsValid(t *testing.T) {
	found := blocks(readme(t), "json")
	if len(found) != 1 {
		t.Fatalf("the README has %d JSON blocks", len(found))
	}
	text := strings.Replace(found[0], "{file./run/secrets/oidc_session}", testKey, 1)
	var config caddy.Config
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	config.Admin = &caddy.AdminConfig{Disabled: true}
	if err := caddy.Validate(&config); err != nil {
		t.Error(err)
	}
}

func TestTheScriptOfTheReadmeComputesSubjects(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 is here")
	}
	found := blocks(readme(t), "python")
	if len(found) != 1 {
		t.Fatalf("the README has %d scripts", len(found))
	}
	ring, err := sessionstate.NewKeyring([]byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), python, "-c", found[0], "https://op.example.com", "älice")
	command.Env = append(os.Environ(), "OIDC_SESSION_KEY="+testKey)
	got, err := command.Output()
	if want := ring.Pseudonym("https://op.example.com", "älice"); err != nil || strings.TrimSpace(string(got)) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

func TestTheExampleRPIframeOfTheReadmeIsTheDemosOwn(t *testing.T) {
	script, err := os.ReadFile(inRoot("demo", "rp_iframe.js"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(readme(t), "```js\n"+string(script)+"```") {
		t.Error("demo/rp_iframe.js and the README differ: copy it there")
	}
}

// Whoever looks for a line of the log finds it in the code, word for word.
func TestTheLogLinesOfTheReadmeAreThoseOfTheCode(t *testing.T) {
	_, section, found := strings.Cut(readme(t), "\n## It does not work\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !found {
		t.Fatal("there is no such section")
	}
	var code strings.Builder
	for _, pattern := range []string{"*.go", "*/*.go", "*/*/*.go"} {
		files, err := filepath.Glob(inRoot(pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(file, "_test.go") {
				code.Write(content)
			}
		}
	}
	// A message that is too long for a line is in two.
	source := regexp.MustCompile(`"\s*\+\s*"`).ReplaceAllString(code.String(), "")
	lines := 0
	for row := range strings.Lines(section) {
		cells := strings.Split(row, "|")
		if len(cells) != 5 {
			continue
		}
		for _, match := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[2], -1) {
			lines++
			if !strings.Contains(source, match[1]) {
				t.Errorf("%q is nowhere in the code", match[1])
			}
		}
	}
	if lines < 30 {
		t.Errorf("there are %d lines", lines)
	}
}
