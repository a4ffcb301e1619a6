package handlers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"
)

const checkPage = issuer + DefaultCheckSessionPath

// discover sends a request for the discovery document, which the OP answers as respond says.
func (w *world) discover(t *testing.T, r *http.Request, respond http.HandlerFunc) *http.Response {
	t.Helper()
	d := Discovery{Learn: func(op *OP, _ *http.Request, _ []byte) *OP { return op }}
	d.Setup(w.env)
	recorder := httptest.NewRecorder()
	members := func(op *OP) []Member { return (&CheckSession{Path: DefaultCheckSessionPath}).Members(op, false) }
	if err := d.Serve(w.op, recorder, r, handler(respond), members); err != nil {
		t.Fatal(err)
	}
	return recorder.Result()
}

func TestTheMemberIsAddedAndAllElseStays(t *testing.T) {
	const added = `,"check_session_iframe":"` + checkPage + `"}`
	tests := []struct{ name, document, want string }{
		{"small", `{"issuer":"` + issuer + `"}`, `{"issuer":"` + issuer + `"` + added},
		{
			"white space",
			"\n{\n\t\"issuer\" : \"" + issuer + "\" ,\n\t\"x\" : [ 1, 2 ]\n}\n\n",
			"\n{\n\t\"issuer\" : \"" + issuer + "\" ,\n\t\"x\" : [ 1, 2 ]" + added,
		},
		{
			"numbers, order and what is unknown",
			`{"z":1e400,"issuer":"` + issuer + `","n":10000000000000000000001,"f":1.0,"a":{"b":[null,{}]},"z2":"é\u00e9\/"}`,
			`{"z":1e400,"issuer":"` + issuer + `","n":10000000000000000000001,"f":1.0,"a":{"b":[null,{}]},"z2":"é\u00e9\/"` + added,
		},
		{"escapes in the issuer", `{"issuer":"https:\/\/op.example.com"}`, `{"issuer":"https:\/\/op.example.com"` + added},
		{"a member of another name", `{"issuer":"` + issuer + `","Check_session_iframe":""}`, `{"issuer":"` + issuer + `","Check_session_iframe":""` + added},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			response := newWorld(t).discover(t, httptest.NewRequest("GET", documentURL, nil), answering(tt.document))
			if body := readAll(t, response.Body); body != tt.want || !json.Valid([]byte(body)) {
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
		document := ` {"issuer":"` + issuer + `", "check_session_iframe":` + value + " } \n"
		response := newWorld(t).discover(t, httptest.NewRequest("GET", documentURL, nil), answering(document))
		if body := readAll(t, response.Body); body != document {
			t.Errorf("got %s", body)
		}
	}
}

func TestWhatIsNoDocumentOfTheIssuerPassesAsItCame(t *testing.T) {
	good := []byte(document(issuer))
	tests := []struct {
		name    string
		respond http.HandlerFunc
		logged  bool
	}{
		{"HTML", responding(200, "text/html", "", good), false},
		{"no type", responding(200, "", "", good), false},
		{"404", responding(404, "application/json", "", good), false},
		{"a redirect", redirect("https://op.example.com/elsewhere"), false},
		{"an array", answering(`["` + issuer + `"]`), true},
		{"null", answering(`null`), true},
		{"a string", answering(`"x"`), true},
		{"nothing", answering(``), true},
		{"half a document", answering(document(issuer)[:40]), true},
		{"two documents", answering(document(issuer) + document(issuer)), true},
		{"a document behind a byte order mark", answering("\ufeff" + document(issuer)), true},
		{"an empty object", answering(`{}`), true},
		{"another issuer", answering(document("https://evil.example")), true},
		{"an issuer with a slash more", answering(`{"issuer":"` + issuer + `/"}`), true},
		{"an issuer that is no string", answering(`{"issuer":1}`), true},
		{"another coding", responding(200, "application/json", "br", good), true},
		{"two codings", responding(200, "application/json", "gzip, br", good), true},
		{"broken gzip", responding(200, "application/json", "gzip", good), true},
		{"gzip of over 1 MiB", responding(200, "application/json", "gzip", zipped(document(issuer)+strings.Repeat(" ", maxJSON))), true},
		{"over 1 MiB", answering(document(issuer) + strings.Repeat(" ", maxJSON)), false},
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
			w := newWorld(t)
			response := w.discover(t, httptest.NewRequest("GET", documentURL, nil), respond)
			if body := readAll(t, response.Body); body != want.Body.String() || response.StatusCode != want.Code || fmt.Sprint(response.Header) != fmt.Sprint(want.Header()) {
				t.Errorf("got %d, %v, %d bytes", response.StatusCode, response.Header, len(body))
			}
			if got := w.logs.FilterLevelExact(zapcore.WarnLevel).Len() == 1; got != tt.logged {
				t.Errorf("logged %s", w.logged())
			}
		})
	}
}

func TestTheOPIsAskedForTheWholeDocument(t *testing.T) {
	for _, method := range []string{"GET", "HEAD"} {
		r := httptest.NewRequest(method, documentURL, nil)
		asked := http.Header{"Accept-Encoding": {"zstd, br"}, "Cookie": {"a=b"}, "Accept-Language": {"de"}}
		for _, field := range []string{"If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Range", "If-Range"} {
			asked.Set(field, "x")
		}
		r.Header = asked.Clone()
		newWorld(t).discover(t, r, func(w http.ResponseWriter, got *http.Request) {
			want := http.Header{"Accept-Encoding": {"identity"}, "Cookie": {"a=b"}, "Accept-Language": {"de"}}
			if got.Method != "GET" || fmt.Sprint(got.Header) != fmt.Sprint(want) {
				t.Errorf("the OP is asked by %s with %v", got.Method, got.Header)
			}
			answering(document(issuer))(w, got)
		})
		if r.Method != method || fmt.Sprint(r.Header) != fmt.Sprint(asked) {
			t.Errorf("the caller's request became %s with %v", r.Method, r.Header)
		}
	}
}

