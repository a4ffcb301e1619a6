package oidcsession

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// The registry stays open over reloads, and the log of the configuration that opened it does not.
func TestTheRegistryWritesToTheLogOfTheConfigurationInUse(t *testing.T) {
	site := newSite(t)
	storage := t.TempDir()
	file := filepath.Join(storage, "r.db")
	config := site.caddyfile("oidc_session {\n\t\tstore file "+file+"\n\t}", "oidc_session")
	first := runLogged(t, storage, config)
	if _, err := activeApp(t).registry.Keys(t.Context(), "https://op.example.com"); err != nil {
		t.Fatal(err)
	}
	second := new(textLog)
	textLogs.Store("second", second)
	t.Cleanup(func() { textLogs.Delete("second") })
	loadLoggedTo(t, "second", storage, config)
	before := first.String()
	if err := os.Truncate(file, 0); err != nil { // what is read from it now is a fault
		t.Fatal(err)
	}
	store := activeApp(t).registry
	for range 3 {
		_, _ = store.Browser(t.Context(), registry.Place{1})
	}
	second.expect(t, "session registry is broken")
	second.expect(t, "session registry unavailable")
	if late := strings.TrimPrefix(first.String(), before); strings.Contains(late, "session registry") {
		t.Errorf("the log that is out of use has\n%s", late)
	}
}

// A configuration that was put in use and failed to start gives way to the one before.
func TestTheLogOfAConfigurationThatIsReleasedIsOutOfUse(t *testing.T) {
	core1, first := observer.New(zap.DebugLevel)
	core2, second := observer.New(zap.DebugLevel)
	one, two := &App{logger: zap.New(core1)}, &App{logger: zap.New(core2)}
	l := newLoggers(one)
	logger := l.logger().With(zap.Int("n", 1))
	l.use(one)
	logger.Info("one")
	l.use(two)
	logger.Info("two")
	l.release(two)
	logger.Info("one again")
	l.release(one)
	logger.Info("the last one")
	if first.Len() != 3 || second.Len() != 1 || first.All()[1].ContextMap()["n"] != int64(1) || first.All()[0].LoggerName != "oidc_session" {
		t.Errorf("the logs are %v and %v", first.All(), second.All())
	}
}
