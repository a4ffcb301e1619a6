package exchange

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Bounds of what is held, in bytes. Larger bodies pass unchanged.
const (
	MaxJSON = 1 << 20  // of a JSON document of the OP
	MaxForm = 64 << 10 // of a form
)

// An exchange is the one way in which responses are touched. It decides once, at the final header,
// before that goes out; then the response streams on as it came, or its body is held, up to a
// bound, for an edit.
//
// Informational responses (1xx) pass, except that 101 is final. A body over the bound goes out as
// it came. What is held is flushed only where the hold says so. Errors of the handler behind stay
// errors: nothing held is sent then, so handle_errors can answer.
type exchange struct {
	caddyhttp.ResponseWriterWrapper

	decide  func(status int, header http.Header) *Hold
	decided bool
	status  int
	hold    *Hold // nil: the body streams
	held    bytes.Buffer
}

// A Hold keeps back a response for an edit of its body.
type Hold struct {
	// Limit is how much of a body is held, in bytes.
	Limit int
	// Edit gets the header, which it may change, and the whole body, of which it must change
	// nothing in place. It returns the body to send, or nil for "as it came".
	Edit func(header http.Header, body []byte) []byte
	// Flush is called when the handler behind flushes what it has sent so far. It is like Edit, but
	// for the beginning of a body; wait says that more of it is needed. Nil: nothing goes out
	// before the body is complete.
	Flush func(header http.Header, body []byte) (edited []byte, wait bool)

	tooLarge func() // called when the body is over the limit; may be nil
	// serve sends an edited body with its header; nil: it is sent with the response's own status
	serve func(w http.ResponseWriter, body []byte)
}

// Observe passes a request on and lets decide look at the response: its final status and its
// header, which decide may change. It returns nil, or a hold of the body.
func Observe(
	w http.ResponseWriter, r *http.Request, next caddyhttp.Handler,
	decide func(status int, header http.Header) *Hold,
) error {
	x := exchanges.Get().(*exchange)
	x.ResponseWriter, x.decide = w, decide
	err := next.ServeHTTP(x, r)
	if err == nil {
		err = x.finish()
	}
	// What panics is not used again. Nothing writes a response once its handler has returned, as
	// Caddy's own encode relies on, too: what did would find no response.
	*x = exchange{}
	exchanges.Put(x)
	return err
}

// exchanges are those that are not in use: an app's every response takes one.
var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// WriteHeader decides, unless the header is informational.
func (x *exchange) WriteHeader(status int) {
	if x.decided {
		return
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		x.ResponseWriterWrapper.WriteHeader(status)
		return
	}
	x.decided, x.status = true, status
	x.hold = x.decide(status, x.Header())
	if x.hold != nil && declaredLength(x.Header()) > int64(x.hold.Limit) {
		x.letGo()
	}
	if x.hold == nil {
		x.ResponseWriterWrapper.WriteHeader(status)
	}
}

// Write holds or passes the body.
func (x *exchange) Write(p []byte) (int, error) {
	x.WriteHeader(http.StatusOK)
	if x.hold != nil {
		if x.held.Len()+len(p) <= x.hold.Limit {
			return x.held.Write(p)
		}
		if err := x.release(); err != nil {
			return 0, err
		}
	}
	return x.ResponseWriterWrapper.Write(p)
}

// ReadFrom holds or passes the body; without it, io.Copy would bypass the exchange.
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	x.WriteHeader(http.StatusOK)
	if x.hold == nil {
		return x.ResponseWriterWrapper.ReadFrom(r)
	}
	n, err := io.CopyN(&x.held, r, int64(x.hold.Limit-x.held.Len())+1)
	if errors.Is(err, io.EOF) {
		return n, nil
	}
	if err != nil {
		return n, err
	}
	if err := x.release(); err != nil {
		return n, err
	}
	rest, err := x.ResponseWriterWrapper.ReadFrom(r)
	return n + rest, err
}

// FlushError flushes what streams. What is held stays, unless it is a page that the user is to see
// as it comes. A flush of the header alone waits for the body in any case: Caddy's reverse_proxy
// flushes it at once for each response of unknown length.
func (x *exchange) FlushError() error {
	x.WriteHeader(http.StatusOK)
	if x.hold != nil {
		if x.hold.Flush == nil || x.held.Len() == 0 {
			return nil
		}
		if err := x.flushHeld(); err != nil || x.hold != nil {
			return err
		}
	}
	return http.NewResponseController(&x.ResponseWriterWrapper).Flush()
}

// flushHeld sends what is held, edited or as it came, and lets the rest follow; or it waits for
// more.
func (x *exchange) flushHeld() error {
	edited, wait := x.hold.Flush(x.Header(), x.held.Bytes())
	switch {
	case wait:
		return nil
	case edited == nil:
		return x.release()
	}
	forgetRepresentation(x.Header())
	return x.send(edited)
}

// letGo gives up the edit of a body that is too large.
func (x *exchange) letGo() {
	if x.hold.tooLarge != nil {
		x.hold.tooLarge()
	}
	x.hold = nil
}

// release gives up the edit: the response goes on as it came.
func (x *exchange) release() error {
	x.letGo()
	return x.send(x.held.Bytes())
}

// finish sends what was held, once the handler behind is done.
func (x *exchange) finish() error {
	if x.hold == nil {
		return nil
	}
	edited := x.hold.Edit(x.Header(), x.held.Bytes())
	if edited == nil {
		return x.send(x.held.Bytes())
	}
	forgetRepresentation(x.Header())
	if x.hold.serve != nil {
		x.hold.serve(&x.ResponseWriterWrapper, edited)
		return nil
	}
	x.Header().Set("Content-Length", strconv.Itoa(len(edited)))
	return x.send(edited)
}

// send sends the header, which was held, and a body in place of what was held.
func (x *exchange) send(body []byte) error {
	x.hold, x.held = nil, bytes.Buffer{}
	x.ResponseWriterWrapper.WriteHeader(x.status)
	_, err := x.ResponseWriterWrapper.Write(body)
	return err
}

// forgetRepresentation removes the header fields that describe the bytes as the OP sent them (RFC
// 9110, section 8; RFC 9530). An ETag is the edit's own matter.
func forgetRepresentation(header http.Header) {
	for _, field := range []string{
		"Content-Length", "Last-Modified", "Accept-Ranges", "Content-Encoding",
		"Content-Md5", "Digest", "Repr-Digest", "Content-Digest",
	} {
		header.Del(field)
	}
}

// declaredLength returns the Content-Length; -1: none is declared.
func declaredLength(header http.Header) int64 {
	n, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// ForbidCaching marks a response that only its user may see.
func ForbidCaching(header http.Header) { header.Set("Cache-Control", "no-store") }
