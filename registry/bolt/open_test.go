package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

func pathIn(t testing.TB) string { return filepath.Join(t.TempDir(), "data", "registry.db") }

// mustOpen opens a store, which is closed with the test.
func mustOpen(t testing.TB, path string) *Store {
	t.Helper()
	store, err := Open(path, time.Now, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func mustClose(t testing.TB, store *Store) {
	t.Helper()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// puts records a value for an hour.
func puts(key registry.Key, value string) *registry.Edit {
	return &registry.Edit{Key: key, Rule: func([]byte) (*registry.Change, error) {
		at := time.Now().Add(time.Hour)
		return &registry.Change{Value: []byte(value), Expires: at, Ends: at, Owing: true}, nil
	}}
}

func put(t testing.TB, store *Store, key registry.Key, value string) error {
	e := puts(key, value)
	return errors.Join(store.Edit(t.Context(), e), e.Err)
}

// putValues records n values of a few hundred bytes each, ten at a time.
func putValues(t testing.TB, store *Store, n int) {
	t.Helper()
	var edits []*registry.Edit
	for i := range n {
		edits = append(edits, puts(keyOf(i), valueOf(i)))
	}
	for some := range slices.Chunk(edits, 10) {
		if err := store.Edit(t.Context(), some...); err != nil {
			t.Fatal(err)
		}
	}
}

func keyOf(i int) registry.Key { return registry.Key(fmt.Sprintf("b%05d", i)) }
func valueOf(i int) string     { return strings.Repeat(fmt.Sprintf("value %05d;", i), 30) }

// has reports whether a value is recorded as it was; the call must not fail.
func has(t testing.TB, store *Store, i int) bool {
	t.Helper()
	values, err := store.Get(t.Context(), true, keyOf(i))
	if err != nil {
		t.Fatal(err)
	}
	return string(values[0]) == valueOf(i)
}

// soundFile returns the bytes of a file with 120 values.
func soundFile(t testing.TB) []byte {
	t.Helper()
	path := pathIn(t)
	store := mustOpen(t, path)
	putValues(t, store, 120)
	mustClose(t, store)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sound
}

// asides lists the files beside path.
func asides(t testing.TB, path string) []string {
	t.Helper()
	names, err := filepath.Glob(path + ".*")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func written(t testing.TB, file []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "registry.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReopeningKeepsEverything(t *testing.T) {
	path := pathIn(t)
	store := mustOpen(t, path)
	putValues(t, store, 3)
	mustClose(t, store)
	store = mustOpen(t, path)
	owing, err := store.Owing(t.Context(), "", 10)
	if !has(t, store, 2) || len(owing) != 3 || err != nil || len(asides(t, path)) != 0 {
		t.Errorf("the registry is another one: %q owe, %v", owing, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		info, err := os.Stat(name)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v (%v), want %v", name, info.Mode(), err, want)
		}
	}
}

// Files beside the registry are somebody's, whatever their names.
func TestFilesBesideTheRegistryAreLeftAlone(t *testing.T) {
	path := wastefulFile(t)
	left := []byte("notes of somebody else")
	for _, suffix := range []string{".new", ".new-1", ".compact"} {
		if err := os.WriteFile(path+suffix, left, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	core, logged := observer.New(zap.WarnLevel)
	for range 2 { // compacts it, or begins it
		store, err := Open(path, time.Now, zap.New(core))
		if err == nil {
			err = errors.Join(store.Close(), os.Remove(path))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, suffix := range []string{".new", ".new-1", ".compact"} {
		if got, err := os.ReadFile(path + suffix); !bytes.Equal(got, left) {
			t.Errorf("%s has %q, %v", suffix, got, err)
		}
	}
	if files := filesIn(t, filepath.Dir(path)); len(files) != 3 {
		t.Errorf("there are %v", files)
	}
	if logged.Len() != 1 || !strings.Contains(fmt.Sprint(logged.All()[0].ContextMap()["error"]), ".compact: "+foreign) {
		t.Errorf("logged %v", logged.All())
	}
}

func filesIn(t *testing.T, directory string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestAnEmptyFileBecomesARegistry(t *testing.T) {
	path := written(t, nil)
	putValues(t, mustOpen(t, path), 1)
	if got := asides(t, path); len(got) != 0 {
		t.Errorf("set aside: %v", got)
	}
}

func TestASymbolicLinkIsFollowed(t *testing.T) {
	target, link := written(t, soundFile(t)), filepath.Join(t.TempDir(), "registry.db")
	if err := os.Symlink(target, link); err != nil {
		t.Skip(err)
	}
	if !has(t, mustOpen(t, link), 7) {
		t.Error("the values are lost")
	}
}

// What is begun in place of a file on a disk that is not mounted would be lost, once it is.
func TestALinkThatLeadsToNoFileIsNotFollowed(t *testing.T) {
	target, link := filepath.Join(t.TempDir(), "target.db"), filepath.Join(t.TempDir(), "registry.db")
	if err := os.Symlink(target, link); err != nil {
		t.Skip(err)
	}
	const advice = "the link leads to no file: make an empty one there"
	if store, err := Open(link, time.Now, zap.NewNop()); err == nil || !strings.Contains(err.Error(), advice) {
		t.Errorf("got %v and error %v", store, err)
	}
	if files := filesIn(t, filepath.Dir(target)); len(files) != 0 {
		t.Errorf("made %v", files)
	}
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		mustClose(t, mustOpen(t, link))
	}
}

// rootOf is where the root page of a file begins, by its last meta page.
func rootOf(file []byte) int {
	native, size := binary.NativeEndian, os.Getpagesize()
	metas := [2][]byte{file[16:], file[size+16:]}
	slices.SortFunc(metas[:], func(a, b []byte) int { return int(native.Uint64(b[48:])) - int(native.Uint64(a[48:])) })
	return int(native.Uint64(metas[0][16:])) * size
}

func TestACorruptFileIsSetAside(t *testing.T) {
	sound := soundFile(t)
	pageSize, root := os.Getpagesize(), rootOf(sound)
	random := rand.New(rand.NewPCG(1, 2))
	garbled := func(from, to int) []byte {
		b := bytes.Clone(sound)
		for i := from; i < to; i++ {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	zeroed := func(from, to int) []byte {
		b := bytes.Clone(sound)
		clear(b[from:to])
		return b
	}
	for name, file := range map[string][]byte{
		"truncated within page 0":     sound[:100],
		"truncated to one page":       sound[:pageSize],
		"truncated to two pages":      sound[:2*pageSize],
		"truncated to three pages":    sound[:3*pageSize],
		"both metas' checksums wrong": bytes.ReplaceAll(sound, sound[16+56:16+64], []byte("checksum")),
		"all after the metas zeroed":  zeroed(2*pageSize, len(sound)),
		"all after the metas garbled": garbled(2*pageSize, len(sound)),
		"the root page zeroed":        zeroed(root, root+pageSize),
		"the root page garbled":       garbled(root, root+pageSize),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "both metas' checksums wrong" {
				copy(file[pageSize+16+56:], "checksum")
			}
			path := written(t, file)
			core, logs := observer.New(zapcore.InfoLevel)
			logger := zap.New(core)
			store, err := Open(path, time.Now, logger)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			putValues(t, store, 1)
			aside := asides(t, path)
			if len(aside) != 1 || !strings.HasPrefix(aside[0], path+".corrupt-") {
				t.Fatalf("set aside: %v, want one", aside)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, file) {
				t.Errorf("the file was changed when it was set aside (%v)", err)
			}
			entries := logs.All()
			if len(entries) != 1 || entries[0].Level != zap.ErrorLevel {
				t.Fatalf("logged %v, want one error", entries)
			}
			if fields := entries[0].ContextMap(); fields["path"] != path || fields["renamed_to"] != aside[0] {
				t.Errorf("logged %v", fields)
			}
		})
	}
}

// TestEveryGarbledPageIsSafe garbles one page after the other. What is read is as it was or not
// there; at the worst the store breaks, and its file is set aside when it is opened again.
func TestEveryGarbledPageIsSafe(t *testing.T) {
	sound := soundFile(t)
	pageSize := os.Getpagesize()
	damaged, harmless := 0, 0
	for page := 0; page < len(sound); page += pageSize {
		file := bytes.Clone(sound)
		for i := range pageSize {
			file[page+i] ^= byte(i*7 + 1)
		}
		path := written(t, file)
		store := mustOpen(t, path)
		for i := range 120 {
			values, err := store.Get(t.Context(), true, keyOf(i))
			if err == nil && len(values[0]) > 0 && string(values[0]) != valueOf(i) {
				t.Errorf("page at %d: value %d is %q", page, i, values[0])
			}
			if _, err := store.Due(t.Context(), 200); err != nil && !store.Broken() {
				t.Errorf("page at %d: %v", page, err)
			}
		}
		_ = put(t, store, "b1", "new")
		if store.Broken() {
			_ = store.Close()
			store = mustOpen(t, path)
		}
		putValues(t, store, 120)
		if len(asides(t, path)) == 1 {
			damaged++
		} else {
			harmless++
		}
		mustClose(t, store)
	}
	if damaged < 5 || harmless < 2 {
		t.Errorf("%d pages damaged the file, %d did not", damaged, harmless)
	}
}

// TestEveryByteTurnedRoundIsFound turns bytes of one record round: it is damaged, and no other.
func TestEveryByteTurnedRoundIsFound(t *testing.T) {
	h := header{expires: 1, wake: 2}
	sealed := h.encode("b1", []byte("value"))
	if got, value := decode("b1", sealed); got != h || string(value) != "value" {
		t.Fatalf("read %+v, %q", got, value)
	}
	for i := range sealed {
		turned := bytes.Clone(sealed)
		turned[i] ^= 0x10
		if h, value := decode("b1", turned); len(value) != 0 || value == nil {
			t.Errorf("byte %d: read %+v, %q", i, h, value)
		}
	}
	if _, value := decode("b2", sealed); len(value) != 0 {
		t.Errorf("another record's is read as %q", value)
	}

	path := written(t, bytes.ReplaceAll(soundFile(t), []byte("value 00007;value"), []byte("value 00007;valuX")))
	store := mustOpen(t, path)
	values, err := store.Get(t.Context(), true, keyOf(7), keyOf(8))
	if err != nil || values[0] == nil || len(values[0]) != 0 || string(values[1]) != valueOf(8) {
		t.Errorf("read %q, %v", values, err)
	}
	if err := put(t, store, keyOf(7), valueOf(7)); err != nil || !has(t, store, 7) || store.Broken() {
		t.Errorf("it cannot be written again: %v", err)
	}
	if got := asides(t, path); len(got) != 0 {
		t.Errorf("set aside: %v", got)
	}
}

// What a damaged record has left in the indexes touches no record that came after it.
func TestADamagedRecordLeavesNothingThatCounts(t *testing.T) {
	clock := time.Now()
	store, err := Open(pathIn(t), func() time.Time { return clock }, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	putValues(t, store, 2) // due and over in an hour
	err = store.db.Update(func(tx *bbolt.Tx) error {
		records := tx.Bucket(bucketRecords)
		stored := bytes.Clone(records.Get([]byte(keyOf(1))))
		stored[0] ^= 1 // when it expires
		stored[8] ^= 1 // when it is due
		return records.Put([]byte(keyOf(1)), stored)
	})
	later := &registry.Edit{Key: keyOf(1), Rule: func([]byte) (*registry.Change, error) {
		at := clock.Add(3 * time.Hour)
		return &registry.Change{Value: []byte(valueOf(1)), Expires: at, Ends: at}, nil
	}}
	if err := errors.Join(err, store.Edit(t.Context(), later), later.Err); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(2 * time.Hour)
	due, err := store.Due(t.Context(), 10)
	if err != nil || !slices.Equal(due, []registry.Key{keyOf(0)}) {
		t.Errorf("due are %q, %v", due, err)
	}
	store.sweep()
	owing, err := store.Owing(t.Context(), "", 10)
	if err != nil || len(owing) != 0 || has(t, store, 0) || !has(t, store, 1) {
		t.Errorf("owing are %q, %v; or the wrong record was deleted", owing, err)
	}
}

func TestAnUnusableFileIsLeftAlone(t *testing.T) {
	sound := soundFile(t)
	versioned := func(change func(*bbolt.Tx) error) func(*testing.T, string) string {
		return func(t *testing.T, directory string) string {
			path := filepath.Join(directory, "registry.db")
			store := mustOpen(t, path)
			putValues(t, store, 1)
			if err := store.db.Update(change); err != nil {
				t.Fatal(err)
			}
			mustClose(t, store)
			return path
		}
	}
	write := func(content []byte, mode os.FileMode) func(*testing.T, string) string {
		return func(t *testing.T, directory string) string {
			path := filepath.Join(directory, "registry.db")
			if err := os.WriteFile(path, content, mode); err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
	for name, test := range map[string]struct {
		make func(t *testing.T, directory string) (path string)
		says string
	}{
		"a directory in its place": {func(t *testing.T, directory string) string { return directory }, "not a regular file: give store file the path of a file"},
		"a file in place of its directory": {func(t *testing.T, directory string) string {
			return filepath.Join(write(sound, 0o600)(t, directory), "registry.db")
		}, "not a directory: the path leads through what is no directory"},
		"a file without permission": {write(sound, 0o000), "permission denied: let Caddy's user read and write the file and its directory"},
		"a later release's file": {versioned(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketMeta).Put(keyVersion, []byte{formatVersion[0] + 1})
		}), "written by a newer version: update Caddy's plugin"},
		"a text file":                         {write([]byte("this is no database\n"), 0o600), foreign},
		"a long text file":                    {write(bytes.Repeat([]byte("this is no database\n"), 10000), 0o600), foreign},
		"one byte":                            {write([]byte{0}, 0o600), foreign},
		"zeros":                               {write(make([]byte, len(sound)), 0o600), foreign},
		"a registry of which no meta is left": {write(append(make([]byte, 2*os.Getpagesize()), sound[2*os.Getpagesize():]...), 0o600), foreign},
		"another program's database":          {write(otherDatabase(t, "records"), 0o600), foreign},
		"another program's empty database":    {write(otherDatabase(t), 0o600), foreign},
		"one with buckets of our names":       {write(otherDatabase(t, "meta", "records"), 0o600), foreign},
		"a damaged one":                       {write(otherDatabase(t, "records")[:3*os.Getpagesize()], 0o600), foreign},
		"a newer bbolt's":                     {write(newerBolt(sound), 0o600), "version mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a file without permission" && os.Getuid() <= 0 {
				t.Skip("permissions do not bind this user")
			}
			path := test.make(t, t.TempDir())
			before, _ := os.ReadFile(path)
			store, err := Open(path, time.Now, zap.NewNop())
			if err == nil {
				_ = store.Close()
			}
			if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("error is %v, want one that says %q", err, test.says)
			}
			after, _ := os.ReadFile(path)
			if !bytes.Equal(before, after) || len(asides(t, path)) != 0 {
				t.Error("the file was touched")
			}
		})
	}
}

func TestErrorsOfTheSystemSayWhatToDo(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.EACCES:  ": let Caddy's user read and write",
		syscall.EROFS:   ": give store file a path that Caddy may write to",
		syscall.ENOTDIR: ": the path leads through what is no directory",
		syscall.EEXIST:  ": the path leads through what is no directory",
	} {
		if got := advice(&fs.PathError{Op: "open", Path: "registry.db", Err: errno}); !strings.HasPrefix(got, want) {
			t.Errorf("%v: got %q", errno, got)
		}
	}
	if got := advice(errForeign); got != "" {
		t.Errorf("it says itself what to do, not %q", got)
	}
}

// foreign is said of what is no registry.
const foreign = "the file is no session registry"

// otherDatabase is a database of bbolt that some other program has made.
func otherDatabase(t *testing.T, buckets ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range buckets {
		err = errors.Join(err, db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte(name))
			return err
		}))
	}
	file, readErr := os.ReadFile(path)
	if err := errors.Join(err, readErr, db.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

// newerBolt raises the version of both metas, with right checksums (FNV-1a).
func newerBolt(sound []byte) []byte {
	file := bytes.Clone(sound)
	for _, meta := range [2][]byte{file[16:], file[os.Getpagesize()+16:]} {
		binary.NativeEndian.PutUint32(meta[4:], 99)
		sum := uint64(14695981039346656037)
		for _, b := range meta[:56] {
			sum = (sum ^ uint64(b)) * 1099511628211
		}
		binary.NativeEndian.PutUint64(meta[56:], sum)
	}
	return file
}

func TestAFileOfTheFirstFormatIsRenamed(t *testing.T) {
	path := pathIn(t)
	for range 2 { // the second does not overwrite the first
		store := mustOpen(t, path)
		err := store.db.Update(func(tx *bbolt.Tx) error {
			first := append([]byte{1}, "and a checksum"...) // as its values had
			return errors.Join(tx.Bucket(bucketMeta).Put(keyVersion, first), tx.DeleteBucket(bucketWakes))
		})
		if err != nil {
			t.Fatal(err)
		}
		mustClose(t, store)
		core, logs := observer.New(zapcore.InfoLevel)
		logger := zap.New(core)
		if store, err = Open(path, time.Now, logger); err != nil {
			t.Fatal(err)
		}
		if logs.Len() != 1 || !strings.HasPrefix(fmt.Sprint(logs.All()[0].ContextMap()["renamed_to"]), path+".v1") {
			t.Errorf("logged %v", logs.All())
		}
		putValues(t, store, 1)
		mustClose(t, store)
	}
	if got := asides(t, path); !slices.Equal(got, []string{path + ".v1", path + ".v1-1"}) {
		t.Errorf("beside it are %v", got)
	}
}

func TestSettingAsideNeverOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry.db")
	var contents []string
	for _, content := range []string{"first", "second", "third"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		name, err := setAside(path, ".corrupt-x")
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, filepath.Base(name))
	}
	for i, name := range contents {
		content, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
		if want := []string{"first", "second", "third"}[i]; err != nil || string(content) != want {
			t.Errorf("%s has %q, %v", name, content, err)
		}
	}
}

// Another process may set the file aside or compact it while this one waits for its lock.
func TestAFileThatIsReplacedWhileItIsOpenedIsNotUsed(t *testing.T) {
	path := written(t, soundFile(t))
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := sameFile(path, file); err != nil {
		t.Error(err)
	}
	if err := os.Rename(written(t, []byte("another one")), path); err != nil {
		t.Skip(err)
	}
	if err := sameFile(path, file); !errors.Is(err, errLocked) {
		t.Errorf("error is %v", err)
	}
}

// wastefulFile is a registry of ten values, of which most is free.
func wastefulFile(t *testing.T) (path string) {
	t.Helper()
	path = pathIn(t)
	store := mustOpen(t, path)
	each := func(change func(bucket *bbolt.Bucket, key []byte) error) {
		if err := store.db.Update(func(tx *bbolt.Tx) (err error) {
			for i := range uint32(4000) {
				err = errors.Join(err, change(tx.Bucket(bucketRecords), binary.BigEndian.AppendUint32(nil, i)))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	each(func(bucket *bbolt.Bucket, key []byte) error { return bucket.Put(key, make([]byte, 1000)) })
	putValues(t, store, 10)
	full := sizeOf(t, path)
	mustClose(t, store)
	store = mustOpen(t, path)
	if after := sizeOf(t, path); after < full {
		t.Errorf("compacted from %d to %d bytes while it was full", full, after)
	}
	each(func(bucket *bbolt.Bucket, key []byte) error { return bucket.Delete(key) })
	mustClose(t, store)
	return path
}

func TestAFileThatIsMostlyFreeIsCompacted(t *testing.T) {
	path := wastefulFile(t)
	before := sizeOf(t, path)
	if err := os.WriteFile(path+".compact", soundFile(t), 0o600); err != nil { // of a process that was killed
		t.Fatal(err)
	}
	store := mustOpen(t, path)
	if after := sizeOf(t, path); after > before/4 {
		t.Errorf("compacted from %d to %d bytes", before, after)
	}
	owing, err := store.Owing(t.Context(), "", 20)
	if !has(t, store, 9) || len(owing) != 10 || err != nil || len(asides(t, path)) != 0 {
		t.Errorf("the registry is another one: %d owe, %v, beside it %v", len(owing), err, asides(t, path))
	}
	putValues(t, store, 20)
	mustClose(t, store)
	if !has(t, mustOpen(t, path), 19) {
		t.Error("what was recorded after that is lost")
	}
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// Each commit is a wait for the disk.
func TestCallsThatChangeNothingAreNotCommitted(t *testing.T) {
	store := mustOpen(t, pathIn(t))
	putValues(t, store, 1)
	last := func() int {
		id, err := read(t.Context(), store, (*bbolt.Tx).ID)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	before := last()
	nothing := &registry.Edit{Key: "b1", Rule: func([]byte) (*registry.Change, error) { return nil, nil }}
	if err := errors.Join(store.Edit(t.Context(), nothing), nothing.Err); err != nil || last() != before {
		t.Errorf("transaction %d after %d, %v", last(), before, err)
	}
	store.sweep()
	if last() != before {
		t.Error("a sweep of nothing was committed")
	}
}

// checksPointers: the race detector comes with a check of unsafe pointers, by which bbolt's
// reading of garbage ends the process.
var checksPointers bool

// FuzzOpen opens files that are garbage from some position on.
func FuzzOpen(f *testing.F) {
	if checksPointers {
		f.Skip("with the race detector")
	}
	sound := soundFile(f)
	root := uint32(rootOf(sound))
	f.Add([]byte(""), uint32(0), true)
	f.Add([]byte("text"), uint32(0), true)
	f.Add(sound[:os.Getpagesize()], uint32(0), true)
	f.Add([]byte{0xff, 0xff}, uint32(2*os.Getpagesize()), false)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, root+8, false)
	f.Add(bytes.Repeat([]byte{1}, 64), root+16, false)
	f.Add([]byte("0"), uint32(155763), false)
	f.Fuzz(func(t *testing.T, garbage []byte, at uint32, alone bool) {
		file := garbage
		if !alone {
			file = bytes.Clone(sound)
			copy(file[int(at)%len(file):], garbage)
		}
		if len(file) > 1<<20 {
			t.Skip("too large to be quick")
		}
		path := written(t, file)
		store, err := Open(path, time.Now, zap.NewNop())
		if err != nil {
			if !errors.Is(err, registry.ErrUnavailable) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		err = put(t, store, "b1", "x")
		for range 2 { // it is damaged: the next one is not, or the one after that
			if err == nil {
				break
			}
			_ = store.Close()
			if store, err = Open(path, time.Now, zap.NewNop()); err != nil {
				t.Fatal(err)
			}
			err = put(t, store, "b1", "x")
		}
		if err != nil {
			t.Errorf("after opening it again twice: %v", err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}
