package discovery

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
)

func TestGzipIsUndoneUpToABound(t *testing.T) {
	header := http.Header{"Content-Encoding": {"GZIP"}}
	for size, want := range map[int]bool{0: true, 9: true, 10: true, 11: false, 1 << 20: false} {
		plain, err := exchange.Decode(header, reply.Zipped(strings.Repeat("x", size)), 10)
		if (err == nil) != want || want && len(plain) != size {
			t.Errorf("of %d bytes, %d came, %v", size, len(plain), err)
		}
	}
}

func TestSeveralMembersAreAddedInOrder(t *testing.T) {
	out, err := exchange.AddMembers([]byte(`{"issuer":"https://op.example.com","b":1}`), []exchange.Member{{Name: "a", Value: true}, {Name: "b", Value: 2}, {Name: "c", Value: "x"}})
	if err != nil || string(out) != `{"issuer":"https://op.example.com","b":1,"a":true,"c":"x"}` {
		t.Errorf("got %s, %v", out, err)
	}
	if _, err := exchange.AddMembers([]byte(`{"issuer":"https://op.example.com"}`), []exchange.Member{{Name: "a", Value: io.EOF == nil}, {Name: "f", Value: func() {}}}); err == nil {
		t.Error("a value that cannot be marshalled was added")
	}
}
