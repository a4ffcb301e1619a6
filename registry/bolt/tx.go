package bolt

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// The buckets. Their keys, but the first's, start with the first 128 bits of the SHA-256 hash of the issuer: equally long for
// all, so that no key of one issuer can be taken for another's.
var (
	bucketMeta           = []byte("meta")           // "version", "id"
	bucketSessions       = []byte("sessions")       // issuer, session
	bucketBrowsers       = []byte("browsers")       // issuer, browser, session: those not ended
	bucketParticipations = []byte("participations") // issuer, session, client ID
	bucketResponses      = []byte("responses")      // issuer, response
	bucketRebindings     = []byte("rebindings")     // issuer, response
	bucketExpiry         = []byte("expiry")         // time, kind, issuer, ID: see expiry.go
	bucketSpent          = []byte("spent")          // issuer, one-time value
	bucketKeys           = []byte("keys")           // issuer, hash of the key's ID

	bucketHolders = []byte("holders") // issuer, hash of client ID and sub, hash of sid, session: those not ended
	bucketClients = []byte("clients") // issuer, hash of the client's ID; issuer alone: their number
	bucketNotices = []byte("notices") // issuer, notice
	bucketDue     = []byte("due")     // issuer, hash of the client ID, time, notice: those neither given up nor held back
	bucketHeld    = []byte("held")    // issuer, hash of client ID and sub: the notice that is held back

	bucketObserved = []byte("observed") // issuer
	bucketUses     = []byte("uses")     // issuer, and of clients: see clients.go

	allBuckets = [][]byte{
		bucketMeta, bucketSessions, bucketBrowsers, bucketParticipations, bucketResponses, bucketRebindings, bucketExpiry,
		bucketSpent, bucketKeys, bucketHolders, bucketClients, bucketNotices, bucketDue, bucketHeld,
		bucketObserved, bucketUses,
	}
)

// tx implements [rules.Tx].
type tx struct {
	bolt   *bbolt.Tx
	issuer string
	prefix [16]byte
	wrote  bool  // or has tried to
	err    error // the first error
}

func begin(bolt *bbolt.Tx, issuer string) *tx {
	return &tx{bolt: bolt, issuer: issuer, prefix: prefixOf(issuer)}
}

// prefixOf is what the keys of an issuer start with.
func prefixOf(issuer string) [16]byte {
	sum := sha256.Sum256([]byte(issuer))
	return [16]byte(sum[:])
}

func (t *tx) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// key is the issuer's key of the given parts.
func (t *tx) key(parts ...[]byte) []byte {
	return append(t.prefix[:], bytes.Join(parts, nil)...)
}

// bucket returns a bucket, or nil, as after every error.
func (t *tx) bucket(name []byte) *bbolt.Bucket {
	if t.err != nil {
		return nil
	}
	bucket := t.bolt.Bucket(name)
	if bucket == nil {
		t.fail(fmt.Errorf("%w: no bucket %s", errDamaged, name))
	}
	return bucket
}

// get reads a value with the given decoder.
func get[T any](t *tx, name, key []byte, decode func([]byte) (T, error)) (T, bool) {
	var zero T
	bucket := t.bucket(name)
	if bucket == nil {
		return zero, false
	}
	sealed := bucket.Get(key)
	if sealed == nil {
		return zero, false
	}
	value, err := unseal(key, sealed)
	if err != nil {
		t.fail(err)
		return zero, false
	}
	decoded, err := decode(value)
	if err != nil {
		t.fail(err)
		return zero, false
	}
	return decoded, true
}

// has reports whether there is a key with a prefix.
func (t *tx) has(name, prefix []byte) bool {
	bucket := t.bucket(name)
	if bucket == nil {
		return false
	}
	key, _ := bucket.Cursor().Seek(prefix)
	return bytes.HasPrefix(key, prefix)
}

func (t *tx) put(name, key, value []byte) {
	t.wrote = true
	if bucket := t.bucket(name); bucket != nil {
		if err := bucket.Put(key, seal(key, value)); err != nil {
			t.fail(err)
		}
	}
}

func (t *tx) delete(name, key []byte) {
	t.wrote = true
	if bucket := t.bucket(name); bucket != nil {
		if err := bucket.Delete(key); err != nil {
			t.fail(err)
		}
	}
}

