package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// magic says that a file is a session registry, however damaged. It stands in both of bbolt's meta
// pages as the sequence of the root bucket, which bbolt itself never uses, and carries over from
// each transaction to the next.
const magic = 0x6f69_6463_7365_7373 // "oidcsess"

// positions in a meta, which stands behind the header of its page
const (
	boltMagic    = 0xED0CDAED
	pageHeader   = 16
	metaSequence = 24
	metaChecksum = 56
	metaSize     = 64
)

var native = binary.NativeEndian

// isOurs reports whether a file has the magic in one of its metas, whatever else is wrong with it.
func isOurs(file io.ReaderAt) bool {
	head := make([]byte, metaSequence+8)
	// of metas, with all page sizes there are
	for position := int64(0); position <= 1<<16; position = max(1024, 2*position) {
		_, err := file.ReadAt(head, position+pageHeader)
		if err == nil && native.Uint32(head) == boltMagic &&
			native.Uint64(head[metaSequence:]) == magic {
			return true
		}
	}
	return false
}

// create makes an empty registry at path, where there is nothing or an empty file. It gets its
// name once it is whole: what stands there under that name is ours, even if this process is
// killed.
func create(path string) error {
	made, err := newMarked(path)
	if err != nil {
		return err
	}
	defer os.Remove(made)
	db, _, err := openFile(made)
	if err != nil {
		return err
	}
	if err := errors.Join(identify(db), db.Close()); err != nil {
		return err
	}
	if err := os.Link(made, path); err == nil || isFilled(path) { // another process was first
		return syncDirectory(path)
	}
	// In place of an empty file, or where there are no links. A file that is mounted by itself,
	// into a container, cannot be replaced.
	if err := os.Rename(made, path); err != nil && (!isEmpty(path) || fill(path, made) != nil) {
		return err
	}
	return syncDirectory(path)
}

// fill copies a new registry into an empty file. Its first page comes last: until then the file is
// not a registry.
func fill(path, made string) error {
	content, err := os.ReadFile(made)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	first := os.Getpagesize()
	_, err = file.WriteAt(content[first:], int64(first))
	if err == nil {
		_, err = file.WriteAt(content[:first], 0)
	}
	return errors.Join(err, file.Sync(), file.Close())
}

// newMarked makes a database that has nothing but the magic, beside path, under a name of its own.
func newMarked(path string) (made string, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return "", err
	}
	made = file.Name()
	err = file.Close()
	if err == nil {
		var db *bbolt.DB
		if db, _, err = openFile(made); err == nil {
			pageSize := db.Info().PageSize
			err = errors.Join(db.Close(), mark(made, pageSize))
		}
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(made))
	}
	return made, nil
}

// removeOurs removes a file that is a registry, or empty.
func removeOurs(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return ignoreMissing(err)
	}
	ours := isOurs(file) || isEmpty(path)
	if err := file.Close(); err != nil {
		return err
	}
	if !ours {
		return fmt.Errorf("%s: %w", path, errForeign)
	}
	return os.Remove(path)
}

func isFilled(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0
}

func isEmpty(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() == 0
}

// mark writes the magic into the metas of a file that no process has open.
func mark(path string, pageSize int) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	for _, page := range []int64{0, int64(pageSize)} {
		err = errors.Join(err, markMeta(file, page+pageHeader))
	}
	return errors.Join(err, file.Sync(), file.Close())
}

func markMeta(file *os.File, position int64) error {
	meta := make([]byte, metaSize)
	if _, err := file.ReadAt(meta, position); err != nil {
		return err
	}
	native.PutUint64(meta[metaSequence:], magic)
	sum := fnv.New64a()
	_, _ = sum.Write(meta[:metaChecksum])
	native.PutUint64(meta[metaChecksum:], sum.Sum64())
	_, err := file.WriteAt(meta, position)
	return err
}
