package backchannel_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

func TestThePlaceOfADocumentIsRememberedInTheRegistry(t *testing.T) {
	c := handlerstest.NewCrowd(t, handlerstest.Slugs)
	b := c.W.BackChannel(new(clients.Clients))
	for _, step := range []struct {
		after     time.Duration
		sees, has string
	}{{0, "shop", "shop"}, {0, "wiki", "shop"}, {backchannel.DocumentAgain, "app", "app"}} {
		c.W.Clock.Advance(step.after)
		b.Observe(c.Find("/application/o/" + step.sees + handlers.WellKnown))
		if facts, err := c.W.Env.Registry.Facts(t.Context(), handlerstest.Slugs); err != nil || facts.Discovery != "/application/o/"+step.has+handlers.WellKnown {
			t.Errorf("after %s, recorded is %s, %v", step.sees, facts.Discovery, err)
		}
	}

	later := &handlers.Provider{Issuers: []string{handlerstest.Slugs}}
	if err := later.Setup(c.W.Env); err != nil {
		t.Fatal(err)
	}
	if op := later.Find(handlerstest.Involved(handlerstest.Issuer), c); op == nil || op.AuthorizationPath != "/authorize" {
		t.Errorf("after a restart: %+v", op)
	}
}

// An issuer per client is a world of its own: ID tokens of one that name no key say nothing of
// another's.
func TestWhatTheIDTokensOfOneIssuerLackIsNothingToAnother(t *testing.T) {
	keys, _, err := tokens.GenerateSigningKeys()
	if err != nil {
		t.Fatal(err)
	}
	c := handlerstest.NewCrowd(t, handlerstest.Slugs)
	b := c.W.BackChannel(new(clients.Clients))
	b.Configured, b.OPKeys, b.Keys = true, new(opkeys.Keys), func(context.Context) (*tokens.SigningKeys, error) { return keys, nil }
	b.OPKeys.Setup(c.W.Env)
	j := &backchannel.JWKS{BackChannel: b}
	j.Setup(c.W.Env)
	for _, client := range []string{"shop", "wiki"} {
		b.Observe(c.Find("/application/o/" + client + handlers.WellKnown))
	}
	op := c.P.Named()
	for client, token := range map[string]tokens.IDToken{
		"shop": {Issuer: handlerstest.Issuer + "/application/o/shop/", KeyID: "1", SessionID: "a"}, "wiki": {Issuer: handlerstest.Issuer + "/application/o/wiki/"},
	} {
		b.ObserveIDToken(t.Context(), op, client, token)
	}
	for client, want := range map[string]bool{"shop": true, "wiki": false} {
		path := "/application/o/" + client + "/jwks/"
		recorder := httptest.NewRecorder()
		if !j.Serves(op, path) {
			t.Fatalf("%s is not served", path)
		}
		err := j.Serve(op, recorder, httptest.NewRequest("GET", handlerstest.Issuer+path, nil), reply.Handler(reply.Answering(`{"keys":[{"kty":"oct","kid":"1","k":"AA"}]}`)))
		if got := strings.Contains(recorder.Body.String(), keys.Published()[0].ID); err != nil || got != want {
			t.Errorf("the keys of %s have ours: %v, %v", client, got, err)
		}
		view := op.As(handlerstest.Issuer + "/application/o/" + client + "/")
		if got := fmt.Sprint(b.Members(view)); strings.Contains(got, "backchannel_logout_supported") != want ||
			strings.Contains(got, "backchannel_logout_session_supported") != want {
			t.Errorf("the document of %s gets %s", client, got)
		}
		b.Clients.List = []clients.Client{{ID: client, BackChannelLogoutURI: "https://rp.example.com/back"}}
		if err := b.Clients.Setup(c.W.Env); err != nil {
			t.Fatal(err)
		}
		signed, err := c.W.NoticesOf(b).Token(t.Context(), registry.PendingNotice{
			Issuer: handlerstest.Slugs, ClientID: client, Sub: "alice", IDToken: registry.IDToken{Issuer: view.DocumentIssuer, Algorithm: "ES256"},
		})
		if (err == nil) != want || want && tokens.IssuerOf(signed) != view.DocumentIssuer {
			t.Errorf("the token for %s has iss %q, %v", client, tokens.IssuerOf(signed), err)
		}
	}
}

