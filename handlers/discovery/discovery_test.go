package discovery_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/discovery"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
)

func TestTheMemberIsAddedAndAllElseStays(t *testing.T) {
	const added = `,"check_session_iframe":"` + handlerstest.CheckPage + `"}`
	tests := []struct{ name, document, want string }{
		{"small", `{"issuer":"` + handlerstest.Issuer + `"}`, `{"issuer":"` + handlerstest.Issuer + `"` + added},
		{
			"white space",
			"\n{\n\t\"issuer\" : \"" + handlerstest.Issuer + "\" ,\n\t\"x\" : [ 1, 2 ]\n}\n\n",
			"\n{\n\t\"issuer\" : \"" + handlerstest.Issuer + "\" ,\n\t\"x\" : [ 1, 2 ]" + added,
		},
		{
			"numbers, order and what is unknown",
			`{"z":1e400,"issuer":"` + handlerstest.Issuer + `","n":10000000000000000000001,"f":1.0,"a":{"b":[null,{}]},"z2":"é\u00e9\/"}`,
			`{"z":1e400,"issuer":"` + handlerstest.Issuer + `","n":10000000000000000000001,"f":1.0,"a":{"b":[null,{}]},"z2":"é\u00e9\/"` + added,
		},
		{"escapes in the issuer", `{"issuer":"https:\/\/op.example.com"}`, `{"issuer":"https:\/\/op.example.com"` + added},
		{"a member of another name", `{"issuer":"` + handlerstest.Issuer + `","Check_session_iframe":""}`, `{"issuer":"` + handlerstest.Issuer + `","Check_session_iframe":""` + added},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			response := handlerstest.NewWorld(t).Discover(t, httptest.NewRequest("GET", handlerstest.DocumentURL, nil), reply.Answering(tt.document))
			if body := reply.ReadAll(t, response.Body); body != tt.want || !json.Valid([]byte(body)) {
				t.Errorf("got %s", body)
			}
			if response.StatusCode != 200 || response.Header.Get("Content-Type") != "application/json" {
				t.Errorf("got %d, %v", response.StatusCode, response.Header)
			}
		})
	}
}

func TestADocumentThatNeedsNothingStaysToTheByte(t *testing.T) {
	for _, value := range []string{`"https://op.example.com/own"`, `""`, `null`} {
		document := ` {"issuer":"` + handlerstest.Issuer + `", "check_session_iframe":` + value + " } \n"
		response := handlerstest.NewWorld(t).Discover(t, httptest.NewRequest("GET", handlerstest.DocumentURL, nil), reply.Answering(document))
		if body := reply.ReadAll(t, response.Body); body != document {
			t.Errorf("got %s", body)
		}
	}
}

func TestWhatIsNoDocumentOfTheIssuerPassesAsItCame(t *testing.T) {
	good := []byte(handlerstest.Document(handlerstest.Issuer))
	tests := []struct {
		name    string
		respond http.HandlerFunc
		logged  bool
	}{
		{"HTML", handlerstest.Responding(200, "text/html", "", good), false},
		{"no type", handlerstest.Responding(200, "", "", good), false},
		{"404", handlerstest.Responding(404, "application/json", "", good), false},
		{"a redirect", reply.Redirect("https://op.example.com/elsewhere"), false},
		{"an array", reply.Answering(`["` + handlerstest.Issuer + `"]`), true},
		{"null", reply.Answering(`null`), true},
		{"a string", reply.Answering(`"x"`), true},
		{"nothing", reply.Answering(``), true},
		{"half a document", reply.Answering(handlerstest.Document(handlerstest.Issuer)[:40]), true},
		{"two documents", reply.Answering(handlerstest.Document(handlerstest.Issuer) + handlerstest.Document(handlerstest.Issuer)), true},
		{"a document behind a byte order mark", reply.Answering("\ufeff" + handlerstest.Document(handlerstest.Issuer)), true},
		{"an empty object", reply.Answering(`{}`), true},
		{"another issuer", reply.Answering(handlerstest.Document("https://evil.example")), true},
		{"an issuer with a slash more", reply.Answering(`{"issuer":"` + handlerstest.Issuer + `/"}`), true},
		{"an issuer that is no string", reply.Answering(`{"issuer":1}`), true},
		{"another coding", handlerstest.Responding(200, "application/json", "br", good), true},
		{"two codings", handlerstest.Responding(200, "application/json", "gzip, br", good), true},
		{"broken gzip", handlerstest.Responding(200, "application/json", "gzip", good), true},
		{"gzip of over 1 MiB", handlerstest.Responding(200, "application/json", "gzip", reply.Zipped(handlerstest.Document(handlerstest.Issuer)+strings.Repeat(" ", exchange.MaxJSON))), true},
		{"over 1 MiB", reply.Answering(handlerstest.Document(handlerstest.Issuer) + strings.Repeat(" ", exchange.MaxJSON)), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			respond := func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Etag", `"own"`)
				w.Header().Set("Content-Digest", "own")
				tt.respond(w, r)
			}
			want := httptest.NewRecorder()
			respond(want, httptest.NewRequest("GET", "/", nil))
			w := handlerstest.NewWorld(t)
			response := w.Discover(t, httptest.NewRequest("GET", handlerstest.DocumentURL, nil), respond)
			if body := reply.ReadAll(t, response.Body); body != want.Body.String() || response.StatusCode != want.Code || fmt.Sprint(response.Header) != fmt.Sprint(want.Header()) {
				t.Errorf("got %d, %v, %d bytes", response.StatusCode, response.Header, len(body))
			}
			if got := w.Logs.FilterLevelExact(zapcore.WarnLevel).Len() == 1; got != tt.logged {
				t.Errorf("logged %s", w.Logged())
			}
		})
	}
}

