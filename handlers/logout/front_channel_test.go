package logout_test

import (
	"errors"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// framed are clients that are told by front channel: one with a query of its own, one that needs a
// sid.
func framed(e *logout.EndSession) {
	e.FrontChannelTimeout = 3 * time.Second
	e.Clients = &clients.Clients{List: []clients.Client{
		{ID: handlerstest.ClientID, Name: "The Shop", PostLogoutRedirectURIs: []string{handlerstest.Bye}, FrontChannelLogoutURI: "https://rp.example.com/front?a=b&c"},
		{ID: "wiki", FrontChannelLogoutURI: "https://wiki.example.com:8443/front", FrontChannelLogoutSessionRequired: true},
	}}
}

// addresses are those of a page's frames.
func addresses(page string) []string {
	var all []string
	for _, found := range handlerstest.FrameAddress.FindAllStringSubmatch(page, -1) {
		all = append(all, html.UnescapeString(found[1]))
	}
	return all
}

// Threat 13: the page of the frames is not blocked by its own policy.
func TestThreat13ClientsAreToldInFramesBeforeTheRedirect(t *testing.T) {
	x := handlerstest.NewExit(t, framed)
	x.SignedIn(handlerstest.ClientID, "alice")
	x.SignedIn("wiki", "alice")
	got := x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye, "state", "1"))
	page := reply.ReadAll(t, got.Body)
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
	x.MustBe(false)
	next := html.UnescapeString(handlerstest.NextAddress.FindStringSubmatch(page)[1])
	if on := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+next, nil)); on.Header.Get("Location") != handlerstest.Bye+"?state=1" {
		t.Errorf("it goes on to %s %q", on.Status, on.Header.Get("Location"))
	}
}

// Threat 14: re-entrancy. A frame of an app that asks for sign-out again changes nothing, and gets
// no frames.
func TestThreat14ReEntrancy(t *testing.T) {
	x := handlerstest.NewExit(t, framed)
	x.SignedIn(handlerstest.ClientID, "alice")
	r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?"+handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice")).Encode(), nil)
	r.Header.Set("Sec-Fetch-Dest", "iframe")
	if got := x.Once(r); got.StatusCode != http.StatusOK || reply.ReadAll(t, got.Body) != "" {
		t.Errorf("a nested request: %s", got.Status)
	}
	x.MustBe(true)
}

func TestWhoNeedsASidIsNotToldWithoutOne(t *testing.T) {
	e := &logout.EndSession{}
	framed(e)
	for _, client := range e.Clients.List {
		frames := e.FramesOf(&handlers.OP{Issuer: handlerstest.Issuer}, client, handlerstest.ClientOf(client.ID, "alice", ""))
		if want := map[string][]string{handlerstest.ClientID: {"https://rp.example.com/front?a=b&c"}}[client.ID]; !slices.Equal(frames, want) {
			t.Errorf("%s: %q", client.ID, frames)
		}
		if frames := e.FramesOf(&handlers.OP{Issuer: handlerstest.Issuer, Metadata: handlers.Metadata{FrontChannelLogout: true}}, client, handlerstest.ClientOf(client.ID, "alice", "1")); frames != nil {
			t.Errorf("of an OP that tells its clients itself, %s gets %q", client.ID, frames)
		}
	}
}

func TestDiscoveryNamesTheFrontChannelOfOurOwnEndpointOnly(t *testing.T) {
	for name, tt := range map[string]struct {
		configure func(*logout.EndSession)
		metadata  handlers.Metadata
		want      bool
	}{
		"a client that is told so":          {framed, handlers.Metadata{}, true},
		"no such client":                    {func(*logout.EndSession) {}, handlers.Metadata{}, false},
		"the option":                        {func(e *logout.EndSession) { e.FrontChannel = true }, handlers.Metadata{}, true},
		"an OP with an endpoint of its own": {framed, handlers.Metadata{EndSessionEndpoint: handlerstest.Issuer + "/out"}, false},
		"an OP that tells its clients so":   {framed, handlers.Metadata{FrontChannelLogout: true}, false},
	} {
		x := handlerstest.NewExit(t, tt.configure)
		for _, sid := range []string{"1", ""} { // the latter counts for a month
			x.E.BackChannel.ObserveIDToken(t.Context(), x.W.OP, handlerstest.ClientID, tokens.IDToken{SessionID: sid})
			supported, sessions := false, false
			for _, m := range x.E.Members(handlerstest.KnownOP(t, handlerstest.Issuer, tt.metadata)) {
				supported = supported || m.Name == "frontchannel_logout_supported"
				sessions = sessions || m.Name == "frontchannel_logout_session_supported"
			}
			if supported != tt.want || sessions != (tt.want && sid != "") {
				t.Errorf("%s, sid %q: supported %v, sessions %v", name, sid, supported, sessions)
			}
		}
	}
}

