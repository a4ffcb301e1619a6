package handlers

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// clientOf is a session's client with one subject.
func clientOf(client, sub, sid string) *registry.Client {
	return &registry.Client{ID: client, Subjects: []*registry.Subject{{Sub: sub, Sid: sid}}}
}

// tellable are clients that are told by back channel, and one that is not.
func tellable(e *EndSession) {
	e.Clients = &Clients{List: []Client{
		{ID: clientID, Name: "The Shop", PostLogoutRedirectURIs: []string{bye}, BackChannelLogoutURI: "https://rp.example.com/back"},
		{ID: "wiki", Name: "The Wiki", BackChannelLogoutURI: "https://wiki.example.com/back", BackChannelLogoutSessionRequired: true},
		{ID: "mail", Name: "The Mail"},
	}}
}

// owed lists all that is owed.
func (x *exit) owed() (all []registry.Owed) {
	x.t.Helper()
	sessions, _, err := x.w.env.Registry.Owing(x.t.Context(), "", 1000)
	if err != nil {
		x.t.Fatal(err)
	}
	for _, session := range sessions {
		all = append(all, session.Owed()...)
	}
	return all
}

// settle records what became of the notice of a client, if it is owed one.
func (x *exit) settle(client string, outcome registry.Outcome) {
	x.t.Helper()
	for _, outcome.Owed = range x.owed() {
		if outcome.Owed.ClientID != client {
			continue
		}
		if err := x.w.env.Registry.Settle(x.t.Context(), []registry.Outcome{outcome}); err != nil {
			x.t.Fatal(err)
		}
	}
}

// A delivery is a notice that is claimed, and where it goes.
type delivery struct {
	registry.Owed
	notify.Target
}

// due claims notices, and lists where they go: those that go nowhere are settled.
func (x *exit) due() (due []delivery) {
	x.t.Helper()
	x.w.claim(x.t)
	for _, owed := range x.owed() {
		if owed.Lease == 0 || owed.Due > registry.At(x.w.clock.Now().Add(registry.Lease+time.Second)) {
			continue // not due, or held back
		}
		switch route := x.w.noticesOf(x.e.BackChannel).Route(x.t.Context(), owed); {
		case route.Drop != "":
			x.settle(owed.ClientID, registry.Outcome{Delivered: true})
		case route.WithoutSid:
			x.settle(owed.ClientID, registry.Outcome{WithoutSid: true, Due: 1})
			x.pass(2 * time.Second)
			return x.due()
		case !route.Again:
			due = append(due, delivery{owed, route.Target})
		}
	}
	return due
}

// pass lets time pass, in which what expires ends.
func (x *exit) pass(d time.Duration) {
	x.w.clock.advance(d)
	x.w.claim(x.t)
	x.w.clock.advance(2 * time.Second) // until it is listed again
}

// signedOut is an exit at whose clients alice was signed in, and the notices of that.
func signedOut(t *testing.T) *exit {
	x := newExit(t, tellable)
	x.w.tells = true
	for _, client := range []string{clientID, "wiki", "mail"} {
		x.signedIn(client, "alice")
	}
	if got := x.ask(values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye)); got.Header.Get("Location") != bye {
		t.Fatalf("got %s", got.Status)
	}
	x.w.clock.advance(returnGrace)
	return x
}

// dueClients are the clients whose notices are due, sorted.
func (x *exit) dueClients() string {
	x.t.Helper()
	var clients []string
	for _, n := range x.due() {
		clients = append(clients, n.ClientID)
	}
	slices.Sort(clients)
	return strings.Join(clients, " ")
}

// An app that is an OP itself needs its session until its user is back: it would end on an error
// page without.
func TestTheClientThatAskedIsNotifiedAfterItsRedirectHasGone(t *testing.T) {
	for name, tt := range map[string]struct {
		redirect bool
		after    time.Duration // the sign-out
	}{"sent back": {true, returnGrace}, "staying here": {false, 0}} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t, tellable)
			x.w.tells = true
			x.signedIn(clientID, "alice")
			x.signedIn("wiki", "alice")
			parameters := values("id_token_hint", x.hint(clientID, "alice"))
			if tt.redirect {
				parameters.Set("post_logout_redirect_uri", bye)
			}
			x.ask(parameters)
			if tt.after > 0 {
				x.w.clock.advance(tt.after - time.Millisecond)
				if got := x.dueClients(); got != "wiki" {
					t.Errorf("too early: %s", got)
				}
				x.w.clock.advance(time.Millisecond)
			}
			if got := x.dueClients(); got != clientID+" wiki" {
				t.Errorf("in time: %s", got)
			}
		})
	}
}

