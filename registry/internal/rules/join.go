package rules

import (
	"fmt"
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Join records an authorization response as [registry.Join] says. It has changed nothing when it returns an error.
func Join(tx Tx, join registry.Join) (registry.Session, error) {
	session, err := joined(tx, join)
	if err != nil {
		return registry.Session{}, err
	}
	participate(tx, session.ID, join.ClientID, join.Origin)
	useClient(tx, join.ClientID, join.Now)
	if join.Subject.Sub != "" {
		response := Response{
			Session: session.ID, ClientID: join.ClientID, Origin: join.Origin, Made: instant(join.Now), Silent: join.Silent,
		}
		i := identification{
			tx: tx, response: response, subject: join.Subject, idToken: join.IDToken, across: join.AcrossClients,
			fresh: join.Fresh, now: join.Now, lifetime: join.Lifetime, idle: join.Idle, tell: join.Tell,
		}
		identified, err := i.record(session)
		if err != nil {
			return registry.Session{}, err
		}
		session = identified.Session
	}
	if !join.Response.IsZero() {
		remember(tx, join, session.ID)
	}
	return session, nil
}

// joined finds the session that is joined, or starts one.
func joined(tx Tx, join registry.Join) (registry.Session, error) {
	if join.Session.IsZero() {
		return start(tx, join.Fresh, join)
	}
	held, found := tx.Session(join.Session)
	if !found {
		return start(tx, join.Session, join)
	}
	if session, live := continued(tx, held, join.Now); live {
		return use(tx, session, join), nil
	}
	return start(tx, join.Fresh, join)
}

// continued returns the session itself or the last of its successors, and whether that is live. The number of hops is bounded,
// so that no damaged or hostile chain keeps a login waiting.
func continued(tx Tx, session registry.Session, now time.Time) (registry.Session, bool) {
	for range registry.MaxSuccessors {
		if session.Successor.IsZero() {
			break
		}
		next, found := tx.Session(session.Successor)
		if !found {
			return session, false
		}
		session = next
	}
	return session, session.Live(now)
}

// isUnredeemed reports whether a response has a code, and nothing else to know the user by.
func isUnredeemed(join registry.Join) bool { return !join.Response.IsZero() && join.Subject.Sub == "" }

func start(tx Tx, id sessionstate.SessionID, join registry.Join) (registry.Session, error) {
	if _, found := tx.Session(id); found {
		return registry.Session{}, fmt.Errorf("%w: fresh session ID is in use", registry.ErrInvalid)
	}
	limit := instant(join.Now.Add(join.Lifetime))
	session := registry.Session{
		ID:      id,
		Browser: join.Browser,
		Issuer:  join.Issuer,
		Created: instant(join.Now),
		Expires: expires(join.Now, limit, join.Idle),
		Limit:   limit,
	}
	if isUnredeemed(join) {
		session.Forgotten = instant(join.Now.Add(registry.CodeLifetime))
	}
	makeRoom(tx, join)
	tx.StartSession(session)
	return session, nil
}

// participate makes the client a participation of the session, unless that is full.
func participate(tx Tx, id sessionstate.SessionID, clientID, origin string) {
	participation, found := tx.Participation(id, clientID)
	if !found && len(tx.Participations(id)) >= registry.MaxParticipations {
		return
	}
	participation.ClientID = clientID
	adds := origin != "" && !slices.Contains(participation.Origins, origin) &&
		len(participation.Origins) < registry.MaxOrigins
	if adds {
		participation.Origins = append(participation.Origins, origin)
	}
	if !found || adds {
		tx.PutParticipation(id, participation)
	}
}

// remember records which session and client a response was for. The first write wins: a code that is presented again, by the
// Back button or by somebody else, does not move to another session.
func remember(tx Tx, join registry.Join, id sessionstate.SessionID) {
	if response, found := tx.Response(join.Response); found && join.Now.Before(response.Expires) {
		return
	}
	tx.PutResponse(join.Response, Response{
		Session:  id,
		ClientID: join.ClientID,
		Origin:   join.Origin,
		Made:     instant(join.Now),
		Expires:  instant(join.Now.Add(registry.CodeLifetime)),
		Silent:   join.Silent,
	})
}
