package logout_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
)

func FuzzLogoutRequest(f *testing.F) {
	for _, seed := range []string{
		"", "id_token_hint=x", "state=%ff%00", "client_id=shop&post_logout_redirect_uri=https%3A%2F%2Frp.example.com%2Fbye&state=1", "state=1&state=2", "a;b", "%zz",
		"client_id=shop&post_logout_redirect_uri=javascript:alert(1)", "request=AAAA", "ui_locales=de fr", fmt.Sprintf("state=%s", strings.Repeat("x", 5000)),
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	x := handlerstest.NewExit(f)
	x.SignedIn(handlerstest.ClientID, "alice")
	f.Fuzz(func(t *testing.T, query string, post bool) {
		x.T = t
		got := x.Raw(query, post)
		if location := got.Header.Get("Location"); location != "" && !strings.HasPrefix(location, handlerstest.EndSession+"?request=") {
			t.Errorf("without a hint or an answer it redirects to %q", location)
		}
		x.MustBe(true)
	})
}
