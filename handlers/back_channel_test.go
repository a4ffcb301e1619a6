package handlers

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// participationOf is a client's with one subject.
func participationOf(client, sub, sid string) registry.Participation {
	return registry.Participation{ClientID: client, Subjects: []registry.Subject{{Sub: sub, Sid: sid}}}
}

// tellable are clients that are told by back channel, and one that is not.
func tellable(e *EndSession) {
	e.Clients = &Clients{List: []Client{
		{ID: clientID, Name: "The Shop", PostLogoutRedirectURIs: []string{bye}, BackChannelLogoutURI: "https://rp.example.com/back"},
		{ID: "wiki", Name: "The Wiki", BackChannelLogoutURI: "https://wiki.example.com/back", BackChannelLogoutSessionRequired: true},
		{ID: "mail", Name: "The Mail"},
	}}
}

// notices are those of the exit's issuer.
func (x *exit) notices() *Notices {
	return &Notices{Issuer: issuer, BackChannels: []*BackChannel{x.e.BackChannel}, Registry: x.w.store}
}

// signedOut is an exit at whose clients alice was signed in, and the notices of that.
func signedOut(t *testing.T) (*exit, *Notices) {
	x := newExit(t, tellable)
	x.w.tells = true
	for _, client := range []string{clientID, "wiki", "mail"} {
		x.signedIn(client, "alice")
	}
	if got := x.ask(values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye)); got.Header.Get("Location") != bye {
		t.Fatalf("got %s", got.Status)
	}
	x.w.clock.advance(returnGrace)
	return x, x.notices()
}

