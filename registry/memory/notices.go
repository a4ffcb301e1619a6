package memory

import (
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A subject is what a client's ID tokens call an End-User.
type subject struct{ clientID, sub string }

func (t *tx) PutSubject(clientID, sub string, session sessionstate.SessionID) {
	key := subject{clientID, sub}
	if t.subjects[key] == nil {
		t.subjects[key] = make(map[sessionstate.SessionID]struct{})
	}
	t.subjects[key][session] = struct{}{}
}

func (t *tx) DeleteSubject(clientID, sub string, session sessionstate.SessionID) {
	key := subject{clientID, sub}
	delete(t.subjects[key], session)
	if len(t.subjects[key]) == 0 {
		delete(t.subjects, key)
	}
}

func (t *tx) HasSubject(clientID, sub string) bool {
	return len(t.subjects[subject{clientID, sub}]) > 0
}

func (t *tx) Notice(id registry.NoticeID) (rules.Notice, bool) {
	notice, found := t.notices[id]
	return notice, found
}

func (t *tx) PutNotice(notice rules.Notice) {
	t.notices[notice.ID] = notice
	t.expireAt(notice.Expires, kindNotice, notice.ID)
	if !notice.Dead {
		t.due.set(notice.ID, notice.Due)
	}
}

func (t *tx) DeleteNotice(notice rules.Notice) {
	delete(t.notices, notice.ID)
	t.due.remove(notice.ID)
	t.dontExpire(kindNotice, notice.ID)
}

// dueNotices lists up to limit notices that are due, the oldest first.
func (t *tx) dueNotices(now time.Time, limit int) []registry.Notice {
	var due []registry.Notice
	for _, id := range t.due.due(now, limit) {
		due = append(due, t.notices[id].Notice)
	}
	return due
}
