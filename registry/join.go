package registry

import (
	"cmp"
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Join is one successful authorization response.
//
// The session it joins is the first of these that there is:
//  1. the session with the ID in Session, if it lives,
//  2. the last of its successors, if that lives,
//  3. a session started now under the ID in Session, if nothing is recorded under it: it was lost,
//     or forgotten, or the registry was unavailable, and the browser still holds it,
//  4. a session started now under a fresh ID.
//
// The client takes part in it from then on, with Origin among its origins unless that is empty. A
// non-zero Response is remembered for [CodeLifetime]; one that is remembered already stays as it
// was, in whichever browser: the first one that a code was issued to keeps it.
//
// A non-empty Subject comes from an ID token in the response itself. It is recorded as that of a
// [Redemption] is, and the session that it belongs to is the one returned.
type Join struct {
	Issuer   string
	Browser  sessionstate.BrowserID
	Session  sessionstate.SessionID // the sealed cookie's; zero: none
	Response sessionstate.ResponseID
	// Complete: the response has no code, only what it carried itself. It counts as redeemed, also
	// if that named no user.
	Complete bool
	ClientID string
	Origin   string
	// Silent: the response answers a request with prompt=none, so that no user has just signed in.
	Silent        bool
	Sub, Sid      string // empty Sub: the response named none
	IDToken       IDToken
	AcrossClients bool          // equal End-Users have equal Subs at all clients
	Lifetime      time.Duration // of a session started now
	// after which the session ends unless it is joined again; zero: none
	Idle   time.Duration
	Notify bool // its clients are to be notified of its end
}

// join records an authorization response. fresh is an ID that no session has.
func (r *record) join(j Join, fresh sessionstate.SessionID, now Time) (joined *Session, full bool) {
	session := r.joined(j, fresh, now)
	full = !session.participate(j.ClientID, j.Origin)
	session.Silent = !j.Notify
	if j.Sub != "" {
		response := j.response(session, now)
		next := fresh
		if session.ID == fresh {
			next = drawID(PlaceOfSession(fresh))
		}
		i := identification{record: r, response: response, fresh: next, now: now}
		i.Redemption = Redemption{
			Sub: j.Sub, Sid: j.Sid, IDToken: j.IDToken, AcrossClients: j.AcrossClients,
			Lifetime: j.Lifetime, Idle: j.Idle, Notify: j.Notify,
		}
		session, full = i.identify(session)
	}
	if !j.Response.IsZero() && r.response(j.Response) == nil {
		response := j.response(session, now)
		response.ID = j.Response
		if j.Complete {
			response.Redeemed = now
		}
		r.Responses = append(r.Responses, response)
	}
	return session, full
}

// response returns what is recorded of a response of the session, without an ID.
func (j Join) response(session *Session, now Time) *Response {
	return &Response{
		Session: session.ID, ClientID: j.ClientID, Origin: j.Origin, Made: now, Silent: j.Silent,
	}
}

// joined finds the session that is joined, or starts one.
func (r *record) joined(j Join, fresh sessionstate.SessionID, now Time) *Session {
	if j.Session.IsZero() || PlaceOfSession(j.Session) != PlaceOfSession(fresh) {
		return r.start(fresh, j, now)
	}
	held := r.session(j.Session)
	if held == nil {
		if now < r.Crowded {
			return r.start(fresh, j, now) // it may have ended
		}
		return r.start(j.Session, j, now)
	}
	if last := r.last(held); last != nil && last.Live(now) {
		last.use(j, now)
		return last
	}
	return r.start(fresh, j, now)
}

// last returns the session itself or the last of its successors; nil: that is not recorded.
func (r *record) last(session *Session) *Session {
	for range r.Sessions {
		if session == nil || session.Successor.IsZero() {
			break
		}
		session = r.session(session.Successor)
	}
	return session
}

// isUnredeemed reports whether a response has a code, and nothing else to know the user by.
func (j Join) isUnredeemed() bool { return !j.Response.IsZero() && !j.Complete && j.Sub == "" }

func (r *record) start(id sessionstate.SessionID, j Join, now Time) *Session {
	r.makeRoom(now)
	session := &Session{Issuer: r.Issuer, ID: id, Created: now, Limit: now.Add(j.Lifetime)}
	session.Expires = expires(now, session.Limit, j.Idle)
	if j.isUnredeemed() {
		session.Forgotten = now.Add(CodeLifetime)
	}
	r.Sessions = append(r.Sessions, session)
	return session
}

// expires returns when a session ends by itself if it is used now, and not later.
func expires(now, limit Time, idle time.Duration) Time {
	if idle <= 0 {
		return limit
	}
	return min(limit, now.Add(idle))
}

// use notes that a live session is used: it expires later, and is forgotten later or not at all.
func (s *Session) use(j Join, now Time) {
	s.Expires = expires(now, s.Limit, j.Idle)
	switch {
	case s.Forgotten == 0:
	case j.isUnredeemed():
		s.Forgotten = now.Add(CodeLifetime)
	default:
		s.Forgotten = 0
	}
}

// participate has a client take part in the session. It reports whether there was room.
func (s *Session) participate(clientID, origin string) bool {
	client := s.Client(clientID)
	if client == nil {
		if len(s.Clients) >= MaxClients {
			return false
		}
		client = &Client{ID: clientID}
		s.Clients = append(s.Clients, client)
	}
	client.addOrigin(origin)
	return true
}

func (c *Client) addOrigin(origin string) {
	if origin != "" && !slices.Contains(c.Origins, origin) && len(c.Origins) < MaxOrigins {
		c.Origins = append(c.Origins, origin)
	}
}

// makeRoom ends the oldest session of a browser that is about to start one more than it may have:
// one that signs in by the OP's own cookie alone, without ours, could have any number of them.
func (r *record) makeRoom(now Time) {
	live := r.live(now)
	if len(live) < MaxBrowserSessions {
		return
	}
	r.endOldest(live, now)
}

func (r *record) endOldest(sessions []*Session, now Time) {
	oldest := slices.MinFunc(sessions, func(a, b *Session) int {
		return cmp.Compare(a.Created, b.Created)
	})
	r.end(oldest, ReasonExpiry, now)
}
