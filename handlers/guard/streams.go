package guard

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A stream is a response that goes on: a WebSocket, or an event stream.
type stream struct {
	session sessionstate.SessionID

	mu   sync.Mutex
	end  func()
	over bool // its handler has returned
}

// close ends the stream, unless it is over.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.end()
	}
}

// finish keeps the stream from being ended: its handler has returned.
func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

// mayStream lets a request that asks for a stream be ended by its context. Others are not given
// one: it is what costs most of a guarded request.
func (p *passage) mayStream() {
	if !p.CloseStreams || p.session.IsZero() || !asksForStream(p.request) {
		return
	}
	ctx, cancel := context.WithCancel(p.request.Context())
	p.request, p.cancel = p.request.WithContext(ctx), cancel
}

const eventStream = "text/event-stream"

// asksForStream reports whether a request asks for a WebSocket, over HTTP/2 (RFC 8441, section 4)
// as well, or for an event stream, as EventSource does (HTML Standard, section 9.2). Over HTTP/3 a
// response can be ended by the context alone.
func asksForStream(r *http.Request) bool {
	if r.ProtoMajor > 2 || r.Method == http.MethodConnect || r.Header["Upgrade"] != nil {
		return true
	}
	for _, line := range r.Header["Accept"] {
		if strings.Contains(line, eventStream) {
			return true
		}
	}
	return false
}

// openStream has a stream closed when its session ends, or at once, if it has meanwhile.
func (p *passage) openStream(status int, header http.Header) {
	streams := status == http.StatusSwitchingProtocols || isEventStream(header) ||
		p.request.Method == http.MethodConnect
	if !p.CloseStreams || p.session.IsZero() || !streams {
		return
	}
	p.stream = &stream{session: p.session, end: p.cancel}
	if p.cancel == nil {
		p.stream.end = endByDeadline(p.writer)
	}
	p.sessions.add(p.stream)
}

// endByDeadline returns what ends a response that was not asked for as a stream. Past its deadlines
// net/http cancels the request, in HTTP/1 for that of reading, and in HTTP/2 for that of writing.
func endByDeadline(w http.ResponseWriter) func() {
	control := http.NewResponseController(w)
	return func() {
		past := time.Unix(1, 0)
		_ = control.SetReadDeadline(past)
		_ = control.SetWriteDeadline(past)
	}
}

// add adds a stream.
func (s *sessions) add(opened *stream) {
	place := registry.PlaceOfSession(opened.session)
	s.mu.Lock()
	if s.closed && len(s.streams) == 0 {
		s.unwatch = s.registry.Watch(s.notified)
	}
	if s.streams[place] == nil {
		s.streams[place] = make(map[*stream]struct{})
	}
	s.streams[place][opened] = struct{}{}
	s.mu.Unlock()
	s.closeEnded([]*stream{opened}) // its session may have ended since the request came
}

// remove removes a stream that is over.
func (s *sessions) remove(over *stream) {
	over.finish()
	place := registry.PlaceOfSession(over.session)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams[place], over)
	if len(s.streams[place]) == 0 {
		delete(s.streams, place)
	}
	s.unwatchIfIdle()
}

// closeEnded closes those streams whose session does not live any more. While that cannot be known,
// they go on: the registry says so once it is available again.
func (s *sessions) closeEnded(open []*stream) {
	for _, stream := range open {
		alive, err := s.alive(registry.Patient(context.Background()), stream.session, s.now())
		if err == nil && !alive {
			stream.close()
		}
	}
}
