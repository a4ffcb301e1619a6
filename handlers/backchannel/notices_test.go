package backchannel_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// tellable are clients that are told by back channel, and one that is not.
func tellable(e *logout.EndSession) {
	e.Clients = &clients.Clients{List: []clients.Client{
		{ID: handlerstest.ClientID, Name: "The Shop", PostLogoutRedirectURIs: []string{handlerstest.Bye}, BackChannelLogoutURI: "https://rp.example.com/back"},
		{ID: "wiki", Name: "The Wiki", BackChannelLogoutURI: "https://wiki.example.com/back", BackChannelLogoutSessionRequired: true},
		{ID: "mail", Name: "The Mail"},
	}}
}

// signedOut is an exit at whose clients alice was signed in, and the notices of that.
func signedOut(t *testing.T) *handlerstest.Exit {
	x := handlerstest.NewExit(t, tellable)
	x.W.Tells = true
	for _, client := range []string{handlerstest.ClientID, "wiki", "mail"} {
		x.SignedIn(client, "alice")
	}
	if got := x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye)); got.Header.Get("Location") != handlerstest.Bye {
		t.Fatalf("got %s", got.Status)
	}
	x.W.Clock.Advance(logout.ReturnGrace)
	return x
}

// An app that is an OP itself needs its session until its user is back: it would end on an error
// page without.
func TestTheClientThatAskedIsNotifiedAfterItsRedirectHasGone(t *testing.T) {
	for name, tt := range map[string]struct {
		redirect bool
		after    time.Duration // the sign-out
	}{"sent back": {true, logout.ReturnGrace}, "staying here": {false, 0}} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t, tellable)
			x.W.Tells = true
			x.SignedIn(handlerstest.ClientID, "alice")
			x.SignedIn("wiki", "alice")
			parameters := handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"))
			if tt.redirect {
				parameters.Set("post_logout_redirect_uri", handlerstest.Bye)
			}
			x.Ask(parameters)
			if tt.after > 0 {
				x.W.Clock.Advance(tt.after - time.Millisecond)
				if got := x.DueClients(); got != "wiki" {
					t.Errorf("too early: %s", got)
				}
				x.W.Clock.Advance(time.Millisecond)
			}
			if got := x.DueClients(); got != handlerstest.ClientID+" wiki" {
				t.Errorf("in time: %s", got)
			}
		})
	}
}

func TestTheClientThatAskedIsNotifiedThoughItsUserNeverComesBack(t *testing.T) {
	x := handlerstest.NewExit(t, func(e *logout.EndSession) {
		tellable(e)
		e.FrontChannelTimeout = 3 * time.Second
		e.Clients.List[1].FrontChannelLogoutURI = "https://wiki.example.com/front"
	})
	x.W.Tells = true
	x.SignedIn(handlerstest.ClientID, "alice")
	x.SignedIn("wiki", "alice")
	page := x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye))
	if page.StatusCode != http.StatusOK || page.Header.Get("Location") != "" {
		t.Fatalf("no page with frames: %s", page.Status)
	}
	x.W.Clock.Advance(logout.AskedWait - 2*time.Second)
	if got := x.DueClients(); got != "wiki" {
		t.Errorf("while the page may be shown: %s", got)
	}
	x.W.Clock.Advance(3 * time.Second)
	if got := x.DueClients(); got != handlerstest.ClientID+" wiki" {
		t.Errorf("afterwards: %s", got)
	}
}

// The redirect of the client that asked does not wait for its own notification, which waits for
// the redirect.
func TestARedirectDoesNotWaitForTheClientThatAsked(t *testing.T) {
	x := handlerstest.NewExit(t, tellable)
	x.W.Tells = true
	x.SignedIn(handlerstest.ClientID, "alice")
	x.E.BackChannel.RedirectWait = time.Hour
	if got := x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye)); got.Header.Get("Location") != handlerstest.Bye {
		t.Errorf("got %s", got.Status)
	}
}

// While the OP's part fails, nobody is sent anywhere.
func TestTheClientThatAskedIsNotifiedAtOnceWhereTheOPFails(t *testing.T) {
	x := handlerstest.NewExit(t, tellable)
	x.W.Tells = true
	x.SignedIn(handlerstest.ClientID, "alice")
	x.Status = http.StatusInternalServerError
	if got := x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye)); got.StatusCode != http.StatusBadGateway {
		t.Fatalf("got %s", got.Status)
	}
	if got := x.DueClients(); got != handlerstest.ClientID {
		t.Errorf("due are %q", got)
	}
}

