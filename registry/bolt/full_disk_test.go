//go:build unix

package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// fullDiskPath and smallFilePath make the test binary a helper process that fills a disk of its own, or whose files may not grow.
const (
	fullDiskPath  = "OIDC_SESSION_TEST_FULL_DISK"
	smallFilePath = "OIDC_SESSION_TEST_SMALL_FILE"
)

func init() {
	helpers[smallFilePath] = func(path string) error { return runOutOfSpace(path, limitFiles) }
}

// limitFiles lets this process's files grow to half a megabyte until free is called.
func limitFiles(string) (free func() error, err error) {
	signal.Ignore(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return nil, err
	}
	limited := before
	limited.Cur = 1 << 19
	free = func() error { return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before) }
	return free, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited)
}

// runOutOfSpace records sessions until there is no space, and again when there is. Nothing that was recorded may be lost.
func runOutOfSpace(path string, limit func(directory string) (free func() error, err error)) error {
	free, err := limit(filepath.Dir(path))
	if err != nil {
		return err
	}
	store, err := Open(path, zap.NewNop())
	if err != nil {
		return err
	}
	registryID := store.id
	var ids []sessionstate.SessionID
	join := func() error {
		session, err := store.Join(context.Background(), aJoin())
		if err == nil {
			ids = append(ids, session.ID)
		}
		return err
	}
	for err = nil; err == nil && len(ids) < 100_000; {
		err = join()
	}
	if len(ids) < 100 || !errors.Is(err, registry.ErrUnavailable) {
		return fmt.Errorf("after %d sessions: error %w", len(ids), err)
	}
	for range 3 { // it stays so, and what is recorded can be read
		if store.Broken() { // the file may be too small for its next size: then it is opened again, as Lazy does
			_ = store.Close()
			if store, err = Open(path, zap.NewNop()); err != nil {
				return fmt.Errorf("opening it again: %w", err)
			}
		}
		if err := lost(store, ids); err != nil {
			return fmt.Errorf("without space: %w", err)
		}
		for err = nil; err == nil; { // there may be room for a few
			err = join()
		}
		if !errors.Is(err, registry.ErrUnavailable) {
			return err
		}
	}
	fmt.Println("broken:", store.Broken())
	if err := free(); err != nil {
		return err
	}
	for range 2 {
		if store.Broken() {
			_ = store.Close()
			if store, err = Open(path, zap.NewNop()); err != nil {
				return fmt.Errorf("opening it again, with space: %w", err)
			}
		}
		if err := join(); err != nil {
			return fmt.Errorf("with space: %w", err)
		}
	}
	if err := store.Close(); err != nil {
		return err
	}
	if store, err = Open(path, zap.NewNop()); err != nil {
		return err
	}
	defer store.Close()
	if aside, _ := filepath.Glob(path + ".*"); store.id != registryID || len(aside) > 0 {
		return fmt.Errorf("the registry is another one; beside it are %v", aside)
	}
	return lost(store, ids)
}

// lost says which of the sessions cannot be read.
func lost(store *Store, ids []sessionstate.SessionID) error {
	for i, id := range ids {
		if _, found, err := store.Session(context.Background(), issuer, id); err != nil || !found {
			return fmt.Errorf("session %d of %d: found %v, error %w", i, len(ids), found, err)
		}
	}
	return nil
}

// runHelper has another process do something with a registry, and returns what it prints.
func runHelper(t *testing.T, variable, path string, attributes *syscall.SysProcAttr) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, os.Args[0])
	command.Env = append(os.Environ(), variable+"="+path)
	command.SysProcAttr = attributes
	output, err := command.CombinedOutput()
	return string(output), err
}

func TestAFileThatMayNotGrowLosesNothing(t *testing.T) {
	output, err := runHelper(t, smallFilePath, pathIn(t), nil)
	if err != nil || !strings.Contains(output, "broken:") {
		t.Errorf("%s (%v)", output, err)
	}
}
