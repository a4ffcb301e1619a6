//go:build unix && !aix && !solaris

package bolt

import (
	"errors"
	"os"
	"syscall"
)

// letGo closes a file whose database cannot be closed any more. The memory map that is left keeps
// the open file, and with that its lock, unless it is unlocked.
func letGo(file *os.File) error {
	return errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
}
