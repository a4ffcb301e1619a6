package handlers

import (
	"context"
	"fmt"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// crowded records sessions of a browser at many clients, of which no ID token was seen, and returns their IDs.
func crowded(t *testing.T, w *world, browser sessionstate.BrowserID, sessions, clients int) (ids []sessionstate.SessionID) {
	t.Helper()
	for range sessions {
		id := sessionstate.NewSessionID()
		for client := range clients {
			_, err := w.store.Join(t.Context(), registry.Join{
				Issuer: issuer, Browser: browser, Session: id, Fresh: sessionstate.NewSessionID(), ClientID: fmt.Sprint("client ", client),
				Now: w.clock.Now(), Lifetime: lifetime,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		ids = append(ids, id)
	}
	return ids
}

func TestASignOutEndsAllSessionsHoweverManyClientsTheyHave(t *testing.T) {
	w := newWorld(t)
	w.tells = true
	a, _ := signedIn(t, w)
	ids := crowded(t, w, a.openS().browser, 20, 30) // more than end at once
	a.get("/logout", signOut)
	for _, id := range ids {
		if w.live(t, id) {
			t.Errorf("session %s lives", id)
		}
	}
	if owed := a.openS().owed.ids(); len(owed) != 0 {
		t.Errorf("owed to the registry are %v", owed)
	}
	if ended := w.logs.FilterMessage("session ended").Len(); ended != 21 {
		t.Errorf("%d sessions ended", ended)
	}
	if named := w.logs.FilterMessageSnippet("cannot be notified").Len(); named == 0 || named > maxNamed {
		t.Errorf("%d sessions are named", named)
	}
}

// endlessRegistry has always more sessions to end.
type endlessRegistry struct {
	registry.Registry

	ends int
}

func (r *endlessRegistry) End(_ context.Context, ending registry.Ending) ([]registry.Session, error) {
	r.ends++
	return []registry.Session{{ID: sessionstate.NewSessionID(), Issuer: ending.Issuer, Reason: ending.Reason}}, nil
}

func TestASignOutOfTooManySessionsGoesOnAtTheNextVisit(t *testing.T) {
	w := newWorld(t)
	a, _ := signedIn(t, w)
	browser := a.openS().browser
	endless := &endlessRegistry{Registry: w.store}
	w.env.Registry = endless
	a.get("/logout", signOut)
	if endless.ends != maxEnds {
		t.Errorf("the registry was asked %d times", endless.ends)
	}
	if owed := a.openS().owed.ids(); len(owed) != 1 || owed[0] != browser {
		t.Errorf("owed to the registry are %v", owed)
	}
}