func TestTheClientThatAskedIsNotifiedThoughItsUserNeverComesBack(t *testing.T) {
	x := newExit(t, func(e *EndSession) {
		tellable(e)
		e.FrontChannelTimeout = 3 * time.Second
		e.Clients.List[1].FrontChannelLogoutURI = "https://wiki.example.com/front"
	})
	x.w.tells = true
	x.signedIn(clientID, "alice")
	x.signedIn("wiki", "alice")
	page := x.ask(values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye))
	if page.StatusCode != http.StatusOK || page.Header.Get("Location") != "" {
		t.Fatalf("no page with frames: %s", page.Status)
	}
	x.w.clock.advance(askedWait - 2*time.Second)
	if got := x.dueClients(); got != "wiki" {
		t.Errorf("while the page may be shown: %s", got)
	}
	x.w.clock.advance(3 * time.Second)
	if got := x.dueClients(); got != clientID+" wiki" {
		t.Errorf("afterwards: %s", got)
	}
}

// The redirect of the client that asked does not wait for its own notification, which waits for
// the redirect.
func TestARedirectDoesNotWaitForTheClientThatAsked(t *testing.T) {
	x := newExit(t, tellable)
	x.w.tells = true
	x.signedIn(clientID, "alice")
	x.e.BackChannel.RedirectWait = time.Hour
	if got := x.ask(values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye)); got.Header.Get("Location") != bye {
		t.Errorf("got %s", got.Status)
	}
}

// While the OP's part fails, nobody is sent anywhere.
func TestTheClientThatAskedIsNotifiedAtOnceWhereTheOPFails(t *testing.T) {
	x := newExit(t, tellable)
	x.w.tells = true
	x.signedIn(clientID, "alice")
	x.status = http.StatusInternalServerError
	if got := x.ask(values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye)); got.StatusCode != http.StatusBadGateway {
		t.Fatalf("got %s", got.Status)
	}
	if got := x.dueClients(); got != clientID {
		t.Errorf("due are %q", got)
	}
}

// A store under load: a sign-out takes its time, in which nobody's sign-in waits. One that is
// over in time has its clients notified.
func TestASignOutIsRecordedThoughTheStoreIsSlow(t *testing.T) {
	limited(t)
	synctest.Test(t, func(t *testing.T) {
		x := newExit(t, tellable)
		x.w.tells = true
		x.signedIn(clientID, "alice")
		x.w.store.do(func(ctx context.Context, call string, _ ...registry.Key) error {
			if call == "edit" {
				time.Sleep(2 * registry.Limit)
			}
			return ctx.Err()
		})
		x.ask(values("id_token_hint", x.hint(clientID, "alice")))
		if got, owed := x.dueClients(), x.openS().owed.ids(); got != clientID || len(owed) != 0 {
			t.Errorf("due are %q, %d ends are owed", got, len(owed))
		}
	})
}

func TestClientsThatCannotBeToldAreDroppedFromWhatIsOwed(t *testing.T) {
	x := signedOut(t)
	if x.w.woken.Load() == 0 {
		t.Error("new notices were not looked for")
	}
	for range 2 {
		due := x.due()
		if len(due) != 2 {
			t.Fatalf("due are %+v", due)
		}
		for _, n := range due {
			if n.ClientID == "mail" || n.Sub != "alice" || n.Sid != "sid of alice" || n.Reason != registry.ReasonLogout || n.Issuer != issuer {
				t.Errorf("due is %+v", n)
			}
			if n.Sender == nil || !strings.HasPrefix(n.URI, "https://") || n.RetryFor != DefaultRetryFor {
				t.Errorf("it goes to %+v", n.Target)
			}
		}
	}
	if owed := x.owed(); len(owed) != 2 {
		t.Errorf("owed are %+v", owed)
	}
	if route := x.w.noticesOf(x.e.BackChannel).Route(t.Context(), registry.Owed{Issuer: issuer, ClientID: "wiki", Sub: "alice"}); route.Drop == "" {
		t.Errorf("a client that needs a sid is told without one: %+v", route)
	}
}

