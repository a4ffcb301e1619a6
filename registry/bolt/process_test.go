package bolt

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// helperPath is the environment variable that makes the test binary a helper process, which opens the registry there.
const helperPath = "OIDC_SESSION_TEST_REGISTRY"

// helpers are what the test binary does as another process, by the environment variable that has the registry's path.
var helpers = map[string]func(path string) error{helperPath: help}

func TestMain(m *testing.M) {
	for variable, help := range helpers {
		path := os.Getenv(variable)
		if path == "" {
			continue
		}
		if err := help(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// help opens the registry and records sessions, one for each line that it reads. It prints their IDs.
func help(path string) error {
	store, err := Open(path, zap.NewNop())
	if err != nil {
		return err
	}
	defer store.Close()
	fmt.Println("open")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		session, err := store.Join(context.Background(), aJoin())
		if err != nil {
			return err
		}
		fmt.Println(hex.EncodeToString(session.ID[:]))
	}
	return nil
}

// A helper is another process that has the registry open.
type helper struct {
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Scanner
}

// startHelper starts a helper, which is ended with the test at the latest.
func startHelper(t *testing.T, path string) *helper {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	command := exec.CommandContext(ctx, os.Args[0])
	command.Env = append(os.Environ(), helperPath+"="+path)
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = command.Wait()
	})
	h := &helper{command, input, bufio.NewScanner(output)}
	if line := h.line(t); line != "open" {
		t.Fatalf("helper: %s", line)
	}
	return h
}

func (h *helper) line(t *testing.T) string {
	t.Helper()
	if !h.output.Scan() {
		t.Fatalf("helper ended: %v", h.output.Err())
	}
	return h.output.Text()
}

func TestLockedByAnotherProcess(t *testing.T) {
	path := pathIn(t)
	h := startHelper(t, path)
	began := time.Now()
	store, err := Open(path, zap.NewNop())
	if err == nil {
		_ = store.Close()
		t.Fatal("opened a registry that another process has open")
	}
	if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "locked by another process") {
		t.Errorf("got error %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("waited %s", took)
	}
	if len(setAsides(t, path)) != 0 {
		t.Error("the file was set aside")
	}
	if err := h.input.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.command.Wait(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
}

func TestLockedByThisProcess(t *testing.T) {
	path := pathIn(t)
	mustOpen(t, path)
	if store, err := Open(path, zap.NewNop()); !errors.Is(err, errLocked) {
		t.Errorf("got %v and error %v", store, err)
	}
}

func TestKilledProcessLosesNothing(t *testing.T) {
	path := pathIn(t)
	var ids []sessionstate.SessionID
	var registryID sessionstate.RegistryID
	for round := range 3 {
		h := startHelper(t, path)
		if _, err := io.WriteString(h.input, strings.Repeat("\n", 200)); err != nil {
			t.Fatal(err)
		}
		for range 20 + 7*round {
			id, err := hex.DecodeString(h.line(t))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, sessionstate.SessionID(id))
		}
		if err := h.command.Process.Kill(); err != nil { // it is writing
			t.Fatal(err)
		}
		_ = h.command.Wait()
		store := mustOpen(t, path)
		if round > 0 && idOf(t, store) != registryID {
			t.Fatal("the registry is another one")
		}
		registryID = idOf(t, store)
		for _, id := range ids {
			if !has(t, store, id) {
				t.Fatalf("session %s is lost", id)
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
