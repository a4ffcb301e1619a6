package bolt

import (
	"errors"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
)

// magic says that a file is a session registry, however damaged. It stands in both of bbolt's meta
// pages as the sequence of the root bucket, which bbolt itself never uses, and carries over from each
// transaction to the next.
const magic = 0x6f69_6463_7365_7373 // "oidcsess"

// positions in a meta
const (
	metaSequence = 24
	metaChecksum = 56
)

// isOurs reports whether a file has the magic in one of its metas, whatever else is wrong with it.
func isOurs(file io.ReaderAt) bool {
	head := make([]byte, metaSequence+8)
	for position := int64(0); position <= 1<<16; position = max(1024, 2*position) { // of metas, with all page sizes there are
		_, err := file.ReadAt(head, position+pageHeader)
		if err == nil && native.Uint32(head) == boltMagic && native.Uint64(head[metaSequence:]) == magic {
			return true
		}
	}
	return false
}

// create makes an empty registry at path, where there is nothing or an empty file. It gets its name once
// it is whole: what stands there under that name is ours, even if this process is killed. Until then it
// has a name that no other process makes a file under.
func create(path string) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	made := file.Name()
	defer func() { err = errors.Join(err, ignoreMissing(os.Remove(made))) }()
	if err := file.Close(); err != nil {
		return err
	}
	db, _, err := openFile(made)
	if err != nil {
		return err
	}
	_, err = identify(db)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := mark(made); err != nil {
		return err
	}
	if err := os.Link(made, path); err != nil && !isFilled(path) { // else another process was first
		if err := os.Rename(made, path); err != nil { // in place of an empty file, or where there are no links
			return err
		}
	}
	return syncDirectory(path)
}

func isFilled(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0
}

// mark writes the magic into the metas of a file that no process has open.
func mark(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil {
		err = markMetas(file, info.Size())
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func markMetas(file *os.File, size int64) error {
	v := &verifier{file: file, size: size}
	pageSize, err := v.findPageSize()
	if err != nil {
		return err
	}
	for _, position := range []int64{0, pageSize} {
		meta, err := v.metaAt(position)
		if err != nil {
			return err
		}
		native.PutUint64(meta[metaSequence:], magic)
		sum := fnv.New64a()
		_, _ = sum.Write(meta[:metaChecksum])
		native.PutUint64(meta[metaChecksum:], sum.Sum64())
		if _, err := file.WriteAt(meta, position+pageHeader); err != nil {
			return err
		}
	}
	return nil
}
