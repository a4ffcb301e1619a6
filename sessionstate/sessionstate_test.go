package sessionstate_test

import (
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// The hashes were computed by openssl: printf %s 'shop https://rp.example.com B salt' | openssl
// dgst -sha256 -binary | base64.
var knownStates = []struct {
	name, clientID, origin, browserState, salt, want string
}{
	{
		"a plain client", "shop", "https://rp.example.com", "B", "salt",
		"mbcrzqfspdy_-n6QIQqdS1wTi7zvD5IEzX3zj7McLXE.salt",
	},
	{
		"a client ID with spaces", "my shop app", "https://rp.example.com", "B", "salt",
		"U7gs5DFwkbXlE7OgrasWuk__B6BQCaP1RU7BiVMc4ko.salt",
	},
	{
		"an origin with a port", "s6BhdRkqt3", "https://client.example.org:8443", "dGhlIGJyb3dzZXIgc3RhdGU", "OHHTJFCVSK4CLSHKFIQD7R",
		"o0kDfwuKYD0PyJGLTirwfDHHCkRW7erCGCxBMDE7__Y.OHHTJFCVSK4CLSHKFIQD7R",
	},
	{
		"a salt with a dot", "shop", "https://rp.example.com", "B", "a.b",
		"J0On9-POvqUnxjjQVPh-3vf9xk-FNOMGbsOjyh8iz5A.a.b",
	},
	{
		"nothing at all", "", "", "", "",
		"Cq19p30u1Zw5bJmnTknzpFJNzby1FjJRsUM9ZAJHrrQ.",
	},
}

func TestComputeGivesTheKnownSessionStates(t *testing.T) {
	for _, tt := range knownStates {
		t.Run(tt.name, func(t *testing.T) {
			if got := sessionstate.Compute(tt.clientID, tt.origin, tt.browserState, tt.salt); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestVerifyAcceptsWhatComputeReturned(t *testing.T) {
	for _, tt := range knownStates {
		t.Run(tt.name, func(t *testing.T) {
			got := sessionstate.Verify(tt.want, tt.clientID, tt.origin, tt.browserState)
			if want := tt.salt != ""; got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestVerifyRefusesWhateverDiffersInOneInput(t *testing.T) {
	const good = "mbcrzqfspdy_-n6QIQqdS1wTi7zvD5IEzX3zj7McLXE.salt" // the first of knownStates
	tests := []struct {
		name, sessionState, clientID, origin, browserState string
	}{
		{"another client", good, "shop2", "https://rp.example.com", "B"},
		{"a client ID in another case", good, "Shop", "https://rp.example.com", "B"},
		{"another scheme", good, "shop", "http://rp.example.com", "B"},
		{"another port", good, "shop", "https://rp.example.com:8443", "B"},
		{"another host", good, "shop", "https://rp.example.org", "B"},
		{"another browser state", good, "shop", "https://rp.example.com", "C"},
		{"no browser state", good, "shop", "https://rp.example.com", ""},
		{"another salt", good + "y", "shop", "https://rp.example.com", "B"},
		{"another hash", "n" + good[1:], "shop", "https://rp.example.com", "B"},
		{"a padded hash", strings.Replace(good, ".", "=.", 1), "shop", "https://rp.example.com", "B"},
		{"the end of the client ID moved to the origin", good, "shop https://rp.example.com", "B", "salt"},
		{"a space behind", good + " ", "shop", "https://rp.example.com", "B"},
		{"no salt", good[:strings.IndexByte(good, '.')+1], "shop", "https://rp.example.com", "B"},
		{"nothing", "", "shop", "https://rp.example.com", "B"},
	}
	if !sessionstate.Verify(good, "shop", "https://rp.example.com", "B") {
		t.Fatal("the good one was refused")
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if sessionstate.Verify(tt.sessionState, tt.clientID, tt.origin, tt.browserState) {
				t.Error("it was accepted")
			}
		})
	}
}

func TestSplit(t *testing.T) {
	tests := []struct {
		name, sessionState, hash, salt string
		ok                             bool
	}{
		{"hash and salt are cut at the dot", "hash.salt", "hash", "salt", true},
		{"the first of several dots counts", "hash.salt.with.dots", "hash", "salt.with.dots", true},
		{"the salt may begin with a dot", "hash..salt", "hash", ".salt", true},
		{"no dot is refused", "hash", "", "", false},
		{"an empty hash is refused", ".salt", "", "", false},
		{"an empty salt is refused", "hash.", "", "", false},
		{"a lone dot is refused", ".", "", "", false},
		{"nothing is refused", "", "", "", false},
		{"a space in the hash is refused", "ha sh.salt", "", "", false},
		{"a space in the salt is refused", "hash.sa lt", "", "", false},
		{"a space in front is refused", " hash.salt", "", "", false},
		{"a space behind is refused", "hash.salt ", "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hash, salt, ok := sessionstate.Split(tt.sessionState)
			if hash != tt.hash || salt != tt.salt || ok != tt.ok {
				t.Errorf("got %q, %q, %v; want %q, %q, %v", hash, salt, ok, tt.hash, tt.salt, tt.ok)
			}
		})
	}
}

func TestNewSaltIsFreshAndFitsIntoASessionState(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		salt := sessionstate.NewSalt()
		if seen[salt] {
			t.Fatal("a salt was drawn twice")
		}
		seen[salt] = true
		if len(salt) < 26 || strings.Trim(salt, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" { // 26 * 5 bits
			t.Fatalf("%q is no salt of 128 bits in base32", salt)
		}
	}
}

// A session_state must not contain a space (Session Management 1.0, section 2), even if the client
// ID does.
func TestASessionStateNeverContainsASpace(t *testing.T) {
	ring := mustKeyring(t, oldSecret)
	for range 100 {
		h := sessionstate.NewHandle("a client with spaces", "https://rp.example.com")
		for _, salt := range []string{sessionstate.NewSalt(), ring.SealHandle(issuer, h)} {
			state := sessionstate.Compute("a client with spaces", "https://rp.example.com", ring.AnonymousState(issuer), salt)
			if strings.Contains(state, " ") {
				t.Fatalf("%q contains a space", state)
			}
			if _, got, ok := sessionstate.Split(state); !ok || got != salt {
				t.Fatalf("the salt of %q came back as %q", state, got)
			}
		}
	}
}

func FuzzVerify(f *testing.F) {
	for _, tt := range knownStates {
		f.Add(tt.want, tt.clientID, tt.origin, tt.browserState)
	}
	f.Add("hash.sa lt", "a b", "null", "")
	f.Add("..", "", "", "")
	f.Fuzz(func(t *testing.T, sessionState, clientID, origin, browserState string) {
		hash, salt, ok := sessionstate.Split(sessionState)
		verified := sessionstate.Verify(sessionState, clientID, origin, browserState)
		if !ok {
			if verified || hash != "" || salt != "" {
				t.Fatalf("%q is malformed, and yet gave %q, %q, %v", sessionState, hash, salt, verified)
			}
			return
		}
		if hash+"."+salt != sessionState || hash == "" || salt == "" || strings.ContainsAny(hash, ". ") || strings.Contains(salt, " ") {
			t.Fatalf("%q was cut into %q and %q", sessionState, hash, salt)
		}
		want := sessionstate.Compute(clientID, origin, browserState, salt)
		if verified != (sessionState == want) {
			t.Fatalf("%q verified: %v, computed: %q", sessionState, verified, want)
		}
		if !sessionstate.Verify(want, clientID, origin, browserState) {
			t.Fatalf("%q was computed and is refused", want)
		}
		if sessionstate.Verify(want, clientID+"x", origin, browserState) || sessionstate.Verify(want, clientID, origin, browserState+"x") {
			t.Fatalf("%q holds for other inputs too", want)
		}
	})
}
