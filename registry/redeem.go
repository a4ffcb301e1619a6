package registry

import (
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Redemption is one successful token response with an ID token.
//
// Its Response must be remembered ([Join]) and the client remembered with it must be in Audience;
// otherwise nothing is recorded and it is not known. The Sub and Sid become a subject of that
// client in the session that the response belongs to.
//
// Which that is follows the order in which the responses were made, whatever the order in which
// their codes are redeemed. It is the session remembered with the response, or the last of its
// successors that had started when the response was made. If that session holds subjects to
// compare with (those of the same client; with AcrossClients, those of all) and none has the same
// Sub, then the user has switched:
//   - From that session, if it lives: it ends ([ReasonUserSwitch]) with a successor, which starts
//     at the time of the response.
//   - Unless the response was silent, and a session before that one had the Sub: the OP holds
//     several accounts at once, and going back and forth between them is no switch. The subject
//     joins the session.
//   - Not at this response, but before, if the successor of that session has the Sub: the subject
//     joins the successor.
//   - To that session or to its successor, if responses to their users were made later: a session
//     is recorded as ended (ReasonUserSwitch) with that session or that successor as its successor.
//
// A session that ended otherwise gets the subject without a switch. Whenever a session that has
// ended gets one, its client is owed the notice of it at once, also if it was notified before: it
// has got new tokens since. A response which does not belong to the session remembered with it
// moves to the one that it belongs to, where its client takes part with the same origins.
type Redemption struct {
	Issuer        string
	Response      sessionstate.ResponseID
	Audience      []string
	Sub, Sid      string
	IDToken       IDToken
	AcrossClients bool          // equal End-Users have equal Subs at all clients
	Lifetime      time.Duration // of a session started now
	Idle          time.Duration // as in Join
	// clients of a session that ends by this, or has ended, are to be notified
	Notify bool
}

// Joined is what became of a [Join] or a [Redemption].
type Joined struct {
	Session *Session // that of the subject; nil: the response is not known, or not any more
	Started bool     // Session was started for it
	Added   bool     // the subject was not recorded there before
	Full    bool     // it is not recorded, for want of room
}

// redeem records a token response.
func (r *record) redeem(d Redemption, fresh sessionstate.SessionID, now Time) Joined {
	response := r.response(d.Response)
	if response == nil || response.Made.Add(CodeLifetime) <= now ||
		!slices.Contains(d.Audience, response.ClientID) {
		return Joined{}
	}
	made := r.session(response.Session)
	if made == nil {
		return Joined{}
	}
	if response.Redeemed == 0 {
		response.Redeemed = now
	}
	i := identification{Redemption: d, record: r, response: response, fresh: fresh, now: now}
	session, full := i.identify(made)
	if session != made {
		response.Session, response.Moved = session.ID, true
	}
	return Joined{Session: session, Started: i.started, Added: i.added, Full: full}
}

// An identification says who an authorization response was for. Which session that End-User
// belongs to follows the order of the responses: the rules are at [Redemption].
type identification struct {
	Redemption
	record   *record
	response *Response
	fresh    sessionstate.SessionID // which no session has
	now      Time

	started, added bool // of what became of it
}

// identify records the subject, in the given session of the response or in the one that it belongs
// to. full: there was no room for it.
func (i *identification) identify(session *Session) (place *Session, full bool) {
	var origins []string
	if client := session.Client(i.response.ClientID); client != nil {
		origins = client.Origins
	}
	place = i.place(session)
	if place.Ended == 0 {
		place.Forgotten = 0 // one of its codes was redeemed
		place.Silent = !i.Notify
	}
	return place, !i.participate(place, origins)
}

// place finds the session that the subject belongs to, or makes it.
func (i *identification) place(session *Session) *Session {
	for range i.record.Sessions {
		next := i.record.session(session.Successor)
		if next != nil && i.response.Made >= next.Created {
			session = next
			continue
		}
		same, others := i.compare(session)
		switch {
		case same || others.since == 0:
			return session
		case i.response.Made < others.since:
			return i.startBefore(session)
		// the switch was before its first known response
		case next != nil && i.response.Made >= others.last && i.holds(next):
			return next
		case next != nil:
			return i.startBefore(next)
		case !session.Live(i.now) || i.response.Silent && i.heldBefore(session):
			return session
		case i.response.Made < others.last: // they were back before it was known
			return i.startBefore(session)
		default:
			return i.succeed(session)
		}
	}
	return session
}

// span is from the first to the last response to some users; zero: there is none.
type span struct{ since, last Time }

// add widens the span to the responses that a subject is known by.
func (s *span) add(subject *Subject) {
	if s.since == 0 || subject.Since < s.since {
		s.since = subject.Since
	}
	s.last = max(s.last, subject.Last)
}

// compare reports whether the session holds the same Sub, and from when to when others were known.
// Only Subs of one client can be compared, unless the OP gives all clients the same (OpenID
// Connect Core 1.0, section 8).
func (i *identification) compare(session *Session) (same bool, others span) {
	for _, client := range session.Clients {
		if client.ID != i.response.ClientID && !i.AcrossClients {
			continue
		}
		for _, subject := range client.Subjects {
			if subject.Sub == i.Sub {
				same = true
			} else {
				others.add(subject)
			}
		}
	}
	return same, others
}

// holds reports whether the session holds the same Sub.
func (i *identification) holds(session *Session) bool {
	same, _ := i.compare(session)
	return same
}

// heldBefore reports whether a session before this one had the same Sub.
func (i *identification) heldBefore(session *Session) bool {
	for range i.record.Sessions {
		session = i.record.session(session.Predecessor)
		if session == nil {
			return false
		}
		if i.holds(session) {
			return true
		}
	}
	return false
}

// succeed ends the session in favour of a successor that starts at the time of the response.
func (i *identification) succeed(session *Session) *Session {
	successor := i.start()
	successor.Predecessor = session.ID
	session.Successor = successor.ID
	i.record.end(session, ReasonUserSwitch, i.now)
	return successor
}

// startBefore records a session that was over when the given one started: its code came late.
func (i *identification) startBefore(successor *Session) *Session {
	session := i.start()
	session.Successor = successor.ID
	i.record.end(session, ReasonUserSwitch, i.now)
	return session
}

// start starts a session of the same browser, as of the response.
func (i *identification) start() *Session {
	i.started = true
	session := &Session{
		Issuer: i.record.Issuer, ID: i.fresh, Silent: !i.Notify,
		Created: i.response.Made, Limit: i.now.Add(i.Lifetime),
	}
	session.Expires = expires(i.now, session.Limit, i.Idle)
	i.record.Sessions = append(i.record.Sessions, session)
	return session
}

// participate adds the subject and the origins to the response's client in a session. It reports
// whether there was room.
func (i *identification) participate(session *Session, origins []string) bool {
	client := session.Client(i.response.ClientID)
	var subject *Subject
	if client != nil {
		client.IDToken = client.IDToken.Update(i.IDToken)
		subject = client.subject(i.Sub, i.Sid)
	}
	if subject == nil {
		if !i.hasRoom(session, client) {
			return false
		}
		if client == nil {
			client = &Client{ID: i.response.ClientID, IDToken: i.IDToken}
			session.Clients = append(session.Clients, client)
		}
		for _, origin := range append(slices.Clone(origins), i.response.Origin) {
			client.addOrigin(origin)
		}
		subject = &Subject{Sub: i.Sub, Sid: i.Sid, Since: i.response.Made}
		client.Subjects = append(client.Subjects, subject)
		i.added = true
	}
	subject.Last = max(subject.Last, i.response.Made)
	if session.Ended != 0 && i.Notify {
		subject.enqueue(i.now, true)
	}
	return true
}

// hasRoom reports whether the session has room for one more subject of a client; nil: and for the
// client. A client whose codes nobody has redeemed gives way: a page can make any number of
// responses to clients that registered themselves.
func (i *identification) hasRoom(session *Session, client *Client) bool {
	if client != nil {
		return len(client.Subjects) < MaxSubjects
	}
	if len(session.Clients) < MaxClients {
		return true
	}
	n := slices.IndexFunc(session.Clients, func(c *Client) bool { return len(c.Subjects) == 0 })
	if n < 0 {
		return false
	}
	session.Clients = slices.Delete(session.Clients, n, n+1)
	return true
}
