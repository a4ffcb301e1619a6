package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// SubRequestTimeout is how long the OP has to answer a request of ours.
const SubRequestTimeout = 5 * time.Second

// An OPRequest is a request of ours to the OP.
type OPRequest struct {
	// Method is that of HTTP.
	Method string
	// Target is a URL on the issuer's origin.
	Target string
	// Header has fields to send beside our own; may be nil.
	Header http.Header
	// Body may be empty.
	Body string
}

// A subRequest is an OPRequest on its way through the handlers behind us: whatever the site does to
// reach its OP (rewrites, headers, transports), it goes the same way. Where the OP's own address is
// configured, it goes there.
type subRequest struct {
	request  *http.Request
	next     caddyhttp.Handler
	response *OPResponse
	cancel   context.CancelFunc
	advice   string // if it fails
}

// NewSubRequest makes a GET for a URL on the issuer's origin: see [OPRequest.Prepare].
func NewSubRequest(
	env Env, caller *http.Request, next caddyhttp.Handler, target string,
) (*subRequest, error) {
	return OPRequest{Method: http.MethodGet, Target: target}.Prepare(env, caller, next)
}

// Prepare makes the request. It must be made while the caller is being served and before the
// caller's request goes on; it may be sent from another goroutine.
//
// It is a new request, not a clone: a clone shares the caller's context, in which Caddy keeps which
// handle groups were taken, so that the caller itself would end in an empty response. Of the
// client's header, it takes only what a site may distinguish clients by: the User-Agent, and where
// trusted proxies say who the client is ([Env.Prepare]).
func (q OPRequest) Prepare(
	env Env, caller *http.Request, next caddyhttp.Handler,
) (*subRequest, error) {
	u, err := url.Parse(q.Target)
	if err != nil {
		return nil, fmt.Errorf("parsing the URL of a sub-request: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller.Context()), SubRequestTimeout)
	r, err := http.NewRequestWithContext(ctx, q.Method, u.RequestURI(), strings.NewReader(q.Body))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("making a sub-request: %w", err)
	}
	r.RequestURI, r.Host, r.RemoteAddr = u.RequestURI(), u.Host, caller.RemoteAddr
	r.TLS = tlsOf(u.Scheme, caller)
	r.Header.Set("Accept", "application/json")
	if agent := caller.UserAgent(); agent != "" {
		r.Header.Set("User-Agent", agent)
	}
	maps.Copy(r.Header, q.Header)
	r.Header.Set("Accept-Encoding", "identity")
	// Behind a proxy that Caddy trusts, these say what that proxy would have said; else
	// reverse_proxy writes its own.
	r.Header.Set("X-Forwarded-Proto", u.Scheme)
	r.Header.Set("X-Forwarded-Host", u.Host)
	w := &OPResponse{header: make(http.Header)}
	s := &subRequest{request: env.Prepare(r, caller, w), next: next, response: w, cancel: cancel}
	s.direct(env.OPAddress)
	return s, nil
}

// direct has the request sent to the OP's own address, if there is one, with the path that it would
// have had there.
func (s *subRequest) direct(address *OPAddress) {
	if address == nil {
		s.advice = "if the site refuses such requests, set op_address to where the OP itself is"
		return
	}
	if way, ok := s.next.(*Stripped); ok {
		there := *way
		there.next = address
		s.next = &there
		return
	}
	s.next = address
}

// forwardAs has the request forwarded as the caller was, for an issuer that is not yet discovered:
// where another server ends TLS in front of Caddy, only what that server says shows the OP's
// scheme. reverse_proxy believes it of trusted proxies only.
func (s *subRequest) forwardAs(caller *http.Request) {
	for _, field := range []string{"X-Forwarded-Proto", "X-Forwarded-Host"} {
		if values := caller.Header[field]; len(values) > 0 {
			s.request.Header[field] = values
		}
	}
}

// Send sends the request and returns the response. A panic of a handler behind becomes an error: it
// would end the whole server here.
func (s *subRequest) Send() (response *OPResponse, err error) {
	defer s.cancel()
	defer func() {
		if p := recover(); p != nil {
			aborted, _ := p.(error) // http.ErrAbortHandler, perhaps
			response, err = nil, &OPError{
				Err:     fmt.Errorf("the handlers behind panicked: %v", p),
				Refused: errors.Is(aborted, http.ErrAbortHandler),
			}
		}
	}()
	if err := s.next.ServeHTTP(s.response, s.request); err != nil {
		return nil, unanswered(err)
	}
	if s.response.large {
		return nil, exchange.ErrTooLarge
	}
	return s.response, nil
}

// Document sends the request and returns the document of the response, which must be a 200 whose
// media type isType accepts.
func (s *subRequest) Document(isType func(http.Header) bool) ([]byte, error) {
	response, err := s.Send()
	if err != nil {
		return nil, s.Failure(err)
	}
	document, err := response.document(isType)
	if err != nil {
		return nil, s.Failure(err)
	}
	return document, nil
}

// Failure adds to an error what an operator may do.
func (s *subRequest) Failure(err error) error {
	if failure := new(OPError); errors.As(err, &failure) {
		failure.advice = s.advice
	}
	return err
}

// An OPResponse records the response to a request of ours, up to exchange.MaxJSON.
type OPResponse struct {
	header http.Header
	// Status is zero before there is one.
	Status int
	body   bytes.Buffer
	large  bool
}

// Header implements [http.ResponseWriter].
func (w *OPResponse) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter]. The first final status counts.
func (w *OPResponse) WriteHeader(status int) {
	if w.Status == 0 && status >= 200 {
		w.Status = status
	}
}

