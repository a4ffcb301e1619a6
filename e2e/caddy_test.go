package e2e

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// startCaddy starts Caddy with the plugin, all of whose files are in a directory, and waits until
// it serves. The Caddyfile lets it log to the standard streams.
func startCaddy(t *testing.T, dir, caddyfile string, environment ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(environment, caddyVariable+"=1", "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	p := start(t, dir, env, self, "run", "--config", config, "--adapter", "caddyfile", "--pidfile", filepath.Join(dir, "pid"))
	p.waitLine(t, "started Caddy", func(line string) (string, bool) {
		return line, strings.Contains(line, "serving initial configuration")
	})
	return p
}

// freePort returns a port that was free a moment ago, for programs that are not Caddy: see
// [freeport.Hold].
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// A logEntry is a line of Caddy's log, as far as it is of interest.
type logEntry struct {
	Level     string  `json:"level"`
	Logger    string  `json:"logger"`
	Timestamp float64 `json:"ts"` // seconds, when it was answered
	Status    int     `json:"status"`
	Request   struct {
		Method  string              `json:"method"`
		Host    string              `json:"host"`
		URI     string              `json:"uri"`
		Headers map[string][]string `json:"headers"`
	} `json:"request"`
}

// expectNoComplaints expects that the plugin has logged no warning and no error, but for those
// with a text in them, of which there must be one. The text may be empty: none are expected.
func expectNoComplaints(t *testing.T, p *process, except string) {
	t.Helper()
	found := except == ""
	isOurs := func(logger string) bool {
		return strings.Contains(logger, "oidc_session") || strings.Contains(logger, "oidc_guard")
	}
	for _, line := range p.output.snapshot() {
		var entry logEntry
		err := json.Unmarshal([]byte(line), &entry)
		switch {
		case err != nil || !isOurs(entry.Logger) || entry.Level != "warn" && entry.Level != "error":
		case except != "" && strings.Contains(line, except):
			found = true
		default:
			t.Errorf("the plugin complained: %s", line)
		}
	}
	if !found {
		t.Errorf("the log has no %q", except)
	}
}

// answered returns the times, in seconds and in order, of the requests that Caddy answered so far
// and that match, by its access log.
func answered(p *process, match func(logEntry) bool) []float64 {
	var times []float64
	for _, line := range p.output.snapshot() {
		var entry logEntry
		if json.Unmarshal([]byte(line), &entry) == nil && strings.HasPrefix(entry.Logger, "http.log.access") && match(entry) {
			times = append(times, entry.Timestamp)
		}
	}
	slices.Sort(times)
	return times
}

// waitAnswered waits until Caddy has answered so many requests that match.
func waitAnswered(t *testing.T, p *process, number int, what string, match func(logEntry) bool) {
	t.Helper()
	for deadline := time.Now().Add(waitLimit); len(answered(p, match)) < number; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
