package sessionstate_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// knownHandle is under oldSecret for the issuer, computed as knownSeal is: knownSession, the
// code "SplxlOBeZQQYbYS6WxSbIA" (OpenID Connect Core 1.0, section 3.1.2.5), client "shop" at
// "https://rp.example.com", 1700000000 seconds.
const knownHandle = "AqChoqOkpaanqKmqq6ytrq-wsbKztLW2t4jtqB9P1L5MAFbYZsNqlOOMKPsBwfwqhGfQoQPhQGsQ56XBBfzVuJeXcuDSggu6_2xX2uSG1o0c0MSKHCUaHGYa-9ku"

func someHandle() sessionstate.Handle {
	h := sessionstate.NewHandle("shop", "https://rp.example.com")
	h.Session = knownSession
	h.Response = sessionstate.NewResponseID("SplxlOBeZQQYbYS6WxSbIA")
	h.Until = time.Unix(1700000000, 0).UTC()
	return h
}

func TestOpenHandleOpensAKnownHandle(t *testing.T) {
	h, err := mustKeyring(t, oldSecret).OpenHandle(issuer, knownHandle)
	if err != nil || h != someHandle() {
		t.Errorf("got %+v, %v", h, err)
	}
}

func TestOpenHandleReturnsWhatSealHandleTook(t *testing.T) {
	anonymous := sessionstate.NewHandle("", "")
	anonymous.Until = time.Unix(0, 0).UTC()
	fractions := someHandle()
	fractions.Until = fractions.Until.Add(999 * time.Millisecond)
	elsewhere := someHandle()
	elsewhere.Until = elsewhere.Until.In(time.FixedZone("", 3600))
	last := someHandle()
	last.Until = time.Unix(1<<32-1, 0).UTC()
	tests := []struct {
		name     string
		in, want sessionstate.Handle
	}{
		{"of a session", someHandle(), someHandle()},
		{"of nobody", anonymous, anonymous},
		{"without fractions of a second", fractions, someHandle()},
		{"with the time in UTC", elsewhere, someHandle()},
		{"until 2106", last, last},
	}
	sender, receiver := mustKeyring(t, oldSecret), mustKeyring(t, newSecret, oldSecret)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			salt := sender.SealHandle(issuer, tt.in)
			if len(salt) != len(knownHandle) {
				t.Errorf("it has %d characters, others have %d", len(salt), len(knownHandle))
			}
			if got, err := receiver.OpenHandle(issuer, salt); err != nil || got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
			if sender.SealHandle(issuer, tt.in) == salt {
				t.Error("the salt is the same the second time")
			}
		})
	}
}

func TestAHandleIsForOneClientAtOneOrigin(t *testing.T) {
	opened, err := mustKeyring(t, oldSecret).OpenHandle(issuer, knownHandle)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name             string
		handle           sessionstate.Handle
		clientID, origin string
		want             bool
	}{
		{"for its own", someHandle(), "shop", "https://rp.example.com", true},
		{"for its own after it was opened", opened, "shop", "https://rp.example.com", true},
		{"for a client with spaces", sessionstate.NewHandle("a b", "https://rp.example.com"), "a b", "https://rp.example.com", true},
		{"not for another client", someHandle(), "shop2", "https://rp.example.com", false},
		{"not for another origin", opened, "shop", "https://rp.example.com:8443", false},
		{"not for another scheme", opened, "shop", "http://rp.example.com", false},
		{"not where the border is elsewhere", someHandle(), "shophttps", "://rp.example.com", false},
		{"not for nobody", someHandle(), "", "", false},
		{"the zero handle for nobody", sessionstate.Handle{}, "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.handle.IsFor(tt.clientID, tt.origin); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestOpenHandleRefuses(t *testing.T) {
	ring := mustKeyring(t, oldSecret)
	last := "A"
	if strings.HasSuffix(knownHandle, last) {
		last = "Q"
	}
	tests := []struct {
		name, issuer, salt string
	}{
		{"another issuer", "https://op.example.org", knownHandle},
		{"another key", issuer, mustKeyring(t, newSecret).SealHandle(issuer, someHandle())},
		{"a seal for another use", issuer, knownSeal},
		{"a handle sealed for another use", issuer, ring.Seal("cookie", issuer, make([]byte, 52))},
		{"a shorter value", issuer, ring.Seal("handle", issuer, make([]byte, 51))},
		{"a longer value", issuer, ring.Seal("handle", issuer, make([]byte, 53))},
		{"a changed character", issuer, knownHandle[:len(knownHandle)-1] + last},
		{"a salt of somebody else's", issuer, sessionstate.NewSalt()},
		{"a whole session_state", issuer, "mbcrzqfspdy_-n6QIQqdS1wTi7zvD5IEzX3zj7McLXE." + knownHandle},
		{"a line end behind", issuer, knownHandle + "\r\n"},
		{"nothing", issuer, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := ring.OpenHandle(tt.issuer, tt.salt)
			if !errors.Is(err, sessionstate.ErrSeal) || h != (sessionstate.Handle{}) {
				t.Errorf("got %+v, %v", h, err)
			}
		})
	}
}

// An RP sees the handle, and every script of the OP's origin sees the browser state: neither may
// say which session it is, nor may one of them lead to the other.
func TestBrowserStateSessionIDAndHandleShareNoPart(t *testing.T) {
	ring := mustKeyring(t, oldSecret)
	h := someHandle()
	h.Session = sessionstate.SessionID(sessionstate.NewBrowserID())
	seen := map[string]string{
		"session ID":    string(h.Session[:]),
		"browser state": unBase64(t, ring.BrowserState(issuer, h.Session)),
		"handle":        unBase64(t, ring.SealHandle(issuer, h)),
		"next handle":   unBase64(t, ring.SealHandle(issuer, h)),
	}
	for name, value := range seen {
		for other, in := range seen {
			for i := range len(value) - 4 {
				if name != other && strings.Contains(in, value[i:i+5]) {
					t.Errorf("5 bytes of the %s are in the %s", name, other)
				}
			}
		}
	}
}

func unBase64(t *testing.T, text string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func FuzzOpenHandle(f *testing.F) {
	ring := mustKeyring(f, oldSecret, newSecret)
	f.Add(issuer, knownHandle)
	f.Add(issuer, knownHandle+"\n")
	f.Add(issuer+"/", knownHandle)
	f.Add(issuer, knownSeal)
	f.Add("", "")
	f.Fuzz(func(t *testing.T, iss, salt string) {
		h, err := ring.OpenHandle(iss, salt)
		switch {
		case err != nil:
			if !errors.Is(err, sessionstate.ErrSeal) || h != (sessionstate.Handle{}) {
				t.Fatalf("%q gave %+v, %v", salt, h, err)
			}
		case iss != issuer || salt != knownHandle || h != someHandle():
			t.Fatalf("%q was forged: %+v", salt, h)
		}
		h = sessionstate.NewHandle(salt, iss)
		h.Until = time.Unix(1700000000, 0).UTC()
		again, err := ring.OpenHandle(iss, ring.SealHandle(iss, h))
		if err != nil || again != h || !again.IsFor(salt, iss) {
			t.Fatalf("sealed and opened it is %+v, %v", again, err)
		}
	})
}
