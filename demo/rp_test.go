package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What the demo shows of Caddy must not be the app's own doing.
func TestAnAppWithoutLogoutCanNeitherNoticeNorBeNotified(t *testing.T) {
	for _, unmodified := range []bool{true, false} {
		rp := &relyingParty{
			name: "wiki", unmodified: unmodified, checkSessionIframe: "https://op.example.com/check",
			sessions: map[string]rpSession{"cookie": {user: "alice", sessionState: "hash.salt"}},
		}
		app := rp.handler()
		page := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: "wiki_session", Value: "cookie"})
		app.ServeHTTP(page, r)
		if body := page.Body.String(); !strings.Contains(body, "Signed in as alice") || strings.Contains(body, "<script") == unmodified {
			t.Errorf("unmodified: %t, and the page is\n%s", unmodified, body)
		}
		if policy := page.Header().Get("Content-Security-Policy"); strings.Contains(policy, "op.example.com") == unmodified {
			t.Errorf("unmodified: %t, and the page may frame %s", unmodified, policy)
		}
		for target, method := range map[string]string{
			backchannelPath: http.MethodPost, "/logout": http.MethodPost, "/logout-everywhere": http.MethodPost,
			signedOutPath: http.MethodGet, "/rp_iframe.js": http.MethodGet,
		} {
			_, pattern := app.(*http.ServeMux).Handler(httptest.NewRequest(method, target, nil))
			if (pattern == "") != unmodified {
				t.Errorf("unmodified: %t, and %s is served by %q", unmodified, target, pattern)
			}
		}
	}
}