// A store under load: a sign-out takes its time, in which nobody's sign-in waits. One that is
// over in time has its clients notified.
func TestASignOutIsRecordedThoughTheStoreIsSlow(t *testing.T) {
	handlerstest.Limited(t)
	synctest.Test(t, func(t *testing.T) {
		x := handlerstest.NewExit(t, tellable)
		x.W.Tells = true
		x.SignedIn(handlerstest.ClientID, "alice")
		x.W.Store.Do(func(ctx context.Context, call string, _ ...registry.Key) error {
			if call == "edit" {
				time.Sleep(2 * registry.Limit)
			}
			return ctx.Err()
		})
		x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice")))
		if got, owed := x.DueClients(), x.OpenS().Owed.IDs(); got != handlerstest.ClientID || len(owed) != 0 {
			t.Errorf("due are %q, %d ends are owed", got, len(owed))
		}
	})
}

func TestClientsThatCannotBeToldAreDroppedFromWhatIsOwed(t *testing.T) {
	x := signedOut(t)
	if x.W.Woken.Load() == 0 {
		t.Error("new notices were not looked for")
	}
	for range 2 {
		due := x.Due()
		if len(due) != 2 {
			t.Fatalf("due are %+v", due)
		}
		for _, n := range due {
			if n.ClientID == "mail" || n.Sub != "alice" || n.Sid != "sid of alice" || n.Reason != registry.ReasonLogout || n.Issuer != handlerstest.Issuer {
				t.Errorf("due is %+v", n)
			}
			if n.Sender == nil || !strings.HasPrefix(n.URI, "https://") || n.RetryFor != backchannel.DefaultRetryFor {
				t.Errorf("it goes to %+v", n.Target)
			}
		}
	}
	if owed := x.Pending(); len(owed) != 2 {
		t.Errorf("owed are %+v", owed)
	}
	if route := x.W.NoticesOf(x.E.BackChannel).Route(t.Context(), registry.PendingNotice{Issuer: handlerstest.Issuer, ClientID: "wiki", Sub: "alice"}); route.Drop == "" {
		t.Errorf("a client that needs a sid is told without one: %+v", route)
	}
}

func TestTheLogSaysOnceThatNoKeyFitsAClientsIDTokens(t *testing.T) {
	x := handlerstest.NewExit(t, tellable)
	b := x.E.BackChannel
	sees := func(client, algorithm string) {
		b.ObserveIDToken(t.Context(), x.W.OP, client, tokens.IDToken{Subject: "alice", Algorithm: algorithm, KeyID: "1"})
	}
	for range 2 {
		sees(handlerstest.ClientID, "ES256")
		sees(handlerstest.ClientID, "HS256")
		sees("unknown", "HS256")
	}
	warnings := x.W.Logs.FilterMessageSnippet("no signing key fits").All()
	if len(warnings) != 1 || warnings[0].ContextMap()["client_id"] != handlerstest.ClientID || warnings[0].ContextMap()["algorithm"] != "HS256" {
		t.Errorf("warned: %v", warnings)
	}
}

