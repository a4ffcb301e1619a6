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

// helperPath is the environment variable that makes the test binary a helper process, which opens
// the registry there.
const helperPath = "OIDC_SESSION_TEST_REGISTRY"

// helpers are what the test binary does as another process, by the environment variable that has
// the registry's path.
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

// help opens a registry. For each line that it reads a browser signs in, and every other one out
// again. It prints the session, and whether it has ended, when that is recorded.
func help(path string) error {
	store, err := Open(path, time.Now, zap.NewNop())
	if err != nil {
		return err
	}
	r := registryOn(store)
	defer r.Close()
	fmt.Println("open")
	ctx := context.Background()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		browser := sessionstate.NewBrowserID()
		joined, err := r.Join(ctx, registry.Join{
			Issuer: issuer, Browser: browser, ClientID: "shop", Sub: hex.EncodeToString(browser[:]), Lifetime: time.Hour, Notify: true,
		})
		if err != nil {
			return err
		}
		fmt.Printf("%x in\n", joined.Session.ID[:])
		if joined.Session.ID[15]%2 == 0 {
			continue
		}
		if _, err := r.End(ctx, registry.Ending{Place: registry.PlaceOf(issuer, browser), Reason: registry.ReasonLogout}); err != nil {
			return err
		}
		fmt.Printf("%x out\n", joined.Session.ID[:])
	}
	return nil
}

const issuer = "https://op.example.com"

type opener struct{ store *Store }

func (o opener) Open(*zap.Logger) (registry.Store, error) { return o.store, nil }
func (o opener) SharingKey() string                       { return "" }

func registryOn(store *Store) *registry.Registry {
	return registry.Open(opener{store}, func([]*registry.Session) {}, zap.NewNop())
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
	store, err := Open(path, time.Now, zap.NewNop())
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
	if len(asides(t, path)) != 0 {
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
	if store, err := Open(path, time.Now, zap.NewNop()); !errors.Is(err, errLocked) {
		t.Errorf("got %v and error %v", store, err)
	}
}

// TestAKilledProcessLosesNothing: no acknowledged sign-in or sign-out is lost, and no session has
// ended that nobody ended.
func TestAKilledProcessLosesNothing(t *testing.T) {
	path := pathIn(t)
	ins, outs, asked := make(map[string]bool), make(map[string]bool), 0
	for round := range 5 {
		h := startHelper(t, path)
		if _, err := io.WriteString(h.input, strings.Repeat("\n", 300)); err != nil {
			t.Fatal(err)
		}
		for range 30 + 11*round {
			id, what, _ := strings.Cut(h.line(t), " ")
			if ins[id] = true; what == "out" {
				outs[id] = true
			}
		}
		if err := h.command.Process.Kill(); err != nil { // it is writing
			t.Fatal(err)
		}
		_ = h.command.Wait()
		r := registryOn(mustOpen(t, path))
		for text := range ins {
			id, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			state, _, err := r.Resolve(t.Context(), registry.Ref{Session: sessionstate.SessionID(id), Until: time.Now().Add(time.Hour)})
			switch {
			case err != nil || state == registry.Unknown, outs[text] && state != registry.Ended:
				t.Fatalf("session %s, signed out: %v, is %v, %v", text, outs[text], state, err)
			case state == registry.Ended && id[15]%2 == 0:
				t.Fatalf("session %s has ended, and nobody ended it", text)
			}
			asked++
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(outs) < 20 || asked < 100 || len(asides(t, path)) != 0 {
		t.Errorf("%d signed out, %d asked, beside the file are %v", len(outs), asked, asides(t, path))
	}
}
