package oidcsession_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// architecture says who may import whom. "." is this module's root package, "./dir" another of its packages, "/..." those
// below it as well. The standard library is free to all. The first row that fits a package counts; a package that no row
// fits is an error, so that a new one is placed here when it is made. Test files are not looked at.
var architecture = []row{
	// Programs. Nothing imports them, and they alone import the root.
	{packages: "./cmd/...", imports: []string{"./...", anythingElse}},
	{packages: "./bench/...", imports: []string{"./...", anythingElse}},

	// The plugin itself: Caddy's side of it. It knows all that is below.
	{packages: ".", imports: []string{
		"./handlers/...", "./registry/...", "./tokens/...", "./notify/...", "./assets/...", "./sessionstate/...",
		"./internal/clock", "./internal/placement",
		anythingElse,
	}},

	// Where the handlers of ours may be among Caddy's routes.
	{packages: "./internal/placement", imports: []string{"./handlers/overview", anythingElse}},

	// The clock, ports for tests, and the tests of the whole product, which nothing imports.
	{packages: "./internal/clock", imports: []string{}},
	{packages: "./internal/freeport", imports: []string{"golang.org/x/sys/unix"}},
	{packages: "./internal/integration", imports: []string{}},

	// What the tests of the endpoints share.
	{packages: "./handlers/internal/reply", imports: []string{caddyhttp}},
	{packages: "./handlers/internal/handlerstest", imports: slices.Concat(kernel, []string{
		"./handlers/...", "./registry/...", "./notify", "github.com/go-jose/go-jose/v4/...",
	})},

	// The endpoints, floor by floor: each knows what is on the floors below it. Of Caddy they know caddyhttp alone, and of the
	// registry not which store is behind it.
	{packages: "./handlers/overview", imports: slices.Concat(kernel, ground, middle, []string{"./handlers/logout"})},
	{packages: "./handlers/registration", imports: slices.Concat(kernel, ground, middle, []string{"./handlers/logout"})},
	{packages: "./handlers/guard", imports: slices.Concat(kernel, []string{"./assets"})},
	{packages: "./handlers/logout", imports: slices.Concat(kernel, ground, middle, []string{"./assets", "golang.org/x/net/..."})},
	{packages: "./handlers/check", imports: slices.Concat(kernel, ground, []string{"./assets", "golang.org/x/time/rate"})},
	{packages: "./handlers/signin", imports: slices.Concat(kernel, ground)},
	{packages: "./handlers/backchannel", imports: slices.Concat(kernel, ground, []string{"./notify"})},
	{packages: "./handlers/discovery", imports: kernel},
	{packages: "./handlers/browser", imports: kernel},
	{packages: "./handlers/clients", imports: slices.Concat(kernel, []string{"./assets", "golang.org/x/net/idna"})},
	{packages: "./handlers/opkeys", imports: kernel},
	{packages: "./handlers", imports: slices.Concat(kernel, []string{"golang.org/x/net/..."})},
	{packages: "./handlers/exchange", imports: []string{caddyhttp, caddyhttp + "/encode", "golang.org/x/net/html"}},

	// The level below the endpoints: these do not know each other, but that notices are the registry's.
	{packages: "./registry/bolt/...", imports: []string{
		"./registry/...", "./sessionstate/...", "go.etcd.io/bbolt/...", "go.uber.org/zap/...",
	}},
	{packages: "./registry/...", imports: []string{
		"./registry/...", "./sessionstate/...", "go.uber.org/zap/...", "github.com/fxamacker/cbor/v2", "github.com/google/btree",
	}},
	{packages: "./tokens/...", imports: []string{"./tokens/...", "./sessionstate/...", "github.com/go-jose/go-jose/v4/..."}},
	{packages: "./notify/...", imports: []string{"./notify/...", "./registry", "./sessionstate/...", "go.uber.org/zap/...", "golang.org/x/net/publicsuffix"}},
	{packages: "./assets/...", imports: []string{"golang.org/x/text/..."}},

	// The arithmetic, which an OP written in Go imports too, so that what it pulls in is counted as well.
	{
		packages: "./sessionstate/...",
		imports:  []string{"./sessionstate/...", "golang.org/x/net/idna", "golang.org/x/crypto/chacha20poly1305"},
		tree: []string{
			"./sessionstate/...", "golang.org/x/net/idna", "golang.org/x/text/...",
			"golang.org/x/crypto/chacha20poly1305", "golang.org/x/crypto/chacha20", "golang.org/x/crypto/internal/...",
			"golang.org/x/sys/cpu",
		},
	},
}

