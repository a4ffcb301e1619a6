package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"go.etcd.io/bbolt"
)

// minCompact is the size in bytes under which no file is worth compacting.
const minCompact = 1 << 20

// setAside renames a file, without overwriting one of that name, and returns its new name.
func setAside(path, suffix string) (string, error) {
	for i := range 100 {
		name := path + suffix
		if i > 0 {
			name = fmt.Sprintf("%s-%d", name, i)
		}
		reserved, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if err := errors.Join(reserved.Close(), os.Rename(path, name)); err != nil {
			return "", errors.Join(err, os.Remove(name))
		}
		return name, nil
	}
	return "", fmt.Errorf("%s%s: too many files of that name", path, suffix)
}

// isWasteful reports whether compacting is worth its time: more than half of the pages are free.
func isWasteful(db *bbolt.DB) bool {
	var size int64
	err := db.View(func(tx *bbolt.Tx) error {
		size = tx.Size()
		return nil
	})
	free := int64(db.Stats().FreePageN) * int64(db.Info().PageSize)
	return err == nil && size > minCompact && free > size/2
}

// compact replaces the file by a compact copy. The lock is held until the copy has the file's
// name: who was waiting for the lock sees by sameFile that it locked the wrong one.
func compact(path string, source *bbolt.DB) error {
	copied := path + ".compact"
	if err := removeOurs(copied); err != nil { // left over by a process that was killed
		return err
	}
	err := guarded(func() error { return copyTo(copied, source) })
	if runtime.GOOS == "windows" { // where an open file cannot be replaced
		err = errors.Join(err, source.Close())
	}
	if err == nil {
		err = os.Rename(copied, path)
	}
	if err != nil {
		return errors.Join(err, removeOurs(copied))
	}
	return syncDirectory(path)
}

// copyTo copies a database to a new file, durably.
func copyTo(path string, source *bbolt.DB) error {
	made, err := newMarked(path)
	if err != nil {
		return err
	}
	if err := os.Rename(made, path); err != nil {
		return errors.Join(err, os.Remove(made))
	}
	const txSize = 1 << 20 // bytes: bounds the memory needed
	db, _, err := openDB(path, &bbolt.Options{
		Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType, NoSync: true,
	})
	if err != nil {
		return err
	}
	err = bbolt.Compact(db, source, txSize)
	if err == nil {
		err = db.Sync()
	}
	return errors.Join(err, db.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// syncDirectory makes the file's name durable. Windows has no such thing.
func syncDirectory(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	directory, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
