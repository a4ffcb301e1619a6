package registry

import "slices"

// end ends a session: there is no other way for one to end. Its clients are owed notices from then
// on, unless it is Silent.
func (r *record) end(session *Session, reason Reason, now Time) {
	session.Ended, session.Reason, session.Forgotten = now, reason, 0
	if session.Silent {
		return
	}
	for _, client := range session.Clients {
		for _, subject := range client.Subjects {
			subject.enqueue(now, false)
		}
	}
}

// endAll ends those live sessions of the browser that are meant (nil: all), and returns them. The
// notices of the client that asked for it are due at askedDue, if that is later.
func (r *record) endAll(
	meant func(*Session) bool, reason Reason, asked string, askedDue, now Time,
) []*Session {
	live := r.live(now)
	if meant != nil {
		live = slices.DeleteFunc(live, func(s *Session) bool { return !meant(s) })
	}
	for _, session := range live {
		r.end(session, reason, now)
		client := session.Client(asked)
		if client == nil {
			continue
		}
		for _, subject := range client.Subjects {
			if subject.Notice != nil {
				subject.Notice.Asked, subject.Notice.Due = true, max(subject.Notice.Due, askedDue)
			}
		}
	}
	return live
}

// enqueue makes the notice of the end of a session. One that is owed already is enough, unless it
// was given up. late: the subject became known after the end, and the user may have signed in
// again.
func (s *Subject) enqueue(now Time, late bool) {
	// what is under way may come before the new tokens
	if s.Notice == nil || s.Notice.Dead() || late && s.Notice.Lease != 0 {
		s.Notice = &Notice{Until: now.Add(NoticeLifetime), Due: now, Late: late}
	}
}

// tidy ends what has expired, forgets what nobody needs any more, and returns what it has ended.
func (r *record) tidy(now Time) (ended []*Session) {
	for _, s := range r.Sessions {
		if s.Ended == 0 && s.Expires <= now {
			r.end(s, ReasonExpiry, now)
			ended = append(ended, s)
		}
		s.tidy(now)
	}
	r.Sessions = slices.DeleteFunc(r.Sessions, func(s *Session) bool { return s.isDone(now) })
	r.Responses = slices.DeleteFunc(r.Responses, func(p *Response) bool {
		return p.Made.Add(CodeLifetime) <= now && (!p.Moved || r.session(p.Session) == nil)
	})
	r.dropTombstones()
	return ended
}

// tidy forgets the clients of a session that ended a while ago, and notices given up long ago.
func (s *Session) tidy(now Time) {
	if s.Ended == 0 {
		return
	}
	owing := false
	for _, client := range s.Clients {
		for _, subject := range client.Subjects {
			if n := subject.Notice; n != nil && n.Until <= now {
				subject.Notice = nil
			}
			owing = owing || subject.Notice != nil
		}
	}
	if !owing && s.Ended.Add(CodeLifetime) <= now {
		s.Clients = nil
	}
}

// isDone reports whether nothing of the session matters any more: it has ended, owes nothing, and
// nobody can hold it; or it is forgotten.
func (s *Session) isDone(now Time) bool {
	if s.Ended == 0 {
		return s.Forgotten != 0 && s.Forgotten <= now
	}
	return len(s.Clients) == 0 && s.Limit.Add(CodeLifetime) <= now
}

// dropTombstones forgets the oldest sessions that have ended and owe nothing, where there are too
// many. They may be held still, so none that is not recorded is taken for a lost one until their
// limits.
func (r *record) dropTombstones() {
	for range len(r.Sessions) {
		count, oldest := 0, -1
		for i, s := range r.Sessions {
			if s.Ended == 0 || len(s.Clients) > 0 {
				continue
			}
			count++
			if oldest < 0 || s.Ended < r.Sessions[oldest].Ended {
				oldest = i
			}
		}
		if count <= MaxTombstones {
			return
		}
		r.Crowded = max(r.Crowded, r.Sessions[oldest].Limit)
		r.Sessions = slices.Delete(r.Sessions, oldest, oldest+1)
	}
}
