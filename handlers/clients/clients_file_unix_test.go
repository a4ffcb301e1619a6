package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
)

// Opening a named pipe waits for somebody to write: the start of the server would never end.
func TestANamedPipeIsNoClientsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	env := handlerstest.NewWorld(t).Env
	done := make(chan error, 1)
	go func() { done <- (&clients.Clients{File: path}).Setup(env) }()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits for the pipe")
	}
}

// A permission that comes back changes neither the time nor the size of a file.
func TestAClientsFileThatMayBeReadAgain(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read every file")
	}
	w := handlerstest.NewWorld(t)
	c, path := goodClientsAt(t, w, `[{"client_id": "wiki"}]`)
	rewrite(t, path, `[{"client_id": "mail"}]`)
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(clients.ClientsFileLook)
	if _, known := c.Find(t.Context(), handlerstest.Issuer, "wiki"); !known {
		t.Error("what was known is not known meanwhile")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(clients.ClientsFileLook)
	if _, known := c.Find(t.Context(), handlerstest.Issuer, "mail"); !known {
		t.Error("the file is not read, now that it may be")
	}
}
