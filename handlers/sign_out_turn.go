package handlers

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// repeatedWithin is how long after a sign-out a request that comes with the cookies of before is its repetition: the second click of a
// double click. The browser shows the answer to that one, and may never have seen the first, cookies included.
const repeatedWithin = time.Minute

// turns have the requests that sign out of one session come one after the other, so that the second finds what the first has done. The
// zero value is ready.
type turns struct {
	mu    sync.Mutex
	byID  map[sessionstate.SessionID]*turn
	swept time.Time
}

// A turn belongs to one request at a time, which has what is in it to itself.
type turn struct {
	taken chan struct{} // holds one while it is
	begun time.Time

	left    bool     // a request has signed out
	ended   bool     // the OP was asked to end its own session by it, and did not refuse
	proved  bool     // and it is certain that it has
	cookies []string // the Set-Cookie lines that came with that
}

// of returns the turn of a session, and forgets those that are too old to be repeated.
func (t *turns) of(id sessionstate.SessionID, now time.Time) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.swept) >= repeatedWithin {
		t.swept = now
		maps.DeleteFunc(t.byID, func(_ sessionstate.SessionID, old *turn) bool { return now.Sub(old.begun) >= repeatedWithin })
	}
	found := t.byID[id]
	if found == nil || now.Sub(found.begun) >= repeatedWithin {
		found = &turn{taken: make(chan struct{}, 1), begun: now}
		if t.byID == nil {
			t.byID = make(map[sessionstate.SessionID]*turn)
		}
		t.byID[id] = found
	}
	return found
}

// takeTurn waits until no other request signs out of a session. A browser that does not wait for it, or has no session, goes without.
func (e *EndSession) takeTurn(l *leave, id sessionstate.SessionID) {
	if l.turn != nil || id.IsZero() {
		return
	}
	next := e.turns.of(id, l.now)
	select {
	case next.taken <- struct{}{}:
		l.turn, l.looked = next, false // the request before may have changed what is recorded
	case <-l.r.Context().Done():
	}
}

// endTurn lets the next request in, if this one has the turn. left: it has signed out.
func (l *leave) endTurn(left bool) {
	if l.turn != nil {
		l.turn.left = l.turn.left || left
		<-l.turn.taken
		l.turn = nil
	}
}

// endAtOPOnce ends the OP's own session, unless the request before has: the OP may refuse to do it twice. The cookies that the OP gave
// that one are given to this one.
func (e *EndSession) endAtOPOnce(l *leave) error {
	if l.turn == nil || !e.asksOP(l.r) {
		return e.endAtOP(l)
	}
	header := l.w.Header()
	if l.turn.ended {
		header["Set-Cookie"] = append(header["Set-Cookie"], l.turn.cookies...)
		l.proved = l.turn.proved
		return nil
	}
	given := len(header["Set-Cookie"])
	if err := e.endAtOP(l); err != nil {
		return err
	}
	l.turn.proved = l.proved
	l.turn.ended, l.turn.cookies = true, slices.Clone(header["Set-Cookie"][given:])
	return nil
}

// isRepeated reports whether another request has signed this browser out a moment ago, whose answer it has not seen.
func (e *EndSession) isRepeated(l *leave) bool {
	return l.turn != nil && l.turn.left || e.endedBefore(l).Ended
}

// forgetSession gives the browser the cookies of one that is signed out.
func (l *leave) forgetSession() {
	l.sealed = l.sealed.signedOut()
	l.state = l.keys.AnonymousState(l.op.Issuer)
	l.giveSession()
	l.giveState(l.state)
}

// endedBefore is the sign-out that this request repeats, as the session that the browser presents tells; zero: there is none.
func (e *EndSession) endedBefore(l *leave) sealedLogout {
	if l.sealed.session.IsZero() {
		return sealedLogout{}
	}
	session, known := e.session(l)
	if !known || !wasLeft(session, l.now) {
		return sealedLogout{}
	}
	return sealedLogout{Request: l.request, Ended: true, Sessions: sessionIDs([]*registry.Session{session})}
}

// wasLeft reports whether a session ended a moment ago, by a sign-out.
func wasLeft(session *registry.Session, now time.Time) bool {
	return session.Reason == registry.ReasonLogout && now.Sub(session.Ended.Time()) < repeatedWithin
}
