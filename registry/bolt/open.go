package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// lockTimeout is how long to wait for another process to let go of the file.
const lockTimeout = 100 * time.Millisecond

var (
	keyVersion = []byte("version")

	// formatVersion is the version of buckets and keys. A file of another one is not touched; one
	// of the first, before any release, is set aside.
	formatVersion = []byte{2}
)

var (
	errLocked = errors.New("locked by another process: " +
		"one Caddy uses a file at a time, another one needs another path")
	errNoFile = errors.New("it is a directory or a device, not a regular file: " +
		"give store file the path of a file")
	errCorrupt = errors.New("corrupt")
	errFirst   = errors.New("of a format before the first release")
	errNewer   = errors.New("written by a newer version: " +
		"update Caddy's plugin, or give store file another path")
	errForeign = errors.New("the file is no session registry, or damaged beyond recognition: " +
		"give store file another path, or move the file away")
)

// Open opens the registry in the file at path, or begins one there; its directory is made if there
// is none.
//
// A file that is corrupt is renamed to path.corrupt-TIME, which is logged with both names, and a
// new one is begun. Every error wraps [registry.ErrUnavailable]: the file is locked by another
// process, cannot be read or written, was written by a later release, or is no registry. Such a
// file is left as it is.
func Open(path string, now func() time.Time, logger *zap.Logger) (*Store, error) {
	store, err := openSound(path, now, logger)
	suffix := ""
	switch {
	case errors.Is(err, errCorrupt):
		suffix = ".corrupt-" + time.Now().UTC().Format("20060102T150405Z")
	case errors.Is(err, errFirst):
		suffix = ".v1"
	}
	if suffix != "" {
		aside, asideErr := setAside(path, suffix)
		if asideErr != nil {
			return nil, fmt.Errorf("%w: %s is %w, and renaming it failed: %w",
				registry.ErrUnavailable, path, err, asideErr)
		}
		logger.Error("session registry was renamed, and a new one begun",
			zap.String("path", path), zap.String("renamed_to", aside), zap.Error(err))
		store, err = openSound(path, now, logger)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: opening %s: %w%s",
			registry.ErrUnavailable, path, err, advice(err))
	}
	return store, nil
}

// advice says what an operator can do about an error of the system's.
func advice(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return ": let Caddy's user read and write the file and its directory"
	// for Debian's unit file (ProtectSystem), /etc and /usr are
	case errors.Is(err, syscall.EROFS):
		return ": give store file a path that Caddy may write to, such as one in /var/lib/caddy"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return ": the path leads through what is no directory: correct it, or move that away"
	}
	return ""
}

// openSound opens a registry, or begins one. Its error wraps errCorrupt or errFirst where the file
// has to make room for a new one.
func openSound(path string, now func() time.Time, logger *zap.Logger) (*Store, error) {
	path, err := followLinks(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	err = inspect(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = create(path)
	}
	if err != nil {
		return nil, err
	}
	db, file, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if isWasteful(db) {
		if err := compact(path, db); err != nil {
			logger.Warn("session registry could not be compacted",
				zap.String("path", path), zap.Error(err))
		}
		if err := db.Close(); err != nil {
			return nil, err
		}
		if db, file, err = openFile(path); err != nil {
			return nil, err
		}
	}
	err = guarded(func() error {
		if err := identify(db); err != nil {
			return err
		}
		return suspected.check(path, db)
	})
	// bbolt may hold its own locks for ever
	if damage := new(panicError); errors.As(err, &damage) {
		return nil, errors.Join(fmt.Errorf("%w: %w", errCorrupt, err), letGo(file))
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return newStore(db, file, now, logger), nil
}

// followLinks returns the path of the file itself, which may be replaced by a compact one. A link
// that leads to no file is an error: its disk may be mounted later, and hide what was begun
// meanwhile.
func followLinks(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real, nil
	}
	if info, statErr := os.Lstat(path); statErr == nil && info.Mode()&fs.ModeSymlink != 0 {
		return "", fmt.Errorf("the link leads to no file: "+
			"make an empty one there, or mount its disk: %w", err)
	}
	return path, nil
}

// inspect reports whether the file is ours. What is not is never changed, nor renamed. The error
// is [fs.ErrNotExist] where there is no file, or an empty one.
func inspect(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errNoFile
	case info.Size() == 0:
		return fs.ErrNotExist // an empty file is as good as none
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	switch {
	case !isOurs(file):
		return errForeign
	case info.Size() < int64(2*os.Getpagesize()):
		return fmt.Errorf("%w: %d bytes", errCorrupt, info.Size())
	}
	return nil
}

// openFile opens the file, for writing. The list of free pages is in it: without, bbolt would read
// the whole file at each opening, in a goroutine whose panics cannot be recovered.
func openFile(path string) (*bbolt.DB, *os.File, error) {
	options := &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType}
	db, file, err := openDB(path, options)
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

// openDB opens a file with bbolt. The file is returned as well, for it must be closed when bbolt
// cannot do that.
func openDB(path string, options *bbolt.Options) (db *bbolt.DB, file *os.File, err error) {
	options.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		opened, err := os.OpenFile(name, flag, mode)
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
		return nil, nil, errors.Join(fmt.Errorf("%w: %w", errCorrupt, err), letGo(file))
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum):
		return nil, nil, fmt.Errorf("%w: %w", errCorrupt, err)
	case err != nil:
		return nil, nil, err
	}
	return db, file, nil
}

// sameFile reports whether the file that was locked is still the one at path: another process may
// have renamed it or compacted it.
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

// identify reads what the file is, or begins a registry in a new one.
func identify(db *bbolt.DB) error {
	tx, err := db.Begin(true)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		if first, _ := tx.Cursor().First(); first != nil {
			return fmt.Errorf("%w: no bucket %s", errCorrupt, bucketMeta)
		}
		return begin(tx)
	}
	switch version := meta.Get(keyVersion); {
	case len(version) == 0:
		return fmt.Errorf("%w: no version", errCorrupt)
	case version[0] < formatVersion[0]:
		return errFirst
	case !bytes.Equal(version, formatVersion):
		return errNewer
	}
	for _, name := range allBuckets {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%w: no bucket %s", errCorrupt, name)
		}
	}
	return nil
}

// suspects counts how often this process has met damage in a file.
type suspects struct {
	mu    sync.Mutex
	paths map[string]int
}

var suspected suspects

func (s *suspects) add(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paths == nil {
		s.paths = make(map[string]int)
	}
	s.paths[path]++
}

// check reads all of a file in which damage was met, so that it is met now, unless the disk has
// recovered. Damage of which only writing shows anything is believed at the second time. It is not
// bbolt's own Check: that runs in a goroutine where a fault on a damaged page ends the process.
func (s *suspects) check(path string, db *bbolt.DB) error {
	s.mu.Lock()
	times := s.paths[path]
	if times > 1 {
		delete(s.paths, path)
	}
	s.mu.Unlock()
	switch times {
	case 0:
		return nil
	case 1:
		return db.View(func(tx *bbolt.Tx) error {
			return tx.ForEach(func(_ []byte, bucket *bbolt.Bucket) error {
				return bucket.ForEach(func(_, _ []byte) error { return nil })
			})
		})
	}
	return fmt.Errorf("%w: it broke again", errCorrupt)
}

func begin(tx *bbolt.Tx) error {
	for _, name := range allBuckets {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	if err := tx.Bucket(bucketMeta).Put(keyVersion, formatVersion); err != nil {
		return err
	}
	return tx.Commit()
}
