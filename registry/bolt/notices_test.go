package bolt

import (
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// redeem records who a Join was for.
func redeem(t *testing.T, store *Store, join registry.Join, sub string) {
	t.Helper()
	_, err := store.Redeem(t.Context(), registry.Redemption{
		Issuer: join.Issuer, Response: join.Response, Audience: []string{join.ClientID}, Subject: registry.Subject{Sub: sub},
		Fresh: sessionstate.NewSessionID(), Now: join.Now, Lifetime: join.Lifetime, Tell: true,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSessionsOfAnEarlierFileHoldNoticesBackOnceTheyAreUsed(t *testing.T) {
	for name, used := range map[string]bool{"used": true, "not used": false} {
		t.Run(name, func(t *testing.T) {
			path := pathIn(t)
			store := mustOpen(t, path)
			short, long := aJoin(), aJoin()
			short.Lifetime = time.Minute
			for _, join := range []registry.Join{short, long} {
				mustJoin(t, store, join)
				redeem(t, store, join, "alice")
			}
			err := update(t.Context(), store, func(tx *bbolt.Tx) error { // earlier versions did not have it
				return tx.DeleteBucket(bucketHolders)
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			store = mustOpen(t, path)
			if used {
				next := aJoin()
				next.Session, next.Browser, next.Now = long.Fresh, long.Browser, start.Add(time.Second)
				mustJoin(t, store, next)
				redeem(t, store, next, "alice")
			}
			if _, err := store.Expire(t.Context(), registry.Expiry{Now: start.Add(time.Minute)}); err != nil {
				t.Fatal(err)
			}
			due, err := store.DueNotices(t.Context(), issuer, start.Add(time.Minute), 10)
			if err != nil || (len(due) == 0) != used {
				t.Errorf("due are %+v, %v", due, err)
			}
		})
	}
}

func TestAHeldNoticeOutlivesARestart(t *testing.T) {
	path := pathIn(t)
	store := mustOpen(t, path)
	short, long := aJoin(), aJoin()
	short.Lifetime = time.Minute
	short.Subject, long.Subject = registry.Subject{Sub: "alice"}, registry.Subject{Sub: "alice", Sid: "1"}
	mustJoin(t, store, short)
	mustJoin(t, store, long)
	if _, err := store.Expire(t.Context(), registry.Expiry{Now: start.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = mustOpen(t, path)
	if _, err := store.End(t.Context(), registry.Ending{Issuer: issuer, Browser: long.Browser, Reason: registry.ReasonLogout, Now: start, Tell: true}); err != nil {
		t.Fatal(err)
	}
	due, err := store.DueNotices(t.Context(), issuer, start, 10)
	if err != nil || len(due) != 2 {
		t.Errorf("due are %+v, %v", due, err)
	}
}

func mustJoin(t *testing.T, store *Store, join registry.Join) {
	t.Helper()
	if _, err := store.Join(t.Context(), join); err != nil {
		t.Fatal(err)
	}
}
