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
	t.store.expireAt(notice.Expires, expiring{issuer: t.issuer, kind: kindNotice, id: notice.ID})
}

func (t *tx) DeleteNotice(notice rules.Notice) { delete(t.notices, notice.ID) }

// dueNotices lists up to limit notices that are due, the oldest first. Servers whose sessions may end with the process have few.
func (t *tx) dueNotices(now time.Time, limit int) []registry.Notice {
	due := slices.DeleteFunc(slices.Collect(maps.Values(t.notices)), func(n rules.Notice) bool { return n.Dead || n.Due.After(now) })
	slices.SortFunc(due, func(a, b rules.Notice) int {
		if order := a.Due.Compare(b.Due); order != 0 {
			return order
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	var notices []registry.Notice
	for _, notice := range due[:min(limit, len(due))] {
		notices = append(notices, notice.Notice)
	}
	return notices
}
