package bolt

import (
	"bytes"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// The kinds of records that expire: the ninth byte of a key in the bucket "expiry". The eight before it are the time, so that
// what expires next is the first; the rest is the record's key.
const (
	kindSession   = 's'
	kindResponse  = 'r'
	kindRebinding = 'b'
	kindSpent     = 'o'
	kindKey       = 'k'
	kindNotice    = 'n'

	expiryKeyLength = 8 + 1 + 16 + 16
)

func expiryKey(at time.Time, kind byte, key []byte) []byte {
	return append(append(appendTime(nil, at), kind), key...)
}

func (t *tx) expireAt(at time.Time, kind byte, key []byte) {
	t.put(bucketExpiry, expiryKey(at, kind, key), nil)
}

func (t *tx) dontExpireAt(at time.Time, kind byte, key []byte) {
	t.delete(bucketExpiry, expiryKey(at, kind, key))
}

// expire removes what is past its time, of all issuers, the soonest first, up to [registry.MaxExpired] records.
func (t *tx) expire(expiry registry.Expiry) (removed int) {
	silent := make(map[[16]byte]bool, len(expiry.Silence.Issuers))
	for _, issuer := range expiry.Silence.Issuers {
		silent[prefixOf(issuer)] = true
	}
	dealt := 0
	for _, key := range t.due(expiry.Now, expiry.Most()) {
		if dealt >= rules.Enough {
			break
		}
		t.delete(bucketExpiry, key)
		if record := key[9:]; key[8] == kindSession {
			dealt += t.removeSession(record, expiry.Now, !expiry.Silence.All && !silent[[16]byte(record)])
		} else {
			t.remove(key[8], record)
		}
		removed++
	}
	return removed
}

// due lists the keys of up to limit expiry entries that are past their time.
func (t *tx) due(now time.Time, limit int) [][]byte {
	bucket := t.bucket(bucketExpiry)
	if bucket == nil {
		return nil
	}
	last := appendTime(nil, now)
	var keys [][]byte
	cursor := bucket.Cursor()
	for key, _ := cursor.First(); key != nil && len(keys) < limit; key, _ = cursor.Next() {
		if len(key) != expiryKeyLength {
			t.fail(errDamaged)
			return nil
		}
		if bytes.Compare(key[:8], last) > 0 {
			break
		}
		keys = append(keys, bytes.Clone(key))
	}
	return keys
}

// remove deletes the record that an expiry entry is about, if it is no session's.
func (t *tx) remove(kind byte, key []byte) {
	switch kind {
	case kindResponse:
		t.delete(bucketResponses, key)
	case kindRebinding:
		t.delete(bucketRebindings, key)
	case kindSpent:
		t.delete(bucketSpent, key)
	case kindKey:
		t.delete(bucketKeys, key)
	case kindNotice:
		if notice, found := get(t, bucketNotices, key, decodeNotice); found {
			t.removeNotice(key, notice)
		}
	default:
		t.fail(errDamaged)
	}
}

// removeSession ends a session that has not ended yet, and deletes it. It returns how many participations and subjects it dealt with.
func (t *tx) removeSession(key []byte, now time.Time, tell bool) (dealt int) {
	session, found := get(t, bucketSessions, key, decodeSession)
	if !found {
		return 0
	}
	issuer, id := key[:16], key[16:]
	session.ID = sessionstate.SessionID(id)
	own := &tx{bolt: t.bolt, prefix: [16]byte(issuer)}
	dealt = rules.Expire(own, session, now, tell)
	if own.err != nil {
		t.fail(own.err)
		return dealt
	}
	t.delete(bucketBrowsers, bytes.Join([][]byte{issuer, session.Browser[:], id}, nil))
	participations := t.keys(bucketParticipations, key)
	for _, participation := range participations {
		t.delete(bucketParticipations, participation)
	}
	t.delete(bucketSessions, key)
	return dealt + len(participations)
}
