package bolt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// subjectKey is the start of the keys of the sessions that hold a client's sub.
func (t *tx) subjectKey(clientID, sub string) []byte {
	client, subject := sha256.Sum256([]byte(clientID)), sha256.Sum256([]byte(sub))
	both := sha256.Sum256(append(client[:], subject[:]...))
	return t.key(both[:16])
}

func (t *tx) PutSubject(clientID, sub string, session sessionstate.SessionID) {
	t.put(bucketSubjects, append(t.subjectKey(clientID, sub), session[:]...), nil)
}

func (t *tx) DeleteSubject(clientID, sub string, session sessionstate.SessionID) {
	t.delete(bucketSubjects, append(t.subjectKey(clientID, sub), session[:]...))
}

func (t *tx) HasSubject(clientID, sub string) bool {
	bucket := t.bucket(bucketSubjects)
	if bucket == nil {
		return false
	}
	prefix := t.subjectKey(clientID, sub)
	key, _ := bucket.Cursor().Seek(prefix)
	return bytes.HasPrefix(key, prefix)
}

func (t *tx) Notice(id registry.NoticeID) (rules.Notice, bool) {
	notice, found := get(t, bucketNotices, t.key(id[:]), decodeNotice)
	if !found {
		return rules.Notice{}, false
	}
	notice.ID = id
	return notice, true
}

func (t *tx) PutNotice(notice rules.Notice) {
	key := t.key(notice.ID[:])
	t.put(bucketNotices, key, encodeNotice(notice))
	t.expireAt(notice.Expires, kindNotice, key)
	if !notice.Dead {
		t.put(bucketDue, t.key(appendTime(nil, notice.Due), notice.ID[:]), nil)
	}
}

func (t *tx) DeleteNotice(notice rules.Notice) {
	key := t.key(notice.ID[:])
	t.dontExpireAt(notice.Expires, kindNotice, key)
	t.removeNotice(key, notice)
}

// removeNotice deletes the notice of a key, which may be another issuer's than the transaction's.
func (t *tx) removeNotice(key []byte, notice rules.Notice) {
	t.delete(bucketNotices, key)
	if !notice.Dead {
		t.delete(bucketDue, bytes.Join([][]byte{key[:16], appendTime(nil, notice.Due), key[16:]}, nil))
	}
}

// dueNotices lists up to limit notices that are due, the oldest first.
func (t *tx) dueNotices(now time.Time, limit int) []registry.Notice {
	bucket := t.bucket(bucketDue)
	if bucket == nil {
		return nil
	}
	var notices []registry.Notice
	last := t.key(appendTime(nil, now))
	cursor := bucket.Cursor()
	for key, _ := cursor.Seek(t.prefix[:]); bytes.HasPrefix(key, t.prefix[:]) && len(notices) < limit; key, _ = cursor.Next() {
		if len(key) != len(last)+len(registry.NoticeID{}) {
			t.fail(errDamaged)
			return nil
		}
		if bytes.Compare(key[:len(last)], last) > 0 {
			break
		}
		if notice, found := t.Notice(registry.NoticeID(key[len(last):])); found {
			notices = append(notices, notice.Notice)
		}
	}
	return notices
}

func encodeNotice(notice rules.Notice) []byte {
	b := appendTime(appendTime(appendTime(nil, notice.Created), notice.Due), notice.Expires)
	dead := byte(0)
	if notice.Dead {
		dead = 1
	}
	b = binary.BigEndian.AppendUint32(append(b, dead), uint32(notice.Attempts))
	for _, text := range []string{notice.ClientID, notice.Sub, notice.Sid, string(notice.Reason), notice.Why} {
		b = appendText(b, text)
	}
	return b
}

func decodeNotice(value []byte) (notice rules.Notice, err error) {
	d := decoder{rest: value}
	notice.Created, notice.Due, notice.Expires = d.time(), d.time(), d.time()
	notice.Dead = d.take(1)[0] != 0
	notice.Attempts = int(binary.BigEndian.Uint32(d.take(4)))
	notice.ClientID, notice.Sub, notice.Sid = d.text(), d.text(), d.text()
	notice.Reason, notice.Why = registry.Reason(d.text()), d.text()
	if notice.Dead {
		notice.Due = time.Time{}
	}
	return notice, d.end()
}
