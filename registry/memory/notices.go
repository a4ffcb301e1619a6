package memory

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A user is what a client's ID tokens call an End-User; a subject is that with the sid beside it.
type (
	user    struct{ clientID, sub string }
	subject struct {
		user

		sid string
	}
)

func (t *tx) PutSubject(clientID, sub, sid string, session sessionstate.SessionID) {
	key := subject{user{clientID, sub}, sid}
	sessions := t.subjects[key]
	if _, found := sessions[session]; found {
		return
	}
	if sessions == nil {
		sessions = make(map[sessionstate.SessionID]struct{})
		t.subjects[key] = sessions
	}
	sessions[session] = struct{}{}
	if t.users[key.user] == nil {
		t.users[key.user] = make(map[sessionstate.SessionID]int)
	}
	t.users[key.user][session]++
}

func (t *tx) DeleteSubject(clientID, sub, sid string, session sessionstate.SessionID) {
	key := subject{user{clientID, sub}, sid}
	sessions := t.subjects[key]
	if _, found := sessions[session]; !found {
		return
	}
	if delete(sessions, session); len(sessions) == 0 {
		delete(t.subjects, key)
	}
	holders := t.users[key.user]
	if holders[session]--; holders[session] == 0 {
		delete(holders, session)
	}
	if len(holders) == 0 {
		delete(t.users, key.user)
	}
}

func (t *tx) HasSubject(clientID, sub, sid string) bool {
	return len(t.subjects[subject{user{clientID, sub}, sid}]) > 0
}

func (t *tx) HasSub(clientID, sub string) bool { return len(t.users[user{clientID, sub}]) > 0 }

func (t *tx) Holders(clientID, sub string, limit int) []sessionstate.SessionID {
	holders := slices.Collect(maps.Keys(t.users[user{clientID, sub}]))
	return holders[:min(len(holders), limit)]
}

func (t *tx) SubjectHolders(h registry.Holder, limit int) []sessionstate.SessionID {
	holders := slices.Collect(maps.Keys(t.subjects[subject{user{h.ClientID, h.Sub}, h.Sid}]))
	return holders[:min(len(holders), limit)]
}

func (t *tx) Notice(id registry.NoticeID) (rules.Notice, bool) {
	notice, found := t.notices[id]
	return notice, found
}

func (t *tx) HeldNotice(clientID, sub string) (rules.Notice, bool) {
	id, found := t.held[user{clientID, sub}]
	return t.notices[id], found
}

func (t *tx) PutNotice(notice rules.Notice) {
	t.notices[notice.ID] = notice
	if notice.Held {
		t.held[user{notice.ClientID, notice.Sub}] = notice.ID
		return
	}
	t.expireAt(notice.Expires, kindNotice, notice.ID)
	if notice.Dead {
		return
	}
	due := t.due[notice.ClientID]
	if due == nil {
		due = new(queue[registry.NoticeID])
		t.due[notice.ClientID] = due
	}
	due.set(notice.ID, notice.Due)
}

func (t *tx) DeleteNotice(notice rules.Notice) {
	delete(t.notices, notice.ID)
	if notice.Held {
		delete(t.held, user{notice.ClientID, notice.Sub})
	}
	if due := t.due[notice.ClientID]; due != nil {
		if due.remove(notice.ID); len(due.order) == 0 {
			delete(t.due, notice.ClientID)
		}
	}
	t.dontExpire(kindNotice, notice.ID)
}

// allNotices lists up to limit notices after one, ordered by ID.
func (t *tx) allNotices(after registry.NoticeID, limit int) []registry.Notice {
	var ids []registry.NoticeID
	for id := range t.notices {
		if bytes.Compare(id[:], after[:]) > 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b registry.NoticeID) int { return bytes.Compare(a[:], b[:]) })
	return rules.Notices(t, ids[:min(len(ids), limit)])
}

// dueNotices lists up to limit notices that are due, of each client the oldest. Maps have no order that lasts.
func (t *tx) dueNotices(now time.Time, limit int) []registry.Notice {
	var due []registry.Notice
	for _, ofClient := range t.due {
		for _, id := range ofClient.due(now, min(registry.DuePerClient, limit-len(due))) {
			due = append(due, t.notices[id].Notice)
		}
	}
	rules.MarkHeld(t, due)
	return due
}