func TestWhatIDTokensHaveIsRecordedOnceADay(t *testing.T) {
	s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"))
	edits := s.w.Counted("edit")
	for day, want := range []int{3, 5} { // with and without; before, that a document was seen
		for range 10 {
			s.sees("shop", namedToken)
			s.sees("wiki", tokens.IDToken{})
			s.w.Clock.Advance(time.Hour)
		}
		if got := edits(); got > want || day == 1 && got < 4 {
			t.Errorf("by day %d, it was recorded %d times", day+1, got)
		}
		s.w.Clock.Advance(backchannel.FactsDay - 10*time.Hour)
	}
	// Servers of one OP whose keys differ do not have it recorded with each request.
	documents, before := []string{documentOf(t, handlerstest.NewKey(t, "1")), documentOf(t, handlerstest.NewKey(t, "2"))}, edits()
	for i := range 20 {
		s.document = documents[i%2]
		s.get()
	}
	if got := edits() - before; got > 0 {
		t.Errorf("the OP's keys were recorded %d times", got)
	}
}

func TestTheDaysOfWhatIDTokensHaveAreRecorded(t *testing.T) {
	s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"))
	day := func() registry.Time { return registry.At(s.w.Clock.Now().Truncate(backchannel.FactsDay)) }
	first := day()
	s.sees("shop", tokens.IDToken{KeyID: "1"})
	s.sees("shop", tokens.IDToken{Algorithm: "HS256"}) // which no key of the OP's signs
	if got, want := s.facts(), (registry.Facts{Kid: first, NoSid: first}); got != want {
		t.Errorf("recorded is %+v, want %+v", got, want)
	}
	s.w.Clock.Advance(backchannel.FactsDay)
	s.sees("shop", unnamedToken)
	if got, want := s.facts(), (registry.Facts{Kid: first, NoSid: first, NoKid: day(), Sid: day()}); got != want {
		t.Errorf("a day later, recorded is %+v, want %+v", got, want)
	}
}

// A client that has a token without a kid may look for the OP's lone key from then on, also after
// a restart.
func TestThatATokenHasNoKidIsRecordedBeforeTheClientHasIt(t *testing.T) {
	w := handlerstest.NewWorld(t)
	b := w.BackChannel(new(clients.Clients))
	w.Env.ObserveIDToken = b.ObserveIDToken
	a := handlerstest.NewAgent(t, w)
	a.SignIn("c")
	recorded := false
	rw := &onWrite{ResponseRecorder: httptest.NewRecorder(), do: func() {
		facts, err := w.Env.Registry.Facts(t.Context(), handlerstest.Issuer)
		recorded = err == nil && facts.NoKid != 0
	}}
	var token signin.Observer
	token.Setup(w.Env)
	r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/token", strings.NewReader(handlerstest.CodeForm("c").Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	if err := token.ServeToken(w.OP, rw, r, reply.Handler(reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("alice", handlerstest.ClientID))))); err != nil {
		t.Fatal(err)
	}
	if !recorded || rw.Body.Len() == 0 {
		t.Errorf("recorded: %v, released %d bytes", recorded, rw.Body.Len())
	}
}

// onWrite does something when the response begins.
type onWrite struct {
	*httptest.ResponseRecorder
	do func()
}

func (w *onWrite) WriteHeader(status int) {
	w.do()
	w.ResponseRecorder.WriteHeader(status)
}

