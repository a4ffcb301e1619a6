package handlers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// counting counts what is recorded of what was seen, and of published keys.
type counting struct {
	registry.Registry

	mu   sync.Mutex
	kept []registry.Keeping
	seen int
	err  error
	hang chan struct{} // nil: it does not
}

func (c *counting) KeepKeys(ctx context.Context, keeping registry.Keeping) error {
	c.mu.Lock()
	c.kept = append(c.kept, keeping)
	c.mu.Unlock()
	return c.Registry.KeepKeys(ctx, keeping)
}

func (c *counting) Observe(ctx context.Context, issuer string, observed registry.Observed) error {
	c.mu.Lock()
	c.seen++
	err, hang := c.err, c.hang
	c.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if err != nil {
		return err
	}
	return c.Registry.Observe(ctx, issuer, observed)
}

func (c *counting) writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// counted is a site whose registry counts.
func counted(t *testing.T) (*told, *counting) {
	t.Helper()
	s := newTold(t, generated(), false, newKey(t, "1"))
	c := &counting{Registry: s.w.store}
	s.w.env.Registry = c
	s.restart()
	s.b.seen.await(t.Context(), issuer)
	return s, c
}

func TestWhatWasSeenIsRecordedWhenItChanges(t *testing.T) {
	s, c := counted(t)
	for range 10 {
		s.sees("shop", namedToken)
		s.sees("wiki", unnamedToken)
		s.get()
		s.settled()
		s.w.clock.advance(time.Hour)
	}
	before := c.writes()
	if before == 0 || before > 3 {
		t.Errorf("it was recorded %d times", before)
	}
	s.w.clock.advance(missingAgain) // that a client lacks something still is noted once a day
	for range 10 {
		s.sees("shop", namedToken)
		s.sees("wiki", unnamedToken)
		s.settled()
	}
	if got := c.writes() - before; got != 1 {
		t.Errorf("it was recorded %d times a day later", got)
	}
	// Servers of one OP whose keys differ do not have it recorded with each request.
	documents := []string{documentOf(t, newKey(t, "1")), documentOf(t, newKey(t, "2"))}
	before = c.writes()
	for i := range 20 {
		s.document = documents[i%2]
		s.get()
	}
	if got := c.writes() - before; got > 1 {
		t.Errorf("the OP's keys were recorded %d times", got)
	}
}

// The one that brings the news waits for it to be recorded, as long as any call of the registry may take. The others do not.
func TestSignInsDoNotWaitForWhatAnotherRecords(t *testing.T) {
	s, c := counted(t)
	c.hang = make(chan struct{})
	first := make(chan struct{})
	go func() {
		defer close(first)
		s.sees("0", unnamedToken)
	}()
	for range 6000 {
		if c.writes() > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for i := range 100 {
		s.sees(fmt.Sprint(i), unnamedToken)
	}
	if got := c.writes(); got > 1 {
		t.Errorf("%d calls were under way at once", got)
	}
	if s.b.Tells(s.op) {
		t.Error("what was seen does not count before it is recorded")
	}
	close(c.hang)
	<-first
	s.restart()
	if s.adds() {
		t.Error("what was seen while the registry hung is lost")
	}
}

func TestARegistryThatIsAwayIsSaidOnceAndToldLater(t *testing.T) {
	s, c := counted(t)
	c.err = registry.ErrUnavailable
	failed := func() {
		for range 6000 {
			if len(s.logged("what was seen of the OP is not recorded")) == 1 {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("it is not said")
	}
	s.sees("shop", namedToken)
	failed()
	for range 10 {
		s.sees("shop", namedToken)
	}
	if got := c.writes(); got != 1 {
		t.Errorf("it was tried %d times within a moment", got)
	}
	if !s.adds() {
		t.Error("what was seen does not count")
	}
	c.mu.Lock()
	c.err = nil
	c.mu.Unlock()
	s.w.clock.advance(observationsRetryIn)
	s.sees("shop", namedToken)
	s.settled()
	failed() // once
}

// What was seen while the registry was away joins what it has.
func TestWhatWasSeenBeforeTheRegistryOpenedIsKept(t *testing.T) {
	s := newTold(t, generated(), false, newKey(t, "1"))
	s.sees("wiki", unnamedToken)
	s.settled()
	s.w.env.Registry = downRegistry{}
	s.restart()
	s.b.seen.patient = false
	s.sees("shop", tokens.IDToken{KeyID: "1"})
	<-s.b.seen.load(issuer)
	s.b.seen.env.Registry = s.w.store
	s.w.clock.advance(observationsRetryIn)
	s.settled()
	got, _, err := s.w.store.Observed(t.Context(), issuer)
	if err != nil || !got.KeyIDs.Seen || len(got.KeyIDs.Missing) != 1 || len(got.SessionIDs.Missing) != 1 {
		t.Errorf("recorded is %+v, %v", got, err)
	}
	if s.adds() || s.b.Tells(s.op) {
		t.Error("what was recorded before does not count")
	}
}

func TestWhatIsKnownOfClientsIsBounded(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var p registry.Presence
	for i := range 3 * registry.MaxMissing {
		p = saw(p, strings.Repeat("x", 2*registry.MaxString-i%2)+fmt.Sprint(i), false, now)
		p = saw(p, fmt.Sprint(i), false, now)
	}
	if len(p.Missing) != registry.MaxMissing {
		t.Errorf("%d clients are known", len(p.Missing))
	}
	full := p
	if p = saw(p, "late", false, now.Add(time.Hour)); !slices.Equal(p.Missing, full.Missing) {
		t.Error("a client takes the place of one that was seen a moment ago")
	}
	if p = saw(p, "late", false, now.Add(missingAgain)); len(p.Missing) != registry.MaxMissing || !slices.ContainsFunc(p.Missing, func(m registry.Missing) bool { return m.ClientID == "late" }) {
		t.Error("a client does not take the place of one that was not seen for a day")
	}
	if slices.ContainsFunc(full.Missing, func(m registry.Missing) bool { return m.ClientID == "late" }) {
		t.Error("what was known before has changed")
	}
}

// A client may be gone for good.
func TestAClientThatIsNotSeenForAMonthCountsNoMore(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	p := saw(registry.Presence{}, "old", false, now)
	if p = saw(p, "shop", true, now.Add(missingFor-time.Hour)); isPresent(p) {
		t.Error("it counts no more already")
	}
	if p = saw(p, "shop", true, now.Add(missingFor)); !isPresent(p) {
		t.Errorf("it counts still: %+v", p)
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