func TestTheOPIsAskedForTheWholeDocument(t *testing.T) {
	for _, method := range []string{"GET", "HEAD"} {
		r := httptest.NewRequest(method, handlerstest.DocumentURL, nil)
		asked := http.Header{"Accept-Encoding": {"zstd, br"}, "Cookie": {"a=b"}, "Accept-Language": {"de"}}
		for _, field := range []string{"If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Range", "If-Range"} {
			asked.Set(field, "x")
		}
		r.Header = asked.Clone()
		handlerstest.NewWorld(t).Discover(t, r, func(w http.ResponseWriter, got *http.Request) {
			want := http.Header{"Accept-Encoding": {"identity"}, "Cookie": {"a=b"}, "Accept-Language": {"de"}}
			if got.Method != "GET" || fmt.Sprint(got.Header) != fmt.Sprint(want) {
				t.Errorf("the OP is asked by %s with %v", got.Method, got.Header)
			}
			reply.Answering(handlerstest.Document(handlerstest.Issuer))(w, got)
		})
		if r.Method != method || fmt.Sprint(r.Header) != fmt.Sprint(asked) {
			t.Errorf("the caller's request became %s with %v", r.Method, r.Header)
		}
	}
}

// eager is an OP that describes its document's bytes in every way.
func eager(w http.ResponseWriter, _ *http.Request) {
	body := reply.Zipped(handlerstest.Document(handlerstest.Issuer))
	for field, value := range map[string]string{
		"Content-Type": "application/json", "Content-Encoding": "gzip", "Content-Length": fmt.Sprint(len(body)), "Etag": `"own"`,
		"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Accept-Ranges": "none", "Content-Digest": "x", "Repr-Digest": "x", "Digest": "x",
		"Content-Md5": "x", "Cache-Control": "max-age=60", "Access-Control-Allow-Origin": "*", "Vary": "Accept-Encoding",
	} {
		w.Header().Set(field, value)
	}
	_, _ = w.Write(body)
}

func TestTheHeaderFitsTheEditedDocument(t *testing.T) {
	w := handlerstest.NewWorld(t)
	response := w.Discover(t, httptest.NewRequest("GET", handlerstest.DocumentURL, nil), eager)
	body := reply.ReadAll(t, response.Body)
	if !strings.Contains(body, handlerstest.CheckPage) || response.Header.Get("Content-Length") != fmt.Sprint(len(body)) {
		t.Errorf("got %s of length %s", body, response.Header.Get("Content-Length"))
	}
	for _, field := range []string{"Content-Encoding", "Last-Modified", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
		if response.Header.Get(field) != "" {
			t.Errorf("%s still describes the OP's bytes", field)
		}
	}
	for field, want := range map[string]string{"Cache-Control": "max-age=60", "Access-Control-Allow-Origin": "*", "Vary": "Accept-Encoding", "Accept-Ranges": "bytes"} {
		if got := response.Header.Get(field); got != want {
			t.Errorf("%s is %q", field, got)
		}
	}
	tag := response.Header.Get("Etag")
	if tag == "" || tag == `"own"` {
		t.Fatalf("ETag is %s", tag)
	}
	again := w.Discover(t, httptest.NewRequest("GET", handlerstest.DocumentURL, nil), eager)
	other := w.Discover(t, httptest.NewRequest("GET", handlerstest.DocumentURL, nil), reply.Answering(strings.Replace(handlerstest.Document(handlerstest.Issuer), "/token", "/tokens", 1)))
	if again.Header.Get("Etag") != tag || other.Header.Get("Etag") == tag {
		t.Errorf("ETags are %s, %s and, of another document, %s", tag, again.Header.Get("Etag"), other.Header.Get("Etag"))
	}
}