// The one that brings the news waits for it to be recorded, as long as any call of the registry
// may take. The others do not.
func TestSignInsDoNotWaitForWhatAnotherRecords(t *testing.T) {
	s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"))
	hangs, goesOn := make(chan struct{}, 1000), make(chan struct{})
	s.w.Store.Do(func(_ context.Context, call string, _ ...registry.Key) error {
		if call == "edit" {
			hangs <- struct{}{}
			<-goesOn
		}
		return nil
	})
	first := make(chan struct{})
	go func() {
		defer close(first)
		s.sees("0", unnamedToken)
	}()
	<-hangs
	for i := range 100 {
		s.sees(fmt.Sprint(i), unnamedToken)
	}
	if s.b.Notifies(s.op) {
		t.Error("what was seen does not count before it is recorded")
	}
	close(goesOn)
	<-first
	s.restart()
	if s.adds() {
		t.Error("what was seen while the registry hung is lost")
	}
}

func TestARegistryThatIsUnavailableIsSaidOnceAndRecordsLater(t *testing.T) {
	s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"))
	s.adds()
	tries := 0
	s.w.Store.Do(func(_ context.Context, call string, _ ...registry.Key) error {
		tries++
		return registry.ErrUnavailable
	})
	for range 10 {
		s.sees("shop", namedToken)
	}
	if tries != 1 {
		t.Errorf("it was tried %d times within a moment", tries)
	}
	s.w.Clock.Advance(backchannel.FactsRetryIn)
	s.sees("shop", namedToken)
	s.w.Store.Do(nil)
	if got := s.facts(); tries != 2 || got != (registry.Facts{}) {
		t.Errorf("it was tried %d times later; recorded is %+v", tries, got)
	}
	if !s.adds() {
		t.Error("what was seen does not count")
	}
	s.sees("shop", namedToken)
	if lines := s.logged("what was seen of the OP is not recorded"); len(lines) != 1 || s.facts().Kid == 0 {
		t.Errorf("logged %v; recorded is %+v", lines, s.facts())
	}
}

// What was seen while the registry was unavailable, and by another server, joins what it has.
func TestWhatServersSawIsMerged(t *testing.T) {
	s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"))
	s.sees("wiki", unnamedToken)
	old := s.facts()
	s.w.Clock.Advance(backchannel.FactsDay)
	up := s.w.Down()
	s.restart()
	s.sees("shop", tokens.IDToken{KeyID: "1"})
	other := s.b // knows nothing of what was recorded
	s.restart()
	s.sees("mail", namedToken)
	up()
	s.w.Clock.Advance(backchannel.FactsRetryIn)
	s.sees("mail", namedToken)
	other.ObserveIDToken(t.Context(), s.op, "shop", tokens.IDToken{KeyID: "1"})
	today := old.Sid.Add(backchannel.FactsDay)
	if got, want := s.facts(), (registry.Facts{Kid: today, NoKid: old.NoKid, Sid: today, NoSid: today}); got != want {
		t.Errorf("recorded is %+v, want %+v", got, want)
	}
	s.w.Clock.Advance(-backchannel.FactsDay) // the clock of another is slow
	s.restart()
	s.sees("shop", tokens.IDToken{KeyID: "1"})
	if got := s.facts(); got.Kid != today {
		t.Errorf("a slow clock takes %v back to %v", today.Time(), got.Kid.Time())
	}
	if s.adds() || s.b.Notifies(s.op) {
		t.Error("what was recorded before does not count")
	}
}

func TestEveryIDTokenIsNoted(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	hybrid := strings.Replace(handlerstest.Authorize("s"), "response_type=code", "response_type=code+id_token", 1)
	token := w.IDToken(t, handlerstest.ClientID, "alice")
	a.Get(hybrid, reply.Redirect(handlerstest.Callback+"#code=c&state=s&id_token="+token))
	w.Redeem(t, handlerstest.CodeForm("c"), reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("alice", handlerstest.ClientID))))
	foreign := w.IDToken(t, "wiki", "alice")
	a.Get(hybrid, reply.Redirect(handlerstest.Callback+"#code=d&state=s&id_token="+foreign)) // not this client's
	want := handlerstest.Issuer + ` shop kid %q sid "sid of alice"`
	if !slices.Equal(w.Seen, []string{fmt.Sprintf(want, "1"), fmt.Sprintf(want, "")}) {
		t.Errorf("noted were %q", w.Seen)
	}
}