// The floors of the endpoints.
var (
	// kernel is what all of them may import.
	kernel = []string{
		"./handlers", "./handlers/exchange", "./registry", "./tokens", "./sessionstate", caddyhttp,
		"go.uber.org/zap/...", "github.com/hashicorp/golang-lru/v2/simplelru",
	}
	ground = []string{"./handlers/browser", "./handlers/clients", "./handlers/opkeys"}
	middle = []string{"./handlers/check", "./handlers/signin", "./handlers/backchannel", "./handlers/discovery"}
)

const caddyhttp = "github.com/caddyserver/caddy/v2/modules/caddyhttp"

// thisModule is the path that "." stands for in the rows.
const thisModule = "github.com/oidc-session/caddy-oidc-session"

// anythingElse permits whatever does not belong to this module.
const anythingElse = "*"

// row is one line of the architecture.
type row struct {
	packages string   // the packages it is about
	imports  []string // what they may import directly
	tree     []string // all that may come along, directly or not; nil: not looked at
}

// pkg is what `go list` says of one package.
type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func TestPackagesImportOnlyWhatTheArchitectureAllows(t *testing.T) {
	graph := listPackages(t)
	if _, ok := graph[thisModule+"/sessionstate"]; !ok {
		t.Fatal("go list does not know the package sessionstate; was the wrong directory listed?")
	}
	for _, v := range violations(graph, architecture) {
		t.Error(v)
	}
}

func TestTheCheckOfImportsFindsViolations(t *testing.T) {
	const caddy, idna = "github.com/caddyserver/caddy/v2", "golang.org/x/net/idna"
	tests := []struct {
		name  string
		graph map[string][]string
		want  []string
	}{
		{
			name: "the intended directions are fine",
			graph: map[string][]string{
				"./cmd/caddy":       {".", caddy + "/cmd", "fmt"},
				".":                 {"./handlers", "./registry/bolt", caddy + "/caddyconfig/httpcaddyfile"},
				"./handlers/logout": {"./handlers/signin", "./handlers/browser", "./handlers", "./assets"},
				"./handlers/signin": {"./handlers/browser", "./handlers/clients", "./handlers/exchange"},
				"./handlers":        {"./handlers/exchange", "./registry", "./sessionstate", caddy + "/modules/caddyhttp", "go.uber.org/zap/zapcore"},
				"./registry":        {"./sessionstate"},
				"./registry/bolt":   {"./registry", "go.etcd.io/bbolt"},
				"./tokens":          {"github.com/go-jose/go-jose/v4/jwt"},
				"./assets":          {"fmt"},
				"./sessionstate":    {idna, "fmt"},
				idna:                {"golang.org/x/text/unicode/norm"},
			},
		},
		{
			name:  "a package below may not import the root",
			graph: map[string][]string{"./registry": {"."}, "./handlers": {"."}},
			want:  []string{"./handlers may not import .", "./registry may not import ."},
		},
		{
			name:  "a package may not import one above it",
			graph: map[string][]string{"./sessionstate": {"./registry"}, "./tokens": {"./handlers"}},
			want: []string{
				"./sessionstate may not depend on ./registry, by way of ./sessionstate",
				"./sessionstate may not import ./registry",
				"./tokens may not import ./handlers",
			},
		},
		{
			name: "an endpoint may not know one on its own floor or above it",
			graph: map[string][]string{
				"./handlers/signin": {"./handlers/check", "./handlers/logout"}, "./handlers/browser": {"./handlers/signin"},
				"./handlers/exchange": {"./handlers"}, "./handlers": {"./handlers/browser"},
			},
			want: []string{
				"./handlers may not import ./handlers/browser", "./handlers/browser may not import ./handlers/signin",
				"./handlers/exchange may not import ./handlers", "./handlers/signin may not import ./handlers/check",
				"./handlers/signin may not import ./handlers/logout",
			},
		},
		{
			name:  "packages of one level may not know each other",
			graph: map[string][]string{"./notify": {"./tokens"}},
			want:  []string{"./notify may not import ./tokens"},
		},
		{
			name:  "the endpoints may not know a store or more of Caddy",
			graph: map[string][]string{"./handlers": {"./registry/bolt", caddy + "/caddyconfig"}},
			want:  []string{"./handlers may not import ./registry/bolt", "./handlers may not import " + caddy + "/caddyconfig"},
		},
		{
			name:  "bbolt stays in its own package, and the likeness of a name is no permission",
			graph: map[string][]string{"./registry/memory": {"go.etcd.io/bbolt"}, "./registry/bolt": {"go.etcd.io/bboltish"}},
			want:  []string{"./registry/bolt may not import go.etcd.io/bboltish", "./registry/memory may not import go.etcd.io/bbolt"},
		},
		{
			name:  "the assets have the standard library only",
			graph: map[string][]string{"./assets": {"./sessionstate", "fmt"}},
			want:  []string{"./assets may not import ./sessionstate"},
		},
		{
			name:  "what the arithmetic pulls in is counted",
			graph: map[string][]string{"./sessionstate": {idna}, idna: {"example.com/a"}, "example.com/a": {idna, "example.com/b"}},
			want: []string{
				"./sessionstate may not depend on example.com/a, by way of " + idna,
				"./sessionstate may not depend on example.com/b, by way of example.com/a",
			},
		},
		{
			name:  "a package without a row is an error",
			graph: map[string][]string{"./internal/helpers": {"fmt"}},
			want:  []string{"./internal/helpers has no row in the architecture"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := violations(madeUp(test.graph), architecture); !slices.Equal(got, test.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(test.want, "\n\t"))
			}
		})
	}
}