func TestAClientWhoseFrameNoPolicyCanAllowIsRefused(t *testing.T) {
	for uri, good := range map[string]bool{
		"https://rp.example.com/front?a=b": true, "https://rp.example.com:8443/": true, "http://localhost:3000/": true, "http://127.0.0.1:3000/": true, "": true,
		"https://evil_app.example/x": false, "https://[2001:db8::1]/x": false, "http://[::1]:3000/": false, "https://a;b.example/x": false, "https://a.example:99999/x": false,
	} {
		err := (clients.Client{ID: "a", FrontChannelLogoutURI: uri}).Validate()
		if good != (err == nil) || err != nil && (!errors.Is(err, clients.ErrClient) || !strings.Contains(err.Error(), "no underscore")) {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

// Clients may be known by other ways than Validate: of an earlier version, of another server.
func TestAClientThatCannotBeFramedDoesNotTakeThePageFromTheOthers(t *testing.T) {
	for _, uri := range []string{"https://evil_app.example.com/x", "https://[2001:db8::1]/x", "https://a;b.example/x", "https://a.example:99999/x"} {
		x := handlerstest.NewExit(t, framed)
		x.E.Clients.Configured.Clients["evil"] = clients.Client{ID: "evil", FrontChannelLogoutURI: uri}
		for _, client := range []string{handlerstest.ClientID, "wiki", "evil"} {
			x.SignedIn(client, "alice")
		}
		page := reply.ReadAll(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"))).Body)
		if got := len(addresses(page)); got != 2 {
			t.Fatalf("%s: %d frames", uri, got)
		}
		handlerstest.OnReceipt(t, x.Reads(x.Next(page)), map[string][]string{"asked to sign you out": {"The Shop", "wiki"}, "cannot be told": {"evil"}})
	}
}

func TestIfThePageOfTheFramesFailsNobodyIsSaidToHaveBeenAsked(t *testing.T) {
	for name, page := range map[string]func(e *logout.EndSession){
		"no time to wait for frames":      func(e *logout.EndSession) { e.FrontChannelTimeout = 0 },
		"a template that fails on a page": func(e *logout.EndSession) { e.Templates = brokenFrames(t) },
	} {
		x := handlerstest.NewExit(t, framed, page)
		x.SignedIn(handlerstest.ClientID, "alice")
		handlerstest.OnReceipt(t, reply.ReadAll(t, x.Answer(x.Ask(nil), logout.AnswerSignOut).Body), map[string][]string{"cannot be told": {"The Shop"}})
		if x.W.Logs.FilterMessageSnippet("clients cannot be told by front channel").Len() != 1 {
			t.Errorf("%s: it is not logged", name)
		}
	}
}

// brokenFrames is a directory with a template that takes the samples, and fails on the frames of
// the test.
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
		configure func(e *logout.EndSession)
		fail      func(x *handlerstest.Exit)
	}{
		"its answer is an error":       {func(*logout.EndSession) {}, func(x *handlerstest.Exit) { x.Status = http.StatusInternalServerError }},
		"its cookie cannot be cleared": {func(e *logout.EndSession) { e.Upstream = nil }, func(*handlerstest.Exit) {}},
	} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t, framed, tt.configure)
			x.SignedIn(handlerstest.ClientID, "alice")
			tt.fail(x)
			got := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?"+handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye).Encode(), nil))
			x.Cookies["login"] = "alice" // as it was
			if location := got.Header.Get("Location"); location != "" {
				got = x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+location, nil))
			}
			page := reply.ReadAll(t, got.Body)
			if got.StatusCode != http.StatusOK || len(addresses(page)) != 1 {
				t.Fatalf("got %s with the frames %q", got.Status, addresses(page))
			}
			if strings.Contains(page, "no longer signed in") || !strings.Contains(page, "This takes a moment.") {
				t.Errorf("it says of the OP what is not known: %s", page)
			}
			next, body := x.Next(page), ""
			for range 2 { // reloaded, too
				failed := x.Once(next.Clone(t.Context()))
				body = reply.ReadAll(t, failed.Body)
				if failed.StatusCode != http.StatusBadGateway || !strings.Contains(body, "You may still be signed in") || addresses(body) != nil {
					t.Fatalf("after the frames: %s %s", failed.Status, body)
				}
				handlerstest.OnReceipt(t, body, map[string][]string{"asked to sign you out": {"The Shop"}})
			}
			if lines := x.W.Logs.FilterMessage("end_session").FilterField(zap.String("outcome", "failed")).Len(); lines != 1 {
				t.Errorf("it is logged %d times", lines)
			}
			x.Status = http.StatusFound
			again := x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, handlerstest.Values("confirmation", html.UnescapeString(handlerstest.Hidden.FindStringSubmatch(body)[1]), "answer", logout.AnswerSignOut))
			if got := handlerstest.Outcome(t, again); got != "to "+handlerstest.Bye {
				t.Errorf("the second try: %s", got)
			}
			x.MustBe(false)
		})
	}
}

func TestFramesHaveTheIssuerOfTheClientsOwnIDTokens(t *testing.T) {
	e := &logout.EndSession{}
	op, err := handlers.NewOP(handlerstest.Slugs)
	if err != nil {
		t.Fatal(err)
	}
	p := handlerstest.ClientOf("shop", "alice", "1")
	p.IDToken.Issuer = handlerstest.Issuer + "/application/o/shop/"
	frames := e.FramesOf(op, clients.Client{ID: "shop", FrontChannelLogoutURI: "https://rp.example.com/out"}, p)
	if want := "https://rp.example.com/out?iss=https%3A%2F%2Fop.example.com%2Fapplication%2Fo%2Fshop%2F&sid=1"; len(frames) != 1 || frames[0] != want {
		t.Errorf("got %v", frames)
	}
}
