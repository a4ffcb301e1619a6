//go:build race

package bolt

func init() { checksPointers = true }