func TestTheLogSaysOnceThatNoKeyFitsAClientsIDTokens(t *testing.T) {
	x := newExit(t, tellable)
	b := x.e.BackChannel
	sees := func(client, algorithm string) {
		b.SawIDToken(t.Context(), x.w.op, client, tokens.IDToken{Subject: "alice", Algorithm: algorithm, KeyID: "1"})
	}
	for range 2 {
		sees(clientID, "ES256")
		sees(clientID, "HS256")
		sees("unknown", "HS256")
	}
	warnings := x.w.logs.FilterMessageSnippet("no signing key fits").All()
	if len(warnings) != 1 || warnings[0].ContextMap()["client_id"] != clientID || warnings[0].ContextMap()["algorithm"] != "HS256" {
		t.Errorf("warned: %v", warnings)
	}
}

func TestTheReceiptSaysWhatBecameOfEachNotice(t *testing.T) {
	x := newExit(t, tellable)
	x.w.tells = true
	for _, client := range []string{clientID, "wiki", "mail"} {
		x.signedIn(client, "alice")
	}
	settled := make(chan struct{})
	close(settled)
	x.e.BackChannel.Settled = func() <-chan struct{} {
		x.settle(clientID, registry.Outcome{Delivered: true})
		x.settle("wiki", registry.Outcome{Dead: true})
		return settled
	}
	x.e.BackChannel.RedirectWait = time.Minute
	page := readAll(t, x.ask(values("id_token_hint", x.hint(clientID, "alice"))).Body)
	for text, name := range map[string]string{"You were signed out of these": "The Shop", "could not be signed out of": "The Wiki", "cannot be told": "The Mail"} {
		_, group, found := strings.Cut(page, text)
		if first, _, _ := strings.Cut(group, "</ul>"); !found || !strings.Contains(first, "<li>"+name+"</li>") || strings.Count(first, "<li>") != 1 {
			t.Errorf("%s: %s", text, page)
		}
	}
}

func TestWhoCannotBeReachedYetIsStillTried(t *testing.T) {
	x := newExit(t, tellable)
	x.w.tells = true
	x.signedIn(clientID, "alice")
	page := readAll(t, x.answer(x.ask(nil), answerSignOut).Body) // after redirect_wait
	if _, group, found := strings.Cut(page, "could not be reached yet"); !found || !strings.Contains(group, "The Shop") {
		t.Errorf("the page is %s", page)
	}
}

func TestAClientWithoutAnIDTokenIsNamedInTheLog(t *testing.T) {
	x := newExit(t, tellable)
	x.w.tells = true
	x.signedIn(clientID, "alice")
	x.get(strings.Replace(authorize("s"), "client_id="+clientID, "client_id=quiet", 1), redirect(callback+"?code=c&state=s"))
	x.ask(values("id_token_hint", x.hint(clientID, "alice")))
	logged := x.w.logs.FilterMessageSnippet("clients cannot be notified by back channel").All()
	if len(logged) != 1 || fmt.Sprint(logged[0].ContextMap()["client_ids"]) != "[quiet]" {
		t.Errorf("logged %+v", logged)
	}
}

func TestAnOPThatTellsItsClientsIsNotDoubled(t *testing.T) {
	x := signedOut(t)
	for name, tt := range map[string]struct {
		metadata metadata
		want     bool
	}{
		"an OP without back channel":    {metadata{JWKSURI: issuer + "/jwks"}, true},
		"an OP with one":                {metadata{JWKSURI: issuer + "/jwks", BackChannelLogout: true}, false},
		"an OP with its keys elsewhere": {metadata{JWKSURI: "https://keys.example.com/"}, false},
	} {
		op := knownOP(t, issuer, tt.metadata)
		if got := x.e.BackChannel.Tells(op); got != tt.want || (len(x.e.BackChannel.Members(op)) > 0) != tt.want {
			t.Errorf("%s: told: %v", name, got)
		}
	}
	x.e.BackChannel.See(knownOP(t, issuer, metadata{JWKSURI: issuer + "/jwks", BackChannelLogout: true}))
	if due := x.due(); len(due) != 0 {
		t.Errorf("due are %+v", due)
	}
}

