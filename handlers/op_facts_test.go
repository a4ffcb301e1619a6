package handlers

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

func TestWhatIDTokensHaveIsRecordedOnceADay(t *testing.T) {
	s := newTold(t, generated(), false, newKey(t, "1"))
	edits := s.w.counted("edit")
	for day, want := range []int{3, 5} { // with and without; before, that a document was seen
		for range 10 {
			s.sees("shop", namedToken)
			s.sees("wiki", tokens.IDToken{})
			s.w.clock.advance(time.Hour)
		}
		if got := edits(); got > want || day == 1 && got < 4 {
			t.Errorf("by day %d, it was recorded %d times", day+1, got)
		}
		s.w.clock.advance(factsDay - 10*time.Hour)
	}
	// Servers of one OP whose keys differ do not have it recorded with each request.
	documents, before := []string{documentOf(t, newKey(t, "1")), documentOf(t, newKey(t, "2"))}, edits()
	for i := range 20 {
		s.document = documents[i%2]
		s.get()
	}
	if got := edits() - before; got > 0 {
		t.Errorf("the OP's keys were recorded %d times", got)
	}
}

func TestTheDaysOfWhatIDTokensHaveAreRecorded(t *testing.T) {
	s := newTold(t, generated(), false, newKey(t, "1"))
	day := func() registry.Time { return registry.At(s.w.clock.Now().Truncate(factsDay)) }
	first := day()
	s.sees("shop", tokens.IDToken{KeyID: "1"})
	s.sees("shop", tokens.IDToken{Algorithm: "HS256"}) // which no key of the OP's signs
	if got, want := s.facts(), (registry.Facts{Kid: first, NoSid: first}); got != want {
		t.Errorf("recorded is %+v, want %+v", got, want)
	}
	s.w.clock.advance(factsDay)
	s.sees("shop", unnamedToken)
	if got, want := s.facts(), (registry.Facts{Kid: first, NoSid: first, NoKid: day(), Sid: day()}); got != want {
		t.Errorf("a day later, recorded is %+v, want %+v", got, want)
	}
}

// A client that has a token without a kid may look for the OP's lone key from then on, also after a
// restart.
func TestThatATokenHasNoKidIsRecordedBeforeTheClientHasIt(t *testing.T) {
	w := newWorld(t)
	b := w.backChannel(new(Clients))
	w.env.SawIDToken = b.SawIDToken
	a := newAgent(t, w)
	a.signIn("c")
	recorded := false
	rw := &onWrite{ResponseRecorder: httptest.NewRecorder(), do: func() {
		facts, err := w.env.Registry.Facts(t.Context(), issuer)
		recorded = err == nil && facts.NoKid != 0
	}}
	var token Token
	token.Setup(w.env)
	r := httptest.NewRequest(http.MethodPost, issuer+"/token", strings.NewReader(codeForm("c").Encode()))
	r.Header.Set("Content-Type", formType)
	if err := token.Serve(w.op, rw, r, handler(answering(tokenResponse(claims("alice", clientID))))); err != nil {
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

// The one that brings the news waits for it to be recorded, as long as any call of the registry may
// take. The others do not.
func TestSignInsDoNotWaitForWhatAnotherRecords(t *testing.T) {
	s := newTold(t, generated(), false, newKey(t, "1"))
	hangs, goesOn := make(chan struct{}, 1000), make(chan struct{})
	s.w.store.do(func(_ context.Context, call string, _ ...registry.Key) error {
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
	if s.b.Tells(s.op) {
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
	s := newTold(t, generated(), false, newKey(t, "1"))
	s.adds()
	tries := 0
	s.w.store.do(func(_ context.Context, call string, _ ...registry.Key) error {
		tries++
		return registry.ErrUnavailable
	})
	for range 10 {
		s.sees("shop", namedToken)
	}
	if tries != 1 {
		t.Errorf("it was tried %d times within a moment", tries)
	}
	s.w.clock.advance(factsRetryIn)
	s.sees("shop", namedToken)
	s.w.store.do(nil)
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
	s := newTold(t, generated(), false, newKey(t, "1"))
	s.sees("wiki", unnamedToken)
	old := s.facts()
	s.w.clock.advance(factsDay)
	up := s.w.down()
	s.restart()
	s.sees("shop", tokens.IDToken{KeyID: "1"})
	other := s.b // knows nothing of what was recorded
	s.restart()
	s.sees("mail", namedToken)
	up()
	s.w.clock.advance(factsRetryIn)
	s.sees("mail", namedToken)
	other.SawIDToken(t.Context(), s.op, "shop", tokens.IDToken{KeyID: "1"})
	today := old.Sid.Add(factsDay)
	if got, want := s.facts(), (registry.Facts{Kid: today, NoKid: old.NoKid, Sid: today, NoSid: today}); got != want {
		t.Errorf("recorded is %+v, want %+v", got, want)
	}
	s.w.clock.advance(-factsDay) // the clock of another is slow
	s.restart()
	s.sees("shop", tokens.IDToken{KeyID: "1"})
	if got := s.facts(); got.Kid != today {
		t.Errorf("a slow clock takes %v back to %v", today.Time(), got.Kid.Time())
	}
	if s.adds() || s.b.Tells(s.op) {
		t.Error("what was recorded before does not count")
	}
}

func TestEveryIDTokenIsNoted(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	hybrid := strings.Replace(authorize("s"), "response_type=code", "response_type=code+id_token", 1)
	token := w.idToken(t, clientID, "alice")
	a.get(hybrid, redirect(callback+"#code=c&state=s&id_token="+token))
	w.redeem(t, codeForm("c"), answering(tokenResponse(claims("alice", clientID))))
	foreign := w.idToken(t, "wiki", "alice")
	a.get(hybrid, redirect(callback+"#code=d&state=s&id_token="+foreign)) // not this client's
	want := issuer + ` shop kid %q sid "sid of alice"`
	if !slices.Equal(w.seen, []string{fmt.Sprintf(want, "1"), fmt.Sprintf(want, "")}) {
		t.Errorf("noted were %q", w.seen)
	}
}
