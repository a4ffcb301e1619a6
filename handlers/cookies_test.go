package handlers

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func TestCookiesAreNamedByTheIssuer(t *testing.T) {
	tests := []struct {
		name, issuer, session string
		suffix                bool
	}{
		{"host", "https://op.example.com", "__Host-oidc_session", false},
		{"host and slash", "https://op.example.com/", "__Host-oidc_session", false},
		{"default port", "https://op.example.com:443", "__Host-oidc_session", false},
		{"port", "https://op.example.com:8443", "__Host-oidc_session_", true},
		{"path", "https://op.example.com/realm", "__Host-oidc_session_", true},
		{"localhost", "http://op.localhost", "__Host-oidc_session", false},
		{"localhost with a port", "http://localhost:8080", "__Host-oidc_session_", true},
		{"plain http", "http://op.example.com", "oidc_session", false},
		{"plain http with a path", "http://op.example.com/realm", "oidc_session_", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			names := knownOP(t, tt.issuer, metadata{}).cookies
			suffix, ok := strings.CutPrefix(names.session, tt.session)
			if !ok || (len(suffix) == 8) != tt.suffix {
				t.Errorf("the sealed cookie is %s", names.session)
			}
			state := strings.Replace(names.session, "oidc_session", "op_browser_state", 1)
			pending := strings.Replace(names.session, "oidc_session", "oidc_pending", 1) + "_"
			if names.state != state || names.pending != pending {
				t.Errorf("the others are %s and %s", names.state, names.pending)
			}
		})
	}
}

func TestIssuersOnOneHostHaveCookiesOfTheirOwn(t *testing.T) {
	seen := make(map[string]string)
	for _, issuer := range []string{"https://op.example.com", "https://op.example.com/a", "https://op.example.com/b", "https://op.example.com/a/", "https://op.example.com:8443"} {
		names := knownOP(t, issuer, metadata{}).cookies
		if other, taken := seen[names.session]; taken {
			t.Errorf("%s and %s have the same cookie", issuer, other)
		}
		seen[names.session] = issuer
	}
}

func TestCookieAttributes(t *testing.T) {
	tests := []struct {
		name, issuer string
		want         string
	}{
		{"https", "https://op.example.com", "; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None"},
		{"localhost", "http://localhost", "; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None"},
		{"below localhost", "http://op.localhost:8080", "; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None"},
		{"IPv4 loopback", "http://127.0.0.1:8080", "; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None"},
		{"IPv6 loopback", "http://[::1]:8080", "; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None"},
		{"plain http", "http://op.example.com", "; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"},
		{"plain http on an address", "http://192.0.2.1", "; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"},
		{"a name that only looks like localhost", "http://notlocalhost", "; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			names := knownOP(t, tt.issuer, metadata{}).cookies
			if got := names.cookie("n", "v", time.Minute, false).String(); got != "n=v"+tt.want {
				t.Errorf("got %s", got)
			}
			if got := names.cookie("n", "v", time.Minute, true).String(); got != "n=v"+strings.Replace(tt.want, " HttpOnly;", "", 1) {
				t.Errorf("readable by scripts: %s", got)
			}
			if got := names.deletion("n").String(); got != "n="+strings.Replace(tt.want, "=60", "=0", 1) {
				t.Errorf("deleted by %s", got)
			}
		})
	}
}

func someSession() sessionCookie {
	return sessionCookie{
		browser: sessionstate.BrowserID{1, 2, 3},
		session: sessionstate.SessionID{4, 5, 6},
		state:   "ovMl_k9ZcsLZepG11FIzzLkGhkPxoX0RjbBzP-4I_bQ",
		expires: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC),
	}
}

func TestTheSealedCookieOpensAsItWasSealed(t *testing.T) {
	tests := []struct {
		name string
		in   sessionCookie
	}{
		{"with a session", someSession()},
		{"signed out", someSession().signedOut()},
		{"of no browser", sessionCookie{}},
	}
	older, newer := keyring(t, firstSecret), keyring(t, secondSecret, firstSecret)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sealed := tt.in.seal(older, issuer)
			if got, current, ok := openSessionCookie(older, issuer, sealed); got != tt.in || !current || !ok {
				t.Errorf("got %+v, current: %v, ok: %v", got, current, ok)
			}
			if got, current, ok := openSessionCookie(newer, issuer, sealed); got != tt.in || current || !ok {
				t.Errorf("after rotation: %+v, current: %v, ok: %v", got, current, ok)
			}
		})
	}
}

func TestASealedCookieIsRefused(t *testing.T) {
	keys := keyring(t, firstSecret)
	good := someSession().seal(keys, issuer)
	tests := []struct {
		name, value string
		keys        *sessionstate.Keyring
		issuer      string
	}{
		{"of another issuer", someSession().seal(keys, issuer+"/realm"), keys, issuer},
		{"under another key", good, keyring(t, secondSecret), issuer},
		{"for another purpose", keys.Seal(pendingPurpose, issuer, make([]byte, sessionSizeFull)), keys, issuer},
		{"of another size", keys.Seal(sessionPurpose, issuer, make([]byte, sessionSizeFull-1)), keys, issuer},
		{"of no size", keys.Seal(sessionPurpose, issuer, nil), keys, issuer},
		{"changed", strings.Replace(good, good[40:44], "AAAA", 1), keys, issuer},
		{"cut off", good[:len(good)-1], keys, issuer},
		{"empty", "", keys, issuer},
		{"garbage", "%00;\xff", keys, issuer},
		{"huge", strings.Repeat("A", 1<<20), keys, issuer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _, ok := openSessionCookie(tt.keys, tt.issuer, tt.value); ok || got != (sessionCookie{}) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestCarriesFindsACookieAnywhere(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	if carries(r, "a=") {
		t.Error("found without a Cookie")
	}
	r.Header["Cookie"] = []string{"x=y", "b=c; a=1"}
	if !carries(r, "a=") || carries(r, "d=") {
		t.Error("not found, or found what is not there")
	}
}

func FuzzOpenSessionCookie(f *testing.F) {
	keys := keyring(f, firstSecret, secondSecret)
	f.Add(issuer, someSession().seal(keys, issuer))
	f.Add(issuer, someSession().signedOut().seal(keyring(f, secondSecret), issuer))
	f.Add(issuer+"/realm", "")
	f.Add("", "AAAA")
	f.Fuzz(func(t *testing.T, iss, value string) {
		c, _, ok := openSessionCookie(keys, iss, value)
		if !ok {
			if c != (sessionCookie{}) {
				t.Fatalf("refused, but %+v", c)
			}
			return
		}
		if again, current, ok := openSessionCookie(keys, iss, c.seal(keys, iss)); !ok || !current || again != c {
			t.Fatalf("%+v is %+v after it was sealed again", c, again)
		}
	})
}
