package bolt

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// userKey is the start of the keys of what is about a client's sub.
func (t *tx) userKey(clientID, sub string) []byte {
	client, subject := sha256.Sum256([]byte(clientID)), sha256.Sum256([]byte(sub))
	both := sha256.Sum256(append(client[:], subject[:]...))
	return t.key(both[:16])
}

// subjectKey is the start of the keys of the sessions that hold a client's sub and sid.
func (t *tx) subjectKey(clientID, sub, sid string) []byte {
	hash := make([]byte, 16) // without a sid
	if sid != "" {
		sum := sha256.Sum256([]byte(sid))
		hash = sum[:16]
	}
	return append(t.userKey(clientID, sub), hash...)
}

func (t *tx) PutSubject(clientID, sub, sid string, session sessionstate.SessionID) {
	if key := append(t.subjectKey(clientID, sub, sid), session[:]...); !t.has(bucketHolders, key) {
		t.put(bucketHolders, key, nil)
	}
}

func (t *tx) DeleteSubject(clientID, sub, sid string, session sessionstate.SessionID) {
	t.delete(bucketHolders, append(t.subjectKey(clientID, sub, sid), session[:]...))
}

func (t *tx) HasSubject(clientID, sub, sid string) bool {
	return t.has(bucketHolders, t.subjectKey(clientID, sub, sid))
}

func (t *tx) HasSub(clientID, sub string) bool { return t.has(bucketHolders, t.userKey(clientID, sub)) }

func (t *tx) Holders(clientID, sub string, limit int) []sessionstate.SessionID {
	user := t.userKey(clientID, sub)
	return t.holders(user, len(user)+16, limit) // behind the hash of the sid
}

func (t *tx) SubjectHolders(h registry.Holder, limit int) []sessionstate.SessionID {
	subject := t.subjectKey(h.ClientID, h.Sub, h.Sid)
	return t.holders(subject, len(subject), limit)
}

// holders lists up to limit sessions, each once, whose IDs stand at a place in the keys with a prefix.
func (t *tx) holders(prefix []byte, at, limit int) []sessionstate.SessionID {
	bucket := t.bucket(bucketHolders)
	if bucket == nil {
		return nil
	}
	var holders []sessionstate.SessionID
	cursor := bucket.Cursor()
	for key, _ := cursor.Seek(prefix); bytes.HasPrefix(key, prefix) && len(holders) < limit; key, _ = cursor.Next() {
		id := decoder{rest: key[min(at, len(key)):]}
		holder := sessionstate.SessionID(id.id())
		if id.end() != nil {
			t.fail(errDamaged)
			return nil
		}
		if !slices.Contains(holders, holder) {
			holders = append(holders, holder)
		}
	}
	return holders
}

func (t *tx) Notice(id registry.NoticeID) (rules.Notice, bool) {
	notice, found := get(t, bucketNotices, t.key(id[:]), decodeNotice)
	if !found {
		return rules.Notice{}, false
	}
	notice.ID = id
	return notice, true
}

func (t *tx) HeldNotice(clientID, sub string) (rules.Notice, bool) {
	id, found := get(t, bucketHeld, t.userKey(clientID, sub), decodeNoticeID)
	if !found {
		return rules.Notice{}, false
	}
	return t.Notice(id)
}

func (t *tx) PutNotice(notice rules.Notice) {
	key := t.key(notice.ID[:])
	t.put(bucketNotices, key, encodeNotice(notice))
	if notice.Held {
		t.put(bucketHeld, t.userKey(notice.ClientID, notice.Sub), notice.ID[:])
		return
	}
	t.expireAt(notice.Expires, kindNotice, key)
	if !notice.Dead {
		t.put(bucketDue, dueKey(key, notice), nil)
	}
}

func (t *tx) DeleteNotice(notice rules.Notice) {
	key := t.key(notice.ID[:])
	if notice.Held {
		t.delete(bucketHeld, t.userKey(notice.ClientID, notice.Sub))
	} else {
		t.dontExpireAt(notice.Expires, kindNotice, key)
	}
	t.removeNotice(key, notice)
}

// removeNotice deletes the notice of a key, which may be another issuer's than the transaction's.
func (t *tx) removeNotice(key []byte, notice rules.Notice) {
	t.delete(bucketNotices, key)
	if !notice.Dead && !notice.Held {
		t.delete(bucketDue, dueKey(key, notice))
	}
}

const (
	clientLength = 16 + 16 // issuer, hash of the client ID
	dueKeyLength = clientLength + 8 + len(registry.NoticeID{})
)

// endOfClient is behind all keys of a client.
var endOfClient = bytes.Repeat([]byte{0xff}, dueKeyLength-clientLength+1)

