package rules

import (
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Enough is how many participations and subjects of ended sessions one transaction deals with until it ends no more sessions: about as
// many as it can without logins waiting for it long. The last session may have [registry.MaxSessionSubjects] more.
const Enough = 256

// End ends live sessions as [registry.Ending] says.
func End(tx Tx, ending registry.Ending) []registry.Session {
	var ended []registry.Session
	dealt := 0
	for _, session := range toEnd(tx, ending) {
		if dealt >= Enough {
			break
		}
		session = keep(tx, session) // that it has ended is to be known for as long as its browser may hold it
		session.Ended, session.Reason = instant(ending.Now), ending.Reason
		dealt += end(tx, session, ending.Tell)
		if ending.Tell && ending.Asked != "" {
			markAsked(tx, session, ending)
		}
		ended = append(ended, session)
	}
	return ended
}

// toEnd lists live sessions that are to end.
func toEnd(tx Tx, ending registry.Ending) []registry.Session {
	if ending.Holder == (registry.Holder{}) {
		return tx.LiveSessions(ending.Browser, ending.Now, registry.MaxBrowserSessions)
	}
	var live []registry.Session
	for _, id := range tx.SubjectHolders(ending.Holder, registry.MaxUserSessions) {
		if session, found := tx.Session(id); found && session.Live(ending.Now) {
			live = append(live, session)
		}
	}
	return live
}

// markAsked notes whose notices are those of the client that asked for the end of a session, and
// when they are due.
func markAsked(tx Tx, session registry.Session, ending registry.Ending) {
	participation, _ := tx.Participation(session.ID, ending.Asked)
	for _, subject := range participation.Subjects {
		notice, found := tx.Notice(registry.NameNotice(session.ID, ending.Asked, subject.Sub, subject.Sid))
		if !found || notice.Held {
			continue
		}
		tx.DeleteNotice(notice)
		notice.Asked = true
		if ending.AskedDue.After(ending.Now) {
			notice.Due = instant(ending.AskedDue)
		}
		tx.PutNotice(notice)
	}
}

// makeRoom ends the oldest session of a browser that is about to start one more than it may have. A browser that signs in by the OP's
// own cookie alone, without ours, could have any number of them.
func makeRoom(tx Tx, join registry.Join) {
	live := tx.LiveSessions(join.Browser, join.Now, registry.MaxBrowserSessions)
	if len(live) < registry.MaxBrowserSessions {
		return
	}
	endOldest(tx, live, join.Now, join.Tell)
}

// endOldest ends the oldest of too many sessions. Its record goes soon, for there could be any
// number of those as well.
func endOldest(tx Tx, sessions []registry.Session, now time.Time, tell bool) {
	oldest := slices.MinFunc(sessions, func(a, b registry.Session) int { return a.Created.Compare(b.Created) })
	before := oldest.Removal()
	oldest.Ended, oldest.Reason = instant(now), registry.ReasonExpiry
	oldest.Forgotten = instant(now.Add(registry.CodeLifetime))
	tx.RescheduleSession(oldest, before)
	end(tx, oldest, tell)
}

// Resolve returns the session that a response belongs to now, as [registry.Registry.Resolve] says.
func Resolve(tx Tx, id sessionstate.SessionID, response sessionstate.ResponseID) (registry.Session, bool) {
	if rebinding, found := tx.Rebinding(response); found && !response.IsZero() {
		if session, found := tx.Session(rebinding.Session); found {
			return session, true
		}
	}
	return tx.Session(id)
}
