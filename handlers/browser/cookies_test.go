package browser_test

import (
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
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
			names := handlerstest.KnownOP(t, tt.issuer, handlers.Metadata{}).Cookies
			suffix, ok := strings.CutPrefix(names.Session, tt.session)
			if !ok || (len(suffix) == 8) != tt.suffix {
				t.Errorf("the sealed cookie is %s", names.Session)
			}
			state := strings.Replace(names.Session, "oidc_session", "op_browser_state", 1)
			pending := strings.Replace(names.Session, "oidc_session", "oidc_pending", 1) + "_"
			if names.State != state || names.Pending != pending {
				t.Errorf("the others are %s and %s", names.State, names.Pending)
			}
		})
	}
}

func TestIssuersOnOneHostHaveCookiesOfTheirOwn(t *testing.T) {
	seen := make(map[string]string)
	for _, issuer := range []string{"https://op.example.com", "https://op.example.com/a", "https://op.example.com/b", "https://op.example.com/a/", "https://op.example.com:8443"} {
		names := handlerstest.KnownOP(t, issuer, handlers.Metadata{}).Cookies
		if other, taken := seen[names.Session]; taken {
			t.Errorf("%s and %s have the same cookie", issuer, other)
		}
		seen[names.Session] = issuer
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
			names := handlerstest.KnownOP(t, tt.issuer, handlers.Metadata{}).Cookies
			if got := names.Cookie("n", "v", time.Minute, false).String(); got != "n=v"+tt.want {
				t.Errorf("got %s", got)
			}
			if got := names.Cookie("n", "v", time.Minute, true).String(); got != "n=v"+strings.Replace(tt.want, " HttpOnly;", "", 1) {
				t.Errorf("readable by scripts: %s", got)
			}
			if got := names.Deletion("n").String(); got != "n="+strings.Replace(tt.want, "=60", "=0", 1) {
				t.Errorf("deleted by %s", got)
			}
		})
	}
}

func someSession() browser.SessionCookie {
	return browser.SessionCookie{
		Browser: sessionstate.BrowserID{1, 2, 3},
		Session: sessionstate.SessionID{4, 5, 6},
		State:   "ovMl_k9ZcsLZepG11FIzzLkGhkPxoX0RjbBzP-4I_bQ",
		Expires: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC),
	}
}

func TestTheSealedCookieOpensAsItWasSealed(t *testing.T) {
	tests := []struct {
		name string
		in   browser.SessionCookie
	}{
		{"with a session", someSession()},
		{"signed out", someSession().SignedOut()},
		{"of no browser", browser.SessionCookie{}},
	}
	older, newer := handlerstest.Keyring(t, handlerstest.FirstSecret), handlerstest.Keyring(t, handlerstest.SecondSecret, handlerstest.FirstSecret)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sealed := tt.in.Seal(older, handlerstest.Issuer)
			if got, current, ok := browser.OpenSessionCookie(older, handlerstest.Issuer, sealed); got != tt.in || !current || !ok {
				t.Errorf("got %+v, current: %v, ok: %v", got, current, ok)
			}
			if got, current, ok := browser.OpenSessionCookie(newer, handlerstest.Issuer, sealed); got != tt.in || current || !ok {
				t.Errorf("after rotation: %+v, current: %v, ok: %v", got, current, ok)
			}
		})
	}
}

func TestASealedCookieIsRefused(t *testing.T) {
	keys := handlerstest.Keyring(t, handlerstest.FirstSecret)
	good := someSession().Seal(keys, handlerstest.Issuer)
	tests := []struct {
		name, value string
		keys        *sessionstate.Keyring
		issuer      string
	}{
		{"of another issuer", someSession().Seal(keys, handlerstest.Issuer+"/realm"), keys, handlerstest.Issuer},
		{"under another key", good, handlerstest.Keyring(t, handlerstest.SecondSecret), handlerstest.Issuer},
		{"for another purpose", keys.Seal(browser.PendingPurpose, handlerstest.Issuer, make([]byte, browser.SessionSizeFull)), keys, handlerstest.Issuer},
		{"of another size", keys.Seal(browser.SessionPurpose, handlerstest.Issuer, make([]byte, browser.SessionSizeFull-1)), keys, handlerstest.Issuer},
		{"of no size", keys.Seal(browser.SessionPurpose, handlerstest.Issuer, nil), keys, handlerstest.Issuer},
		{"changed", strings.Replace(good, good[40:44], "AAAA", 1), keys, handlerstest.Issuer},
		{"cut off", good[:len(good)-1], keys, handlerstest.Issuer},
		{"empty", "", keys, handlerstest.Issuer},
		{"garbage", "%00;\xff", keys, handlerstest.Issuer},
		{"huge", strings.Repeat("A", 1<<20), keys, handlerstest.Issuer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _, ok := browser.OpenSessionCookie(tt.keys, tt.issuer, tt.value); ok || got != (browser.SessionCookie{}) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func FuzzOpenSessionCookie(f *testing.F) {
	keys := handlerstest.Keyring(f, handlerstest.FirstSecret, handlerstest.SecondSecret)
	f.Add(handlerstest.Issuer, someSession().Seal(keys, handlerstest.Issuer))
	f.Add(handlerstest.Issuer, someSession().SignedOut().Seal(handlerstest.Keyring(f, handlerstest.SecondSecret), handlerstest.Issuer))
	f.Add(handlerstest.Issuer+"/realm", "")
	f.Add("", "AAAA")
	f.Fuzz(func(t *testing.T, iss, value string) {
		c, _, ok := browser.OpenSessionCookie(keys, iss, value)
		if !ok {
			if c != (browser.SessionCookie{}) {
				t.Fatalf("refused, but %+v", c)
			}
			return
		}
		if again, current, ok := browser.OpenSessionCookie(keys, iss, c.Seal(keys, iss)); !ok || !current || again != c {
			t.Fatalf("%+v is %+v after it was sealed again", c, again)
		}
	})
}
