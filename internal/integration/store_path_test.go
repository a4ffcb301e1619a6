package integration

import (
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// A store that cannot be used is logged, with what to do, and keeps nobody from signing in. What
// is there is not the plugin's, and stays as it is.
func TestMistakesInTheStoresPathAreLoggedAndSignInsGoOn(t *testing.T) {
	const foreign = ": the file is no session registry, or damaged beyond recognition: give store file another path, or move the file away"
	for name, test := range map[string]struct {
		make func(path string) error
		says string
	}{
		"a text file": {func(path string) error { return os.WriteFile(path, []byte("somebody's notes\n"), 0o600) }, foreign},
		"another program's database": {func(path string) error {
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				return err
			}
			return db.Close()
		}, foreign},
		"a directory":                  {func(path string) error { return os.Mkdir(path, 0o700) }, ": it is a directory or a device, not a regular file: give store file the path of a file"},
		"a link that leads to no file": {func(path string) error { return os.Symlink(path+"-elsewhere", path) }, ": the link leads to no file: make an empty one there, or mount its disk"},
	} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			path := filepath.Join(t.TempDir(), "registry.db")
			if err := test.make(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(path)
			log := runLogged(t, t.TempDir(), site.caddyfile("oidc_session {\n\t\tstore file "+path+"\n\t}", "oidc_session\n\t"+op.proxy()))
			log.expect(t, `"level":"warn"`)
			log.expect(t, "session registry unavailable: opening "+path+test.says)
			if got := newBrowser(t).authorize(site, "shop", "alice", nil); got.sessionState() == "" {
				t.Errorf("the response is %v", got.values)
			}
			after, _ := os.ReadFile(path)
			if files, err := os.ReadDir(filepath.Dir(path)); len(files) != 1 || err != nil || string(after) != string(before) {
				t.Errorf("there are %v, %v", files, err)
			}
		})
	}
}
