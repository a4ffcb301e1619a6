package memory

import (
	"container/heap"
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// The kinds of records that expire.
const (
	kindSession = iota
	kindResponse
	kindRebinding
	kindSpent
	kindKey
	kindNotice
)

// An expiring entry says when to look whether a record is past its time.
type expiring struct {
	at     time.Time
	issuer string
	kind   int
	id     [16]byte
}

// expiryHeap has the soonest entry first. A record that was replaced leaves its old entry behind, which is skipped when it comes up.
type expiryHeap []expiring

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(expiring)) }

func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	entry := (*h)[last]
	(*h)[last] = expiring{}
	*h = (*h)[:last]
	return entry
}

func (s *Store) expireAt(at time.Time, entry expiring) {
	entry.at = at
	heap.Push(&s.expiry, entry)
}

// expire removes what is past its time, the soonest first, up to [registry.MaxExpired] records.
func (s *Store) expire(expiry registry.Expiry) int {
	removed := 0
	for removed < expiry.Most() && len(s.expiry) > 0 && !expiry.Now.Before(s.expiry[0].at) {
		entry := heap.Pop(&s.expiry).(expiring)
		if s.tx(entry.issuer).remove(entry, expiry) {
			removed++
		}
	}
	return removed
}

// remove deletes the record that an entry is about, unless that has another time by now.
func (t *tx) remove(entry expiring, expiry registry.Expiry) bool {
	switch entry.kind {
	case kindSession:
		session, found := t.sessions[entry.id]
		if !found || !session.Expires.Equal(entry.at) {
			return false
		}
		rules.Expire(t, session, expiry.Now, !expiry.Silence.All && !slices.Contains(expiry.Silence.Issuers, t.issuer))
		t.forgetBrowser(session)
		delete(t.participations, session.ID)
		delete(t.sessions, session.ID)
	case kindResponse:
		id := sessionstate.ResponseID(entry.id)
		if response, found := t.responses[id]; !found || !response.Expires.Equal(entry.at) {
			return false
		}
		delete(t.responses, id)
	case kindRebinding:
		id := sessionstate.ResponseID(entry.id)
		if rebinding, found := t.rebindings[id]; !found || !rebinding.Expires.Equal(entry.at) {
			return false
		}
		delete(t.rebindings, id)
	case kindSpent:
		if expires, found := t.spent[entry.id]; !found || !expires.Equal(entry.at) {
			return false
		}
		delete(t.spent, entry.id)
	case kindKey:
		if key, found := t.keys[entry.id]; !found || !key.Until.Equal(entry.at) {
			return false
		}
		delete(t.keys, entry.id)
	case kindNotice:
		if notice, found := t.notices[entry.id]; !found || !notice.Expires.Equal(entry.at) {
			return false
		}
		delete(t.notices, entry.id)
	}
	return true
}
