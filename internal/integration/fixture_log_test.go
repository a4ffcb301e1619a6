package integration

import (
	"io"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func init() { caddy.RegisterModule(logWriter{}) }

// A logWriter writes Caddy's log to a textLog of this process.
type logWriter struct {
	Name string `json:"name"`
}

// textLogs are the logs of running tests, by name.
var textLogs sync.Map

func (logWriter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.oidc_session_test", New: func() caddy.Module { return new(logWriter) }}
}

func (w logWriter) String() string    { return w.Name }
func (w logWriter) WriterKey() string { return "oidc_session_test:" + w.Name }

func (w logWriter) OpenWriter() (io.WriteCloser, error) {
	log, _ := textLogs.Load(w.Name)
	return openLog{log.(*textLog)}, nil
}

type openLog struct{ *textLog }

func (openLog) Close() error { return nil }

// newTextLog returns a log that configurations write to by a name, until the test ends.
func newTextLog(t *testing.T, name string) *textLog {
	log := new(textLog)
	textLogs.Store(name, log)
	t.Cleanup(func() { textLogs.Delete(name) })
	return log
}

// runLogged is runCaddy with its log, in JSON, from DEBUG on.
func runLogged(t *testing.T, storage, caddyfile string) *textLog {
	t.Helper()
	log := newTextLog(t, t.Name())
	loadLoggedTo(t, t.Name(), storage, caddyfile)
	stopAtEnd(t)
	return log
}

// loadLoggedTo loads a configuration in place of the one that runs, with one of the textLogs.
func loadLoggedTo(t *testing.T, name, storage, caddyfile string) {
	t.Helper()
	if err := caddy.Load(loggedTo(t, name, storage, caddyfile), true); err != nil {
		t.Fatalf("loading Caddy: %v", err)
	}
}

// loggedTo is testConfig with one of the textLogs.
func loggedTo(t *testing.T, name, storage, caddyfile string) []byte {
	t.Helper()
	return configWith(t, storage, caddyfile, "logging", map[string]any{"logs": map[string]any{"default": map[string]any{
		"writer": map[string]any{"output": "oidc_session_test", "name": name}, "level": "DEBUG",
		"encoder": map[string]any{"format": "json"},
	}}})
}
