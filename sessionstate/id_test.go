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

func TestNewIDTokenResponseID(t *testing.T) {
	// the first half of: printf 'id_token\0e30.e30.AA' | openssl dgst -sha256
	want := sessionstate.ResponseID([]byte("\x7f\xc1\xd2\x1f\xaf\x99\x36\x1f\x7e\x69\xa6\xe3\x6e\x42\xa9\x0f"))
	if got := sessionstate.NewIDTokenResponseID("e30.e30.AA"); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
	if sessionstate.NewIDTokenResponseID("e30.e30.AA") == sessionstate.NewResponseID("e30.e30.AA") {
		t.Error("a code has the ID of an ID token")
	}
	if !sessionstate.NewIDTokenResponseID("").IsZero() {
		t.Error("a response without an ID token has an ID")
	}
}
