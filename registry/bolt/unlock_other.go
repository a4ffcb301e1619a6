//go:build !unix || aix || solaris

package bolt

import "os"

// letGo closes a file whose database cannot be closed any more. Its lock ends with that.
func letGo(file *os.File) error { return file.Close() }