func TestTheReceiptSaysWhatBecameOfEachNotice(t *testing.T) {
	x := handlerstest.NewExit(t, tellable)
	x.W.Tells = true
	for _, client := range []string{handlerstest.ClientID, "wiki", "mail"} {
		x.SignedIn(client, "alice")
	}
	settled := make(chan struct{})
	close(settled)
	x.E.BackChannel.Recorded = func() <-chan struct{} {
		x.RecordOutcomes(handlerstest.ClientID, registry.Outcome{Delivered: true})
		x.RecordOutcomes("wiki", registry.Outcome{Dead: true})
		return settled
	}
	x.E.BackChannel.RedirectWait = time.Minute
	page := reply.ReadAll(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"))).Body)
	for text, name := range map[string]string{"You were signed out of these": "The Shop", "could not be signed out of": "The Wiki", "cannot be told": "The Mail"} {
		_, group, found := strings.Cut(page, text)
		if first, _, _ := strings.Cut(group, "</ul>"); !found || !strings.Contains(first, "<li>"+name+"</li>") || strings.Count(first, "<li>") != 1 {
			t.Errorf("%s: %s", text, page)
		}
	}
}

func TestWhoCannotBeReachedYetIsStillTried(t *testing.T) {
	x := handlerstest.NewExit(t, tellable)
	x.W.Tells = true
	x.SignedIn(handlerstest.ClientID, "alice")
	// after redirect_wait
	page := reply.ReadAll(t, x.Answer(x.Ask(nil), logout.AnswerSignOut).Body)
	if _, group, found := strings.Cut(page, "could not be reached yet"); !found || !strings.Contains(group, "The Shop") {
		t.Errorf("the page is %s", page)
	}
}

func TestAClientWithoutAnIDTokenIsNamedInTheLog(t *testing.T) {
	x := handlerstest.NewExit(t, tellable)
	x.W.Tells = true
	x.SignedIn(handlerstest.ClientID, "alice")
	x.Get(strings.Replace(handlerstest.Authorize("s"), "client_id="+handlerstest.ClientID, "client_id=quiet", 1), reply.Redirect(handlerstest.Callback+"?code=c&state=s"))
	x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice")))
	logged := x.W.Logs.FilterMessageSnippet("clients cannot be notified by back channel").All()
	if len(logged) != 1 || fmt.Sprint(logged[0].ContextMap()["client_ids"]) != "[quiet]" {
		t.Errorf("logged %+v", logged)
	}
}

func TestAnOPThatTellsItsClientsIsNotDoubled(t *testing.T) {
	x := signedOut(t)
	for name, tt := range map[string]struct {
		metadata handlers.Metadata
		want     bool
	}{
		"an OP without back channel":    {handlers.Metadata{JWKSURI: handlerstest.Issuer + "/jwks"}, true},
		"an OP with one":                {handlers.Metadata{JWKSURI: handlerstest.Issuer + "/jwks", BackChannelLogout: true}, false},
		"an OP with its keys elsewhere": {handlers.Metadata{JWKSURI: "https://keys.example.com/"}, false},
	} {
		op := handlerstest.KnownOP(t, handlerstest.Issuer, tt.metadata)
		if got := x.E.BackChannel.Notifies(op); got != tt.want || (len(x.E.BackChannel.Members(op)) > 0) != tt.want {
			t.Errorf("%s: told: %v", name, got)
		}
	}
	x.E.BackChannel.Observe(handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{JWKSURI: handlerstest.Issuer + "/jwks", BackChannelLogout: true}))
	if due := x.Due(); len(due) != 0 {
		t.Errorf("due are %+v", due)
	}
}

func TestSigningOutGoesOnWhileTheRegistryIsAway(t *testing.T) {
	x := handlerstest.NewExit(t, tellable)
	x.W.Tells = true
	x.SignedIn(handlerstest.ClientID, "alice")
	defer x.W.Down()()
	x.E.BackChannel.RedirectWait = time.Minute
	asked := x.Answer(x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"))), logout.AnswerSignOut)
	if asked.StatusCode != http.StatusOK {
		t.Errorf("got %s", asked.Status)
	}
}

// CVE-2026-4874: the address comes from the configuration, and not from any request.
func TestThreatAddressesComeFromTheConfigurationOnly(t *testing.T) {
	x := handlerstest.NewExit(t, tellable)
	x.W.Tells = true
	x.SignedIn(handlerstest.ClientID, "alice")
	x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "backchannel_logout_uri", "https://evil.example/", "client_session_host", "evil.example"))
	if due := x.Due(); len(due) != 1 || due[0].URI != "https://rp.example.com/back" {
		t.Errorf("due are %+v", due)
	}
}

func TestWhoIsAtAnAddressThatIsNotPublicIsSaid(t *testing.T) {
	w := handlerstest.NewWorld(t)
	for uri, want := range map[string]int{
		"http://127.0.0.1:3000/": 1, "https://192.168.1.20/": 1, "http://app.localhost/": 1, "https://[fd00::1]/": 1,
		"https://rp.example.com/": 0, "https://93.184.216.34/": 0, "": 0,
	} {
		before := w.Logs.FilterMessageSnippet("allow_private").Len()
		w.BackChannel(&clients.Clients{List: []clients.Client{{ID: "a", BackChannelLogoutURI: uri}}})
		if got := w.Logs.FilterMessageSnippet("allow_private").Len() - before; got != want {
			t.Errorf("%q: %d warnings", uri, got)
		}
	}
}

