package e2e

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// need ends a test that lacks something of its environment: in CI it fails, elsewhere it skips.
func need(t *testing.T, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
	case inCI():
		t.Fatalf("%s is missing: %v", what, err)
	default:
		t.Skipf("%s is missing: %v", what, err)
	}
}

func inCI() bool { return os.Getenv("CI") != "" && os.Getenv("CI") != "false" }

// needProgram returns the path of the first of some programs that is installed.
func needProgram(t *testing.T, names ...string) string {
	t.Helper()
	path, err := findProgram(names...)
	need(t, names[0], err)
	return path
}

// findProgram returns the path of the first of some programs that is installed.
func findProgram(names ...string) (string, error) {
	var first error
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err == nil {
			return path, nil
		}
		first = cmp.Or(first, err)
	}
	return "", first
}

// installPackages installs the npm packages that package-lock.json pins, unless they are there.
var installPackages = sync.OnceValue(func() error {
	installed, err := os.Stat(filepath.Join("node_modules", ".package-lock.json"))
	if err == nil {
		if pinned, err := os.Stat("package-lock.json"); err != nil || !pinned.ModTime().After(installed.ModTime()) {
			return err
		}
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return err
	}
	cmd := exec.Command(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
})

// needPackages returns the directory of the npm packages.
func needPackages(t *testing.T) string {
	t.Helper()
	needProgram(t, "npm")
	need(t, "a package of npm", installPackages())
	dir, err := filepath.Abs("node_modules")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
