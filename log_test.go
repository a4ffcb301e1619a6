package oidcsession

import (
	"encoding/json"
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

// runLogged is runCaddy with its log, in JSON, from DEBUG on.
func runLogged(t *testing.T, storage, caddyfile string) *textLog {
	t.Helper()
	log := new(textLog)
	textLogs.Store(t.Name(), log)
	t.Cleanup(func() { textLogs.Delete(t.Name()) })
	loadLogged(t, storage, caddyfile)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	return log
}

// loadLogged loads a configuration in place of the one that runs, with the same log.
func loadLogged(t *testing.T, storage, caddyfile string) {
	t.Helper()
	loadLoggedTo(t, t.Name(), storage, caddyfile)
}

// loadLoggedTo loads a configuration with one of the textLogs.
func loadLoggedTo(t *testing.T, name, storage, caddyfile string) {
	t.Helper()
	var config map[string]any
	if err := json.Unmarshal(testConfig(t, storage, caddyfile), &config); err != nil {
		t.Fatal(err)
	}
	config["logging"] = map[string]any{"logs": map[string]any{"default": map[string]any{
		"writer": map[string]any{"output": "oidc_session_test", "name": name}, "level": "DEBUG",
		"encoder": map[string]any{"format": "json"},
	}}}
	out, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(out, true); err != nil {
		t.Fatalf("loading Caddy: %v", err)
	}
}
