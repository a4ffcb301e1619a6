package handlers

import (
	"errors"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

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
		frames := e.framesOf(&OP{Issuer: issuer}, client, clientOf(client.ID, "alice", ""))
		if want := map[string][]string{clientID: {"https://rp.example.com/front?a=b&c"}}[client.ID]; !slices.Equal(frames, want) {
			t.Errorf("%s: %q", client.ID, frames)
		}
		if frames := e.framesOf(&OP{Issuer: issuer, framesClients: true}, client, clientOf(client.ID, "alice", "1")); frames != nil {
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
		for _, sid := range []string{"1", ""} { // the latter counts for a month
			x.e.BackChannel.SawIDToken(t.Context(), x.w.op, clientID, tokens.IDToken{SessionID: sid})
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

// next is where the page of the frames goes on.
func (x *exit) next(page string) *http.Request {
	x.t.Helper()
	found := nextAddress.FindStringSubmatch(page)
	if found == nil {
		x.t.Fatalf("there are no frames on %s", page)
	}
	return httptest.NewRequest(http.MethodGet, issuer+html.UnescapeString(found[1]), nil)
}

// reads sends a request and returns the page that the user reads.
func (x *exit) reads(r *http.Request) string {
	x.t.Helper()
	return readAll(x.t, x.once(r).Body)
}

func TestAClientWhoseFrameNoPolicyCanAllowIsRefused(t *testing.T) {
	for uri, good := range map[string]bool{
		"https://rp.example.com/front?a=b": true, "https://rp.example.com:8443/": true, "http://localhost:3000/": true, "http://127.0.0.1:3000/": true, "": true,
		"https://evil_app.example/x": false, "https://[2001:db8::1]/x": false, "http://[::1]:3000/": false, "https://a;b.example/x": false, "https://a.example:99999/x": false,
	} {
		err := (Client{ID: "a", FrontChannelLogoutURI: uri}).Validate()
		if good != (err == nil) || err != nil && (!errors.Is(err, ErrClient) || !strings.Contains(err.Error(), "no underscore")) {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

// Clients may be known by other ways than Validate: of an earlier version, of another server.
func TestAClientThatCannotBeFramedDoesNotTakeThePageFromTheOthers(t *testing.T) {
	for _, uri := range []string{"https://evil_app.example.com/x", "https://[2001:db8::1]/x", "https://a;b.example/x", "https://a.example:99999/x"} {
		x := newExit(t, framed)
		x.e.Clients.configured.clients["evil"] = Client{ID: "evil", FrontChannelLogoutURI: uri}
		for _, client := range []string{clientID, "wiki", "evil"} {
			x.signedIn(client, "alice")
		}
		page := readAll(t, x.ask(values("id_token_hint", x.hint(clientID, "alice"))).Body)
		if got := len(addresses(page)); got != 2 {
			t.Fatalf("%s: %d frames", uri, got)
		}
		onReceipt(t, x.reads(x.next(page)), map[string][]string{"asked to sign you out": {"The Shop", "wiki"}, "cannot be told": {"evil"}})
	}
}

func TestIfThePageOfTheFramesFailsNobodyIsSaidToHaveBeenAsked(t *testing.T) {
	for name, page := range map[string]func(e *EndSession){
		"no time to wait for frames":      func(e *EndSession) { e.FrontChannelTimeout = 0 },
		"a template that fails on a page": func(e *EndSession) { e.Templates = brokenFrames(t) },
	} {
		x := newExit(t, framed, page)
		x.signedIn(clientID, "alice")
		onReceipt(t, readAll(t, x.answer(x.ask(nil), answerSignOut).Body), map[string][]string{"cannot be told": {"The Shop"}})
		if x.w.logs.FilterMessageSnippet("clients cannot be told by front channel").Len() != 1 {
			t.Errorf("%s: it is not logged", name)
		}
	}
}

// brokenFrames is a directory with a template that takes the samples, and fails on the frames of the test.
func brokenFrames(t *testing.T) string {
	dir := t.TempDir()
	broken := `{{range .Frames}}{{if ne . "https://rp.example.com/"}}{{index $.Frames 99}}{{end}}{{end}}`
	if err := os.WriteFile(filepath.Join(dir, "front_channel.html"), []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestIfTheOPFailsTheFramesComeFirstAndOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		configure func(e *EndSession)
		fail      func(x *exit)
	}{
		"its answer is an error":       {func(*EndSession) {}, func(x *exit) { x.status = http.StatusInternalServerError }},
		"its cookie cannot be cleared": {func(e *EndSession) { e.Upstream = nil }, func(*exit) {}},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t, framed, tt.configure)
			x.signedIn(clientID, "alice")
			tt.fail(x)
			got := x.once(httptest.NewRequest(http.MethodGet, issuer+endSession+"?"+values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye).Encode(), nil))
			x.cookies["login"] = "alice" // as it was
			if location := got.Header.Get("Location"); location != "" {
				got = x.once(httptest.NewRequest(http.MethodGet, issuer+location, nil))
			}
			page := readAll(t, got.Body)
			if got.StatusCode != http.StatusOK || len(addresses(page)) != 1 {
				t.Fatalf("got %s with the frames %q", got.Status, addresses(page))
			}
			if strings.Contains(page, "no longer signed in") || !strings.Contains(page, "This takes a moment.") {
				t.Errorf("it says of the OP what is not known: %s", page)
			}
			next, body := x.next(page), ""
			for range 2 { // reloaded, too
				failed := x.once(next.Clone(t.Context()))
				body = readAll(t, failed.Body)
				if failed.StatusCode != http.StatusBadGateway || !strings.Contains(body, "You may still be signed in") || addresses(body) != nil {
					t.Fatalf("after the frames: %s %s", failed.Status, body)
				}
				onReceipt(t, body, map[string][]string{"asked to sign you out": {"The Shop"}})
			}
			if lines := x.w.logs.FilterMessage("end_session").FilterField(zap.String("outcome", "failed")).Len(); lines != 1 {
				t.Errorf("it is logged %d times", lines)
			}
			x.status = http.StatusFound
			again := x.postForm(endSession+confirmSuffix, issuer, values("confirmation", html.UnescapeString(hidden.FindStringSubmatch(body)[1]), "answer", answerSignOut))
			if got := outcome(t, again); got != "to "+bye {
				t.Errorf("the second try: %s", got)
			}
			x.mustBe(false)
		})
	}
}
