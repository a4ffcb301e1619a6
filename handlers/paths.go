package handlers

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// Paths gives requests the path that the browser sent, on sites that rewrite it before us
// (handle_path, uri strip_prefix): the OP's documents, redirects and cookies have that path, and
// ours must.
type Paths struct {
	env    Env
	prefix atomic.Pointer[string] // that was stripped last; nil: none was
	warned sync.Once
}

// Setup takes what the handlers share.
func (p *Paths) Setup(env Env) { p.env = env }

// A Stripped is the way to the handlers behind us where those before us have rewritten the path:
// all requests that go there, our own to the OP too, have their paths rewritten alike.
type Stripped struct {
	next     caddyhttp.Handler
	from, to urlPath // of the request, before and after
	// what was stripped; empty: the path was rewritten in a way that fits no other path
	prefix string
}

// A urlPath is the path of a URL, and its escaped form where that is not the usual one.
type urlPath struct{ path, raw string }

// Restore returns the way to the handlers behind for a request of which the path was rewritten;
// nil: it was not.
func (p *Paths) Restore(r *http.Request, next caddyhttp.Handler) *Stripped {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || original.URL == nil {
		return nil
	}
	from, to := urlPath{original.URL.Path, original.URL.RawPath}, urlPath{r.URL.Path, r.URL.RawPath}
	stripped := p.prefix.Load()
	if from.path == to.path {
		// A path that is not below the prefix is not stripped; the OP's documents still are.
		if stripped == nil || hasPathPrefix(from.path, *stripped) {
			return nil
		}
		return &Stripped{next, from, to, *stripped}
	}
	prefix, ok := strings.CutSuffix(caddyhttp.CleanPath(from.path, true), to.path)
	if !ok || !strings.HasPrefix(prefix, "/") || strings.HasSuffix(prefix, "/") ||
		!strings.HasPrefix(to.path, "/") {
		if stripped != nil {
			return &Stripped{next, from, to, *stripped}
		}
		p.warn(from.path, to.path)
		return &Stripped{next: next, from: from, to: to}
	}
	if from.path != prefix+to.path {
		from = urlPath{path: prefix + to.path} // Caddy has merged its slashes
	}
	if stripped == nil || !strings.EqualFold(*stripped, prefix) {
		p.prefix.Store(&prefix)
	}
	return &Stripped{next, from, to, prefix}
}

// warn logs once that paths are rewritten in a way that our own requests cannot follow. A path of
// which nothing is left shows nothing.
func (p *Paths) warn(from, to string) {
	if to == "/" {
		return
	}
	p.warned.Do(func() {
		p.env.Logger.Warn("paths are rewritten before oidc_session",
			zap.String("from", from), zap.String("to", to),
			zap.String("advice", "put oidc_session before what rewrites them, "+
				"or the OP may not be found: "+
				"it can be asked where a prefix is stripped, and no further"))
	})
}

// Serve has a request served with the path that the browser sent.
func (s *Stripped) Serve(
	w http.ResponseWriter, r *http.Request,
	serve func(http.ResponseWriter, *http.Request, caddyhttp.Handler) error,
) error {
	return s.from.serve(r, func() error { return serve(w, r, s) })
}

// ServeHTTP passes a request on with the path that the handlers before us would have left.
func (s *Stripped) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	to := s.rewritten(r.URL.Path, r.URL.RawPath)
	return to.serve(r, func() error { return s.next.ServeHTTP(w, r) })
}

func (s *Stripped) rewritten(path, raw string) urlPath {
	switch {
	case path == s.from.path:
		return s.to
	case s.prefix == "" || !hasPathPrefix(path, s.prefix):
		return urlPath{path, raw}
	case hasPathPrefix(raw, s.prefix):
		return urlPath{path[len(s.prefix):], raw[len(s.prefix):]}
	default:
		return urlPath{path: path[len(s.prefix):]}
	}
}

// serve has a request served with this path. Its URL stays the same one: copies of the request
// share it, and Caddy's placeholders are of the first.
func (p urlPath) serve(r *http.Request, serve func() error) error {
	before, uri := *r.URL, r.RequestURI
	r.URL.Path, r.URL.RawPath = p.path, p.raw
	r.RequestURI = r.URL.RequestURI()
	err := serve()
	*r.URL, r.RequestURI = before, uri
	return err
}

// AsSent returns a request that keeps the path that the browser sent while the handlers behind have
// it rewritten: decisions on the response need it.
func AsSent(r *http.Request, next caddyhttp.Handler) *http.Request {
	if _, rewritten := next.(*Stripped); !rewritten {
		return r
	}
	kept, at := r.WithContext(r.Context()), *r.URL
	kept.URL = &at
	return kept
}

// hasPathPrefix reports whether a path is below a prefix, as Caddy compares them.
func hasPathPrefix(path, prefix string) bool {
	n := len(prefix)
	return len(path) >= n && strings.EqualFold(path[:n], prefix) &&
		(len(path) == n || path[n] == '/')
}
