package exchange

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// FormType is the media type of forms.
const FormType = "application/x-www-form-urlencoded"

// ReadForm reads the form in a request's body, up to MaxForm bytes, and returns the request with
// its body as it was, for the handlers behind. A body that is no form, larger, or broken gives no
// parameters.
func ReadForm(r *http.Request) (url.Values, *http.Request) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != FormType {
		return nil, r
	}
	body, replayed := ReadBody(r, MaxForm)
	if body == nil {
		return nil, replayed
	}
	form, _ := url.ParseQuery(string(body)) // what can be read is read: the OP judges the rest
	return form, replayed
}

// ReadBody reads a request's body, up to limit bytes, and returns the request with its body as it
// was. A larger or broken body is nil; the handlers behind find it unchanged, its error included.
func ReadBody(r *http.Request, limit int64) ([]byte, *http.Request) {
	if r.Body == nil || r.ContentLength > limit {
		return nil, r
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	replayed := r.WithContext(r.Context()) // the caller's request keeps its own body
	replayed.Body = replay{io.MultiReader(bytes.NewReader(body), rest(r.Body, err)), r.Body}
	if err != nil || int64(len(body)) > limit {
		return nil, replayed
	}
	return body, replayed
}

// beforeText may stand before a text: white space, and the bytes of a byte order mark.
const beforeText = " \t\r\n\xef\xbb\xbf"

// FirstByte returns the first byte of a request's body that is neither white space nor a byte order
// mark, and the request with its body as it was; 0: there is none. It reads no more than it needs.
func FirstByte(r *http.Request) (first byte, replayed *http.Request) {
	read := make([]byte, 0, 16)
	var err error
	for len(read) < cap(read) && first == 0 && err == nil {
		var n int
		n, err = r.Body.Read(read[len(read) : len(read)+1])
		read = read[:len(read)+n]
		if n > 0 && strings.IndexByte(beforeText, read[len(read)-1]) < 0 {
			first = read[len(read)-1]
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil // the body says so again
	}
	replayed = r.WithContext(r.Context())
	replayed.Body = replay{io.MultiReader(bytes.NewReader(read), rest(r.Body, err)), r.Body}
	return first, replayed
}

// replay is a body that was read in part or whole, from its beginning.
type replay struct {
	io.Reader
	io.Closer
}

// rest is what follows what was read: the error that ended the reading, or the unread part.
func rest(body io.Reader, err error) io.Reader {
	if err != nil {
		return failingReader{err}
	}
	return body
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

// IsJSON reports whether a response is JSON by its media type.
func IsJSON(header http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	kind, isApplication := strings.CutPrefix(mediaType, "application/")
	return err == nil && isApplication && (kind == "json" || strings.HasSuffix(kind, "+json"))
}
