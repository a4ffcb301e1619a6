package e2e

import (
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// flaskApp is Flask with Authlib: its session is a cookie that each page writes anew.
func flaskApp() guardedApp {
	return guardedApp{
		name: "flask", callback: "/callback", signIn: "/login", private: "/private", cookie: "session",
		lacks: installPython,
		start: func(t *testing.T, site, issuer, ca string) string {
			t.Helper()
			return "reverse_proxy " + startPython(t, ca, "flask_app.py", issuer, site, "flask")
		},
	}
}

// djangoApp is Django with mozilla-django-oidc: its sessions are in a database.
func djangoApp() guardedApp {
	return guardedApp{
		name: "django", callback: "/oidc/callback/", signIn: "/oidc/authenticate/", private: "/private", cookie: "sessionid",
		userinfo: true, lacks: installPython,
		start: func(t *testing.T, site, issuer, ca string) string {
			t.Helper()
			return "reverse_proxy " + startPython(t, ca, "django_app.py", issuer, site, "django", t.TempDir())
		},
	}
}

var installPython = sync.OnceValue(func() error { return installApp("python") })

// startPython starts a script of testdata/apps/python, which prints the port of the loopback
// interface that it listens on, and returns that address.
func startPython(t *testing.T, ca, script string, args ...string) string {
	t.Helper()
	python, err := filepath.Abs(filepath.Join(installedApps, "python", "bin", "python"))
	if err != nil {
		t.Fatal(err)
	}
	environment := []string{"REQUESTS_CA_BUNDLE=" + ca, "PYTHONDONTWRITEBYTECODE=1"}
	p := start(t, "testdata/apps/python", environment, python, append([]string{script}, args...)...)
	port := p.waitLine(t, "port", func(line string) (string, bool) {
		_, err := strconv.ParseUint(line, 10, 16)
		return line, err == nil
	})
	return "127.0.0.1:" + port
}
