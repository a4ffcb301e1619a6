package sessionstate_test

import (
	"testing"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func TestDrawnIDsAreFreshAndNeverZero(t *testing.T) {
	seen := make(map[any]bool)
	for range 100 {
		browser := sessionstate.NewBrowserID()
		if browser.IsZero() {
			t.Fatal("a zero ID was drawn")
		}
		seen[browser] = true
	}
	if len(seen) != 100 {
		t.Errorf("of 100 IDs only %d differ", len(seen))
	}
}

func TestTheZeroIDNamesNothing(t *testing.T) {
	if !(sessionstate.SessionID{}).IsZero() || !(sessionstate.BrowserID{}).IsZero() ||
		!(sessionstate.ResponseID{}).IsZero() {
		t.Error("a zero ID is not zero")
	}
	if (sessionstate.SessionID{15: 1}).IsZero() || (sessionstate.BrowserID{15: 1}).IsZero() ||
		(sessionstate.ResponseID{15: 1}).IsZero() {
		t.Error("an ID with one bit set is zero")
	}
}

func TestASessionIDIsLoggedInBase64URL(t *testing.T) {
	if got, want := knownSession.String(), "AQIDBAUGBwgJCgsMDQ4PEA"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNewResponseID(t *testing.T) {
	// the first half of: printf 'code\0SplxlOBeZQQYbYS6WxSbIA' | openssl dgst -sha256
	want := sessionstate.ResponseID([]byte("\xbc\x76\x04\x37\x58\x27\x6d\xe2\x14\x63\x15\x0d\xc7\x2c\xf6\xb0"))
	if got := sessionstate.NewResponseID("SplxlOBeZQQYbYS6WxSbIA"); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
	if sessionstate.NewResponseID("a") == sessionstate.NewResponseID("b") {
		t.Error("two codes have the same ID")
	}
	if !sessionstate.NewResponseID("").IsZero() {
		t.Error("a response without a code has an ID")
	}
}
