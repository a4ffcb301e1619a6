package integration

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// What is not sign-in passes as it came: tried through Caddy's reverse_proxy, once as a request that is not involved and once
// as one that is observed, because it carries the OP's login cookie.
func TestEveryOtherResponsePassesAsItCame(t *testing.T) {
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	up := newUpstream(t, op)
	runCaddy(t, t.TempDir(), site.caddyfile("", directives+"reverse_proxy "+strings.TrimPrefix(up.URL, "http://")+
		"\n\thandle_errors {\n\t\trespond \"our own page for {err.status_code}\" 502\n\t}"))
	transport := transport()
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	if _, err := client.Get(site.issuer + "/.well-known/openid-configuration"); err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(t *testing.T, request func(method, path string) *http.Request){
		"informational responses": func(t *testing.T, request func(string, string) *http.Request) {
			var hints []string
			r := request(http.MethodGet, "/hints")
			r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
					hints = append(hints, fmt.Sprint(code, " ", header.Get("Link")))
					return nil
				},
			}))
			if got, body := do(t, client, r); got.StatusCode != http.StatusOK || body != "after the hints" || len(hints) != 1 || hints[0] != "103 </style.css>" {
				t.Errorf("%s %q, hints %q", got.Status, body, hints)
			}
		},
		"trailers": func(t *testing.T, request func(string, string) *http.Request) {
			if got, body := do(t, client, request(http.MethodGet, "/trailers")); body != "body" || got.Trailer.Get("X-Sum") != "42" {
				t.Errorf("%q with trailers %v", body, got.Trailer)
			}
		},
		"HEAD": func(t *testing.T, request func(string, string) *http.Request) {
			if got, body := do(t, client, request(http.MethodHead, "/file")); got.ContentLength != 1<<20 || body != "" {
				t.Errorf("length %d, body of %d bytes", got.ContentLength, len(body))
			}
		},
		"ranges": func(t *testing.T, request func(string, string) *http.Request) {
			r := request(http.MethodGet, "/file")
			r.Header.Set("Range", "bytes=10-19")
			if got, body := do(t, client, r); got.StatusCode != http.StatusPartialContent || body != string(file[10:20]) {
				t.Errorf("%s %q", got.Status, body)
			}
		},
		"large bodies": func(t *testing.T, request func(string, string) *http.Request) {
			if _, body := do(t, client, request(http.MethodGet, "/file")); sha256.Sum256([]byte(body)) != sha256.Sum256(file) {
				t.Error("the body differs")
			}
		},
		"conditions": func(t *testing.T, request func(string, string) *http.Request) {
			r := request(http.MethodGet, "/file")
			r.Header.Set("If-None-Match", `"v1"`)
			if got, body := do(t, client, r); got.StatusCode != http.StatusNotModified || body != "" {
				t.Errorf("%s %q", got.Status, body)
			}
		},
		"server-sent events, at once": func(t *testing.T, request func(string, string) *http.Request) {
			response, err := client.Do(request(http.MethodGet, "/events"))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			line, err := bufio.NewReader(response.Body).ReadString('\n') // comes although the response has not ended
			if err != nil || line != "data: first\n" {
				t.Errorf("%q, %v", line, err)
			}
		},
		"upgrades": func(t *testing.T, request func(string, string) *http.Request) {
			r := request(http.MethodGet, "/socket")
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
			response, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			connection, ok := response.Body.(io.ReadWriter)
			if response.StatusCode != http.StatusSwitchingProtocols || !ok {
				t.Fatalf("%s, a connection: %v", response.Status, ok)
			}
			fmt.Fprint(connection, "ping\n")
			if line, err := bufio.NewReader(connection).ReadString('\n'); line != "echo of ping\n" {
				t.Errorf("%q, %v", line, err)
			}
		},
		"errors of the upstream, to handle_errors": func(t *testing.T, request func(string, string) *http.Request) {
			if got, body := do(t, client, request(http.MethodGet, "/hangup")); got.StatusCode != http.StatusBadGateway || body != "our own page for 502" {
				t.Errorf("%s %q", got.Status, body)
			}
		},
		"redirects that answer nobody": func(t *testing.T, request func(string, string) *http.Request) {
			got, err := transport.RoundTrip(request(http.MethodGet, "/elsewhere"))
			if err != nil {
				t.Fatal(err)
			}
			defer got.Body.Close()
			if got.Header.Get("Location") != "https://evil.example/?code=x&state=y" || got.Header.Get("Cache-Control") != "" || len(got.Cookies()) != 0 {
				t.Errorf("%v", got.Header)
			}
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for kind, cookie := range map[string]string{"not involved": "", "observed": "login=x; __Host-oidc_pending_x=y"} {
				t.Run(kind, func(t *testing.T) {
					test(t, func(method, path string) *http.Request {
						r, err := http.NewRequestWithContext(t.Context(), method, site.issuer+path, http.NoBody)
						if err != nil {
							t.Fatal(err)
						}
						if cookie != "" {
							r.Header.Set("Cookie", cookie)
						}
						return r
					})
				})
			}
		})
	}
}

var file = bytes.Repeat([]byte("0123456789abcdef"), 1<<16)

// newUpstream is an OP that also does all that HTTP can.
func newUpstream(t *testing.T, op *scriptedOP) *httptest.Server {
	ended := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/", op.discovery)
	mux.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprint(w, "after the hints")
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprint(w, "body")
		w.Header().Set("X-Sum", "42")
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "file.bin", time.Time{}, bytes.NewReader(file))
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: first\n")
		_ = http.NewResponseController(w).Flush()
		select { // held open: what arrives was not waiting for the end
		case <-ended:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/socket", serveSocket)
	mux.HandleFunc("/hangup", func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			connection.Close()
		}
	})
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://evil.example/?code=x&state=y")
		w.WriteHeader(http.StatusFound)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(ended) })
	return server
}

// serveSocket switches protocols and echoes one line.
func serveSocket(w http.ResponseWriter, _ *http.Request) {
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	line, err := buffered.ReadString('\n')
	if err == nil {
		fmt.Fprintf(connection, "echo of %s", line)
	}
}

func do(t *testing.T, client *http.Client, r *http.Request) (*http.Response, string) {
	t.Helper()
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}
