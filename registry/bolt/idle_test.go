package bolt

import (
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// TestCallsThatChangeNothingAreNotCommitted: each commit is a wait for the disk, and the janitor finds nothing most of the time.
func TestCallsThatChangeNothingAreNotCommitted(t *testing.T) {
	store := mustOpen(t, pathIn(t))
	addSessions(t, store, 3)
	spending := registry.Spending{Issuer: issuer, Value: [16]byte{1}, Now: start, Expires: start.Add(time.Minute)}
	if _, err := store.Spend(t.Context(), spending); err != nil {
		t.Fatal(err)
	}
	before := lastTx(t, store)
	for name, call := range map[string]func() error{
		"End of a browser without sessions": func() error {
			_, err := store.End(t.Context(), registry.Ending{Issuer: issuer, Browser: sessionstate.NewBrowserID(), Reason: registry.ReasonLogout, Now: start})
			return err
		},
		"Expire before anything's time": func() error {
			_, err := store.Expire(t.Context(), registry.Expiry{Now: start})
			return err
		},
		"Spend again": func() error {
			first, err := store.Spend(t.Context(), spending)
			if first {
				t.Error("it was spent for the first time")
			}
			return err
		},
	} {
		if err := call(); err != nil || lastTx(t, store) != before {
			t.Errorf("%s: %v, transaction %d after %d", name, err, lastTx(t, store), before)
		}
	}
	if id := addSessions(t, store, 1); !has(t, store, id) || lastTx(t, store) == before {
		t.Error("a call that changes something is not committed")
	}
}

// lastTx is the ID of the last transaction that was committed.
func lastTx(t *testing.T, store *Store) (id int) {
	t.Helper()
	err := store.view(t.Context(), func(tx *bbolt.Tx) error {
		id = tx.ID()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}
