package sessionstate_test

import (
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Both values are under oldSecret, computed by Node.js (crypto.createHmac for HKDF).
const (
	knownBrowserState   = "ovMl_k9ZcsLZepG11FIzzLkGhkPxoX0RjbBzP-4I_bQ"
	knownAnonymousState = "5Y3vbIFKKHRD4iPgNtf33aAmMYv0TJfdR4mw6tj2cjw"
)

var knownSession = sessionstate.SessionID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

func TestBrowserStateGivesTheKnownValues(t *testing.T) {
	ring := mustKeyring(t, oldSecret)
	if got := ring.BrowserState(issuer, knownSession); got != knownBrowserState {
		t.Errorf("session: got %q", got)
	}
	if got := ring.AnonymousState(issuer); got != knownAnonymousState {
		t.Errorf("anonymous: got %q", got)
	}
}

func TestServersWithTheSameFirstKeyHaveTheSameBrowserStates(t *testing.T) {
	one, other := mustKeyring(t, oldSecret), mustKeyring(t, oldSecret, newSecret)
	id := sessionstate.SessionID(sessionstate.NewBrowserID())
	if one.BrowserState(issuer, id) != other.BrowserState(issuer, id) {
		t.Error("the states of a session differ")
	}
	if one.AnonymousState(issuer) != other.AnonymousState(issuer) {
		t.Error("the anonymous states differ")
	}
}

func TestBrowserStatesOfDifferentThingsDiffer(t *testing.T) {
	ring := mustKeyring(t, oldSecret)
	states := map[string]string{
		"session":                      ring.BrowserState(issuer, knownSession),
		"another session":              ring.BrowserState(issuer, sessionstate.SessionID{1}),
		"no session":                   ring.BrowserState(issuer, sessionstate.SessionID{}),
		"another issuer":               ring.BrowserState(issuer+"/", knownSession),
		"another key":                  mustKeyring(t, newSecret, oldSecret).BrowserState(issuer, knownSession),
		"anonymous":                    ring.AnonymousState(issuer),
		"anonymous for another issuer": ring.AnonymousState(issuer + "/"),
		"anonymous under another key":  mustKeyring(t, newSecret, oldSecret).AnonymousState(issuer),
	}
	seen := make(map[string]string)
	for name, state := range states {
		if other, ok := seen[state]; ok {
			t.Errorf("%s and %s have the same", name, other)
		}
		seen[state] = name
		if !sessionstate.IsBrowserState(state) || len(state) != 43 {
			t.Errorf("%s: %q is no browser state", name, state)
		}
	}
}

func TestIsAnonymousState(t *testing.T) {
	oldOnly, newOnly, both := mustKeyring(t, oldSecret), mustKeyring(t, newSecret), mustKeyring(t, newSecret, oldSecret)
	tests := []struct {
		name  string
		ring  *sessionstate.Keyring
		value string
		want  bool
	}{
		{"under the only key", oldOnly, knownAnonymousState, true},
		{"under the first of two keys", both, newOnly.AnonymousState(issuer), true},
		{"under the second of two keys", both, knownAnonymousState, true},
		{"not under a key that is not there", newOnly, knownAnonymousState, false},
		{"not for another issuer", both, both.AnonymousState("https://op.example.org"), false},
		{"not the state of a session", both, both.BrowserState(issuer, knownSession), false},
		{"not the state of no session", both, both.BrowserState(issuer, sessionstate.SessionID{}), false},
		{"not the beginning of it", both, knownAnonymousState[:42], false},
		{"not with anything behind", both, knownAnonymousState + "\n", false},
		{"not nothing", both, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.ring.IsAnonymousState(issuer, tt.value); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestIsBrowserState(t *testing.T) {
	tests := []struct {
		name, value string
		want        bool
	}{
		{"32 bytes in base64url are one", knownBrowserState, true},
		{"so are 32 zeros: only the shape counts", strings.Repeat("A", 43), true},
		{"31 bytes are none", strings.Repeat("A", 42), false},
		{"33 bytes are none", strings.Repeat("A", 44), false},
		{"padding is refused", knownBrowserState + "=", false},
		{"idle bits are refused", strings.Repeat("A", 42) + "B", false},
		{"a line end behind is refused", knownBrowserState + "\n", false},
		{"a line end within is refused", knownBrowserState[:9] + "\r" + knownBrowserState[9:], false},
		{"a line end instead of a character is refused", knownBrowserState[:42] + "\n", false},
		{"the other base64 is refused", strings.Replace(knownBrowserState, "_", "/", 1), false},
		{"a space is refused", " " + knownBrowserState[1:], false},
		{"nothing is none", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := sessionstate.IsBrowserState(tt.value); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestABrowserStateIsThatOfItsSessionUnderAnyKey(t *testing.T) {
	rotating, later := mustKeyring(t, newSecret, oldSecret), mustKeyring(t, newSecret)
	tests := []struct {
		name   string
		ring   *sessionstate.Keyring
		issuer string
		id     sessionstate.SessionID
		value  string
		want   bool
	}{
		{"under the key in use", rotating, issuer, knownSession, rotating.BrowserState(issuer, knownSession), true},
		{"under the one before", rotating, issuer, knownSession, knownBrowserState, true},
		{"not under one that is gone", later, issuer, knownSession, knownBrowserState, false},
		{"not that of another session", rotating, issuer, sessionstate.SessionID{1}, knownBrowserState, false},
		{"not that of another issuer", rotating, issuer + "/", knownSession, knownBrowserState, false},
		{"not that of nobody", rotating, issuer, knownSession, rotating.AnonymousState(issuer), false},
		{"not nothing", rotating, issuer, knownSession, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.ring.IsBrowserState(tt.issuer, tt.id, tt.value); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestVerifyAnonymous(t *testing.T) {
	const clientID, origin = "shop", "https://rp.example"
	rotating, later := mustKeyring(t, newSecret, oldSecret), mustKeyring(t, newSecret)
	before := sessionstate.Compute(clientID, origin, knownAnonymousState, "salt")
	tests := []struct {
		name                   string
		ring                   *sessionstate.Keyring
		sessionState, clientID string
		want                   bool
	}{
		{"over the state under the key in use", rotating, sessionstate.Compute(clientID, origin, rotating.AnonymousState(issuer), "salt"), clientID, true},
		{"over that under the one before", rotating, before, clientID, true},
		{"not under one that is gone", later, before, clientID, false},
		{"not for another client", rotating, before, "mail", false},
		{"not over that of a session", rotating, sessionstate.Compute(clientID, origin, knownBrowserState, "salt"), clientID, false},
		{"not with another salt", rotating, before + "y", clientID, false},
		{"not nothing", rotating, "", clientID, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.ring.VerifyAnonymous(issuer, tt.sessionState, tt.clientID, origin); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
