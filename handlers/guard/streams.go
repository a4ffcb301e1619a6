package guard

import (
	"context"
	"net/http"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A stream is a response that goes on: a WebSocket, or an event stream.
type stream struct {
	session sessionstate.SessionID
	close   context.CancelFunc
}

// mayStream lets the request be ended when its session is, if there is one that lives.
func (p *passage) mayStream() {
	if !p.CloseStreams || p.session.IsZero() {
		return
	}
	ctx, cancel := context.WithCancel(p.request.Context())
	p.request, p.cancel = p.request.WithContext(ctx), cancel
}

// openStream has a stream closed when its session ends, or at once, if it has meanwhile.
func (p *passage) openStream(status int, header http.Header) {
	streams := status == http.StatusSwitchingProtocols || isEventStream(header) ||
		p.request.Method == http.MethodConnect // WebSockets over HTTP/2 (RFC 8441, section 4)
	if p.cancel == nil || !streams {
		return
	}
	p.stream = &stream{session: p.session, close: p.cancel}
	p.sessions.add(p.stream)
}

// add adds a stream.
func (s *sessions) add(opened *stream) {
	place := registry.PlaceOfSession(opened.session)
	s.mu.Lock()
	if s.streams[place] == nil {
		s.streams[place] = make(map[*stream]struct{})
	}
	s.streams[place][opened] = struct{}{}
	s.mu.Unlock()
	s.closeEnded([]*stream{opened}) // its session may have ended since the request came
}

// remove removes a stream that is over.
func (s *sessions) remove(over *stream) {
	place := registry.PlaceOfSession(over.session)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams[place], over)
	if len(s.streams[place]) == 0 {
		delete(s.streams, place)
	}
	s.rest()
}

// closeEnded closes those streams whose session does not live any more. While that cannot be known,
// they go on: the registry says so once it is available again.
func (s *sessions) closeEnded(open []*stream) {
	for _, stream := range open {
		alive, err := s.alive(registry.Patient(context.Background()), stream.session)
		if err == nil && !alive {
			stream.close()
		}
	}
}
