package oidcsession

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/internal/clock"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/bolt"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
)

func init() {
	caddy.RegisterModule(FileStore{})
	caddy.RegisterModule(MemoryStore{})
}

// storeNamespace is that of the modules which open a registry: each is a registry.Opener.
const storeNamespace = "oidc_session.stores"

// loadStore returns the configured store, or the default one.
func (a *App) loadStore(ctx caddy.Context) (registry.Opener, error) {
	if len(a.StoreRaw) == 0 {
		a.StoreRaw = []byte(`{"module":"file"}`)
	}
	loaded, err := ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return nil, err
	}
	opener, ok := loaded.(registry.Opener)
	if !ok {
		return nil, fmt.Errorf("module %T is no store", loaded)
	}
	return opener, nil
}

// FileStore records sessions in a file (bbolt), for one server. They outlast reloads and restarts.
type FileStore struct {
	// The file's path. Takes placeholders that are known at start. A file there that is no
	// registry of this plugin's is never renamed or written: sessions are kept in cookies only,
	// and the log says so.
	//
	// Default: oidc_session/registry.db in Caddy's data directory.
	Path string `json:"path,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (FileStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID: storeNamespace + ".file", New: func() caddy.Module { return new(FileStore) },
	}
}

// Provision makes the path absolute, so that one file is one store.
func (s *FileStore) Provision(caddy.Context) error {
	if s.Path == "" {
		s.Path = filepath.Join(caddy.AppDataDir(), "oidc_session", "registry.db")
	}
	if err := resolveAll(setting{"store", &s.Path}); err != nil {
		return err
	}
	if err := validateStorePath(s.Path); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	absolute, err := filepath.Abs(s.Path)
	if err == nil {
		s.Path, err = absolute, validateStorePath(absolute) // by a detour, it may be the root
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// validateStorePath checks the path by its form only: the Caddyfile may be adapted elsewhere, and
// whatever is there at the start keeps nobody from signing in.
func validateStorePath(path string) error {
	if os.IsPathSeparator(path[len(path)-1]) {
		return fmt.Errorf("%q is the path of a directory: write that of a file, such as %s",
			path, filepath.Join(path, "registry.db"))
	}
	return nil
}

// SharingKey is equal for equal files.
func (s *FileStore) SharingKey() string { return "file " + s.Path }

// Open opens the file, or makes it.
func (s *FileStore) Open(logger *zap.Logger) (registry.Store, error) {
	return bolt.Open(s.Path, clock.Now, logger)
}

// MemoryStore records sessions in memory, for tests and for a server that may forget them: after a
// restart, only the browsers' cookies know of the sign-ins before.
type MemoryStore struct{}

// CaddyModule returns the Caddy module information.
func (MemoryStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID: storeNamespace + ".memory", New: func() caddy.Module { return new(MemoryStore) },
	}
}

// SharingKey is the same for all: reloads keep the sessions.
func (*MemoryStore) SharingKey() string { return "memory" }

// Open makes an empty store.
func (*MemoryStore) Open(*zap.Logger) (registry.Store, error) { return memory.New(clock.Now), nil }

// Interface guards
var (
	_ caddy.Provisioner = (*FileStore)(nil)
	_ registry.Opener   = (*FileStore)(nil)
	_ registry.Opener   = (*MemoryStore)(nil)
)
