package handlers

import (
	"fmt"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// crowded records sessions of a browser at many clients, of which no ID token was seen, and returns their IDs.
func crowded(t *testing.T, w *world, browser sessionstate.BrowserID, sessions, clients int) (ids []sessionstate.SessionID) {
	t.Helper()
	for range sessions {
		id := registry.NewSessionID(issuer, browser)
		for client := range clients {
			_, err := w.env.Registry.Join(t.Context(), registry.Join{
				Issuer: issuer, Browser: browser, Session: id, ClientID: fmt.Sprint("client ", client), Lifetime: lifetime, Tell: true,
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
	ids := crowded(t, w, a.openS().browser, 20, 30)
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
	if named := w.logs.FilterMessageSnippet("cannot be notified").Len(); named != 21 {
		t.Errorf("%d sessions are named", named)
	}
}
