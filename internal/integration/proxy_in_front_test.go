package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	documentPath = "/.well-known/openid-configuration"
	signInPath   = "/authorize?response_type=code&client_id=shop"
	missedHost   = "requests come for another host than the issuer's"
	missedPath   = "requests come without the issuer's path"
)

// arriving are requests for a host and a path. HOST is the issuer's.
type arriving struct {
	count      int
	host, path string
	header     string // sent too
	later      time.Duration
}

// A proxy in front that changes the Host or the path is logged with both values, and nothing else is.
func TestAProxyInFrontThatChangesRequestsIsLoggedOnce(t *testing.T) {
	const wrong, minute = "caddy.internal", time.Minute
	onHost := `"host":"caddy.internal","issuer_host":"HOST","issuer":"ISSUER","advice":"have the proxy in front keep the Host that the browser sent, ` +
		`or give oidc_session the issuer of this host's OP"`
	onPath := `"path":"/.well-known/openid-configuration","issuer_path":"/auth","issuer":"ISSUER","advice":"have the proxy in front keep ` +
		`the whole path that the browser sent: its prefix can be stripped behind oidc_session"`
	tests := map[string]struct {
		path    string // of the issuer
		arrives []arriving
		want    string // fields; empty: nothing is logged
	}{
		"health checks of the document":   {"", []arriving{{count: 30, host: "127.0.0.1", path: documentPath}, {1, "127.0.0.1", documentPath, "", minute}}, ""},
		"Host changed, health checks too": {"", []arriving{{count: 3, host: wrong, path: signInPath}, {3, "127.0.0.1", documentPath, "", 0}, {1, wrong, signInPath, "", minute}}, onHost},
		"Host changed, sign-ins":          {"", []arriving{{count: 3, host: wrong, path: signInPath}, {1, wrong, signInPath, "", minute}}, onHost},
		"Host changed, check pages":       {"", []arriving{{count: 3, host: wrong, path: "/oidc/check-session"}, {1, wrong, "/oidc/check-session", "", minute}}, onHost},
		"Host changed, many at once":      {"", []arriving{{count: 20, host: wrong, path: signInPath}}, onHost},
		"prefix stripped":                 {"/auth", []arriving{{count: 3, host: "HOST", path: documentPath}, {1, "HOST", documentPath, "", minute}}, onPath},
		"few at once":                     {"", []arriving{{count: 19, host: wrong, path: signInPath}}, ""},
		"two, and one much later":         {"", []arriving{{count: 1, host: wrong, path: signInPath}, {1, wrong, signInPath, "", time.Hour}}, ""},
		"one came right before":           {"", []arriving{{count: 1, host: "HOST", path: "/x"}, {30, wrong, signInPath, "", minute}}, ""},
		"Host is in capitals":             {"", []arriving{{count: 30, host: "CAPITALS", path: signInPath}}, ""},
		"health checks and pages":         {"", []arriving{{count: 30, host: "127.0.0.1", path: "/health"}, {30, wrong, "/?x=y", "session=1", minute}}, ""},
		"a scanner with hosts of its own": {"", []arriving{{count: 30, host: "*.example", path: documentPath}}, ""},
		"a very long host":                {"", []arriving{{count: 30, host: strings.Repeat("a", 600), path: documentPath}}, ""},
		"those of another handler's OP":   {"", []arriving{{count: 30, host: "other.example", path: documentPath}}, ""},
		"prefix kept":                     {"/auth", []arriving{{count: 1, host: "HOST", path: "/auth/login"}, {30, "HOST", documentPath, "", minute}}, ""},
		"pages elsewhere on the host":     {"/auth", []arriving{{count: 30, host: "HOST", path: signInPath}, {30, "HOST", "/app", "x=y", minute}}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			site.issuer += tt.path
			clock := setClock(t)
			op := newScriptedOP(t, site.issuer)
			log := runLogged(t, t.TempDir(), fmt.Sprintf("http://:%d {\n\tbind 127.0.0.1\n\toidc_session {\n\t\tissuer %s\n\t}\n\t"+
				"@other host other.example\n\troute @other {\n\t\toidc_session {\n\t\t\tissuer http://other.example\n\t\t}\n\t}\n\t%s\n}\n", site.port, site.issuer, op.proxy()))
			host := fmt.Sprintf("op.localhost:%d", site.port)
			for _, a := range tt.arrives {
				clock.advance(a.later)
				for i := range a.count {
					arrive(t, site, strings.NewReplacer("HOST", host, "CAPITALS", strings.ToUpper(host), "*", fmt.Sprint("h", i)).Replace(a.host), a)
				}
			}
			if tt.want != "" {
				// 20 more: it is logged once
				last := tt.arrives[len(tt.arrives)-1]
				for range 20 {
					arrive(t, site, strings.ReplaceAll(last.host, "HOST", host), last)
				}
				log.expect(t, strings.NewReplacer("HOST", host, "ISSUER", site.issuer).Replace(tt.want))
			}
			want := min(len(tt.want), 1)
			if got := strings.Count(log.String(), missedHost) + strings.Count(log.String(), missedPath); got != want {
				t.Errorf("notified %d times, want %d:\n%s", got, want, log)
			}
		})
	}
}

// arrive sends a request.
func arrive(t *testing.T, s site, host string, a arriving) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", s.port, a.path), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	if a.header != "" {
		r.Header.Set("Cookie", a.header)
	}
	network := transport()
	defer network.CloseIdleConnections()
	response, err := network.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
}
