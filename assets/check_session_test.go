package assets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// longName is a name of the browser state cookie of the maximum length.
const longName = "__Host-op_browser_state_0123abcd"

func TestCheckSessionHasAtMost4096Bytes(t *testing.T) {
	name := strings.Repeat("x", 64)
	if n := len(CheckSession(name).Body); n > 4096 {
		t.Errorf("the page has %d bytes", n)
	}
}

func TestCheckSessionHasNoExternalURL(t *testing.T) {
	body := string(CheckSession(longName).Body)
	for _, word := range []string{"http:", "https:", "//", "src=", "href=", "@import", "url("} {
		if strings.Contains(body, word) {
			t.Errorf("the page contains %q", word)
		}
	}
}

func TestCheckSessionPolicyAllowsItsScriptAndNothingElse(t *testing.T) {
	page := CheckSession(longName)
	scripts := regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindAllSubmatch(page.Body, -1)
	if len(scripts) != 1 || bytes.Count(page.Body, []byte("<script")) != 1 {
		t.Fatalf("%d inline scripts, want 1", len(scripts))
	}
	sum := sha256.Sum256(scripts[0][1])
	want := "default-src 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; connect-src 'self'; base-uri 'none'; form-action 'none'"
	if page.ContentSecurityPolicy != want {
		t.Errorf("policy is\n%s, want\n%s", page.ContentSecurityPolicy, want)
	}
}

func TestCheckSessionListensBeforeAnythingIsLoaded(t *testing.T) {
	before, _, _ := strings.Cut(string(CheckSession(longName).Body), "<script>")
	for _, word := range []string{"<link", "<style", "<body", "<img", "refresh"} {
		if strings.Contains(before, word) {
			t.Errorf("%q comes before the script", word)
		}
	}
}

func TestCheckSessionScriptIsTheSameForEveryCookie(t *testing.T) {
	a, b := CheckSession("one"), CheckSession("other")
	if a.ContentSecurityPolicy != b.ContentSecurityPolicy {
		t.Error("the policy depends on the cookie's name")
	}
	if bytes.Equal(a.Body, b.Body) || a.ETag == b.ETag {
		t.Error("pages with different cookies are taken for the same")
	}
}

func TestCheckSessionETagIsStrongAndStable(t *testing.T) {
	a, b := CheckSession(longName), CheckSession(longName)
	if a.ETag != b.ETag || !regexp.MustCompile(`^"[\w-]{22}"$`).MatchString(a.ETag) {
		t.Errorf("ETags are %s and %s", a.ETag, b.ETag)
	}
}

func TestCheckSessionEscapesTheCookieName(t *testing.T) {
	for _, name := range []string{longName, `"><script>alert(1)</script>`, `a"b'c&d<e`, "{{script}}", "{{cookie}}", "$1"} {
		body := string(CheckSession(name).Body)
		m := regexp.MustCompile(`<html lang="en" data-cookie="([^"<>]*)">`).FindStringSubmatch(body)
		if m == nil || html.UnescapeString(m[1]) != name {
			t.Errorf("the name %q became %q", name, m)
		}
		if strings.Count(body, "<script") != 1 {
			t.Errorf("the name %q made another script", name)
		}
	}
}

func TestCheckSessionScriptIsES5(t *testing.T) {
	code := regexp.MustCompile(`"[^"]*"|'[^']*'`).ReplaceAllString(checkSessionScript, "''")
	for _, token := range []string{"let ", "const ", "=>", "`", "class ", "async ", "await ", "...", "**", "??", "?.", " of "} {
		if strings.Contains(code, token) {
			t.Errorf("the script has %q", token)
		}
	}
	for _, api := range []string{
		"Promise", "Symbol", "Map", "Set(", "Uint8Array", "TextEncoder", "Object.assign", ".includes(", ".startsWith(",
		".endsWith(", ".find(", ".findIndex(", ".fill(", ".repeat(", ".padStart(", "Math.imul", "Math.trunc", "Math.cbrt",
		"performance", "crypto", ".finally(", "URLSearchParams",
	} {
		if strings.Contains(code, api) {
			t.Errorf("the script uses %q", api)
		}
	}
}

// Node's own parser finds any syntax newer than ES5.
func TestCheckSessionScriptParsesAsES5(t *testing.T) {
	const parse = `const scripts = JSON.parse(require('fs').readFileSync(0, 'utf8'));
let acorn;
try { acorn = require('internal/deps/acorn/acorn/dist/acorn'); } catch (x) { process.stdout.write('no parser'); process.exit(); }
try { acorn.parse('let a', {ecmaVersion: 5}); process.stdout.write('parses let'); process.exit(); } catch (x) {}
for (const script of scripts) acorn.parse(script, {ecmaVersion: 5});`
	source, err := os.ReadFile("check_session.js")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := json.Marshal([]string{string(source), checkSessionScript})
	if err != nil {
		t.Fatal(err)
	}
	out := node(t, string(scripts), "--expose-internals", "-e", parse)
	if string(out) == "no parser" {
		t.Skip("this node has no acorn at the place looked for")
	}
	if len(out) > 0 {
		t.Error(string(out))
	}
}

