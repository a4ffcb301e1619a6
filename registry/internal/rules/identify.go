package rules

import (
	"fmt"
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// An identification says who an authorization response was for. Which session that End-User belongs to follows the order of the
// responses: the rules are at [registry.Redemption].
type identification struct {
	tx       Tx
	response Response
	subject  registry.Subject
	idToken  registry.IDToken
	across   bool
	fresh    sessionstate.SessionID
	now      time.Time
	lifetime time.Duration
	idle     time.Duration
	tell     bool
}

// record records the subject, in the given session of the response or in the one that it belongs to.
func (i identification) record(session registry.Session) (registry.Redeemed, error) {
	i.subject.Since, i.subject.Last = i.response.Made, i.response.Made
	own, _ := i.tx.Participation(session.ID, i.response.ClientID)
	place, switched, err := i.place(session)
	if err != nil {
		return registry.Redeemed{}, err
	}
	place = keep(i.tx, place)
	added, full := i.participate(place, own.Origins)
	return registry.Redeemed{Known: true, Session: place, Switched: switched, Added: added, Full: full}, nil
}

// place finds the session that the subject belongs to, or makes it.
func (i identification) place(session registry.Session) (place registry.Session, switched bool, err error) {
	for range registry.MaxSuccessors {
		next, hasNext := i.tx.Session(session.Successor)
		if hasNext = hasNext && !session.Successor.IsZero(); hasNext && !i.response.Made.Before(next.Created) {
			session = next
			continue
		}
		same, others := i.compare(session)
		switch {
		case same || others.since.IsZero():
			return session, false, nil
		case i.response.Made.Before(others.since):
			place, err = i.startBefore(session)
			return place, false, err
		case hasNext && !i.response.Made.Before(others.last) && i.holds(next): // the switch was before its first known response
			return next, false, nil
		case hasNext:
			place, err = i.startBefore(next)
			return place, false, err
		case !session.Live(i.now) || i.response.Silent && i.heldBefore(session):
			return session, false, nil
		case i.response.Made.Before(others.last): // they were back before it was known
			place, err = i.startBefore(session)
			return place, false, err
		default:
			place, err = i.succeed(session)
			return place, err == nil, err
		}
	}
	return session, false, nil
}

// span is from the first to the last response to some users; zero: there is none.
type span struct{ since, last time.Time }

// add widens the span to the responses that a subject is known by.
func (s *span) add(subject registry.Subject) {
	if s.since.IsZero() || subject.Since.Before(s.since) {
		s.since = subject.Since
	}
	if subject.Last.After(s.last) {
		s.last = subject.Last
	}
}

// compare reports whether the session holds the same Sub, and from when to when others were known; zero: there is none to compare
// with. Only Subs of one client can be compared, unless the OP gives all clients the same (OpenID Connect Core 1.0, section 8).
func (i identification) compare(session registry.Session) (same bool, others span) {
	own, _ := i.tx.Participation(session.ID, i.response.ClientID)
	compared := []registry.Participation{own}
	if i.across {
		compared = i.tx.Participations(session.ID)
	}
	for _, participation := range compared {
		for _, subject := range participation.Subjects {
			if subject.Sub == i.subject.Sub {
				same = true
			} else {
				others.add(subject)
			}
		}
	}
	return same, others
}

// holds reports whether the session holds the same Sub.
func (i identification) holds(session registry.Session) bool {
	same, _ := i.compare(session)
	return same
}

// heldBefore reports whether a session before this one had the same Sub.
func (i identification) heldBefore(session registry.Session) bool {
	for range registry.MaxSuccessors {
		before, found := i.tx.Session(session.Predecessor)
		if !found || session.Predecessor.IsZero() {
			return false
		}
		if i.holds(before) {
			return true
		}
		session = before
	}
	return false
}

// succeed ends the session in favour of a successor that starts at the time of the response.
func (i identification) succeed(session registry.Session) (registry.Session, error) {
	successor, err := i.started(session)
	if err != nil {
		return registry.Session{}, err
	}
	successor.Predecessor = session.ID
	session.Ended, session.Reason, session.Successor = instant(i.now), registry.ReasonUserSwitch, successor.ID
	i.tx.StartSession(successor)
	end(i.tx, session, i.tell)
	return successor, nil
}

// startBefore records a session that was over when the given one started: its code came late.
func (i identification) startBefore(successor registry.Session) (registry.Session, error) {
	session, err := i.started(successor)
	if err != nil {
		return registry.Session{}, err
	}
	i.tx.StartSession(session)
	session.Ended, session.Reason, session.Successor = instant(i.now), registry.ReasonUserSwitch, successor.ID
	end(i.tx, session, i.tell)
	return session, nil
}

// started is a new session of the same browser, as of the response.
func (i identification) started(of registry.Session) (registry.Session, error) {
	if _, found := i.tx.Session(i.fresh); found {
		return registry.Session{}, fmt.Errorf("%w: fresh session ID is in use", registry.ErrInvalid)
	}
	limit := instant(i.now.Add(i.lifetime))
	return registry.Session{
		ID:      i.fresh,
		Browser: of.Browser,
		Issuer:  of.Issuer,
		Created: i.response.Made,
		Expires: expires(i.now, limit, i.idle),
		Limit:   limit,
	}, nil
}

// participate adds the subject and the origins to the client's participation. It reports whether it
// did, and whether there was no room.
func (i identification) participate(session registry.Session, origins []string) (added, full bool) {
	id := session.ID
	participation, recorded := i.tx.Participation(id, i.response.ClientID)
	participation.ClientID = i.response.ClientID
	before := participation.IDToken
	participation.IDToken = before.Update(i.idToken)
	known := func(s registry.Subject) bool { return s.Sub == i.subject.Sub && s.Sid == i.subject.Sid }
	if n := slices.IndexFunc(participation.Subjects, known); n >= 0 {
		later := i.subject.Last.After(participation.Subjects[n].Last)
		if later {
			participation.Subjects[n].Last = i.subject.Last
		}
		if later || participation.IDToken != before {
			i.tx.PutParticipation(id, participation)
		}
		i.hold(session, participation)
		return false, false
	}
	if len(participation.Subjects) >= registry.MaxSubjects || !i.makeRoom(id, recorded) {
		return false, true
	}
	if i.response.Origin != "" { // the participation may not have been recorded, or have given way
		origins = append(origins, i.response.Origin)
	}
	participation.Subjects = append(participation.Subjects, i.subject)
	for _, origin := range origins {
		if !slices.Contains(participation.Origins, origin) && len(participation.Origins) < registry.MaxOrigins {
			participation.Origins = append(participation.Origins, origin)
		}
	}
	i.tx.PutParticipation(id, participation)
	i.hold(session, participation)
	return true, false
}

// makeRoom reports whether the session has room for one more subject, and for one more client unless
// that is recorded. A client whose codes nobody has redeemed gives way: a page can make any number
// of responses to clients that have registered themselves.
func (i identification) makeRoom(id sessionstate.SessionID, recorded bool) bool {
	participations, subjects := i.tx.Participations(id), 0
	for _, participation := range participations {
		subjects += len(participation.Subjects)
	}
	if subjects >= registry.MaxSessionSubjects {
		return false
	}
	if recorded || len(participations) < registry.MaxParticipations {
		return true
	}
	unredeemed := func(p registry.Participation) bool { return len(p.Subjects) == 0 }
	n := slices.IndexFunc(participations, unredeemed)
	if n < 0 {
		return false
	}
	i.tx.DeleteParticipation(id, participations[n].ClientID)
	return true
}

// limitHolders ends the oldest of the sessions that hold the sub, if the given one is about to be
// one too many.
func (i identification) limitHolders(session registry.Session) {
	ids := i.tx.Holders(i.response.ClientID, i.subject.Sub, registry.MaxUserSessions)
	if len(ids) < registry.MaxUserSessions || slices.Contains(ids, session.ID) {
		return
	}
	var holders []registry.Session
	for _, id := range ids {
		if holder, found := i.tx.Session(id); found {
			holders = append(holders, holder)
		}
	}
	if len(holders) > 0 {
		endOldest(i.tx, holders, i.now, i.tell)
	}
}

// hold notes that the session holds the subject. Files of earlier versions do not say that of their sessions, so it is noted at each
// sign-in. A session that has ended owes the notice at once, also when it was delivered before: the client has got new tokens since.
func (i identification) hold(session registry.Session, participation registry.Participation) {
	switch {
	case session.Ended.IsZero():
		i.limitHolders(session)
		i.tx.PutSubject(i.response.ClientID, i.subject.Sub, i.subject.Sid, session.ID)
	case i.tell:
		owe(i.tx, session, participation, i.subject, i.now, true)
	}
}