// Write implements [http.ResponseWriter].
func (w *OPResponse) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body.Len()+len(p) > exchange.MaxJSON {
		w.large = true
		return 0, exchange.ErrTooLarge
	}
	return w.body.Write(p)
}

func (w *OPResponse) document(isType func(http.Header) bool) ([]byte, error) {
	if w.Status != http.StatusOK {
		err := fmt.Errorf("it is answered with status %d", w.Status)
		refused := w.Status == 0 || isRefusal(w.Status)
		return nil, &OPError{Err: err, Status: w.Status, Refused: refused}
	}
	if !isType(w.header) {
		err := fmt.Errorf("it is answered with a page of type %q", w.header.Get("Content-Type"))
		return nil, &OPError{Err: err, Status: w.Status, Refused: true}
	}
	return exchange.Decode(w.header, w.body.Bytes(), exchange.MaxJSON)
}

// An OPError says that a request of ours got no document.
type OPError struct {
	// Err is why.
	Err error
	// Status is that of the response; zero: there was none.
	Status int
	// Refused reports whether that may be due to the caller: the OP may well answer others.
	Refused bool
	advice  string
}

func (e *OPError) Error() string { return e.Err.Error() }

func (e *OPError) Unwrap() error { return e.Err }

// isRefusal reports whether a status may be due to the caller.
func isRefusal(status int) bool { return status >= 300 && status < 500 }

// unanswered is the error of a handler that has no response: a wall's, which refuses the caller, or
// that of a proxy without an OP.
func unanswered(err error) *OPError {
	failure := &OPError{Err: fmt.Errorf("asking the OP: %w", err)}
	if status := new(caddyhttp.HandlerError); errors.As(err, status) {
		failure.Status, failure.Refused = status.StatusCode, isRefusal(status.StatusCode)
	}
	return failure
}

// FailureFields returns the fields of a log line with those of an error that has been met.
func FailureFields(err error, fields ...zap.Field) []zap.Field {
	fields = append(fields, zap.Error(err))
	if failure := new(OPError); errors.As(err, &failure) {
		if failure.Status != 0 {
			fields = append(fields, zap.Int("status", failure.Status))
		}
		if failure.advice != "" {
			fields = append(fields, zap.String("advice", failure.advice))
		}
	}
	return fields
}