func TestConditionsAndRangesAreOursToAnswer(t *testing.T) {
	w := handlerstest.NewWorld(t)
	whole := w.Discover(t, httptest.NewRequest("GET", handlerstest.DocumentURL, nil), eager)
	tag, body := whole.Header.Get("Etag"), reply.ReadAll(t, whole.Body)
	tests := []struct {
		name, method, field, value string
		status                     int
		body                       string
		length                     string
	}{
		{"not changed", "GET", "If-None-Match", tag, 304, "", ""},
		{"one of several tags", "GET", "If-None-Match", `"x", W/` + tag, 304, "", ""},
		{"changed", "GET", "If-None-Match", `"own"`, 200, body, fmt.Sprint(len(body))},
		{"range", "GET", "Range", "bytes=1-8", 206, body[1:9], "8"},
		{"range that is none", "GET", "Range", "bytes=99999-", 416, "", ""},
		{"HEAD", "HEAD", "", "", 200, "", fmt.Sprint(len(body))},
		{"HEAD, not changed", "HEAD", "If-None-Match", tag, 304, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, handlerstest.DocumentURL, nil)
			if tt.field != "" {
				r.Header.Set(tt.field, tt.value)
			}
			response := w.Discover(t, r, eager)
			got := reply.ReadAll(t, response.Body)
			if response.StatusCode != tt.status || tt.status != 416 && got != tt.body || tt.length != "" && response.Header.Get("Content-Length") != tt.length {
				t.Errorf("got %d %s, %v", response.StatusCode, got, response.Header)
			}
		})
	}
}

// A HEAD goes to the OP as a GET: over a real connection, no body may come back, whatever the OP
// sends.
func TestHEADHasNoBody(t *testing.T) {
	w := handlerstest.NewWorld(t)
	d := discovery.Discovery{Observe: func(op *handlers.OP, _ *http.Request, _ []byte) *handlers.OP { return op }}
	d.Setup(w.Env)
	members := func(op *handlers.OP) []exchange.Member {
		return (&check.Endpoint{Path: "/check"}).Members(op, false)
	}
	for _, respond := range []http.HandlerFunc{eager, reply.Answering(`[]`), handlerstest.Responding(404, "text/plain", "", []byte("not found"))} {
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if err := d.Serve(w.OP, rw, r, reply.Handler(respond), members); err != nil {
				t.Errorf("serving: %v", err)
			}
		}))
		response, err := server.Client().Head(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		if body := reply.ReadAll(t, response.Body); body != "" || response.ContentLength == 0 {
			t.Errorf("got %q, length %d", body, response.ContentLength)
		}
		_ = response.Body.Close()
		server.Close()
	}
}

func TestOtherMethodsAtTheDocumentPass(t *testing.T) {
	for _, method := range []string{"POST", "OPTIONS", "PUT", "DELETE"} {
		r := httptest.NewRequest(method, handlerstest.DocumentURL, nil)
		response := handlerstest.NewWorld(t).Discover(t, r, func(w http.ResponseWriter, got *http.Request) {
			if got != r {
				t.Errorf("%s was changed", method)
			}
			reply.Answering(handlerstest.Document(handlerstest.Issuer))(w, got)
		})
		if body := reply.ReadAll(t, response.Body); body != handlerstest.Document(handlerstest.Issuer) {
			t.Errorf("%s: got %s", method, body)
		}
	}
}

func FuzzAddMembers(f *testing.F) {
	for _, document := range []string{
		handlerstest.Document(handlerstest.Issuer), `{"issuer":"https://op.example.com"}`, `{"issuer":"https://op.example.com","x":1e400} `, `{}`, `[]`, `null`, ``,
		`{"issuer":"a","issuer":"https://op.example.com"}`, "{\"issuer\":\"https://op.example.com\",\"check_session_iframe\":null\r\n}",
	} {
		f.Add([]byte(document))
	}
	member := exchange.Member{Name: "check_session_iframe", Value: handlerstest.CheckPage}
	f.Fuzz(func(t *testing.T, document []byte) {
		before := bytes.Clone(document)
		out, err := exchange.AddMembers(document, []exchange.Member{member})
		if !bytes.Equal(document, before) {
			t.Fatal("the document was changed in place")
		}
		if err != nil {
			return
		}
		var was, is map[string]json.RawMessage
		if json.Unmarshal(document, &was) != nil || json.Unmarshal(out, &is) != nil {
			t.Fatalf("%q became %q", document, out)
		}
		if own, has := was[member.Name]; has {
			if !bytes.Equal(out, document) {
				t.Fatalf("%q has %s already, and became %q", document, own, out)
			}
			return
		}
		added := `"check_session_iframe":"` + handlerstest.CheckPage + `"}`
		if len(was) > 0 {
			added = "," + added
		}
		head, ok := bytes.CutSuffix(out, []byte(added))
		if rest, kept := bytes.CutPrefix(document, head); !ok || !kept || strings.Trim(string(rest), " \t\r\n") != "}" {
			t.Fatalf("%q became %q", document, out)
		}
		for name, value := range was {
			if !bytes.Equal(is[name], value) {
				t.Fatalf("member %s of %q became %s", name, document, is[name])
			}
		}
		if len(is) != len(was)+1 || string(is[member.Name]) != `"`+handlerstest.CheckPage+`"` {
			t.Fatalf("%q became %q", document, out)
		}
	})
}
