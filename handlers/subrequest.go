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
)

// subRequestTimeout is how long the OP has to answer a question of ours.
const subRequestTimeout = 5 * time.Second

// errTooLarge says that the OP's answer was over the bound.
var errTooLarge = errors.New("answer is too large")

// A subRequest is a question of ours to the OP, through the handlers behind us: whatever the site
// does to reach its OP (rewrites, headers, transports), the question goes the same way. Where the
// OP's own address is configured, it goes there.
type subRequest struct {
	request *http.Request
	next    caddyhttp.Handler
	answer  *answer
	cancel  context.CancelFunc
	advice  string // if it fails
}

// An opQuestion is what a subRequest asks the OP.
type opQuestion struct {
	method string
	target string // URL on the issuer's origin
	header http.Header
	body   string
}

// newSubRequest makes a GET for a URL on the issuer's origin.
func newSubRequest(env Env, caller *http.Request, next caddyhttp.Handler, target string) (*subRequest, error) {
	return opQuestion{method: http.MethodGet, target: target}.prepare(env, caller, next)
}

// prepare makes the request. It must be made while the caller is being served and before the caller goes on; it may be sent from
// another goroutine.
//
// It is a new request, not a clone: a clone shares the caller's context, in which Caddy keeps
// which handle groups were taken, so that the caller itself would end in an empty response. Of the
// client's header, nothing goes along by itself but what the site may tell clients by: the
// User-Agent, and where trusted proxies say who the client is (Prepare).
func (q opQuestion) prepare(env Env, caller *http.Request, next caddyhttp.Handler) (*subRequest, error) {
	u, err := url.Parse(q.target)
	if err != nil {
		return nil, fmt.Errorf("parsing the URL of a sub-request: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller.Context()), subRequestTimeout)
	r, err := http.NewRequestWithContext(ctx, q.method, u.RequestURI(), strings.NewReader(q.body))
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
	maps.Copy(r.Header, q.header)
	r.Header.Set("Accept-Encoding", "identity")
	// Behind a proxy that Caddy trusts, these say what that proxy would have said; else reverse_proxy writes its own.
	r.Header.Set("X-Forwarded-Proto", u.Scheme)
	r.Header.Set("X-Forwarded-Host", u.Host)
	a := &answer{header: make(http.Header)}
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

// forwardAs has the question forwarded as the caller was, for an issuer that is not known yet: where another server ends TLS in
// front of Caddy, only what that server says tells the OP's scheme. reverse_proxy believes it of trusted proxies only.
func (s *subRequest) forwardAs(caller *http.Request) {
	for _, field := range []string{"X-Forwarded-Proto", "X-Forwarded-Host"} {
		if values := caller.Header[field]; len(values) > 0 {
			s.request.Header[field] = values
		}
	}
}

// send asks and returns the answer. A panic of a handler behind is an error: it would end the whole server here.
func (s *subRequest) send() (a *answer, err error) {
	defer s.cancel()
	defer func() {
		if p := recover(); p != nil {
			aborted, _ := p.(error) // http.ErrAbortHandler, perhaps
			a, err = nil, &answerError{err: fmt.Errorf("the handlers behind panicked: %v", p), refused: errors.Is(aborted, http.ErrAbortHandler)}
		}
	}()
	if err := s.next.ServeHTTP(s.answer, s.request); err != nil {
		return nil, unanswered(err)
	}
	if s.answer.large {
		return nil, errTooLarge
	}
	return s.answer, nil
}

// document asks and returns the document that the question is answered with. Its media type must
// be one that is taken.
func (s *subRequest) document(isType func(http.Header) bool) ([]byte, error) {
	a, err := s.send()
	if err != nil {
		return nil, s.failure(err)
	}
	document, err := a.document(isType)
	if err != nil {
		return nil, s.failure(err)
	}
	return document, nil
}

// failure adds what an operator may do.
func (s *subRequest) failure(err error) error {
	if failure := new(answerError); errors.As(err, &failure) {
		failure.advice = s.advice
	}
	return err
}

// An answer records the response to a sub-request, up to maxJSON.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
	large  bool
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(p) > maxJSON {
		a.large = true
		return 0, errTooLarge
	}
	return a.body.Write(p)
}

// document returns the document of an answer.
func (a *answer) document(isType func(http.Header) bool) ([]byte, error) {
	if a.status != http.StatusOK {
		err := fmt.Errorf("it is answered with status %d", a.status)
		return nil, &answerError{err: err, status: a.status, refused: a.status == 0 || isRefusal(a.status)}
	}
	if !isType(a.header) {
		err := fmt.Errorf("it is answered with a page of type %q", a.header.Get("Content-Type"))
		return nil, &answerError{err: err, status: a.status, refused: true}
	}
	return decoded(a.header, a.body.Bytes(), maxJSON)
}
