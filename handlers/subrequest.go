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

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// SubRequestTimeout is how long the OP has to answer a question of ours.
const SubRequestTimeout = 5 * time.Second

// A subRequest is a question of ours to the OP, through the handlers behind us: whatever the site
// does to reach its OP (rewrites, headers, transports), the question goes the same way. Where the
// OP's own address is configured, it goes there.
type subRequest struct {
	request *http.Request
	next    caddyhttp.Handler
	answer  *Answer
	cancel  context.CancelFunc
	advice  string // if it fails
}

// An OPRequest is what a subRequest asks the OP.
type OPRequest struct {
	Method string
	Target string // URL on the issuer's origin
	Header http.Header
	Body   string
}

// NewSubRequest makes a GET for a URL on the issuer's origin.
func NewSubRequest(env Env, caller *http.Request, next caddyhttp.Handler, target string) (*subRequest, error) {
	return OPRequest{Method: http.MethodGet, Target: target}.Prepare(env, caller, next)
}

// Prepare makes the request. It must be made while the caller is being served and before the
// caller goes on; it may be sent from another goroutine.
//
// It is a new request, not a clone: a clone shares the caller's context, in which Caddy keeps
// which handle groups were taken, so that the caller itself would end in an empty response. Of the
// client's header, nothing goes along by itself but what the site may tell clients by: the
// User-Agent, and where trusted proxies say who the client is (Prepare).
func (q OPRequest) Prepare(env Env, caller *http.Request, next caddyhttp.Handler) (*subRequest, error) {
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
	a := &Answer{header: make(http.Header)}
	s := &subRequest{request: env.Prepare(r, caller, a), next: next, answer: a, cancel: cancel}
	s.direct(env.OPAddress)
	return s, nil
}

// direct has the question go to the OP's own address, if there is one: with the path that it would
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

// forwardAs has the question forwarded as the caller was, for an issuer that is not known yet:
// where another server ends TLS in front of Caddy, only what that server says tells the OP's
// scheme. reverse_proxy believes it of trusted proxies only.
func (s *subRequest) forwardAs(caller *http.Request) {
	for _, field := range []string{"X-Forwarded-Proto", "X-Forwarded-Host"} {
		if values := caller.Header[field]; len(values) > 0 {
			s.request.Header[field] = values
		}
	}
}

// Send asks and returns the answer. A panic of a handler behind is an error: it would end the
// whole server here.
func (s *subRequest) Send() (a *Answer, err error) {
	defer s.cancel()
	defer func() {
		if p := recover(); p != nil {
			aborted, _ := p.(error) // http.ErrAbortHandler, perhaps
			a, err = nil, &OPError{Err: fmt.Errorf("the handlers behind panicked: %v", p), Refused: errors.Is(aborted, http.ErrAbortHandler)}
		}
	}()
	if err := s.next.ServeHTTP(s.answer, s.request); err != nil {
		return nil, unanswered(err)
	}
	if s.answer.large {
		return nil, exchange.ErrTooLarge
	}
	return s.answer, nil
}

// Document asks and returns the document that the question is answered with. Its media type must
// be one that is taken.
func (s *subRequest) Document(isType func(http.Header) bool) ([]byte, error) {
	a, err := s.Send()
	if err != nil {
		return nil, s.Failure(err)
	}
	document, err := a.document(isType)
	if err != nil {
		return nil, s.Failure(err)
	}
	return document, nil
}

// Failure adds what an operator may do.
func (s *subRequest) Failure(err error) error {
	if failure := new(OPError); errors.As(err, &failure) {
		failure.advice = s.advice
	}
	return err
}

// An Answer records the response to a sub-request, up to maxJSON.
type Answer struct {
	header http.Header
	Status int
	body   bytes.Buffer
	large  bool
}

func (a *Answer) Header() http.Header { return a.header }

func (a *Answer) WriteHeader(status int) {
	if a.Status == 0 && status >= 200 {
		a.Status = status
	}
}

func (a *Answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(p) > exchange.MaxJSON {
		a.large = true
		return 0, exchange.ErrTooLarge
	}
	return a.body.Write(p)
}

// document returns the document of an answer.
func (a *Answer) document(isType func(http.Header) bool) ([]byte, error) {
	if a.Status != http.StatusOK {
		err := fmt.Errorf("it is answered with status %d", a.Status)
		return nil, &OPError{Err: err, Status: a.Status, Refused: a.Status == 0 || isRefusal(a.Status)}
	}
	if !isType(a.header) {
		err := fmt.Errorf("it is answered with a page of type %q", a.header.Get("Content-Type"))
		return nil, &OPError{Err: err, Status: a.Status, Refused: true}
	}
	return exchange.Decode(a.header, a.body.Bytes(), exchange.MaxJSON)
}
