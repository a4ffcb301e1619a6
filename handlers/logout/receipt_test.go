package logout_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

func TestWhatAFrameDidIsNotKnown(t *testing.T) {
	x := handlerstest.NewExit(t, framed)
	x.SignedIn(handlerstest.ClientID, "alice")
	x.SignedIn("mail", "alice") // of which nothing is configured
	page := reply.ReadAll(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"))).Body)
	handlerstest.OnReceipt(t, x.Reads(x.Next(page)), map[string][]string{"These apps were asked to sign you out. Whether they did is not known:": {"The Shop"}, "cannot be told": {"mail"}})
}

func TestWhoIsToldByBothChannelsIsWhereTheBackChannelSays(t *testing.T) {
	for outcome, want := range map[string]registry.Outcome{"You were signed out of these": {Delivered: true}, "could not be signed out of": {Dead: true}} {
		x := handlerstest.NewExit(t, framed, func(e *logout.EndSession) { e.Clients.List[0].BackChannelLogoutURI = "https://rp.example.com/back" })
		x.W.Tells = true
		x.SignedIn(handlerstest.ClientID, "alice")
		x.E.BackChannel.Configured = true
		page := reply.ReadAll(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"))).Body)
		x.RecordOutcomes(handlerstest.ClientID, want)
		handlerstest.OnReceipt(t, x.Reads(x.Next(page)), map[string][]string{outcome: {"The Shop"}})
	}
}

// A client that registers itself chooses its name: under another's, it must not hide its own fate.
func TestClientsOfOneNameAreToldApartByTheirIDs(t *testing.T) {
	for _, name := range []string{"The Shop", "the  shop", "The\u200b Shop"} {
		x := handlerstest.NewExit(t, func(e *logout.EndSession) {
			e.FrontChannelTimeout = time.Second
			e.Clients = &clients.Clients{List: []clients.Client{
				{ID: handlerstest.ClientID, Name: "The Shop", FrontChannelLogoutURI: "https://rp.example.com/front"}, {ID: "evil", Name: name}, {ID: "wiki", Name: "The Wiki"},
			}}
		})
		for _, client := range []string{handlerstest.ClientID, "evil", "wiki"} {
			x.SignedIn(client, "alice")
		}
		page := reply.ReadAll(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"))).Body)
		handlerstest.OnReceipt(t, x.Reads(x.Next(page)), map[string][]string{"asked to sign you out": {"The Shop (shop)"}, "cannot be told": {assets.PlainName(name) + " (evil)", "The Wiki"}})
	}
}

func TestOfClientsThatTheOPTellsItselfNothingIsSaid(t *testing.T) {
	told := &clients.Clients{List: []clients.Client{
		{ID: handlerstest.ClientID, Name: "The Shop", BackChannelLogoutURI: "https://rp.example.com/back"},
		{ID: "wiki", Name: "The Wiki", FrontChannelLogoutURI: "https://wiki.example.com/"},
		{ID: "mail", Name: "The Mail"},
	}}
	for name, tt := range map[string]struct {
		metadata handlers.Metadata
		want     map[string][]string
	}{
		"neither":       {handlers.Metadata{}, map[string][]string{"not be reached yet": {"The Shop"}, "asked to sign you out": {"The Wiki"}, "cannot be told": {"The Mail"}}},
		"back channel":  {handlers.Metadata{BackChannelLogout: true}, map[string][]string{"asked to sign you out": {"The Wiki"}}},
		"front channel": {handlers.Metadata{FrontChannelLogout: true}, map[string][]string{"not be reached yet": {"The Shop"}}},
		"both":          {handlers.Metadata{BackChannelLogout: true, FrontChannelLogout: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t, func(e *logout.EndSession) { e.Clients, e.FrontChannelTimeout = told, time.Second })
			tt.metadata.JWKSURI, tt.metadata.SigningAlgorithms = handlerstest.Issuer+"/jwks", []string{"ES256"}
			x.W.OP, x.W.Tells = handlerstest.KnownOP(t, handlerstest.Issuer, tt.metadata), true
			for _, client := range []string{handlerstest.ClientID, "wiki", "mail"} {
				x.SignedIn(client, "alice")
			}
			page := reply.ReadAll(t, x.Answer(x.Ask(nil), logout.AnswerSignOut).Body)
			if !tt.metadata.FrontChannelLogout {
				page = x.Reads(x.Next(page))
			}
			handlerstest.OnReceipt(t, page, tt.want)
		})
	}
}

func TestFramesThatThePageHasNoPlaceForAreNotCounted(t *testing.T) {
	listed := new(clients.Clients)
	for i := range 17 { // 16 of 32 sids and one of one: of the last client's, one has no place
		listed.List = append(listed.List, clients.Client{ID: fmt.Sprintf("app%02d", i), FrontChannelLogoutURI: fmt.Sprintf("https://app%d.example/", i)})
	}
	x := handlerstest.NewExit(t, func(e *logout.EndSession) { e.Clients, e.FrontChannelTimeout = listed, time.Second })
	for _, client := range listed.List {
		x.SignedIn(client.ID, "alice")
		for i := 1; i < registry.MaxSubjects && client.ID != "app00"; i++ {
			x.Redeem(client.ID, "alice", fmt.Sprint(i))
		}
	}
	page := reply.ReadAll(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint("app00", "alice"))).Body)
	if got := len(addresses(page)); got != assets.MaxFrames {
		t.Fatalf("%d frames", got)
	}
	var asked []string
	for i := range 16 {
		asked = append(asked, fmt.Sprintf("app%02d", i))
	}
	handlerstest.OnReceipt(t, x.Reads(x.Next(page)), map[string][]string{"asked to sign you out": asked, "cannot be told": {"app16"}})
}
