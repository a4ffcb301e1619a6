package memory

import (
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// The kinds of records that expire.
const (
	kindSession kind = iota
	kindResponse
	kindRebinding
	kindSpent
	kindKey
	kindNotice
)

type kind uint8

// An expiring record is one that is removed when its time is over.
type expiring struct {
	issuer string
	id     [16]byte
	kind   kind
}

func (t *tx) expireAt(at time.Time, kind kind, id [16]byte) {
	t.store.expiry.set(expiring{t.issuer, id, kind}, at)
}

func (t *tx) dontExpire(kind kind, id [16]byte) {
	t.store.expiry.remove(expiring{t.issuer, id, kind})
}

// expire removes what is past its time, the soonest first, up to [registry.MaxExpired] records.
func (s *Store) expire(expiry registry.Expiry) (removed int) {
	dealt := 0
	for _, record := range s.expiry.due(expiry.Now, expiry.Most()) {
		if dealt >= rules.Enough {
			break
		}
		s.expiry.remove(record)
		dealt += s.tx(record.issuer).remove(record, expiry)
		removed++
	}
	return removed
}

// remove deletes a record. It returns how many participations and subjects it dealt with.
func (t *tx) remove(record expiring, expiry registry.Expiry) (dealt int) {
	switch record.kind {
	case kindSession:
		session := t.sessions[record.id]
		dealt = rules.Expire(t, session, expiry.Now, !expiry.Silence.All && !slices.Contains(expiry.Silence.Issuers, t.issuer))
		t.forgetBrowser(session)
		delete(t.participations, session.ID)
		delete(t.sessions, session.ID)
	case kindResponse:
		delete(t.responses, sessionstate.ResponseID(record.id))
	case kindRebinding:
		delete(t.rebindings, sessionstate.ResponseID(record.id))
	case kindSpent:
		delete(t.spent, record.id)
	case kindKey:
		delete(t.keys, record.id)
	case kindNotice:
		t.DeleteNotice(t.notices[record.id])
	}
	return dealt
}