// keys lists the keys with a prefix, in order: copies, since bbolt's may move when the bucket is written to.
func (t *tx) keys(name, prefix []byte) [][]byte {
	bucket := t.bucket(name)
	if bucket == nil {
		return nil
	}
	var keys [][]byte
	cursor := bucket.Cursor()
	for key, _ := cursor.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = cursor.Next() {
		keys = append(keys, bytes.Clone(key))
	}
	return keys
}

func (t *tx) Session(id sessionstate.SessionID) (registry.Session, bool) {
	session, found := get(t, bucketSessions, t.key(id[:]), decodeSession)
	if !found {
		return registry.Session{}, false
	}
	session.ID, session.Issuer = id, t.issuer
	return session, true
}

func (t *tx) StartSession(session registry.Session) {
	key := t.key(session.ID[:])
	t.put(bucketSessions, key, encodeSession(session))
	t.put(bucketBrowsers, t.key(session.Browser[:], session.ID[:]), nil)
	t.expireAt(session.Removal(), kindSession, key)
}

func (t *tx) EndSession(session registry.Session) {
	t.put(bucketSessions, t.key(session.ID[:]), encodeSession(session))
	t.delete(bucketBrowsers, t.key(session.Browser[:], session.ID[:]))
}

func (t *tx) RescheduleSession(session registry.Session, before time.Time) {
	key := t.key(session.ID[:])
	t.dontExpireAt(before, kindSession, key)
	t.put(bucketSessions, key, encodeSession(session))
	t.expireAt(session.Removal(), kindSession, key)
}

func (t *tx) LiveSessions(browser sessionstate.BrowserID, now time.Time, limit int) []registry.Session {
	bucket := t.bucket(bucketBrowsers)
	if bucket == nil {
		return nil
	}
	prefix := t.key(browser[:])
	var live []registry.Session
	cursor := bucket.Cursor()
	for key, _ := cursor.Seek(prefix); bytes.HasPrefix(key, prefix) && len(live) < limit; key, _ = cursor.Next() {
		id := decoder{rest: key[len(prefix):]}
		if session, found := t.Session(id.id()); found && session.Live(now) {
			live = append(live, session)
		}
	}
	return live
}

func (t *tx) Participation(id sessionstate.SessionID, clientID string) (registry.Participation, bool) {
	participation, found := get(t, bucketParticipations, t.key(id[:], []byte(clientID)), decodeParticipation)
	if !found {
		return registry.Participation{}, false
	}
	participation.ClientID = clientID
	return participation, true
}

func (t *tx) PutParticipation(id sessionstate.SessionID, participation registry.Participation) {
	t.put(bucketParticipations, t.key(id[:], []byte(participation.ClientID)), encodeParticipation(participation))
}

func (t *tx) DeleteParticipation(id sessionstate.SessionID, clientID string) {
	t.delete(bucketParticipations, t.key(id[:], []byte(clientID)))
}

func (t *tx) Participations(id sessionstate.SessionID) []registry.Participation {
	prefix := t.key(id[:])
	var participations []registry.Participation
	for _, key := range t.keys(bucketParticipations, prefix) {
		if participation, found := t.Participation(id, string(key[len(prefix):])); found {
			participations = append(participations, participation)
		}
	}
	return participations
}

func (t *tx) Response(id sessionstate.ResponseID) (rules.Response, bool) {
	return get(t, bucketResponses, t.key(id[:]), decodeResponse)
}

func (t *tx) PutResponse(id sessionstate.ResponseID, response rules.Response) {
	if old, found := t.Response(id); found {
		t.dontExpireAt(old.Expires, kindResponse, t.key(id[:]))
	}
	t.put(bucketResponses, t.key(id[:]), encodeResponse(response))
	t.expireAt(response.Expires, kindResponse, t.key(id[:]))
}

func (t *tx) Rebinding(id sessionstate.ResponseID) (rules.Rebinding, bool) {
	return get(t, bucketRebindings, t.key(id[:]), decodeRebinding)
}

func (t *tx) PutRebinding(id sessionstate.ResponseID, rebinding rules.Rebinding) {
	if old, found := t.Rebinding(id); found {
		t.dontExpireAt(old.Expires, kindRebinding, t.key(id[:]))
	}
	t.put(bucketRebindings, t.key(id[:]), encodeRebinding(rebinding))
	t.expireAt(rebinding.Expires, kindRebinding, t.key(id[:]))
}

// Interface guard
var _ rules.Tx = (*tx)(nil)