// eager is an OP that describes its document's bytes in every way.
func eager(w http.ResponseWriter, _ *http.Request) {
	body := zipped(document(issuer))
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
	w := newWorld(t)
	response := w.discover(t, httptest.NewRequest("GET", documentURL, nil), eager)
	body := readAll(t, response.Body)
	if !strings.Contains(body, checkPage) || response.Header.Get("Content-Length") != fmt.Sprint(len(body)) {
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
	again := w.discover(t, httptest.NewRequest("GET", documentURL, nil), eager)
	other := w.discover(t, httptest.NewRequest("GET", documentURL, nil), answering(strings.Replace(document(issuer), "/token", "/tokens", 1)))
	if again.Header.Get("Etag") != tag || other.Header.Get("Etag") == tag {
		t.Errorf("ETags are %s, %s and, of another document, %s", tag, again.Header.Get("Etag"), other.Header.Get("Etag"))
	}
}

func TestConditionsAndRangesAreOursToAnswer(t *testing.T) {
	w := newWorld(t)
	whole := w.discover(t, httptest.NewRequest("GET", documentURL, nil), eager)
	tag, body := whole.Header.Get("Etag"), readAll(t, whole.Body)
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
			r := httptest.NewRequest(tt.method, documentURL, nil)
			if tt.field != "" {
				r.Header.Set(tt.field, tt.value)
			}
			response := w.discover(t, r, eager)
			got := readAll(t, response.Body)
			if response.StatusCode != tt.status || tt.status != 416 && got != tt.body || tt.length != "" && response.Header.Get("Content-Length") != tt.length {
				t.Errorf("got %d %s, %v", response.StatusCode, got, response.Header)
			}
		})
	}
}

// A HEAD goes to the OP as a GET: over a real connection, no body may come back, whatever the OP sends.
func TestHEADHasNoBody(t *testing.T) {
	w := newWorld(t)
	d := Discovery{Learn: func(op *OP, _ *http.Request, _ []byte) *OP { return op }}
	d.Setup(w.env)
	members := func(op *OP) []Member { return (&CheckSession{Path: "/check"}).Members(op, false) }
	for _, respond := range []http.HandlerFunc{eager, answering(`[]`), responding(404, "text/plain", "", []byte("not found"))} {
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if err := d.Serve(w.op, rw, r, handler(respond), members); err != nil {
				t.Errorf("serving: %v", err)
			}
		}))
		response, err := server.Client().Head(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		if body := readAll(t, response.Body); body != "" || response.ContentLength == 0 {
			t.Errorf("got %q, length %d", body, response.ContentLength)
		}
		_ = response.Body.Close()
		server.Close()
	}
}

func TestOtherMethodsAtTheDocumentPass(t *testing.T) {
	for _, method := range []string{"POST", "OPTIONS", "PUT", "DELETE"} {
		r := httptest.NewRequest(method, documentURL, nil)
		response := newWorld(t).discover(t, r, func(w http.ResponseWriter, got *http.Request) {
			if got != r {
				t.Errorf("%s was changed", method)
			}
			answering(document(issuer))(w, got)
		})
		if body := readAll(t, response.Body); body != document(issuer) {
			t.Errorf("%s: got %s", method, body)
		}
	}
}

func TestGzipIsUndoneUpToABound(t *testing.T) {
	header := http.Header{"Content-Encoding": {"GZIP"}}
	for size, want := range map[int]bool{0: true, 9: true, 10: true, 11: false, 1 << 20: false} {
		plain, err := decoded(header, zipped(strings.Repeat("x", size)), 10)
		if (err == nil) != want || want && len(plain) != size {
			t.Errorf("of %d bytes, %d came, %v", size, len(plain), err)
		}
	}
}

func FuzzAddMembers(f *testing.F) {
	for _, document := range []string{
		document(issuer), `{"issuer":"https://op.example.com"}`, `{"issuer":"https://op.example.com","x":1e400} `, `{}`, `[]`, `null`, ``,
		`{"issuer":"a","issuer":"https://op.example.com"}`, "{\"issuer\":\"https://op.example.com\",\"check_session_iframe\":null\r\n}",
	} {
		f.Add([]byte(document))
	}
	member := Member{Name: "check_session_iframe", Value: checkPage}
	f.Fuzz(func(t *testing.T, document []byte) {
		before := bytes.Clone(document)
		out, err := addMembers(document, []Member{member})
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
		added := `"check_session_iframe":"` + checkPage + `"}`
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
		if len(is) != len(was)+1 || string(is[member.Name]) != `"`+checkPage+`"` {
			t.Fatalf("%q became %q", document, out)
		}
	})
}

func TestSeveralMembersAreAddedInOrder(t *testing.T) {
	out, err := addMembers([]byte(`{"issuer":"https://op.example.com","b":1}`), []Member{{Name: "a", Value: true}, {Name: "b", Value: 2}, {Name: "c", Value: "x"}})
	if err != nil || string(out) != `{"issuer":"https://op.example.com","b":1,"a":true,"c":"x"}` {
		t.Errorf("got %s, %v", out, err)
	}
	if _, err := addMembers([]byte(`{"issuer":"https://op.example.com"}`), []Member{{Name: "a", Value: io.EOF == nil}, {Name: "f", Value: func() {}}}); err == nil {
		t.Error("a value that cannot be marshalled was added")
	}
}
