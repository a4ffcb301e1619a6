package reply

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// PlainReader hides WriterTo, so that io.Copy takes the writer's ReadFrom.
func PlainReader(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }

// BrokenReader gives some bytes and then fails.
type BrokenReader struct {
	io.Reader
	Err error
}

func (b BrokenReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = b.Err
	}
	return n, err
}

// Handler is an OP that always answers.
func Handler(respond http.HandlerFunc) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		respond(w, r)
		return nil
	})
}

func Redirect(location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	}
}

func Page(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<form>") }

// Answering returns an OP that answers with JSON.
func Answering(document string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, document)
	}
}

func ReadAll(t testing.TB, body io.Reader) string {
	t.Helper()
	all, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func Zipped(body string) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = io.WriteString(z, body)
	_ = z.Close()
	return out.Bytes()
}
