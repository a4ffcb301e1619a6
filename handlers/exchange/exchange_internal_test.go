package exchange

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
)

// decisions counts what an exchange was asked to decide, and marks each response with the count.
type decisions struct {
	statuses []int
	hold     *Hold
}

func (d *decisions) decide(status int, header http.Header) *Hold {
	d.statuses = append(d.statuses, status)
	header.Set("X-Edited", strconv.Itoa(len(d.statuses)))
	return d.hold
}

// serve starts a server whose responses are observed, and returns a client that follows no
// redirects.
func (d *decisions) serve(t *testing.T, next http.HandlerFunc) (*http.Client, string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := Observe(w, r, reply.Handler(next), d.decide); err != nil {
			t.Errorf("observe: %v", err)
		}
	}))
	t.Cleanup(server.Close)
	client := server.Client()
	client.Timeout = time.Minute
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client, server.URL
}

func TestAResponseIsDecidedOnceAtItsFinalHeader(t *testing.T) {
	tests := []struct {
		name    string
		method  string
		respond http.HandlerFunc
		status  int
		body    string
		informs []int
	}{
		{"redirect", "GET", reply.Redirect("/elsewhere"), 302, "", nil},
		{"redirect with a body", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(303)
			_, _ = io.WriteString(w, "see")
			_, _ = io.WriteString(w, " other")
		}, 303, "see other", nil},
		{"body without a header", "GET", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }, 200, "ok", nil},
		{"copied body", "GET", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, reply.PlainReader("copied")) }, 200, "copied", nil},
		{"header, then copied body", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(201)
			_, _ = io.Copy(w, reply.PlainReader("copied"))
		}, 201, "copied", nil},
		{"flush before the body", "GET", func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "late")
		}, 200, "late", nil},
		{"two headers", "GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(302); w.WriteHeader(500) }, 302, "", nil},
		{"103, then a redirect", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(103)
			w.WriteHeader(302)
		}, 302, "", []int{103}},
		{"several informational headers", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(102)
			w.WriteHeader(103)
			_, _ = io.WriteString(w, "ok")
		}, 200, "ok", []int{102, 103}},
		{"HEAD", "HEAD", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "not sent") }, 200, "", nil},
		{"204", "GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, "", nil},
		{"304", "GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, 304, "", nil},
		{"range of a file", "GET", func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=2-4")
			http.ServeContent(w, r, "file.txt", time.Time{}, strings.NewReader("0123456789"))
		}, 206, "234", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d decisions
			client, url := d.serve(t, tt.respond)
			var informs []int
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
					informs = append(informs, code)
					if header.Get("X-Edited") != "" {
						t.Error("an informational header was edited")
					}
					return nil
				},
			})
			request, err := http.NewRequestWithContext(ctx, tt.method, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body := reply.ReadAll(t, response.Body)
			if response.StatusCode != tt.status || body != tt.body {
				t.Errorf("got %d %q, want %d %q", response.StatusCode, body, tt.status, tt.body)
			}
			if len(d.statuses) != 1 || d.statuses[0] != tt.status || response.Header.Get("X-Edited") != "1" {
				t.Errorf("decided on %v, edited %q times", d.statuses, response.Header.Get("X-Edited"))
			}
			if fmt.Sprint(informs) != fmt.Sprint(tt.informs) {
				t.Errorf("informational headers %v, want %v", informs, tt.informs)
			}
		})
	}
}

func TestAResponseThatIsNeverWrittenIsNotDecided(t *testing.T) {
	for _, hold := range []*Hold{nil, {Limit: 10, Edit: func(http.Header, []byte) []byte { return []byte("edited") }}} {
		d := decisions{hold: hold}
		client, url := d.serve(t, func(http.ResponseWriter, *http.Request) {})
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		if body := reply.ReadAll(t, response.Body); len(d.statuses) != 0 || response.StatusCode != 200 || body != "" {
			t.Errorf("decided on %v, answered %d %q", d.statuses, response.StatusCode, body)
		}
		_ = response.Body.Close()
	}
}

func TestAHeldBodyIsEdited(t *testing.T) {
	tests := []struct {
		name    string
		respond http.HandlerFunc
	}{
		{"written at once", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "abc") }},
		{"written in parts", func(w http.ResponseWriter, _ *http.Request) {
			for _, part := range []string{"a", "b", "c"} {
				_, _ = io.WriteString(w, part)
			}
		}},
		{"copied", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, reply.PlainReader("abc")) }},
		{"written, flushed and copied", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "a")
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
			_, _ = io.Copy(w, reply.PlainReader("bc"))
		}},
		{"flushed first", func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "abc")
		}},
		{"after 103", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); _, _ = io.WriteString(w, "abc") }},
		{"with a length of its own", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "3")
			_, _ = io.WriteString(w, "abc")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decisions{hold: &Hold{Limit: 3, Edit: func(header http.Header, body []byte) []byte {
				header.Set("Etag", `"new"`)
				return append([]byte("edited "), body...)
			}}}
			client, url := d.serve(t, func(w http.ResponseWriter, r *http.Request) {
				for _, field := range []string{"Content-Encoding", "Last-Modified", "Accept-Ranges", "Content-Md5", "Digest", "Repr-Digest", "Content-Digest"} {
					w.Header().Set(field, "x")
				}
				w.Header().Set("X-Kept", "y")
				tt.respond(w, r)
			})
			response, err := client.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if body := reply.ReadAll(t, response.Body); body != "edited abc" || response.ContentLength != 10 {
				t.Errorf("got %q of length %d", body, response.ContentLength)
			}
			if response.Header.Get("Etag") != `"new"` || response.Header.Get("X-Kept") != "y" || response.Header.Get("X-Edited") != "1" {
				t.Errorf("header is %v", response.Header)
			}
			for _, field := range []string{"Content-Encoding", "Last-Modified", "Accept-Ranges", "Content-Md5", "Digest", "Repr-Digest", "Content-Digest"} {
				if response.Header.Get(field) != "" {
					t.Errorf("%s still describes the bytes before the edit", field)
				}
			}
		})
	}
}

