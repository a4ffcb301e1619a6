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
)

// fullDiskPath and smallFilePath make the test binary a helper process that fills a disk of its
// own, or whose files may not grow.
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

// runOutOfSpace records values until there is no space, and again when there is. Nothing that was
// recorded may be lost.
func runOutOfSpace(path string, limit func(directory string) (free func() error, err error)) error {
	free, err := limit(filepath.Dir(path))
	if err != nil {
		return err
	}
	store, err := Open(path, time.Now, zap.NewNop())
	if err != nil {
		return err
	}
	n := 0
	fillUp := func() error {
		for ; n < 100_000; n++ {
			if err := putNext(store, n); err != nil {
				return err
			}
		}
		return nil
	}
	// the file may be too small for its next size: then it is opened again, as the registry does
	reopen := func() error {
		if !store.Broken() {
			return nil
		}
		_ = store.Close()
		store, err = Open(path, time.Now, zap.NewNop())
		return err
	}
	for range 4 { // it stays so, and what is recorded can be read
		if err := fillUp(); n < 100 || !errors.Is(err, registry.ErrUnavailable) {
			return fmt.Errorf("after %d values: error %w", n, err)
		}
		if err := errors.Join(reopen(), lost(store, n)); err != nil {
			return fmt.Errorf("without space: %w", err)
		}
	}
	fmt.Println("broken:", store.Broken())
	if err := free(); err != nil {
		return err
	}
	if err := errors.Join(reopen(), putNext(store, n)); err != nil {
		return fmt.Errorf("with space: %w", err)
	}
	if err := store.Close(); err != nil {
		return err
	}
	if store, err = Open(path, time.Now, zap.NewNop()); err != nil {
		return err
	}
	defer store.Close()
	if aside, _ := filepath.Glob(path + ".*"); len(aside) > 0 {
		return fmt.Errorf("beside the file are %v", aside)
	}
	return lost(store, n+1)
}

// putNext records one more value.
func putNext(store *Store, n int) error {
	e := &registry.Edit{Key: keyOf(n), Rule: func([]byte) (*registry.Change, error) {
		return &registry.Change{Value: []byte(valueOf(n)), Expires: time.Now().Add(time.Hour)}, nil
	}}
	return errors.Join(store.Edit(context.Background(), e), e.Err)
}

// lost says which of the first values cannot be read.
func lost(store *Store, n int) error {
	for i := range n {
		if values, err := store.Get(context.Background(), true, keyOf(i)); err != nil || string(values[0]) != valueOf(i) {
			return fmt.Errorf("value %d of %d: %w", i, n, err)
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
