package handlers

import (
	"fmt"
	"html"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// onReceipt checks whom a page lists, by a part of the sentence before each list.
func onReceipt(t *testing.T, body string, want map[string][]string) {
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

func TestWhatAFrameDidIsNotKnown(t *testing.T) {
	x := newExit(t, framed)
	x.signedIn(clientID, "alice")
	x.signedIn("mail", "alice") // of which nothing is configured
	page := readAll(t, x.ask(values("id_token_hint", x.hint(clientID, "alice"))).Body)
	onReceipt(t, x.reads(x.next(page)), map[string][]string{"These apps were asked to sign you out. Whether they did is not known:": {"The Shop"}, "cannot be told": {"mail"}})
}

func TestWhoIsToldByBothChannelsIsWhereTheBackChannelSays(t *testing.T) {
	for outcome, want := range map[string]registry.Outcome{"You were signed out of these": {Delivered: true}, "could not be signed out of": {Dead: true}} {
		x := newExit(t, framed, func(e *EndSession) { e.Clients.List[0].BackChannelLogoutURI = "https://rp.example.com/back" })
		x.w.tells = true
		x.signedIn(clientID, "alice")
		x.e.BackChannel.Configured = true
		page := readAll(t, x.ask(values("id_token_hint", x.hint(clientID, "alice"))).Body)
		x.settle(clientID, want)
		onReceipt(t, x.reads(x.next(page)), map[string][]string{outcome: {"The Shop"}})
	}
}

// A client that registers itself chooses its name: under another's, it must not hide its own fate.
func TestClientsOfOneNameAreToldApartByTheirIDs(t *testing.T) {
	for _, name := range []string{"The Shop", "the  shop", "The\u200b Shop"} {
		x := newExit(t, func(e *EndSession) {
			e.FrontChannelTimeout = time.Second
			e.Clients = &Clients{List: []Client{
				{ID: clientID, Name: "The Shop", FrontChannelLogoutURI: "https://rp.example.com/front"}, {ID: "evil", Name: name}, {ID: "wiki", Name: "The Wiki"},
			}}
		})
		for _, client := range []string{clientID, "evil", "wiki"} {
			x.signedIn(client, "alice")
		}
		page := readAll(t, x.ask(values("id_token_hint", x.hint(clientID, "alice"))).Body)
		onReceipt(t, x.reads(x.next(page)), map[string][]string{"asked to sign you out": {"The Shop (shop)"}, "cannot be told": {assets.PlainName(name) + " (evil)", "The Wiki"}})
	}
}

func TestOfClientsThatTheOPTellsItselfNothingIsSaid(t *testing.T) {
	told := &Clients{List: []Client{
		{ID: clientID, Name: "The Shop", BackChannelLogoutURI: "https://rp.example.com/back"},
		{ID: "wiki", Name: "The Wiki", FrontChannelLogoutURI: "https://wiki.example.com/"},
		{ID: "mail", Name: "The Mail"},
	}}
	for name, tt := range map[string]struct {
		metadata metadata
		want     map[string][]string
	}{
		"neither":       {metadata{}, map[string][]string{"not be reached yet": {"The Shop"}, "asked to sign you out": {"The Wiki"}, "cannot be told": {"The Mail"}}},
		"back channel":  {metadata{BackChannelLogout: true}, map[string][]string{"asked to sign you out": {"The Wiki"}}},
		"front channel": {metadata{FrontChannelLogout: true}, map[string][]string{"not be reached yet": {"The Shop"}}},
		"both":          {metadata{BackChannelLogout: true, FrontChannelLogout: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t, func(e *EndSession) { e.Clients, e.FrontChannelTimeout = told, time.Second })
			tt.metadata.JWKSURI, tt.metadata.SigningAlgorithms = issuer+"/jwks", []string{"ES256"}
			x.w.op, x.w.tells = knownOP(t, issuer, tt.metadata), true
			for _, client := range []string{clientID, "wiki", "mail"} {
				x.signedIn(client, "alice")
			}
			page := readAll(t, x.answer(x.ask(nil), answerSignOut).Body)
			if !tt.metadata.FrontChannelLogout {
				page = x.reads(x.next(page))
			}
			onReceipt(t, page, tt.want)
		})
	}
}

func TestFramesThatThePageHasNoPlaceForAreNotCounted(t *testing.T) {
	listed := new(Clients)
	for i := range 17 { // 16 of 32 sids and one of one: of the last client's, one has no place
		listed.List = append(listed.List, Client{ID: fmt.Sprintf("app%02d", i), FrontChannelLogoutURI: fmt.Sprintf("https://app%d.example/", i)})
	}
	x := newExit(t, func(e *EndSession) { e.Clients, e.FrontChannelTimeout = listed, time.Second })
	for _, client := range listed.List {
		x.signedIn(client.ID, "alice")
		for i := 1; i < registry.MaxSubjects && client.ID != "app00"; i++ {
			x.redeem(client.ID, "alice", fmt.Sprint(i))
		}
	}
	page := readAll(t, x.ask(values("id_token_hint", x.hint("app00", "alice"))).Body)
	if got := len(addresses(page)); got != assets.MaxFrames {
		t.Fatalf("%d frames", got)
	}
	var asked []string
	for i := range 16 {
		asked = append(asked, fmt.Sprintf("app%02d", i))
	}
	onReceipt(t, x.reads(x.next(page)), map[string][]string{"asked to sign you out": asked, "cannot be told": {"app16"}})
}

// redeem gives a client another ID token for the session.
func (x *exit) redeem(client, user, sid string) {
	x.t.Helper()
	code := client + user + sid
	x.get(strings.Replace(authorize("s"), "client_id="+clientID, "client_id="+client, 1), redirect(callback+"?code="+code+"&state=s"))
	x.redeemed(code, client, user, sid)
}

func TestAnAddressIsLoadedOnce(t *testing.T) {
	r := new(receipt)
	for _, id := range []string{"a", "b", "a"} { // "a" takes part in two sessions, and its ID tokens have no sid
		r.addFrames(r.client(id, ""), []string{"https://" + id + ".example/"})
	}
	if len(r.frames) != 2 || len(r.clients) != 2 || r.clients[0].frames == 0 || r.clients[0].cut {
		t.Errorf("the frames are %q of %+v", r.frames, r.clients)
	}
}
