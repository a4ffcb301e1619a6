package backchannel_test

import (
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
)

// The receipt must not say that they were notified or asked.
func TestTheReceiptNamesClientsThatNeedASidAndHaveNoneAsNotNotified(t *testing.T) {
	x := handlerstest.NewExit(t, func(e *logout.EndSession) {
		e.Clients = &clients.Clients{List: []clients.Client{
			{ID: "back", Name: "The Back", BackChannelLogoutURI: "https://back.example.com/", BackChannelLogoutSessionRequired: true},
			{ID: "front", Name: "The Front", FrontChannelLogoutURI: "https://front.example.com/", FrontChannelLogoutSessionRequired: true},
			{ID: "token", Name: "The Token", BackChannelLogoutURI: "https://token.example.com/", LogoutToken: clients.LogoutTokenSid},
		}}
	})
	x.W.Tells = true
	x.Cookies["login"] = "alice"
	for _, client := range []string{"back", "front", "token"} {
		x.Redeem(client, "alice", "")
	}
	page := reply.ReadAll(t, x.Answer(x.Ask(nil), logout.AnswerSignOut).Body)
	handlerstest.OnReceipt(t, page, map[string][]string{"cannot be told": {"The Back", "The Front", "The Token"}})
}
