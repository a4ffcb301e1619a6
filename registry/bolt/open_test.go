package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const issuer = "https://op.example.com"

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func aJoin() registry.Join {
	return registry.Join{
		Issuer:   issuer,
		Browser:  sessionstate.NewBrowserID(),
		Fresh:    sessionstate.NewSessionID(),
		Response: sessionstate.ResponseID(sessionstate.NewSessionID()),
		ClientID: "shop",
		Origin:   "https://shop.example.com",
		Now:      start,
		Lifetime: time.Hour,
	}
}

// addSessions records n sessions and returns the last one's ID.
func addSessions(t testing.TB, store *Store, n int) (id sessionstate.SessionID) {
	t.Helper()
	for range n {
		session, err := store.Join(t.Context(), aJoin())
		if err != nil {
			t.Fatal(err)
		}
		id = session.ID
	}
	return id
}

// soundFile returns the bytes of a registry with some sessions, and one of their IDs.
func soundFile(t testing.TB) ([]byte, sessionstate.SessionID) {
	t.Helper()
	path := pathIn(t)
	store := mustOpen(t, path)
	id := addSessions(t, store, 120)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sound, id
}

// has reports whether a session is recorded; the call must not fail.
func has(t testing.TB, store *Store, id sessionstate.SessionID) bool {
	t.Helper()
	_, found, err := store.Session(t.Context(), issuer, id)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func idOf(t testing.TB, store *Store) sessionstate.RegistryID {
	t.Helper()
	id, err := store.ID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// setAsides lists the files that were set aside beside path.
func setAsides(t testing.TB, path string) []string {
	t.Helper()
	names, err := filepath.Glob(path + ".corrupt-*")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestReopenKeepsEverything(t *testing.T) {
	path := pathIn(t)
	store := mustOpen(t, path)
	registryID, id := idOf(t, store), addSessions(t, store, 3)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = mustOpen(t, path)
	if idOf(t, store) != registryID || !has(t, store, id) {
		t.Error("the registry is not the same")
	}
	if got := setAsides(t, path); len(got) != 0 {
		t.Errorf("set aside: %v", got)
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
	path, _, _ := wastefulFile(t)
	left := []byte("notes of somebody else")
	for _, suffix := range []string{".new", ".new-1", ".compact"} {
		if err := os.WriteFile(path+suffix, left, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	core, logged := observer.New(zap.WarnLevel)
	for range 2 { // compacts it, or begins it
		store, err := Open(path, zap.New(core))
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

func TestEmptyFileBecomesARegistry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	addSessions(t, mustOpen(t, path), 1)
	if got := setAsides(t, path); len(got) != 0 {
		t.Errorf("set aside: %v", got)
	}
}

func TestAFileOfAnEarlierVersionGetsTheBucketsThatCameLater(t *testing.T) {
	path := written(t, t.TempDir(), func(tx *bbolt.Tx) error {
		for _, name := range laterBuckets {
			if err := tx.DeleteBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
	for range 2 { // made at the first opening, kept at the second
		store := mustOpen(t, path)
		if _, _, err := store.Observed(t.Context(), issuer); err != nil {
			t.Error(err)
		}
		if err := store.Observe(t.Context(), issuer, registry.Observed{KeyIDs: registry.Presence{Seen: true}}); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	store := mustOpen(t, path)
	if observed, found, err := store.Observed(t.Context(), issuer); err != nil || !found || !observed.KeyIDs.Seen {
		t.Errorf("observed is %+v, %v", observed, err)
	}
}

func TestSymbolicLinkIsFollowed(t *testing.T) {
	sound, id := soundFile(t)
	target, link := filepath.Join(t.TempDir(), "target.db"), filepath.Join(t.TempDir(), "registry.db")
	if err := os.WriteFile(target, sound, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Skip(err)
	}
	if !has(t, mustOpen(t, link), id) {
		t.Error("the session is lost")
	}
}

// What is begun in place of a file on a disk that is not mounted would be lost, once it is.
func TestALinkThatLeadsToNoFileIsNotFollowed(t *testing.T) {
	target, link := filepath.Join(t.TempDir(), "target.db"), filepath.Join(t.TempDir(), "registry.db")
	if err := os.Symlink(target, link); err != nil {
		t.Skip(err)
	}
	if store, err := Open(link, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "the link leads to no file: make an empty one there") {
		t.Errorf("got %v and error %v", store, err)
	}
	if files := filesIn(t, filepath.Dir(target)); len(files) != 0 {
		t.Errorf("made %v", files)
	}
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := mustOpen(t, link).Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCorruptFileIsSetAside(t *testing.T) {
	sound, _ := soundFile(t)
	pageSize := os.Getpagesize()
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
	files := map[string][]byte{
		"truncated within page 0":       sound[:100],
		"truncated to one page":         sound[:pageSize],
		"truncated to two pages":        sound[:2*pageSize],
		"truncated to three pages":      sound[:3*pageSize],
		"truncated to half":             sound[:highWater(sound)/2],
		"truncated by one used page":    sound[:highWater(sound)-pageSize],
		"truncated by a used byte":      sound[:highWater(sound)-1],
		"all after the metas zeroed":    zeroed(2*pageSize, len(sound)),
		"all after the metas garbled":   garbled(2*pageSize, len(sound)),
		"the root page zeroed":          zeroed(rootOf(sound), rootOf(sound)+pageSize),
		"the root page's header wrong":  garbled(rootOf(sound), rootOf(sound)+16),
		"the root page's content wrong": garbled(rootOf(sound)+16, rootOf(sound)+pageSize),
		"the version record wrong":      replaced(sound, "version\x01", "version\x02"),
		"one bit of a client ID":        replaced(sound, "shop", "shoq"),
	}
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "registry.db")
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			core, logs := observer.New(zapcore.InfoLevel)
			store, err := Open(path, zap.New(core))
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			if idOf(t, store).IsZero() || !has(t, store, addSessions(t, store, 1)) {
				t.Error("the new registry does not work")
			}
			asides := setAsides(t, path)
			if len(asides) != 1 {
				t.Fatalf("set aside: %v, want one", asides)
			}
			if kept, err := os.ReadFile(asides[0]); err != nil || !bytes.Equal(kept, file) {
				t.Errorf("the file was changed when it was set aside (%v)", err)
			}
			entries := logs.All()
			if len(entries) != 1 || entries[0].Level != zap.ErrorLevel {
				t.Fatalf("logged %v, want one error", entries)
			}
			fields := entries[0].ContextMap()
			if fields["path"] != path || fields["set_aside"] != asides[0] {
				t.Errorf("logged %v", fields)
			}
		})
	}
}

// TestEveryGarbledPageIsSafe garbles one page after the other. The damage must be found, unless the page is free or a meta: then
// the file is the registry still, at the worst that of the transaction before the last.
func TestEveryGarbledPageIsSafe(t *testing.T) {
	sound, _ := soundFile(t)
	pageSize := os.Getpagesize()
	damaged, harmless := 0, 0
	for page := 0; page < highWater(sound); page += pageSize {
		file := bytes.Clone(sound)
		for i := range pageSize {
			file[page+i] ^= byte(i*7 + 1)
		}
		path := filepath.Join(t.TempDir(), "registry.db")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		store, err := Open(path, zap.NewNop())
		if err != nil {
			t.Fatalf("page at %d: %v", page, err)
		}
		if len(setAsides(t, path)) == 1 {
			damaged++
		} else {
			harmless++
			if !has(t, store, addSessions(t, store, 1)) {
				t.Errorf("page at %d: the session is lost", page)
			}
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	if damaged < 5 || harmless < 2 {
		t.Errorf("%d pages damaged the file, %d did not", damaged, harmless)
	}
}

// TestSetAsideNeverOverwrites sets two files aside within one second.
// Another process may set the file aside or compact it while this one waits for its lock.
func TestAFileThatIsReplacedWhileItIsOpenedIsNotUsed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be replaced")
	}
	path, other := pathIn(t), pathIn(t)
	for _, path := range []string{path, other} {
		store := mustOpen(t, path)
		addSessions(t, store, 1)
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	store := mustOpen(t, other)
	want := idOf(t, store)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { openOSFile = os.OpenFile })
	openOSFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		file, err := os.OpenFile(name, flag, mode)
		if flag&os.O_RDWR != 0 && err == nil { // not when it is verified
			openOSFile = os.OpenFile
			err = os.Rename(other, path)
		}
		return file, err
	}
	store, err := Open(path, zap.NewNop())
	if err == nil {
		_ = store.Close()
		t.Fatal("opened a file that is not there any more")
	}
	if !errors.Is(err, registry.ErrUnavailable) || !errors.Is(err, errLocked) {
		t.Errorf("got error %v", err)
	}
	if store := mustOpen(t, path); idOf(t, store) != want || len(setAsides(t, path)) != 0 {
		t.Error("what is there now is not the file that took its place")
	}
}

func TestSetAsideNeverOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry.db")
	for _, content := range []string{"first", "second", "third"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := setAside(path, start); err != nil {
			t.Fatal(err)
		}
	}
	var contents []string
	for _, name := range setAsides(t, path) {
		if !strings.Contains(name, ".corrupt-20300102T030405Z") {
			t.Errorf("name %s", name)
		}
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, string(content))
	}
	if strings.Join(contents, " ") != "first second third" {
		t.Errorf("kept %v", contents)
	}
}

func TestUnusableFileIsLeftAlone(t *testing.T) {
	sound, _ := soundFile(t)
	tests := []struct {
		name string
		make func(t *testing.T, directory string) (path string)
		says string
	}{
		{"a directory in its place", func(t *testing.T, directory string) string {
			path := filepath.Join(directory, "registry.db")
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			return path
		}, "not a regular file: give store file the path of a file"},
		{"a file in place of its directory", func(t *testing.T, directory string) string {
			path := filepath.Join(directory, "data")
			if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(path, "registry.db")
		}, "not a directory: the path leads through what is no directory"},
		{"a file without permission", func(t *testing.T, directory string) string {
			if os.Getuid() <= 0 {
				t.Skip("permissions do not bind this user")
			}
			path := filepath.Join(directory, "registry.db")
			if err := os.WriteFile(path, sound, 0o000); err != nil {
				t.Fatal(err)
			}
			return path
		}, "permission denied: let Caddy's user read and write the file and its directory"},
		{"a newer version's file", func(t *testing.T, directory string) string {
			return written(t, directory, func(tx *bbolt.Tx) error {
				if err := tx.Bucket(bucketSessions).Put([]byte("key"), []byte("a value of another kind")); err != nil {
					return err
				}
				return tx.Bucket(bucketMeta).Put(keyVersion, seal(keyVersion, []byte{2, 0}))
			})
		}, "written by a newer version"},
		{"a text file", fileOf([]byte("this is no database\n")), foreign},
		{"a long text file", fileOf(bytes.Repeat([]byte("this is no database\n"), 10000)), foreign},
		{"one byte", fileOf([]byte{0}), foreign},
		{"zeros", fileOf(make([]byte, len(sound))), foreign},
		{"a registry of which no meta is left", fileOf(append(make([]byte, 2*os.Getpagesize()), sound[2*os.Getpagesize():]...)), foreign},
		{"another program's database", fileOf(otherDatabase(t, "sessions")), foreign},
		{"another program's empty database", fileOf(otherDatabase(t)), foreign},
		{"another program's database, with buckets of our names", fileOf(otherDatabase(t, "meta", "sessions")), foreign},
		{"another program's database, damaged", fileOf(truncated(otherDatabase(t, "sessions"))), foreign},
		{"a newer bbolt's file", func(t *testing.T, directory string) string {
			path := filepath.Join(directory, "registry.db")
			if err := os.WriteFile(path, newerBolt(sound), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}, "written by a newer version"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := test.make(t, t.TempDir())
			before, _ := os.ReadFile(path)
			store, err := Open(path, zap.NewNop())
			if err == nil {
				_ = store.Close()
			}
			if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got error %v, want one that says %q", err, test.says)
			}
			after, _ := os.ReadFile(path)
			if !bytes.Equal(before, after) || len(setAsides(t, path)) != 0 {
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

func fileOf(bytes []byte) func(t *testing.T, directory string) string {
	return func(t *testing.T, directory string) string {
		path := filepath.Join(directory, "registry.db")
		if err := os.WriteFile(path, bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

func truncated(file []byte) []byte { return file[:len(file)-os.Getpagesize()] }

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
			bucket, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			return bucket.Put([]byte("key"), []byte("a value"))
		}))
	}
	file, readErr := os.ReadFile(path)
	if err := errors.Join(err, readErr, db.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

// written makes a registry with a change.
func written(t *testing.T, directory string, change func(*bbolt.Tx) error) (path string) {
	t.Helper()
	path = filepath.Join(directory, "registry.db")
	store := mustOpen(t, path)
	if err := store.db.Update(change); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// newerBolt raises the version of both metas, with right checksums.
func newerBolt(sound []byte) []byte {
	file := bytes.Clone(sound)
	for _, meta := range metasOf(file) {
		native.PutUint32(meta[4:], boltVersion+1)
		sign(meta)
	}
	return file
}

// sign makes a meta's checksum right.
func sign(meta []byte) {
	sum := fnv.New64a()
	_, _ = sum.Write(meta[:56])
	native.PutUint64(meta[56:], sum.Sum64())
}

func metasOf(file []byte) [2][]byte {
	second := os.Getpagesize()
	return [2][]byte{file[pageHeader:][:metaSize], file[second+pageHeader:][:metaSize]}
}

// lastMeta is the meta of the last transaction.
func lastMeta(file []byte) []byte {
	metas := metasOf(file)
	if metaTx(metas[1]) > metaTx(metas[0]) {
		return metas[1]
	}
	return metas[0]
}

// rootOf is the position of the root page, highWater that of the end of the last page.
func rootOf(file []byte) int { return int(native.Uint64(lastMeta(file)[16:])) * os.Getpagesize() }

func highWater(file []byte) int { return int(native.Uint64(lastMeta(file)[40:])) * os.Getpagesize() }

// replaced replaces what occurs in a file, on free pages too.
func replaced(file []byte, old, replacement string) []byte {
	return bytes.ReplaceAll(file, []byte(old), []byte(replacement))
}

func TestSealFindsEveryFlippedBit(t *testing.T) {
	key, value := []byte("key"), []byte("value")
	sealed := seal(key, bytes.Clone(value))
	if unsealed, err := unseal(key, sealed); err != nil || !bytes.Equal(unsealed, value) {
		t.Fatalf("got %q, %v", unsealed, err)
	}
	for bit := range len(sealed) * 8 {
		flipped := bytes.Clone(sealed)
		flipped[bit/8] ^= 1 << (bit % 8)
		if _, err := unseal(key, flipped); !errors.Is(err, errDamaged) {
			t.Errorf("bit %d: got error %v", bit, err)
		}
	}
	if _, err := unseal([]byte("kez"), sealed); !errors.Is(err, errDamaged) {
		t.Errorf("another key: got error %v", err)
	}
	if _, err := unseal(key, sealed[:3]); !errors.Is(err, errDamaged) {
		t.Errorf("too short: got error %v", err)
	}
}

// wastefulFile is a registry of which most is free.
func wastefulFile(t *testing.T) (path string, id sessionstate.RegistryID, session sessionstate.SessionID) {
	t.Helper()
	path = pathIn(t)
	store := mustOpen(t, path)
	id = idOf(t, store)
	each := func(change func(bucket *bbolt.Bucket, key []byte) error) {
		if err := store.db.Update(func(tx *bbolt.Tx) (err error) {
			for i := range uint32(4000) {
				err = errors.Join(err, change(tx.Bucket(bucketResponses), binary.BigEndian.AppendUint32(nil, i)))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	each(func(bucket *bbolt.Bucket, key []byte) error { return bucket.Put(key, seal(key, make([]byte, 1000))) })
	session = addSessions(t, store, 10)
	each(func(bucket *bbolt.Bucket, key []byte) error { return bucket.Delete(key) })
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return path, id, session
}

func TestCompactsWhenMoreThanHalfIsFree(t *testing.T) {
	path, id, session := wastefulFile(t)
	unfinished, _ := soundFile(t) // of a process that was killed
	if err := os.WriteFile(path+".compact", unfinished, 0o600); err != nil {
		t.Fatal(err)
	}
	before := sizeOf(t, path)

	store := mustOpen(t, path)
	if after := sizeOf(t, path); after > before/4 {
		t.Errorf("compacted from %d to %d bytes", before, after)
	}
	if idOf(t, store) != id || !has(t, store, session) || !has(t, store, addSessions(t, store, 1)) {
		t.Error("the registry is not the same")
	}
	if files := filesIn(t, filepath.Dir(path)); len(files) != 1 {
		t.Errorf("there are %v", files)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path) // is ours still
}

func TestSmallOrFullFilesAreNotCompacted(t *testing.T) {
	for name, found := range map[string]findings{
		"small":     {pages: 256, used: 10, pageSize: 4096},
		"full":      {pages: 1000, used: 900, pageSize: 4096},
		"half full": {pages: 1000, used: 500, pageSize: 4096},
		"new":       {},
	} {
		if wasteful(found) {
			t.Errorf("%s: is compacted", name)
		}
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

// FuzzOpen opens files that are garbage from some position on: sound before it, or altogether garbage.
func FuzzOpen(f *testing.F) {
	sound, _ := soundFile(f)
	pageSize := os.Getpagesize()
	sound = sound[:highWater(sound)]
	f.Add([]byte(""), uint32(0), true)
	f.Add([]byte("text"), uint32(0), true)
	f.Add(sound[:pageSize], uint32(0), true)
	f.Add([]byte{0xff, 0xff}, uint32(2*pageSize), false)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint32(rootOf(sound)+8), false)
	f.Add(bytes.Repeat([]byte{1}, 64), uint32(rootOf(sound)+16), false)
	f.Fuzz(func(t *testing.T, garbage []byte, at uint32, alone bool) {
		file := garbage
		if !alone {
			file = bytes.Clone(sound)
			copy(file[int(at)%len(file):], garbage)
		}
		if len(file) > 1<<20 {
			t.Skip("too large to be quick")
		}
		path := filepath.Join(t.TempDir(), "registry.db")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		store, err := Open(path, zap.NewNop())
		if err != nil {
			if !errors.Is(err, registry.ErrUnavailable) {
				t.Fatalf("got error %v", err)
			}
			return
		}
		defer store.Close()
		if !has(t, store, addSessions(t, store, 1)) {
			t.Error("the session is lost")
		}
		if _, err := store.Expire(t.Context(), registry.Expiry{Now: start.Add(24 * time.Hour)}); err != nil {
			t.Error(err)
		}
	})
}

// FuzzVerify changes eight bytes somewhere, and makes the metas' checksums right again, so that their wrong numbers are met.
func FuzzVerify(f *testing.F) {
	sound, _ := soundFile(f)
	sound = sound[:highWater(sound)]
	f.Add(uint32(0), uint64(0), uint32(0))
	f.Add(uint32(rootOf(sound)+8), uint64(0xFFFF0001), uint32(0))
	for offset := range uint32(7) { // each number of the meta
		f.Add(pageHeader+8*offset, uint64(1)<<40, uint32(0))
		f.Add(uint32(os.Getpagesize())+pageHeader+8*offset, ^uint64(0), uint32(100))
	}
	f.Fuzz(func(t *testing.T, at uint32, value uint64, cut uint32) {
		file := bytes.Clone(sound)
		native.PutUint64(file[int(at)%(len(file)-8):], value)
		for _, meta := range metasOf(file) {
			sign(meta)
		}
		file = file[:len(file)-int(cut)%len(file)]
		_, err := verify(bytes.NewReader(file), int64(len(file)))
		if err != nil && !errors.Is(err, errCorrupt) && !errors.Is(err, errNewer) && !errors.Is(err, errForeign) {
			t.Errorf("got error %v", err)
		}
	})
}
