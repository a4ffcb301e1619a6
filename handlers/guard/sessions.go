package guard

import (
	"context"
	"sync"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// maxLive is of how many browsers one guard remembers which sessions live.
const maxLive = 1 << 16

// sessions remembers which sessions live, so that no request asks the registry, until that says
// that one of their browser has ended. It closes the streams of sessions that have.
type sessions struct {
	registry *registry.Registry
	now      func() time.Time
	unwatch  func()

	mu         sync.Mutex
	live       map[registry.Place][]liveSession
	generation uint64 // how often the registry said something
	streams    map[registry.Place]map[*stream]struct{}
	closed     bool
}

// A liveSession is one until it expires, unless it is used before.
type liveSession struct {
	id      sessionstate.SessionID
	expires registry.Time
}

func newSessions(r *registry.Registry, now func() time.Time) *sessions {
	s := &sessions{
		registry: r, now: now, live: make(map[registry.Place][]liveSession),
		streams: make(map[registry.Place]map[*stream]struct{}),
	}
	s.unwatch = r.Watch(s.notified)
	return s
}

// close ends the watch, once the streams are over: those outlast their configuration.
func (s *sessions) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	clear(s.live)
	s.unwatchIfIdle()
}

// unwatchIfIdle ends the watch if nothing is left to watch for. The caller holds the lock.
func (s *sessions) unwatchIfIdle() {
	if s.closed && len(s.streams) == 0 {
		s.unwatch()
	}
}

// alive reports whether a session lives. One that is not recorded does not.
func (s *sessions) alive(
	ctx context.Context, id sessionstate.SessionID, now time.Time,
) (bool, error) {
	place := registry.PlaceOfSession(id)
	s.mu.Lock()
	known, generation := s.live[place], s.generation
	s.mu.Unlock()
	for _, session := range known {
		if session.id == id && registry.At(now) < session.expires {
			return true, nil
		}
	}
	state, session, err := s.registry.Resolve(ctx, registry.Ref{Session: id})
	if err != nil || state != registry.Live || session.ID != id {
		return false, err
	}
	s.remember(place, liveSession{id, session.Expires}, generation)
	return true, nil
}

// remember keeps an answer, unless the registry said something since it was asked.
func (s *sessions) remember(place registry.Place, session liveSession, generation uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.generation != generation || s.closed {
		return
	}
	known := s.live[place]
	others := make([]liveSession, 0, len(known)+1)
	for _, other := range known {
		if other.id != session.id {
			others = append(others, other)
		}
	}
	if len(s.live) >= maxLive {
		for some := range s.live { // in no order: any will do
			delete(s.live, some)
			break
		}
	}
	s.live[place] = append(others, session)
}

// notified forgets what is known of a browser, and closes the streams whose session has ended. The
// zero place stands for all.
func (s *sessions) notified(place registry.Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	var open []*stream
	if place == (registry.Place{}) {
		clear(s.live)
		for _, streams := range s.streams {
			for stream := range streams {
				open = append(open, stream)
			}
		}
	} else {
		delete(s.live, place)
		for stream := range s.streams[place] {
			open = append(open, stream)
		}
	}
	if len(open) > 0 {
		go s.closeEnded(open)
	}
}
