package handlerstest

import (
	"html"
	"reflect"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
)

// OnReceipt checks whom a page lists, by a part of the sentence before each list.
func OnReceipt(t *testing.T, body string, want map[string][]string) {
	t.Helper()
	if lists := strings.Count(body, "<ul>"); lists != len(want) {
		t.Errorf("%d lists, want %d: %s", lists, len(want), body)
	}
	for sentence, names := range want {
		_, rest, _ := strings.Cut(body, sentence)
		list, _, _ := strings.Cut(rest, "</ul>")
		var got []string
		for _, item := range strings.Split(list, "<li>")[1:] {
			name, _, _ := strings.Cut(item, "</li>")
			got = append(got, html.UnescapeString(name))
		}
		if !reflect.DeepEqual(got, names) {
			t.Errorf("%q are %q, want %q", sentence, got, names)
		}
	}
}

// Redeem gives a client another ID token for the session.
func (x *Exit) Redeem(client, user, sid string) {
	x.T.Helper()
	code := client + user + sid
	x.Get(strings.Replace(Authorize("s"), "client_id="+ClientID, "client_id="+client, 1), reply.Redirect(Callback+"?code="+code+"&state=s"))
	x.redeemed(code, client, user, sid)
}
