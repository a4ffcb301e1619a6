package handlers

import (
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// framed are clients that are told by front channel: one with a query of its own, one that needs a sid.
func framed(e *EndSession) {
	e.FrontChannelTimeout = 3 * time.Second
	e.Clients = &Clients{List: []Client{
		{ID: clientID, Name: "The Shop", PostLogoutRedirectURIs: []string{bye}, FrontChannelLogoutURI: "https://rp.example.com/front?a=b&c"},
		{ID: "wiki", FrontChannelLogoutURI: "https://wiki.example.com:8443/front", FrontChannelLogoutSessionRequired: true},
	}}
}

var (
	frameAddress = regexp.MustCompile(`data-src="([^"]*)"`)
	nextAddress  = regexp.MustCompile(`data-next="([^"]*)"`)
)

// addresses are those of a page's frames.
func addresses(page string) []string {
	var all []string
	for _, found := range frameAddress.FindAllStringSubmatch(page, -1) {
		all = append(all, html.UnescapeString(found[1]))
	}
	return all
}

// Threat 13: the page of the frames is not blocked by its own policy.
func TestThreat13ClientsAreToldInFramesBeforeTheRedirect(t *testing.T) {
	x := newExit(t, framed)
	x.signedIn(clientID, "alice")
	x.signedIn("wiki", "alice")
	got := x.ask(values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye, "state", "1"))
	page := readAll(t, got.Body)
	const session = "iss=https%3A%2F%2Fop.example.com&sid=sid+of+alice"
	want := []string{"https://rp.example.com/front?a=b&c&" + session, "https://wiki.example.com:8443/front?" + session}
	if got := addresses(page); !slices.Equal(got, want) {
		t.Fatalf("the frames are %q", got)
	}
	policy := got.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "frame-src https://rp.example.com https://wiki.example.com:8443;") || !strings.Contains(policy, "default-src 'none'") ||
		!strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	if got.StatusCode != http.StatusOK || got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %v", got.Status, got.Header)
	}
	x.mustBe(false)
	next := html.UnescapeString(nextAddress.FindStringSubmatch(page)[1])
	if on := x.once(httptest.NewRequest(http.MethodGet, issuer+next, nil)); on.Header.Get("Location") != bye+"?state=1" {
		t.Errorf("it goes on to %s %q", on.Status, on.Header.Get("Location"))
	}
}

func TestTheReceiptNamesThoseToldInFrames(t *testing.T) {
	x := newExit(t, framed)
	x.signedIn(clientID, "alice")
	x.signedIn("mail", "alice") // of which nothing is configured
	page := readAll(t, x.ask(values("id_token_hint", x.hint(clientID, "alice"))).Body)
	next := html.UnescapeString(nextAddress.FindStringSubmatch(page)[1])
	receipt := readAll(t, x.once(httptest.NewRequest(http.MethodGet, issuer+next, nil)).Body)
	told, untold := strings.Index(receipt, "<li>The Shop</li>"), strings.Index(receipt, "<li>mail</li>")
	if told < 0 || untold < told || addresses(receipt) != nil {
		t.Errorf("the page is %s", receipt)
	}
}

// Threat 14: re-entrancy. A frame of an app that asks for sign-out again changes nothing, and gets no frames.
func TestThreat14ReEntrancy(t *testing.T) {
	x := newExit(t, framed)
	x.signedIn(clientID, "alice")
	r := httptest.NewRequest(http.MethodGet, issuer+endSession+"?"+values("id_token_hint", x.hint(clientID, "alice")).Encode(), nil)
	r.Header.Set("Sec-Fetch-Dest", "iframe")
	if got := x.once(r); got.StatusCode != http.StatusOK || readAll(t, got.Body) != "" {
		t.Errorf("a nested request: %s", got.Status)
	}
	x.mustBe(true)
}

func TestWhoNeedsASidIsNotToldWithoutOne(t *testing.T) {
	e := &EndSession{}
	framed(e)
	for _, client := range e.Clients.List {
		frames := e.framesOf(&OP{Issuer: issuer}, client, participationOf(client.ID, "alice", ""))
		if want := map[string][]string{clientID: {"https://rp.example.com/front?a=b&c"}}[client.ID]; !slices.Equal(frames, want) {
			t.Errorf("%s: %q", client.ID, frames)
		}
		if frames := e.framesOf(&OP{Issuer: issuer, framesClients: true}, client, participationOf(client.ID, "alice", "1")); frames != nil {
			t.Errorf("of an OP that tells its clients itself, %s gets %q", client.ID, frames)
		}
	}
}

func TestDiscoveryNamesTheFrontChannelOfOurOwnEndpointOnly(t *testing.T) {
	for name, tt := range map[string]struct {
		configure func(*EndSession)
		metadata  metadata
		want      bool
	}{
		"a client that is told so":          {framed, metadata{}, true},
		"no such client":                    {func(*EndSession) {}, metadata{}, false},
		"the option":                        {func(e *EndSession) { e.FrontChannel = true }, metadata{}, true},
		"an OP with an endpoint of its own": {framed, metadata{EndSessionEndpoint: issuer + "/out"}, false},
		"an OP that tells its clients so":   {framed, metadata{FrontChannelLogout: true}, false},
	} {
		x := newExit(t, tt.configure)
		for _, sid := range []string{"", "1"} {
			x.e.BackChannel.SawIDToken(x.w.op, clientID, tokens.IDToken{SessionID: sid})
			supported, sessions := false, false
			for _, m := range x.e.Members(knownOP(t, issuer, tt.metadata)) {
				supported = supported || m.Name == "frontchannel_logout_supported"
				sessions = sessions || m.Name == "frontchannel_logout_session_supported"
			}
			if supported != tt.want || sessions != (tt.want && sid != "") {
				t.Errorf("%s, sid %q: supported %v, sessions %v", name, sid, supported, sessions)
			}
		}
	}
}
