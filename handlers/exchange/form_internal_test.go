package exchange

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
)

// closing reports whether a body was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestAFormIsReadAndReplayed(t *testing.T) {
	broken := errors.New("connection reset")
	atBound, overBound := "a=b&x="+strings.Repeat("x", MaxForm-6), "a=b&x="+strings.Repeat("x", MaxForm-5)
	tests := []struct {
		name, contentType string
		body              string
		length            int64
		err               error
		want              string // of the parameter a
	}{
		{"form", FormType, "a=b&c=d", 7, nil, "b"},
		{"form with a charset", FormType + "; charset=utf-8", "a=b", 3, nil, "b"},
		{"form of unknown length", FormType, "a=b", -1, nil, "b"},
		{"form with a pair that is not readable", FormType, "x=%zz&a=b;c&a=b", 15, nil, "b"},
		{"form at the bound", FormType, atBound, -1, nil, "b"},
		{"form over the bound", FormType, overBound, -1, nil, ""},
		{"form over the bound that says so", FormType, overBound, int64(len(overBound)), nil, ""},
		{"form far over the bound", FormType, "a=b&x=" + strings.Repeat("x", 10*MaxForm), -1, nil, ""},
		{"form that breaks off", FormType, "a=b", -1, broken, ""},
		{"form that breaks off over the bound", FormType, overBound + "xxx", -1, broken, ""},
		{"empty form", FormType, "", 0, nil, ""},
		{"JSON", "application/json", `{"a":"b"}`, 9, nil, ""},
		{"multipart", "multipart/form-data; boundary=x", "a=b", 3, nil, ""},
		{"no type", "", "a=b", 3, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			end := tt.err
			if end == nil {
				end = io.EOF
			}
			body := &closing{Reader: reply.BrokenReader{Reader: strings.NewReader(tt.body), Err: end}}
			r := httptest.NewRequest("POST", "/token", nil)
			r.Header.Set("Content-Type", tt.contentType)
			r.Body, r.ContentLength = body, tt.length
			form, replayed := ReadForm(r)
			if form.Get("a") != tt.want {
				t.Errorf("a is %q", form.Get("a"))
			}
			if r.Body != body {
				t.Error("the caller's request has another body")
			}
			got, err := io.ReadAll(replayed.Body)
			if string(got) != tt.body || !errors.Is(err, tt.err) || replayed.ContentLength != tt.length {
				t.Errorf("%d bytes of %d are replayed, %v", len(got), len(tt.body), err)
			}
			if _ = replayed.Body.Close(); !body.closed {
				t.Error("the body was not closed")
			}
		})
	}
}

func TestARequestWithoutABodyHasNoForm(t *testing.T) {
	r := &http.Request{Method: "POST", Header: http.Header{"Content-Type": {FormType}}}
	if form, replayed := ReadForm(r); len(form) != 0 || replayed.Body != nil {
		t.Errorf("got %v", form)
	}
}

func FuzzReadForm(f *testing.F) {
	f.Add("a=b&c=d", FormType)
	f.Add("a=%zz;b", FormType+"; charset=x")
	f.Add("", "")
	f.Add("code=c", "text/plain")
	f.Fuzz(func(t *testing.T, body, contentType string) {
		r := httptest.NewRequest("POST", "/token", strings.NewReader(body))
		r.Header["Content-Type"] = []string{contentType}
		form, replayed := ReadForm(r)
		if got, err := io.ReadAll(replayed.Body); err != nil || string(got) != body {
			t.Fatalf("%q is replayed as %q, %v", body, got, err)
		}
		want, _ := url.ParseQuery(body)
		if form != nil && form.Encode() != want.Encode() {
			t.Fatalf("%q is read as %v", body, form)
		}
	})
}

func TestTheFirstByteOfABodyIsFoundAndTheBodyStaysAsItWas(t *testing.T) {
	broken := errors.New("connection reset")
	tests := map[string]struct {
		body  io.Reader
		first byte
		want  string
		err   error
	}{
		"JSON":                        {strings.NewReader(`{"a":1}`), '{', `{"a":1}`, nil},
		"behind white space":          {strings.NewReader(" \r\n\t{}"), '{', " \r\n\t{}", nil},
		"behind a byte order mark":    {strings.NewReader("\xef\xbb\xbf{}"), '{', "\xef\xbb\xbf{}", nil},
		"something else":              {strings.NewReader("data"), 'd', "data", nil},
		"nothing":                     {strings.NewReader(""), 0, "", nil},
		"white space alone":           {strings.NewReader("  "), 0, "  ", nil},
		"much white space":            {strings.NewReader(strings.Repeat(" ", 100) + "{"), 0, strings.Repeat(" ", 100) + "{", nil},
		"broken at once":              {iotest.ErrReader(broken), 0, "", broken},
		"broken behind its beginning": {io.MultiReader(strings.NewReader("{"), iotest.ErrReader(broken)), '{', "{", broken},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			first, r := FirstByte(httptest.NewRequest(http.MethodPost, "/", tt.body))
			got, err := io.ReadAll(r.Body)
			if first != tt.first || string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("found %q; the body is %q, %v", first, got, err)
			}
		})
	}
}