// scenarios has the results of testdata/scenarios.js. They run once, since they take seconds.
var scenarios []result

func runScenarios(t *testing.T) []result {
	t.Helper()
	if scenarios == nil {
		scenarios = runScript(t, map[string]any{"script": checkSessionScript})
	}
	return scenarios
}

func TestCheckSessionScenarios(t *testing.T) {
	results := runScenarios(t)
	if len(results) < 80 {
		t.Fatalf("%d scenarios ran", len(results))
	}
	for _, r := range results {
		t.Run(r.Name, func(t *testing.T) {
			if r.Error != "" {
				t.Error(r.Error)
			}
		})
	}
}

func TestCheckSessionComputesSessionStateAsGoDoes(t *testing.T) {
	vectors := vectors()
	results := runScript(t, map[string]any{"script": checkSessionScript, "vectors": vectors})
	if len(results) != len(vectors) {
		t.Fatalf("%d of %d vectors ran", len(results), len(vectors))
	}
	for _, r := range results {
		if r.Error != "" {
			t.Errorf("%s: %s", r.Name, r.Error)
		}
	}
}

type vector struct {
	Name         string `json:"name"`
	ClientID     string `json:"client_id"`
	Origin       string `json:"origin"`
	BrowserState string `json:"browser_state"`
	SessionState string `json:"session_state"`
}

// vectors returns inputs of every length around the borders of SHA-256's blocks, and 1000 random
// ones.
func vectors() []vector {
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []rune("ab z09~.&%+\"'\\éßΩж中\u2028\uffff\U0001f600\U0010fffd")
	var out []vector
	add := func(client, origin, state, salt string) {
		input := client + " " + origin + " " + state + " " + salt
		sum := sha256.Sum256([]byte(input))
		out = append(out, vector{
			Name: fmt.Sprintf("vector %d of %d bytes", len(out), len(input)), ClientID: client, Origin: origin, BrowserState: state,
			SessionState: base64.RawURLEncoding.EncodeToString(sum[:]) + "." + salt,
		})
	}
	const fixed = len(" https://a B s")
	for total := fixed + 1; total <= 260; total++ {
		add(strings.Repeat("x", total-fixed), "https://a", "B", "s")
	}
	for range 1000 {
		client := make([]rune, 1+random.IntN(200))
		for i := range client {
			client[i] = alphabet[random.IntN(len(alphabet))]
		}
		state, salt := make([]byte, 32), make([]byte, 1+random.IntN(100))
		for i := range state {
			state[i] = byte(random.Uint32())
		}
		for i := range salt {
			salt[i] = byte(random.Uint32())
		}
		add(string(client), fmt.Sprintf("https://rp%d.example:%d", random.IntN(1000), random.IntN(65536)),
			base64.RawURLEncoding.EncodeToString(state), base64.RawURLEncoding.EncodeToString(salt))
	}
	return out
}

type result struct{ Name, Error string }

// runScript runs testdata/run.js with an input, and returns what it printed.
func runScript(t *testing.T, input any) []result {
	t.Helper()
	in, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	var results []result
	for line := range bytes.Lines(node(t, string(in), "testdata/run.js")) {
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		results = append(results, r)
	}
	return results
}

// node runs node for at most a minute, and returns its standard output. Without node, it skips the
// test, except in CI.
func node(t *testing.T, stdin string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI has no node to run the check page's script")
		}
		t.Skip("there is no node to run the check page's script")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, stderr.Bytes())
	}
	return out
}

func TestThreat15NoPingPongOfMessages(t *testing.T) {
	threatScenarios(t, "ping-pong", 2)
}

func TestThreatCVE20241249FloodsOfMessagesAreBounded(t *testing.T) {
	threatScenarios(t, "flood", 2)
}

// threatScenarios checks that the scenarios with a word in their names pass, and how many there
// are.
func threatScenarios(t *testing.T, word string, atLeast int) {
	t.Helper()
	ran := 0
	for _, r := range runScenarios(t) {
		if !strings.Contains(r.Name, word) {
			continue
		}
		ran++
		if r.Error != "" {
			t.Errorf("%s: %s", r.Name, r.Error)
		}
	}
	if ran < atLeast {
		t.Errorf("%d scenarios ran", ran)
	}
}