func TestSigningOutGoesOnWhileTheRegistryIsAway(t *testing.T) {
	x := newExit(t, tellable)
	x.w.tells = true
	x.signedIn(clientID, "alice")
	defer x.w.down()()
	x.e.BackChannel.RedirectWait = time.Minute
	asked := x.answer(x.ask(values("id_token_hint", x.hint(clientID, "alice"))), answerSignOut)
	if asked.StatusCode != http.StatusOK {
		t.Errorf("got %s", asked.Status)
	}
}

// CVE-2026-4874: the address comes from the configuration, and not from any request.
func TestThreatAddressesComeFromTheConfigurationOnly(t *testing.T) {
	x := newExit(t, tellable)
	x.w.tells = true
	x.signedIn(clientID, "alice")
	x.ask(values("id_token_hint", x.hint(clientID, "alice"), "backchannel_logout_uri", "https://evil.example/", "client_session_host", "evil.example"))
	if due := x.due(); len(due) != 1 || due[0].URI != "https://rp.example.com/back" {
		t.Errorf("due are %+v", due)
	}
}

func TestWhoIsAtAnAddressThatIsNotPublicIsSaid(t *testing.T) {
	w := newWorld(t)
	for uri, want := range map[string]int{
		"http://127.0.0.1:3000/": 1, "https://192.168.1.20/": 1, "http://app.localhost/": 1, "https://[fd00::1]/": 1,
		"https://rp.example.com/": 0, "https://93.184.216.34/": 0, "": 0,
	} {
		before := w.logs.FilterMessageSnippet("allow_private").Len()
		w.backChannel(&Clients{List: []Client{{ID: "a", BackChannelLogoutURI: uri}}})
		if got := w.logs.FilterMessageSnippet("allow_private").Len() - before; got != want {
			t.Errorf("%q: %d warnings", uri, got)
		}
	}
}

func TestAUserWhoHasSignedInAgainIsNotSignedOutByAnOlderNotice(t *testing.T) {
	x := newExit(t, tellable)
	x.w.tells = true
	x.signedIn(clientID, "alice")
	x.pass(lifetime)
	if due := x.due(); len(due) != 1 || due[0].Reason != registry.ReasonExpiry {
		t.Fatalf("due are %+v", due)
	}
	x.signedIn(clientID, "alice") // before the client could be reached; the OP's own session has gone on
	x.w.clock.advance(registry.Lease)
	if due := x.due(); len(due) != 0 {
		t.Errorf("due are %+v", due)
	}
	x.pass(lifetime)
	if due := x.due(); len(due) != 1 {
		t.Errorf("due in the end are %+v", due)
	}
}

// Without its sid, the token of a session that expired would end all that the user has at the
// client.
func TestALogoutTokenThatNamesTheUserAloneWaitsForTheUsersOtherSessions(t *testing.T) {
	for _, option := range []string{LogoutTokenBoth, LogoutTokenSub} {
		x := newExit(t, tellable, func(e *EndSession) { e.Clients.List[0].LogoutToken = option })
		x.w.tells = true
		other := sessionstate.NewBrowserID()
		for browser, lasts := range map[sessionstate.BrowserID]time.Duration{sessionstate.NewBrowserID(): time.Minute, other: lifetime} {
			_, err := x.w.env.Registry.Join(t.Context(), registry.Join{
				Issuer: issuer, Browser: browser, ClientID: clientID, Sub: "alice", Sid: lasts.String(), Lifetime: lasts, Tell: true,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		x.pass(time.Minute)
		if n := len(x.due()); (n == 1) != (option == LogoutTokenBoth) {
			t.Errorf("%s: %d are due while the user is signed in in another browser", option, n)
		}
		x.w.end(t, other, registry.ReasonLogout)
		x.w.clock.advance(time.Hour)
		if n := len(x.due()); n != 2 {
			t.Errorf("%s: %d are due in the end", option, n)
		}
	}
}

// A document of the OP may lack its jwks_uri for a moment: nothing that is owed is lost by that.
func TestNoticesWaitWhileTokensCannotBeVerified(t *testing.T) {
	x := signedOut(t)
	x.e.BackChannel.See(knownOP(t, issuer, metadata{}))
	if due := x.due(); len(due) != 0 {
		t.Errorf("%+v are due while nobody could verify a token", due)
	}
	x.e.BackChannel.See(knownOP(t, issuer, metadata{JWKSURI: issuer + "/jwks"}))
	if due := x.due(); len(due) != 2 {
		t.Errorf("%+v are due afterwards", due)
	}
}
