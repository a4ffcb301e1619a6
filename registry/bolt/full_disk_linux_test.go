package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func init() {
	helpers[fullDiskPath] = func(path string) error { return runOutOfSpace(path, mountSmallDisk) }
}

// mountSmallDisk mounts a disk of two megabytes, of which nearly all is taken until free is
// called. Nobody outside this process sees it.
func mountSmallDisk(directory string) (free func() error, err error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	filler := filepath.Join(directory, "filler")
	err = errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("tmpfs", directory, "tmpfs", 0, "size=2m"),
	)
	if err != nil {
		return nil, errors.Join(errNoMount, err)
	}
	return func() error { return os.Remove(filler) }, os.WriteFile(filler, make([]byte, 3<<19), 0o600)
}

var errNoMount = errors.New("cannot mount")

// A full disk is no damage: the file is as it was, and goes on to be used.
func TestAFullDiskLosesNothing(t *testing.T) {
	attributes := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	output, err := runHelper(t, fullDiskPath, pathIn(t), attributes)
	if errors.Is(err, syscall.EPERM) || strings.Contains(output, errNoMount.Error()) {
		t.Skipf("no disk can be mounted here: %s (%v)", output, err)
	}
	if err != nil || output != "broken: false\n" {
		t.Errorf("%s (%v)", output, err)
	}
}
