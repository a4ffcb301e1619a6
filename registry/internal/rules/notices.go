package rules

import (
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// end records the end of a session, and the notices that its clients are owed: there is no other way for a session to end.
func end(tx Tx, session registry.Session, tell bool) {
	tx.EndSession(session)
	conclude(tx, session, tell)
}

// Expire concludes a session that is past its time, before its record is removed. One that was ended is concluded already.
func Expire(tx Tx, session registry.Session, now time.Time, tell bool) {
	if !session.Ended.IsZero() {
		return
	}
	session.Ended, session.Reason = instant(now), registry.ReasonExpiry
	conclude(tx, session, tell)
}

// conclude forgets who is signed in by a session that has ended, and records the notices of it.
func conclude(tx Tx, session registry.Session, tell bool) {
	participations := tx.Participations(session.ID)
	for _, participation := range participations {
		for _, subject := range participation.Subjects {
			tx.DeleteSubject(participation.ClientID, subject.Sub, session.ID)
		}
	}
	if !tell {
		return
	}
	for _, participation := range participations {
		for _, subject := range participation.Subjects {
			owe(tx, session, participation.ClientID, subject)
		}
	}
}

// owe records the notice of a session that has ended to one client for one subject.
func owe(tx Tx, session registry.Session, clientID string, subject registry.Subject) {
	if subject.Sid == "" && heldBack(session.Reason) && tx.HasSubject(clientID, subject.Sub) {
		return
	}
	id := registry.NameNotice(session.ID, clientID, subject.Sub, subject.Sid)
	if _, found := tx.Notice(id); found {
		return
	}
	tx.PutNotice(Notice{
		Notice: registry.Notice{
			ID: id, ClientID: clientID, Sub: subject.Sub, Sid: subject.Sid, Reason: session.Reason,
			Created: session.Ended, Due: session.Ended,
		},
		Expires: session.Ended.Add(registry.NoticeLifetime),
	})
}

// heldBack tells for which reasons the user may have wanted to stay signed in elsewhere.
func heldBack(reason registry.Reason) bool {
	return reason == registry.ReasonExpiry || reason == registry.ReasonUserSwitch
}

// holdSubject notes that a session holds a client's subject; one that has ended owes the notice of it at once.
func holdSubject(tx Tx, session registry.Session, clientID string, subject registry.Subject, tell bool) {
	switch {
	case session.Ended.IsZero():
		tx.PutSubject(clientID, subject.Sub, session.ID)
	case tell:
		owe(tx, session, clientID, subject)
	}
}

// Settle records what became of tries to deliver notices, as [registry.Settling] says.
func Settle(tx Tx, settling registry.Settling) {
	for _, outcome := range settling.Outcomes {
		notice, found := tx.Notice(outcome.ID)
		if !found || notice.Dead {
			continue
		}
		tx.DeleteNotice(notice)
		if outcome.Delivered {
			continue
		}
		notice.Attempts, notice.Dead, notice.Why = outcome.Attempts, outcome.Dead, outcome.Why[:min(len(outcome.Why), registry.MaxWhy)]
		notice.Due = instant(outcome.Due)
		if outcome.Dead {
			notice.Due, notice.Expires = time.Time{}, instant(settling.Now).Add(registry.DeadLetterLifetime)
		}
		tx.PutNotice(notice)
	}
}

// Notices returns those of the notices that are recorded.
func Notices(tx Tx, ids []registry.NoticeID) []registry.Notice {
	var notices []registry.Notice
	for _, id := range ids {
		if notice, found := tx.Notice(id); found {
			notices = append(notices, notice.Notice)
		}
	}
	return notices
}

// expires returns when a session ends by itself if it is used now, and not later.
func expires(now, limit time.Time, idle time.Duration) time.Time {
	if idle <= 0 || now.Add(idle).After(limit) {
		return limit
	}
	return instant(now.Add(idle))
}

// use notes that a live session is used: it ends later then.
func use(tx Tx, session registry.Session, now time.Time, idle time.Duration) registry.Session {
	before := session.Expires
	session.Expires = expires(now, session.Limit, idle)
	if session.Expires.Equal(before) {
		return session
	}
	tx.RescheduleSession(session, before)
	return session
}
