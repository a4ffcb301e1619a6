package rules

import (
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// end records the end of a session, and the notices that its clients are owed: there is no other way for a session to end. It returns
// how many participations and subjects it dealt with.
func end(tx Tx, session registry.Session, tell bool) (dealt int) {
	tx.EndSession(session)
	return conclude(tx, session, tell)
}

// Expire concludes a session that is past its time, before its record is removed. One that was ended is concluded already. It returns
// how many participations and subjects it dealt with.
func Expire(tx Tx, session registry.Session, now time.Time, tell bool) (dealt int) {
	if !session.Ended.IsZero() {
		return 0
	}
	session.Ended, session.Reason = instant(now), registry.ReasonExpiry
	return conclude(tx, session, tell)
}

// conclude forgets who is signed in by a session that has ended, and records the notices of it.
func conclude(tx Tx, session registry.Session, tell bool) (dealt int) {
	participations := tx.Participations(session.ID)
	dealt = len(participations)
	for _, participation := range participations {
		dealt += len(participation.Subjects)
		for _, subject := range participation.Subjects {
			tx.DeleteSubject(participation.ClientID, subject.Sub, subject.Sid, session.ID)
		}
	}
	for _, participation := range participations {
		for _, subject := range participation.Subjects {
			if tell {
				owe(tx, session, participation, subject, session.Ended, false)
			}
		}
		for _, subject := range participation.Subjects { // after all of them, for one may be the equal of what was held back
			release(tx, session, participation.ClientID, subject.Sub)
		}
	}
	return dealt
}

// owe records the notice of a session that has ended to one participating client for one subject.
// One that is recorded is enough, unless it was given up. late: the subject became known after the
// end, and the user may have signed in again since. Without a sid, the notice would end that, too.
func owe(tx Tx, session registry.Session, participation registry.Participation, subject registry.Subject, now time.Time, late bool) {
	clientID := participation.ClientID
	id := registry.NameNotice(session.ID, clientID, subject.Sub, subject.Sid)
	if recorded, found := tx.Notice(id); found {
		if !recorded.Dead {
			return
		}
		tx.DeleteNotice(recorded)
	}
	put(tx, Notice{
		Notice: registry.Notice{
			ID: id, ClientID: clientID, Sub: subject.Sub, Sid: subject.Sid, IDToken: participation.IDToken, Reason: session.Reason,
			Created: instant(now), Due: instant(now), Held: late && subject.Sid == "" && tx.HasSub(clientID, subject.Sub),
		},
		Expires: instant(now).Add(registry.NoticeLifetime),
	})
}

// put records a notice that is to be tried, unless it is held back: the rules are at [registry.Notice].
func put(tx Tx, notice Notice) {
	if notice.Held || isHeld(tx, notice.Notice) {
		_, waiting := tx.HeldNotice(notice.ClientID, notice.Sub)
		if waiting || tx.HasSubject(notice.ClientID, notice.Sub, notice.Sid) {
			return
		}
		notice.Held, notice.Due = true, time.Time{}
	}
	tx.PutNotice(notice)
}

// isHeld reports whether a notice must not be sent now: it would end what a session that has not ended has set up, though nobody wanted
// the user to be signed out there.
func isHeld(tx Tx, notice registry.Notice) bool {
	switch {
	case notice.Reason != registry.ReasonExpiry && notice.Reason != registry.ReasonUserSwitch:
		return false
	case notice.Sid == "":
		return tx.HasSub(notice.ClientID, notice.Sub)
	default:
		return tx.HasSubject(notice.ClientID, notice.Sub, notice.Sid)
	}
}

// release has a notice sent that was held back until the given session ended, if no other holds the same client and sub.
func release(tx Tx, ended registry.Session, clientID, sub string) {
	notice, found := tx.HeldNotice(clientID, sub)
	if !found || tx.HasSub(clientID, sub) {
		return
	}
	tx.DeleteNotice(notice)
	if _, found := tx.Notice(registry.NameNotice(ended.ID, clientID, sub, "")); found { // its equal
		return
	}
	notice.Held, notice.Created, notice.Due = false, ended.Ended, ended.Ended
	notice.Expires = ended.Ended.Add(registry.NoticeLifetime)
	tx.PutNotice(notice)
}

// MarkHeld says of notices that are due whether they must not be sent.
func MarkHeld(tx Tx, due []registry.Notice) {
	for i, notice := range due {
		due[i].Held = isHeld(tx, notice)
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
		if !outcome.Delivered {
			settle(tx, notice, outcome, instant(settling.Now))
		}
	}
}

// settle records anew a notice that was not delivered.
func settle(tx Tx, notice Notice, outcome registry.Outcome, now time.Time) {
	if outcome.Held { // it was not tried
		notice.Held = false // as it was when it was listed
		if outcome.WithoutSid {
			notice.Sid = ""
		}
		put(tx, notice)
		return
	}
	notice.Attempts, notice.Dead, notice.Why = outcome.Attempts, outcome.Dead, outcome.Why[:min(len(outcome.Why), registry.MaxWhy)]
	notice.Due, notice.Held = instant(outcome.Due), false
	if !outcome.Dead {
		put(tx, notice)
		return
	}
	notice.Due, notice.Expires = time.Time{}, now.Add(registry.DeadLetterLifetime)
	tx.PutNotice(notice)
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

// use notes that a live session is used: it ends later then, and is forgotten later or not at all.
func use(tx Tx, session registry.Session, join registry.Join) registry.Session {
	before := session
	session.Expires = expires(join.Now, session.Limit, join.Idle)
	switch {
	case before.Forgotten.IsZero():
	case isUnredeemed(join):
		session.Forgotten = instant(join.Now.Add(registry.CodeLifetime))
	default:
		session.Forgotten = time.Time{}
	}
	if session != before {
		tx.RescheduleSession(session, before.Removal())
	}
	return session
}

// keep notes that a session which has not ended must not be forgotten: one of its codes was
// redeemed, or it is about to end.
func keep(tx Tx, session registry.Session) registry.Session {
	before := session.Removal()
	if session.Forgotten.IsZero() || !session.Ended.IsZero() {
		return session
	}
	session.Forgotten = time.Time{}
	tx.RescheduleSession(session, before)
	return session
}
