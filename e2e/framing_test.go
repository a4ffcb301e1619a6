package e2e

import (
	"net/http"
	"strings"
	"testing"
)

func TestCheckPageIsFramableWhereTheSiteDeniesFrames(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	client := s.client(t)
	tests := []struct {
		name, path, framing string
	}{
		{"the check page may be framed", checkSessionPath, ""},
		{"the discovery document keeps the site's field", "/.well-known/openid-configuration", "DENY"},
		{"an endpoint of the OP keeps the site's field", "/jwks", "DENY"},
		{"a page that is not there keeps the site's field", "/oidc/check-session/", "DENY"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			header := get(t, client, s.url(opHost, test.path))
			if got := header.Get("X-Frame-Options"); got != test.framing {
				t.Errorf("X-Frame-Options is %q, want %q", got, test.framing)
			}
			policies := strings.Join(header.Values("Content-Security-Policy"), ";")
			if test.framing == "" && strings.Contains(policies, "frame-ancestors") {
				t.Errorf("Content-Security-Policy is %q, which names ancestors", policies)
			}
		})
	}
}

func get(t *testing.T, client *http.Client, url string) http.Header {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.Header
}
