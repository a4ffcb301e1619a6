package main

import (
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
)

func TestTheSessionsThatAreFilledInLive(t *testing.T) {
	store := memory.New(time.Now)
	sessions, err := fill(t.Context(), store, 3, month, true)
	if err != nil || len(sessions) != 3 {
		t.Fatalf("%d sessions: %v", len(sessions), err)
	}
	r := openRegistry(store, ignore)
	defer r.Close()
	for _, id := range sessions {
		state, session, err := r.Resolve(t.Context(), registry.Ref{Session: id})
		if err != nil || state != registry.Live || session.ID != id {
			t.Errorf("session %v is in state %d: %v", id, state, err)
		}
	}
}
