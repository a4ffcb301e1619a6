package oidcsession

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// The files in testdata/adapt are a Caddyfile, a line of dashes, and either the JSON it adapts to or a part of the error it is
// refused with: the form of Caddy's own.
func TestCaddyfilesAdaptAsTheirGoldenFilesSay(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "adapt", "*.caddyfiletest"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, found := strings.Cut(string(content), "\n----------\n")
			if !found {
				t.Fatal("no line of ten dashes")
			}
			got, err := adapt(input)
			if want = strings.TrimSpace(want); !strings.HasPrefix(want, "{") {
				if err == nil || want == "" || !strings.Contains(err.Error(), want) {
					t.Fatalf("error is %v, want one with %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if canonical(t, got) != canonical(t, []byte(want)) {
				t.Errorf("adapted to\n%s\nwant\n%s", indented(t, got), want)
			}
		})
	}
}

// adapt turns a Caddyfile into JSON, in which warnings are errors.
func adapt(input string) ([]byte, error) {
	got, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, err
	}
	for _, warning := range warnings {
		if !strings.Contains(warning.Message, "not formatted") {
			return nil, &json.UnsupportedValueError{Str: warning.String()}
		}
	}
	return got, nil
}

func canonical(t *testing.T, document []byte) string {
	t.Helper()
	var value any
	if err := json.Unmarshal(document, &value); err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	out, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func indented(t *testing.T, document []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, document, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
