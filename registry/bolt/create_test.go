package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

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
		if err := inspect(path); err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(path + ".*"); left != nil {
			t.Fatalf("left over: %v", left)
		}
	}
}

// As a file that is mounted into a container, which cannot be replaced.
func TestAnEmptyFileCanBeFilled(t *testing.T) {
	made, err := newMarked(filepath.Join(t.TempDir(), "registry"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mounted")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fill(path, made); err != nil {
		t.Fatal(err)
	}
	store := mustOpen(t, path)
	putValues(t, store, 1)
	if !has(t, store, 0) {
		t.Error("the value is lost")
	}
}