func TestAHeldBodyGoesOutAsItCame(t *testing.T) {
	long := strings.Repeat("0123456789", 2000)
	inChunks := func(body string, size int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for chunk := range bytes.SplitSeq([]byte(body), nil) { // one byte each
				_, _ = w.Write(chunk)
				if size--; size == 0 {
					_ = http.NewResponseController(w).Flush()
				}
			}
		}
	}
	copied := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if n, err := io.Copy(w, reply.PlainReader(body)); err != nil || n != int64(len(body)) {
				panic(fmt.Sprint(n, err))
			}
		}
	}
	tests := []struct {
		name    string
		limit   int
		body    string
		edits   bool // edit gets to see it, and returns nil
		respond http.HandlerFunc
	}{
		{"not to be edited", 10, "abc", true, copied("abc")},
		{"exactly at the bound, copied", 3, "abc", true, copied("abc")},
		{"exactly at the bound, in chunks", 3, "abc", true, inChunks("abc", 2)},
		{"empty", 3, "", true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }},
		{"one byte over the bound, in chunks", 2, "abc", false, inChunks("abc", 2)},
		{"one byte over the bound, copied", 2, "abc", false, copied("abc")},
		{"far over the bound, in chunks", 64, long, false, inChunks(long, 7)},
		{"far over the bound, copied", 64, long, false, copied(long)},
		{"written up to the bound, then copied over it", 3, "abcd", false, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "abc")
			_, _ = io.Copy(w, reply.PlainReader("d"))
		}},
		{"copied up to the bound, then written over it", 3, "abcd", false, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, reply.PlainReader("abc"))
			_, _ = io.WriteString(w, "d")
		}},
		{"with a length over the bound", 3, "abcd", false, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4")
			_, _ = io.WriteString(w, "abcd")
		}},
		{"with a length that is no number", 10, "abc", true, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "many")
			_, _ = io.WriteString(w, "abc")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			edited := false
			d := decisions{hold: &Hold{Limit: tt.limit, Edit: func(_ http.Header, body []byte) []byte {
				edited = true
				if string(body) != tt.body {
					t.Errorf("edit was given %q", body)
				}
				return nil
			}}}
			client, url := d.serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Digest", "kept")
				tt.respond(w, r)
			})
			response, err := client.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if body := reply.ReadAll(t, response.Body); body != tt.body || response.StatusCode != 200 || edited != tt.edits {
				t.Errorf("got %d, %d bytes of %d, edit called: %v", response.StatusCode, len(body), len(tt.body), edited)
			}
			if response.Header.Get("Content-Digest") != "kept" || response.Header.Get("X-Edited") != "1" {
				t.Errorf("header is %v", response.Header)
			}
		})
	}
}

func TestAHeldBodyIsNotSentBeforeItsEnd(t *testing.T) {
	recorder := httptest.NewRecorder()
	d := decisions{hold: &Hold{Limit: 10, Edit: func(http.Header, []byte) []byte { return nil }}}
	err := Observe(recorder, httptest.NewRequest("GET", "/", nil), reply.Handler(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "abc")
		_ = http.NewResponseController(w).Flush()
		if recorder.Body.Len() != 0 || recorder.Flushed {
			t.Error("a part of the body was sent while it was held")
		}
	}), d.decide)
	if err != nil || recorder.Body.String() != "abc" {
		t.Errorf("got %q, %v", recorder.Body, err)
	}
}

