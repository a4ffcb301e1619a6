package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The registry stays open over reloads, and the log of the configuration that opened it does not.
func TestTheRegistryWritesToTheLogOfTheConfigurationInUse(t *testing.T) {
	site := newSite(t)
	storage := t.TempDir()
	file := filepath.Join(storage, "r.db")
	config := site.caddyfile("oidc_session {\n\t\tstore file "+file+"\n\t}", "oidc_session")
	first := runLogged(t, storage, config)
	listed(t, ofUser(site, "alice")) // the file is open
	second := newTextLog(t, "second")
	loadLoggedTo(t, "second", storage, config)
	before := first.String()
	if err := os.Truncate(file, 0); err != nil { // what is read from it now is a fault, and the worker does read
		t.Fatal(err)
	}
	second.expect(t, "session registry is broken")
	second.expect(t, "session registry unavailable")
	if late := strings.TrimPrefix(first.String(), before); strings.Contains(late, "session registry") {
		t.Errorf("the log that is out of use has\n%s", late)
	}
}
