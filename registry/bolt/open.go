package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// lockTimeout is how long to wait for another process to let go of the file. bbolt tries every 50 ms.
const lockTimeout = 100 * time.Millisecond

var (
	keyVersion = []byte("version")
	keyID      = []byte("id")

	// formatVersion is the version of keys and values. A store with another one is not touched.
	formatVersion = []byte{1}
)

var errLocked = errors.New("locked by another process")

// Open opens the registry in the file at path, or begins one there; its directory is made if there is none.
//
// A registry that is corrupt is renamed to path.corrupt-TIME, which is logged with both names, and one with a new ID is begun.
// Every error wraps [registry.ErrUnavailable]: the file is locked by another process, cannot be read or written, was written by
// a newer version, or is no registry. Such a file is left as it is.
func Open(path string, logger *zap.Logger) (*Store, error) {
	store, err := openSound(path, logger)
	if errors.Is(err, errCorrupt) {
		aside, asideErr := setAside(path, time.Now())
		if asideErr != nil {
			return nil, fmt.Errorf("%w: %s is %w, and setting it aside: %w", registry.ErrUnavailable, path, err, asideErr)
		}
		logger.Error("session registry was corrupt: it has been set aside, and a new one begun",
			zap.String("path", path), zap.String("set_aside", aside), zap.Error(err))
		store, err = openSound(path, logger)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: opening %s: %w", registry.ErrUnavailable, path, err)
	}
	return store, nil
}

// openSound opens a registry that is sound, or a new one. Its error wraps errCorrupt if the file is neither.
func openSound(path string, logger *zap.Logger) (*Store, error) {
	path = follow(path) // it is this file that is replaced by a compact one
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	found, err := inspect(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = create(path)
	}
	if err != nil {
		return nil, err
	}
	if wasteful(found) {
		if err := compact(path); err != nil {
			logger.Warn("session registry could not be compacted", zap.String("path", path), zap.Error(err))
		}
	}
	db, file, err := openFile(path)
	if err != nil {
		return nil, err
	}
	var id sessionstate.RegistryID
	err = guarded(func() (err error) {
		id, err = identify(db)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, release(db, file, err))
	}
	return newStore(db, file, id, logger), nil
}

// follow returns the path that symbolic links lead to, whether or not a file is there yet.
func follow(path string) string {
	for range 40 { // as many as Linux follows
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return real
		}
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return path
}

// inspect verifies the file under a shared lock, so that no other process is writing to it meanwhile. What it finds holds for
// the exclusive lock that is taken next: another process could only have it in between if it leaves a sound file. What is not ours
// is never changed, nor renamed: the error says so. It is [fs.ErrNotExist] where there is no file, or an empty one.
func inspect(path string) (findings, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return findings{}, err
	case !info.Mode().IsRegular():
		return findings{}, fmt.Errorf("%s is not a regular file", path)
	case info.Size() == 0:
		return findings{}, fs.ErrNotExist // an empty file is as good as none
	}
	db, file, err := open(path, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
	switch {
	case err == nil:
		defer db.Close()
	case errors.Is(err, errLocked):
		return findings{}, err
	default: // verify says what is wrong with the file, or opening it for writing will say what else is
		if file, err = os.Open(path); err != nil {
			return findings{}, err
		}
		defer file.Close()
	}
	if info, err = file.Stat(); err != nil {
		return findings{}, err
	}
	if !isOurs(file) {
		return findings{}, errForeign
	}
	return verify(file, info.Size())
}

// openFile opens a file that is new or verified, for writing.
func openFile(path string) (*bbolt.DB, *os.File, error) {
	db, file, err := open(path, &bbolt.Options{
		Timeout:        lockTimeout,
		FreelistType:   bbolt.FreelistMapType,
		NoFreelistSync: true,
	})
	if err != nil {
		return nil, nil, err
	}
	if err := sameFile(path, file); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	if err := syncDirectory(path); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, file, nil
}

// openOSFile is [os.OpenFile], after which a test replaces the file.
var openOSFile = os.OpenFile

// open opens a file with bbolt. The file is returned as well, for it must be closed when bbolt cannot do that.
func open(path string, options *bbolt.Options) (db *bbolt.DB, file *os.File, err error) {
	options.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		opened, err := openOSFile(name, flag, mode)
		file = opened
		return opened, err
	}
	err = guarded(func() (err error) {
		db, err = bbolt.Open(path, 0o600, options)
		return err
	})
	var damage *panicError
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, nil, errLocked
	case errors.As(err, &damage):
		return nil, nil, errors.Join(corrupt("%w", err), letGo(file))
	case err != nil:
		return nil, nil, err
	}
	return db, file, nil
}

// release closes a database that cannot be used, because of the given error.
func release(db *bbolt.DB, file *os.File, err error) error {
	if _, ok := errors.AsType[*panicError](err); ok { // bbolt may hold its own locks for ever
		return letGo(file)
	}
	return db.Close()
}

// sameFile reports whether the file that was locked is still the one at path: another process may have set it aside or compacted it.
func sameFile(path string, file *os.File) error {
	locked, err := file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(locked, there) {
		return errLocked
	}
	return nil
}

// identify reads the registry's ID, or begins the registry in a new file.
func identify(db *bbolt.DB) (id sessionstate.RegistryID, err error) {
	tx, err := db.Begin(true)
	if err != nil {
		return id, err
	}
	defer func() { _ = tx.Rollback() }()
	if tx.Bucket(bucketMeta) == nil {
		if id, err = initialize(tx); err != nil {
			return id, err
		}
		return id, tx.Commit()
	}
	added, err := addBuckets(tx)
	if err != nil {
		return id, err
	}
	value, err := unseal(keyID, tx.Bucket(bucketMeta).Get(keyID))
	if err != nil || len(value) != len(id) {
		return id, corrupt("no registry ID")
	}
	id = sessionstate.RegistryID(value)
	if added {
		return id, tx.Commit()
	}
	return id, nil
}

// laterBuckets are those that earlier versions did not have.
var laterBuckets = [][]byte{bucketSpent, bucketKeys, bucketHolders, bucketClients, bucketNotices, bucketDue, bucketHeld, bucketObserved, bucketUses}

// addBuckets adds to a file of an earlier version the buckets that came later. All others must be there.
func addBuckets(tx *bbolt.Tx) (added bool, err error) {
	for _, name := range allBuckets {
		switch {
		case tx.Bucket(name) != nil:
		case slices.ContainsFunc(laterBuckets, func(later []byte) bool { return bytes.Equal(name, later) }):
			if _, err := tx.CreateBucket(name); err != nil {
				return added, err
			}
			added = true
		default:
			return added, corrupt("no bucket %s", name)
		}
	}
	return added, nil
}

func initialize(tx *bbolt.Tx) (sessionstate.RegistryID, error) {
	id := sessionstate.NewRegistryID()
	for _, name := range allBuckets {
		if _, err := tx.CreateBucket(name); err != nil {
			return id, err
		}
	}
	meta := tx.Bucket(bucketMeta)
	if err := meta.Put(keyVersion, seal(keyVersion, formatVersion[:1:1])); err != nil {
		return id, err
	}
	return id, meta.Put(keyID, seal(keyID, append([]byte(nil), id[:]...)))
}