// dueKey is the key by which a notice is found when it is due: the issuer's notices by client, and those by time. key is the notice's own.
func dueKey(key []byte, notice rules.Notice) []byte {
	client := sha256.Sum256([]byte(notice.ClientID))
	return bytes.Join([][]byte{key[:16], client[:16], appendTime(nil, notice.Due), key[16:]}, nil)
}

// dueNotices lists up to limit notices that are due, of each client the oldest. It begins with a client drawn at random.
func (t *tx) dueNotices(now time.Time, limit int) []registry.Notice {
	var first [16]byte
	_, _ = rand.Read(first[:]) // never fails: crypto/rand ends the program instead
	due := t.dueOfClients(nil, first[:], nil, now, limit)
	due = t.dueOfClients(due, nil, first[:], now, limit)
	rules.MarkHeld(t, due)
	return due
}

// dueOfClients adds the due notices of the clients from one place in the bucket on, and before another; nil: its start, its end.
func (t *tx) dueOfClients(due []registry.Notice, from, before []byte, now time.Time, limit int) []registry.Notice {
	bucket := t.bucket(bucketDue)
	if bucket == nil {
		return due
	}
	cursor := bucket.Cursor()
	for key, _ := cursor.Seek(t.key(from)); bytes.HasPrefix(key, t.prefix[:]) && len(due) < limit; {
		if len(key) != dueKeyLength {
			t.fail(errDamaged)
			return nil
		}
		client := key[:clientLength]
		if before != nil && bytes.Compare(client[len(t.prefix):], before) >= 0 {
			break
		}
		due = t.dueOfClient(due, cursor, key, now, min(registry.DuePerClient, limit-len(due)))
		key, _ = cursor.Seek(append(bytes.Clone(client), endOfClient...))
	}
	return due
}

// dueOfClient adds up to limit due notices of one client, from its first key on.
func (t *tx) dueOfClient(due []registry.Notice, cursor *bbolt.Cursor, key []byte, now time.Time, limit int) []registry.Notice {
	client, last := key[:clientLength], appendTime(nil, now)
	for ; bytes.HasPrefix(key, client) && len(key) == dueKeyLength && limit > 0; key, _ = cursor.Next() {
		if bytes.Compare(key[clientLength:clientLength+len(last)], last) > 0 {
			break
		}
		if notice, found := t.Notice(registry.NoticeID(key[clientLength+len(last):])); found {
			due = append(due, notice.Notice)
			limit--
		}
	}
	return due
}

// allNotices lists up to limit notices after one, ordered by ID.
func (t *tx) allNotices(after registry.NoticeID, limit int) []registry.Notice {
	bucket := t.bucket(bucketNotices)
	if bucket == nil {
		return nil
	}
	var notices []registry.Notice
	cursor := bucket.Cursor()
	for key, _ := cursor.Seek(t.key(after[:])); bytes.HasPrefix(key, t.prefix[:]) && len(notices) < limit; key, _ = cursor.Next() {
		id := decoder{rest: key[len(t.prefix):]}
		if notice, found := t.Notice(id.id()); found && notice.ID != after {
			notices = append(notices, notice.Notice)
		}
	}
	return notices
}

// The states of notices.
const (
	statePending = iota
	stateDead
	stateHeld

	// flagAsked is beside the state: the client asked for the end.
	flagAsked = 1 << 4
)

func encodeNotice(notice rules.Notice) []byte {
	b := appendTime(appendTime(appendTime(nil, notice.Created), notice.Due), notice.Expires)
	state := byte(statePending)
	switch {
	case notice.Dead:
		state = stateDead
	case notice.Held:
		state = stateHeld
	}
	if notice.Asked {
		state |= flagAsked
	}
	b = binary.BigEndian.AppendUint32(append(b, state), uint32(notice.Attempts))
	for _, text := range []string{notice.ClientID, notice.Sub, notice.Sid, string(notice.Reason), notice.Why} {
		b = appendText(b, text)
	}
	return appendIDToken(b, notice.IDToken)
}

func decodeNotice(value []byte) (notice rules.Notice, err error) {
	d := decoder{rest: value}
	notice.Created, notice.Due, notice.Expires = d.time(), d.time(), d.time()
	state := d.take(1)[0]
	notice.Asked = state&flagAsked != 0
	state &^= flagAsked
	notice.Dead, notice.Held = state == stateDead, state == stateHeld
	notice.Attempts = int(binary.BigEndian.Uint32(d.take(4)))
	notice.ClientID, notice.Sub, notice.Sid = d.text(), d.text(), d.text()
	notice.Reason, notice.Why = registry.Reason(d.text()), d.text()
	notice.IDToken = d.idToken()
	if state != statePending {
		notice.Due = time.Time{}
	}
	return notice, d.end()
}

func decodeNoticeID(value []byte) (registry.NoticeID, error) {
	d := decoder{rest: value}
	id := d.id()
	return id, d.end()
}
