package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/zap"
)

func TestAFileBehindADanglingSymbolicLinkIsARegistryAfterARestart(t *testing.T) {
	dir := t.TempDir()
	link, target := filepath.Join(dir, "link"), filepath.Join(dir, "elsewhere")
	if err := os.Symlink(target, link); err != nil {
		t.Skip(err)
	}
	for i := range 2 {
		store, err := Open(link, zap.NewNop())
		if err != nil {
			t.Fatalf("start %d: %v", i+1, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Lstat(target); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the file is not where the link leads to: %v", err)
	}
}

func TestAFileThatTwoMakeAtOnceIsWhole(t *testing.T) {
	for range 40 {
		path := filepath.Join(t.TempDir(), "registry")
		errs := make([]error, 4)
		var both sync.WaitGroup
		for i := range errs {
			both.Go(func() { errs[i] = create(path) })
		}
		both.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if _, err := inspect(path); err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(path + ".*"); left != nil {
			t.Fatalf("left over: %v", left)
		}
	}
}
