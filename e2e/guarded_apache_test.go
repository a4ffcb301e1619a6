package e2e

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/internal/freeport"
)

// apacheModules is where Debian's apache2 has its modules.
const apacheModules = "/usr/lib/apache2/modules"

// apacheApp is mod_auth_openidc on Debian's apache2, with its sessions on the server
// ("server-cache") or in the cookie ("client-cookie").
func apacheApp(sessionType string) guardedApp {
	name := "apache-" + sessionType
	return guardedApp{
		name: name, callback: "/private/callback", signIn: "/private", private: "/private", cookie: "mod_auth_openidc_session",
		lacks: lacksApache,
		start: func(t *testing.T, site, issuer, ca string) string {
			t.Helper()
			return "reverse_proxy " + startApache(t, name, sessionType, site, issuer, ca)
		},
	}
}

var apachePrograms = []string{"apache2", "/usr/sbin/apache2"}

func lacksApache() error {
	_, err := findProgram(apachePrograms...)
	if err == nil {
		_, err = os.Stat(filepath.Join(apacheModules, "mod_auth_openidc.so"))
	}
	return err
}

// startApache starts Apache and returns the address that it listens on.
func startApache(t *testing.T, name, sessionType, site, issuer, ca string) string {
	t.Helper()
	program := needProgram(t, apachePrograms...)
	config, err := filepath.Abs("testdata/apps/apache/apache2.conf")
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(site)
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(freeport.Hold(t))
	dir := apacheDirectory(t, ca)
	// Its caches are named after the directory of temporary files.
	p := start(t, dir, []string{
		"DIRECTORY=" + dir, "HOST=" + address.Hostname(), "PORT=" + port, "MODULES=" + apacheModules, "ISSUER=" + issuer,
		"CLIENT=" + name, "SITE=" + site, "SESSION_TYPE=" + sessionType, "CA=" + filepath.Join(dir, "ca.pem"), "TMPDIR=" + dir,
	}, program, "-d", dir, "-f", config, "-D", "FOREGROUND")
	p.waitLine(t, "started Apache", func(line string) (string, bool) {
		return line, strings.Contains(line, "resuming normal operations")
	})
	return "127.0.0.1:" + port
}

// apacheDirectory returns the directory of Apache's files, which it can read as the user that it
// becomes.
func apacheDirectory(t *testing.T, ca string) string {
	t.Helper()
	dir := t.TempDir()
	for _, open := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	pages := filepath.Join(dir, "pages")
	if err := os.Mkdir(pages, 0o755); err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(pages, "private")
	for target, source := range map[string]string{private: "testdata/apps/apache/private", filepath.Join(dir, "ca.pem"): ca} {
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Browsers keep an old page for long.
	old := time.Now().AddDate(-1, 0, 0)
	if err := os.Chtimes(private, old, old); err != nil {
		t.Fatal(err)
	}
	return dir
}