// dueClients are the clients whose notices are due, sorted.
func (x *exit) dueClients() string {
	x.t.Helper()
	due, err := x.notices().Due(x.t.Context(), x.w.clock.Now(), 10)
	if err != nil {
		x.t.Fatal(err)
	}
	var clients []string
	for _, n := range due {
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
	x.w.clock.advance(askedWait - time.Second)
	if got := x.dueClients(); got != "wiki" {
		t.Errorf("while the page may be shown: %s", got)
	}
	x.w.clock.advance(time.Second)
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
	x := newExit(t, tellable)
	x.w.tells = true
	x.signedIn(clientID, "alice")
	x.w.env.Registry = boundEnds{x.w.store, registry.Bound(slowEnds{x.w.store}, time.Millisecond, 8)}
	x.setUp()
	x.ask(values("id_token_hint", x.hint(clientID, "alice")))
	if got, owed := x.dueClients(), x.openS().owed.ids(); got != clientID || len(owed) != 0 {
		t.Errorf("due are %q, %d ends are owed", got, len(owed))
	}
}

// slowEnds ends sessions after more time than a sign-in has in boundEnds.
type slowEnds struct{ registry.Registry }

func (s slowEnds) End(ctx context.Context, ending registry.Ending) ([]registry.Session, error) {
	time.Sleep(50 * time.Millisecond)
	return s.Registry.End(ctx, ending)
}

// boundEnds has bounds for ends alone.
type boundEnds struct {
	registry.Registry

	bound registry.Registry
}

func (b boundEnds) End(ctx context.Context, ending registry.Ending) ([]registry.Session, error) {
	return b.bound.End(ctx, ending)
}

func TestClientsThatCannotBeToldAreDroppedFromWhatIsOwed(t *testing.T) {
	x, notices := signedOut(t)
	if x.w.woken.Load() == 0 {
		t.Error("new notices were not looked for")
	}
	for range 2 {
		due, err := notices.Due(t.Context(), x.w.clock.Now(), 10)
		if err != nil || len(due) != 2 {
			t.Fatalf("due are %+v, %v", due, err)
		}
		for _, n := range due {
			if n.ClientID == "mail" || n.Subject != "alice" || n.SessionID != "sid of alice" || n.Reason != "logout" || n.Issuer != issuer {
				t.Errorf("due is %+v", n)
			}
			if n.Target.Sender == nil || !strings.HasPrefix(n.Target.URI, "https://") || n.Target.RetryFor != DefaultRetryFor {
				t.Errorf("it goes to %+v", n.Target)
			}
		}
	}
	recorded, err := x.w.store.DueNotices(t.Context(), issuer, x.w.clock.Now(), 10)
	if err != nil || len(recorded) != 2 {
		t.Errorf("recorded are %+v, %v", recorded, err)
	}
	if b, _, err := notices.how(t.Context(), "wiki", ""); b != nil || err != nil {
		t.Error("a client that needs a sid is told without one")
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
	id := func(client string) registry.NoticeID {
		return registry.NameNotice(x.openS().session, client, "alice", "sid of alice")
	}
	told, refused := id(clientID), id("wiki")
	settled := make(chan struct{})
	close(settled)
	x.e.BackChannel.Settled = func() <-chan struct{} {
		outcomes := []registry.Outcome{{ID: told, Delivered: true}, {ID: refused, Dead: true}}
		if err := x.w.store.SettleNotices(t.Context(), registry.Settling{Issuer: issuer, Outcomes: outcomes, Now: x.w.clock.Now()}); err != nil {
			t.Error(err)
		}
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
	x, notices := signedOut(t)
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
	if due, err := notices.Due(t.Context(), x.w.clock.Now(), 10); err != nil || len(due) != 0 {
		t.Errorf("due are %+v, %v", due, err)
	}
}

func TestSigningOutGoesOnWhileTheRegistryIsAway(t *testing.T) {
	x := newExit(t, tellable)
	x.w.tells = true
	x.signedIn(clientID, "alice")
	defer x.w.down()()
	x.e.env.Registry = downRegistry{}
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
	notices := x.notices()
	due, err := notices.Due(t.Context(), x.w.clock.Now(), 10)
	if err != nil || len(due) != 1 {
		t.Fatalf("due are %+v, %v", due, err)
	}
	if due[0].Target.URI != "https://rp.example.com/back" {
		t.Errorf("it goes to %+v", due[0].Target)
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

func TestThoseWhoCannotBeToldDoNotHoldUpTheOthers(t *testing.T) {
	x := newExit(t, tellable)
	x.w.tells = true
	leave := func(client string, sessions int) {
		for range sessions {
			browser := sessionstate.NewBrowserID()
			_, err := x.w.store.Join(t.Context(), registry.Join{
				Issuer: issuer, Browser: browser, Fresh: sessionstate.NewSessionID(), ClientID: client,
				Subject: registry.Subject{Sub: "alice", Sid: "1"}, Now: x.w.clock.Now(), Lifetime: lifetime,
			})
			if err != nil {
				t.Fatal(err)
			}
			ending := registry.Ending{Issuer: issuer, Browser: browser, Reason: registry.ReasonLogout, Now: x.w.clock.Now(), Tell: true}
			if _, err := x.w.store.End(t.Context(), ending); err != nil {
				t.Fatal(err)
			}
		}
	}
	leave("mail", 5*dropsAtOnce)
	x.w.clock.advance(time.Second)
	leave(clientID, 3)
	notices := x.notices()
	due, err := notices.Due(t.Context(), x.w.clock.Now(), 1000)
	if err != nil || len(due) != 3 || due[0].ClientID != clientID {
		t.Errorf("due are %d: %v", len(due), err)
	}
	left, err := x.w.store.DueNotices(t.Context(), issuer, x.w.clock.Now(), 10)
	if err != nil || len(left) != 3 {
		t.Errorf("%d are left: %v", len(left), err)
	}
}

func TestAUserWhoHasSignedInAgainIsNotSignedOutByAnOlderNotice(t *testing.T) {
	x := newExit(t, tellable)
	x.w.tells = true
	x.signedIn(clientID, "alice")
	notices := x.notices()
	x.w.clock.advance(lifetime)
	if _, err := x.w.store.Expire(t.Context(), registry.Expiry{Now: x.w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	due, err := notices.Due(t.Context(), x.w.clock.Now(), 10)
	if err != nil || len(due) != 1 || due[0].Reason != "expiry" {
		t.Fatalf("due are %+v, %v", due, err)
	}
	x.signedIn(clientID, "alice") // before the client could be reached; the OP's own session has gone on
	if due, err = notices.Due(t.Context(), x.w.clock.Now(), 10); err != nil || len(due) != 0 {
		t.Errorf("due are %+v, %v", due, err)
	}
	x.w.clock.advance(lifetime)
	if _, err := x.w.store.Expire(t.Context(), registry.Expiry{Now: x.w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	if due, err = notices.Due(t.Context(), x.w.clock.Now(), 10); err != nil || len(due) != 1 {
		t.Errorf("due in the end are %+v, %v", due, err)
	}
}

// Without its sid, the token of a session that expired would end all that the user has at the
// client.
func TestALogoutTokenThatNamesTheUserAloneWaitsForTheUsersOtherSessions(t *testing.T) {
	for _, option := range []string{LogoutTokenBoth, LogoutTokenSub} {
		x := newExit(t, tellable, func(e *EndSession) { e.Clients.List[0].LogoutToken = option })
		x.w.tells = true
		signIn := func(sid string, lasts time.Duration) registry.Ending {
			browser := sessionstate.NewBrowserID()
			_, err := x.w.store.Join(t.Context(), registry.Join{
				Issuer: issuer, Browser: browser, Fresh: sessionstate.NewSessionID(), ClientID: clientID,
				Subject: registry.Subject{Sub: "alice", Sid: sid}, Now: x.w.clock.Now(), Lifetime: lasts,
			})
			if err != nil {
				t.Fatal(err)
			}
			return registry.Ending{Issuer: issuer, Browser: browser, Reason: registry.ReasonLogout, Tell: true}
		}
		due := func() int {
			found, err := x.notices().Due(t.Context(), x.w.clock.Now(), 10)
			if err != nil {
				t.Fatal(err)
			}
			return len(found)
		}
		signIn("1", time.Minute)
		other := signIn("2", lifetime)
		x.w.clock.advance(time.Minute)
		if _, err := x.w.store.Expire(t.Context(), registry.Expiry{Now: x.w.clock.Now()}); err != nil {
			t.Fatal(err)
		}
		if n := due(); (n == 1) != (option == LogoutTokenBoth) {
			t.Errorf("%s: %d are due while the user is signed in in another browser", option, n)
		}
		other.Now = x.w.clock.Now()
		if _, err := x.w.store.End(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if n := due(); n != 2 {
			t.Errorf("%s: %d are due in the end", option, n)
		}
	}
}

// A document of the OP may lack its jwks_uri for a moment: nothing that is owed is lost by that.
func TestNoticesWaitWhileTokensCannotBeVerified(t *testing.T) {
	x, notices := signedOut(t)
	due := func() int {
		found, err := notices.Due(t.Context(), x.w.clock.Now(), 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	x.e.BackChannel.See(knownOP(t, issuer, metadata{}))
	if n := due(); n != 0 {
		t.Errorf("%d are due while nobody could verify a token", n)
	}
	x.e.BackChannel.See(knownOP(t, issuer, metadata{JWKSURI: issuer + "/jwks"}))
	if n := due(); n != 2 {
		t.Errorf("%d are due afterwards", n)
	}
}