// madeUp turns a short form, with this module's packages written as in the rows, into what go list would say. "fmt" is the
// standard library.
func madeUp(short map[string][]string) map[string]pkg {
	graph := map[string]pkg{"fmt": {ImportPath: "fmt", Standard: true}}
	for path, imports := range short {
		p := pkg{ImportPath: inFull(path)}
		for _, imported := range imports {
			p.Imports = append(p.Imports, inFull(imported))
		}
		graph[p.ImportPath] = p
	}
	return graph
}

// listPackages is this module's packages and all they depend on, by path.
func listPackages(t *testing.T) map[string]pkg {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-json=ImportPath,Imports,Standard", "./...")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}

	graph := make(map[string]pkg)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return graph
		}
		if err != nil {
			t.Fatalf("reading go list's output: %v", err)
		}
		graph[p.ImportPath] = p
	}
}

// violations is what in the graph the rows do not allow, in order; nil when all is well.
func violations(graph map[string]pkg, rows []row) []string {
	var found []string
	for path, p := range graph {
		if !ours(path) {
			continue
		}
		i := slices.IndexFunc(rows, func(r row) bool { return fits(path, r.packages) })
		if i < 0 {
			found = append(found, inShort(path)+" has no row in the architecture")
			continue
		}
		for _, imported := range p.Imports {
			if !graph[imported].Standard && !allowed(imported, rows[i].imports) {
				found = append(found, fmt.Sprintf("%s may not import %s", inShort(path), inShort(imported)))
			}
		}
		if rows[i].tree != nil {
			found = append(found, violationsBelow(graph, path, rows[i].tree)...)
		}
	}
	slices.Sort(found)
	return found
}

// violationsBelow follows the imports of start as far as they go.
func violationsBelow(graph map[string]pkg, start string, tree []string) []string {
	var found []string
	seen := map[string]bool{start: true}
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		for _, imported := range graph[queue[0]].Imports {
			if seen[imported] || graph[imported].Standard {
				continue
			}
			seen[imported] = true
			queue = append(queue, imported)
			if !allowed(imported, tree) {
				found = append(found, fmt.Sprintf("%s may not depend on %s, by way of %s",
					inShort(start), inShort(imported), inShort(queue[0])))
			}
		}
	}
	return found
}

// allowed reports whether one of the patterns fits the path.
func allowed(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		return fits(path, pattern) || pattern == anythingElse && !ours(path)
	})
}

// fits reports whether the path is the pattern's, or below it where the pattern ends in "/...".
func fits(path, pattern string) bool {
	base, below := strings.CutSuffix(inFull(pattern), "/...")
	return path == base || below && strings.HasPrefix(path, base+"/")
}

// ours reports whether the path belongs to this module.
func ours(path string) bool { return fits(path, "./...") }

// inFull is the import path of what the rows write with a leading dot.
func inFull(short string) string {
	if rest, ok := strings.CutPrefix(short, "."); ok {
		return thisModule + rest
	}
	return short
}

// inShort is the reverse of inFull.
func inShort(path string) string {
	if ours(path) {
		return "." + strings.TrimPrefix(path, thisModule)
	}
	return path
}