func TestAnErrorOfTheHandlerBehindStaysThatError(t *testing.T) {
	behind := caddyhttp.Error(http.StatusBadGateway, errors.New("dial failed"))
	holding := &Hold{Limit: 10, Edit: func(http.Header, []byte) []byte { panic("edited although the handler behind failed") }}
	tests := []struct {
		name string
		hold *Hold
		next func(http.ResponseWriter)
		sent string
		code int // that the recorder saw; 200 is its default
	}{
		{"before anything", nil, func(http.ResponseWriter) {}, "", 200},
		{"while holding", holding, func(w http.ResponseWriter) { w.WriteHeader(201); _, _ = io.WriteString(w, "abc") }, "", 200},
		{"while streaming", nil, func(w http.ResponseWriter) { w.WriteHeader(201); _, _ = io.WriteString(w, "abc") }, "abc", 201},
		{"over the bound", holding, func(w http.ResponseWriter) { w.WriteHeader(201); _, _ = io.WriteString(w, "over the bound") }, "over the bound", 201},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			recorder := httptest.NewRecorder()
			d := decisions{hold: tt.hold}
			err := Observe(recorder, httptest.NewRequest("GET", "/", nil), caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				tt.next(w)
				return behind
			}), d.decide)
			if err != error(behind) { //nolint:errorlint // the very same value, for handle_errors
				t.Errorf("got error %v", err)
			}
			if recorder.Body.String() != tt.sent || recorder.Code != tt.code {
				t.Errorf("sent %d %q, want %d %q", recorder.Code, recorder.Body, tt.code, tt.sent)
			}
		})
	}
}

func TestAReadErrorBehindReachesTheHandlerBehind(t *testing.T) {
	broken := errors.New("connection reset")
	for _, limit := range []int{2, 3, 100} {
		recorder := httptest.NewRecorder()
		d := decisions{hold: &Hold{Limit: limit, Edit: func(http.Header, []byte) []byte { return nil }}}
		err := Observe(recorder, httptest.NewRequest("GET", "/", nil), caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			n, err := io.Copy(w, reply.BrokenReader{Reader: strings.NewReader("abc"), Err: broken})
			if n != 3 {
				t.Errorf("with limit %d, %d bytes were said to be copied", limit, n)
			}
			return err
		}), d.decide)
		if !errors.Is(err, broken) {
			t.Errorf("with limit %d, got %v", limit, err)
		}
		if sent := recorder.Body.String(); limit >= 3 && sent != "" || limit < 3 && sent != "abc" {
			t.Errorf("with limit %d, %q was sent", limit, sent)
		}
	}
}

func TestAServerSentEventArrivesAtOnce(t *testing.T) {
	var d decisions
	read := make(chan struct{})
	client, url := d.serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("flush: %v", err)
		}
		select { // the stream goes on only once its first event was read
		case <-read:
		case <-r.Context().Done():
			t.Error("the first event did not arrive while the stream was open")
		}
		_, _ = io.WriteString(w, "data: 2\n")
	})
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	if first, err := lines.ReadString('\n'); err != nil || first != "data: 1\n" {
		t.Fatalf("got %q, %v", first, err)
	}
	close(read)
	if rest := reply.ReadAll(t, lines); rest != "data: 2\n" {
		t.Errorf("then came %q", rest)
	}
}

func TestAConnectionCanBeUpgraded(t *testing.T) {
	var d decisions
	_, url := d.serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Upgrade", "echo")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		defer conn.Close()
		line, _ := both.ReadString('\n')
		_, _ = conn.Write([]byte("echo " + line))
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: op\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	lines := bufio.NewReader(conn)
	response, err := http.ReadResponse(lines, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 101 || response.Header.Get("X-Edited") != "1" || len(d.statuses) != 1 {
		t.Errorf("got %d, %v, decided on %v", response.StatusCode, response.Header, d.statuses)
	}
	_, _ = io.WriteString(conn, "hello\n")
	if line, err := lines.ReadString('\n'); err != nil || line != "echo hello\n" {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestTrailersArrive(t *testing.T) {
	var d decisions
	client, url := d.serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Announced", "a")
		w.Header().Set(http.TrailerPrefix+"X-Late", "b")
	})
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	reply.ReadAll(t, response.Body)
	if response.Trailer.Get("X-Announced") != "a" || response.Trailer.Get("X-Late") != "b" {
		t.Errorf("trailers are %v", response.Trailer)
	}
}

func TestALargeBodyStreamsUnchanged(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	for _, holding := range []*Hold{nil, {Limit: MaxJSON, Edit: func(http.Header, []byte) []byte { panic("over the bound") }}} {
		d := decisions{hold: holding}
		client, url := d.serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, bytes.NewReader(large)) })
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		if body := reply.ReadAll(t, response.Body); body != string(large) {
			t.Errorf("%d bytes came, or others than were sent", len(body))
		}
		_ = response.Body.Close()
	}
}

func TestAPanicBehindIsNotSwallowed(t *testing.T) {
	recorder := httptest.NewRecorder()
	d := decisions{hold: &Hold{Limit: 10, Edit: func(http.Header, []byte) []byte { return nil }}}
	defer func() {
		// the very same value, which net/http knows
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // identity is what is tested
			t.Errorf("recovered %v", p)
		}
		if recorder.Body.Len() != 0 {
			t.Error("what was held was sent")
		}
	}()
	_ = Observe(recorder, httptest.NewRequest("GET", "/", nil), reply.Handler(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	}), d.decide)
}

func TestTheResponseControllerReachesTheConnection(t *testing.T) {
	var d decisions
	client, url := d.serve(t, func(w http.ResponseWriter, _ *http.Request) {
		controller := http.NewResponseController(w)
		if err := controller.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("write deadline: %v", err)
		}
		if err := controller.EnableFullDuplex(); err != nil {
			t.Errorf("full duplex: %v", err)
		}
	})
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
}
