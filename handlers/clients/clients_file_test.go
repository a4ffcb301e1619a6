package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
)

// As a configuration manager does it: a new file in place of the old one, which keeps its time and
// happens to be as long.
func TestAClientsFileThatIsReplacedWithTheSameTimeAndSize(t *testing.T) {
	w := handlerstest.NewWorld(t)
	c, path := goodClientsAt(t, w, `[{"client_id": "wiki"}]`)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(t.TempDir(), "next.json")
	rewrite(t, next, `[{"client_id": "mail"}]`)
	if err := os.Chtimes(next, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(clients.ClientsFileLook)
	if _, known := c.Find(t.Context(), handlerstest.Issuer, "mail"); !known {
		t.Error("the file that took its place is not read")
	}
}

func TestAClientsFileThatIsWrittenInPlaceWithTheSameTime(t *testing.T) {
	w := handlerstest.NewWorld(t)
	c, path := goodClientsAt(t, w, `[{"client_id": "wiki"}]`)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, `[{"client_id": "wiki"}, {"client_id": "mail"}]`)
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(clients.ClientsFileLook)
	if _, known := c.Find(t.Context(), handlerstest.Issuer, "mail"); !known {
		t.Error("the longer file is not read")
	}
}

func TestAnUnchangedClientsFileIsNotReadAgain(t *testing.T) {
	w := handlerstest.NewWorld(t)
	c, _ := goodClientsAt(t, w, `[{"client_id": "wiki"}]`)
	before := c.Loaded().Load()
	w.Clock.Advance(time.Hour)
	if _, known := c.Find(t.Context(), handlerstest.Issuer, "wiki"); !known || c.Loaded().Load() != before {
		t.Error("it was read again")
	}
}

func TestRequestsDoNotWaitForTheOneThatReadsTheClientsFile(t *testing.T) {
	w := handlerstest.NewWorld(t)
	c, path := goodClientsAt(t, w, `[{"client_id": "wiki"}]`)
	rewrite(t, path, `[{"client_id": "mail"}]`)
	w.Clock.Advance(clients.ClientsFileLook)
	c.Mu().Lock() // as one that reads from a slow disk
	found := make(chan bool, 1)
	go func() {
		_, known := c.Find(t.Context(), handlerstest.Issuer, "wiki")
		found <- known
	}()
	select {
	case known := <-found:
		if !known {
			t.Error("what was known is not known meanwhile")
		}
	case <-time.After(time.Minute):
		t.Error("it waits for the other")
	}
	c.Mu().Unlock()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { c.Find(t.Context(), handlerstest.Issuer, "mail") })
	}
	all.Wait()
	if _, known := c.Find(t.Context(), handlerstest.Issuer, "mail"); !known {
		t.Error("the new client is not known")
	}
	if n := w.Logs.FilterMessageSnippet("read again").Len(); n != 1 {
		t.Errorf("the file was read %d times", n)
	}
}

func TestTheLogShowsNothingOfABrokenClientsFile(t *testing.T) {
	for name, content := range map[string]string{
		"an address with a password": `[{"client_id": "wiki", "post_logout_redirect_uris": ["https://user:hunter2@wiki.example.com/"]}]`,
		"a secret without its quote": `[{"client_id": "wiki", "client_secret": hunter2}]`,
		"a secret as client ID":      `[{"client_id": "hunter2\n"}]`,
		"a secret in another type":   `[{"client_id": ["hunter2"]}]`,
	} {
		w := handlerstest.NewWorld(t)
		c, path := goodClientsAt(t, w, `[{"client_id": "wiki"}]`)
		rewrite(t, path, content)
		w.Clock.Advance(clients.ClientsFileLook)
		c.Find(t.Context(), handlerstest.Issuer, "wiki")
		if logged := w.Logged(); !strings.Contains(logged, "cannot be used") || strings.Contains(logged, "hunter2") {
			t.Errorf("%s: %s", name, logged)
		}
	}
}

func TestADirectoryIsNoClientsFile(t *testing.T) {
	c := &clients.Clients{File: t.TempDir()}
	if err := c.Setup(handlerstest.NewWorld(t).Env); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
}