func TestAUserWhoHasSignedInAgainIsNotSignedOutByAnOlderNotice(t *testing.T) {
	x := handlerstest.NewExit(t, tellable)
	x.W.Tells = true
	x.SignedIn(handlerstest.ClientID, "alice")
	x.Pass(handlerstest.Lifetime)
	if due := x.Due(); len(due) != 1 || due[0].Reason != registry.ReasonExpiry {
		t.Fatalf("due are %+v", due)
	}
	x.SignedIn(handlerstest.ClientID, "alice") // before the client could be reached; the OP's own session has gone on
	x.W.Clock.Advance(registry.Lease)
	if due := x.Due(); len(due) != 0 {
		t.Errorf("due are %+v", due)
	}
	x.Pass(handlerstest.Lifetime)
	if due := x.Due(); len(due) != 1 {
		t.Errorf("due in the end are %+v", due)
	}
}

// Without its sid, the token of a session that expired would end all that the user has at the
// client.
func TestALogoutTokenThatNamesTheUserAloneWaitsForTheUsersOtherSessions(t *testing.T) {
	for _, option := range []string{clients.LogoutTokenBoth, clients.LogoutTokenSub} {
		x := handlerstest.NewExit(t, tellable, func(e *logout.EndSession) { e.Clients.List[0].LogoutToken = option })
		x.W.Tells = true
		other := sessionstate.NewBrowserID()
		for browser, lasts := range map[sessionstate.BrowserID]time.Duration{sessionstate.NewBrowserID(): time.Minute, other: handlerstest.Lifetime} {
			_, err := x.W.Env.Registry.Join(t.Context(), registry.Join{
				Issuer: handlerstest.Issuer, Browser: browser, ClientID: handlerstest.ClientID, Sub: "alice", Sid: lasts.String(), Lifetime: lasts, Notify: true,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		x.Pass(time.Minute)
		if n := len(x.Due()); (n == 1) != (option == clients.LogoutTokenBoth) {
			t.Errorf("%s: %d are due while the user is signed in in another browser", option, n)
		}
		x.W.End(t, other, registry.ReasonLogout)
		x.W.Clock.Advance(time.Hour)
		if n := len(x.Due()); n != 2 {
			t.Errorf("%s: %d are due in the end", option, n)
		}
	}
}

// A document of the OP may lack its jwks_uri for a moment: nothing that is owed is lost by that.
func TestNoticesWaitWhileTokensCannotBeVerified(t *testing.T) {
	x := signedOut(t)
	x.E.BackChannel.Observe(handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{}))
	if due := x.Due(); len(due) != 0 {
		t.Errorf("%+v are due while nobody could verify a token", due)
	}
	x.E.BackChannel.Observe(handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{JWKSURI: handlerstest.Issuer + "/jwks"}))
	if due := x.Due(); len(due) != 2 {
		t.Errorf("%+v are due afterwards", due)
	}
}

// Without the issuer of its ID tokens, nothing could be signed for a client that it would take.
func TestNoTokenIsSignedInTheNameOfAPattern(t *testing.T) {
	keys, _, err := tokens.GenerateSigningKeys()
	if err != nil {
		t.Fatal(err)
	}
	c := handlerstest.NewCrowd(t, handlerstest.Slugs)
	b := c.W.BackChannel(&clients.Clients{List: []clients.Client{{ID: "shop", BackChannelLogoutURI: "https://rp.example.com/back"}}})
	b.Configured, b.Keys = true, func(context.Context) (*tokens.SigningKeys, error) { return keys, nil }
	if err := b.Clients.Setup(c.W.Env); err != nil {
		t.Fatal(err)
	}
	b.Observe(c.Find("/application/o/shop" + handlers.WellKnown))
	if _, err := c.W.NoticesOf(b).Token(t.Context(), registry.PendingNotice{Issuer: handlerstest.Slugs, ClientID: "shop", Sub: "alice"}); !errors.Is(err, notify.ErrCannotSign) {
		t.Errorf("got %v", err)
	}
}
