package handlers

import "testing"

// The receipt must not say that they were notified or asked.
func TestTheReceiptNamesClientsThatNeedASidAndHaveNoneAsNotNotified(t *testing.T) {
	x := newExit(t, func(e *EndSession) {
		e.Clients = &Clients{List: []Client{
			{ID: "back", Name: "The Back", BackChannelLogoutURI: "https://back.example.com/", BackChannelLogoutSessionRequired: true},
			{ID: "front", Name: "The Front", FrontChannelLogoutURI: "https://front.example.com/", FrontChannelLogoutSessionRequired: true},
			{ID: "token", Name: "The Token", BackChannelLogoutURI: "https://token.example.com/", LogoutToken: LogoutTokenSid},
		}}
	})
	x.w.tells = true
	x.cookies["login"] = "alice"
	for _, client := range []string{"back", "front", "token"} {
		x.redeem(client, "alice", "")
	}
	page := readAll(t, x.answer(x.ask(nil), answerSignOut).Body)
	onReceipt(t, page, map[string][]string{"cannot be told": {"The Back", "The Front", "The Token"}})
}
