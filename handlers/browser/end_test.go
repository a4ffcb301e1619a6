package browser_test

import (
	"fmt"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// crowded records sessions of a browser at many clients, of which no ID token was seen, and
// returns their IDs.
func crowded(t *testing.T, w *handlerstest.World, browser sessionstate.BrowserID, sessions, clients int) (ids []sessionstate.SessionID) {
	t.Helper()
	for range sessions {
		id := registry.NewSessionID(handlerstest.Issuer, browser)
		for client := range clients {
			_, err := w.Env.Registry.Join(t.Context(), registry.Join{
				Issuer: handlerstest.Issuer, Browser: browser, Session: id, ClientID: fmt.Sprint("client ", client), Lifetime: handlerstest.Lifetime, Notify: true,
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
	w := handlerstest.NewWorld(t)
	w.Tells = true
	a, _ := handlerstest.SignedIn(t, w)
	ids := crowded(t, w, a.OpenS().Browser, 20, 30)
	a.Get("/logout", handlerstest.SignOut)
	for _, id := range ids {
		if w.Live(t, id) {
			t.Errorf("session %s lives", id)
		}
	}
	if owed := a.OpenS().Owed.IDs(); len(owed) != 0 {
		t.Errorf("owed to the registry are %v", owed)
	}
	if ended := w.Logs.FilterMessage("session ended").Len(); ended != 21 {
		t.Errorf("%d sessions ended", ended)
	}
	if named := w.Logs.FilterMessageSnippet("cannot be notified").Len(); named != 21 {
		t.Errorf("%d sessions are named", named)
	}
}
