package registry_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
	"github.com/oidc-session/caddy-oidc-session/registry/storetest"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// TestRandomSequences does random things with three browsers of three users, on two servers that
// share a store, and compares the registry with a simple model of the specification. The seed is
// fixed; OIDC_SESSION_MODEL_SEED has another one, to repeat a failure with or to look for more.
func TestRandomSequences(t *testing.T) {
	seed := uint64(1)
	if value := os.Getenv("OIDC_SESSION_MODEL_SEED"); value == "random" {
		seed = rand.Uint64()
	} else if value != "" {
		seed, _ = strconv.ParseUint(value, 10, 64)
	}
	for i := range uint64(100) {
		t.Run(fmt.Sprint("seed ", seed+i), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, rand.New(rand.NewPCG(seed+i, 1)))
			for step := 0; step < 250 && !t.Failed(); step++ {
				m.step()
				m.compare()
			}
			if !t.Failed() {
				m.drain()
			}
			if t.Failed() {
				t.Fatal(strings.Join(m.did, "\n"))
			}
		})
	}
}

const modelBrowsers = 3

// A modelSession is what must be so of a session. It is lost once nothing is recorded of it.
type modelSession struct {
	limit, forgotten registry.Time // forgotten: unless a code of it is redeemed before; zero: not
	ended, lost      bool
}

// A modelResponse is an authorization response that was made.
type modelResponse struct {
	join  registry.Join
	made  time.Time
	order int // of all
	sub   string
	in    sessionstate.SessionID // where it was redeemed
}

// A modelNotice is a notice that is owed until it is delivered, or given up.
type modelNotice struct {
	owed      registry.PendingNotice
	claimable time.Time // not before
	lease     uint64
	dead      bool
}

// A model is what must be so, beside the servers.
type model struct {
	*testing.T

	random    *rand.Rand
	servers   []*registry.Registry
	store     *fake
	clock     *storetest.Clock
	sessions  map[sessionstate.SessionID]*modelSession
	cookies   [modelBrowsers]sessionstate.SessionID
	responses []*modelResponse
	orders    int
	// up to which response no order counts: the sessions ended
	broken [modelBrowsers]int
	// that was redeemed, by the order in which they were made
	latest  [modelBrowsers]*modelResponse
	owed    map[registry.NoticeID]*modelNotice
	claimed []registry.PendingNotice
	ending  []*registry.Session // that the last step has ended
	did     []string
}

func newModel(t *testing.T, random *rand.Rand) *model {
	m := &model{
		T: t, random: random, clock: storetest.NewClock(),
		sessions: make(map[sessionstate.SessionID]*modelSession), owed: make(map[registry.NoticeID]*modelNotice),
	}
	m.store = &fake{Store: memory.New(m.clock.Now)}
	for range 2 {
		m.servers = append(m.servers, registry.Open(opener(func() (registry.Store, error) { return m.store, nil }), m.ended, zap.NewNop()))
	}
	return m
}

func (m *model) server() *registry.Registry { return m.servers[m.random.IntN(2)] }

func (m *model) now() registry.Time { return registry.At(m.clock.Now()) }

func (m *model) note(format string, args ...any) {
	m.did = append(m.did, m.clock.Now().Format("02 15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// name is what tells a session from others in the story.
func name(id sessionstate.SessionID) string { return fmt.Sprintf("%x", id[12:]) }

func (m *model) check(err error) {
	m.Helper()
	if err != nil {
		m.Error(err)
	}
}

// ended is changed of each session once, and each of its subjects is owed a notice from then on.
func (m *model) ended(sessions []*registry.Session) {
	m.ending = append(m.ending, sessions...)
	for _, s := range sessions {
		m.note("  ended: %s %s", name(s.ID), s.Reason)
		known := m.sessions[s.ID]
		if known == nil { // it was over before it was known
			known = &modelSession{limit: s.Limit}
			m.sessions[s.ID] = known
		}
		if known.ended {
			m.Errorf("session %s ends twice", name(s.ID))
		}
		known.ended = true
		if s.Reason != registry.ReasonUserSwitch {
			b := m.browserOf(s.ID)
			m.broken[b], m.latest[b] = m.orders, nil
		}
		for _, c := range s.Clients {
			for _, subject := range c.Subjects {
				m.owe(s, c.ID, subject.Sub, subject.Sid, false)
			}
		}
		for _, o := range s.Leased() { // its server delivers it at once, or is killed
			m.take(o)
		}
	}
}

func (m *model) browserOf(id sessionstate.SessionID) int {
	for b := range modelBrowsers {
		if registry.PlaceOf(issuer, browserID(b)) == registry.PlaceOfSession(id) {
			return b
		}
	}
	m.Fatalf("session %s is no browser's", id)
	return 0
}

func (m *model) owe(s *registry.Session, client, sub, sid string, late bool) {
	o := registry.PendingNotice{Session: s.ID, Reason: s.Reason, ClientID: client, Sub: sub, Sid: sid}
	o.Late = late
	if n := m.owed[o.ID()]; n == nil || n.dead || late && n.lease != 0 {
		m.owed[o.ID()] = &modelNotice{owed: o}
	}
}

// take notes that a server has claimed a notice.
func (m *model) take(o registry.PendingNotice) {
	n := m.owed[o.ID()]
	switch {
	case n == nil:
		m.Errorf("%s is notified of %s %s, which it is not owed", o.ClientID, o.Sub, o.Sid)
		return
	case n.dead:
		m.Errorf("a notice that was given up is claimed")
	case m.clock.Now().Before(n.claimable):
		m.Errorf("%s is notified of %s %s twice at a time", o.ClientID, o.Sub, o.Sid)
	}
	n.claimable, n.lease = m.clock.Now().Add(registry.Lease), o.Lease
	m.claimed = append(m.claimed, o)
}

// step does something.
func (m *model) step() {
	m.ending = nil
	m.clock.Advance(time.Millisecond)
	switch n := m.random.IntN(100); {
	case n < 30:
		m.join(m.random.IntN(modelBrowsers))
	case n < 55:
		m.redeem()
	case n < 60:
		m.endBrowser(m.random.IntN(modelBrowsers))
	case n < 63:
		m.endUser(user(m.random.IntN(3)))
	case n < 66:
		m.endHolder()
	case n < 78:
		m.claim()
	case n < 90:
		m.settle()
	case n < 99:
		m.clock.Advance([]time.Duration{time.Second, 5 * time.Second, 31 * time.Second, 3 * time.Minute, 11 * time.Minute, 31 * time.Minute}[m.random.IntN(6)])
		m.note("time passes")
	case m.random.IntN(3) == 0:
		m.lose()
	}
}

func user(n int) string { return []string{"alice", "bob", "carol"}[n] }

// join makes a response in a browser, or brings that of another browser.
func (m *model) join(b int) {
	// the cookie expires with it
	if s := m.sessions[m.cookies[b]]; s != nil && m.now() >= s.limit {
		m.broken[b], m.latest[b] = m.orders, nil
		m.cookies[b] = sessionstate.SessionID{}
	}
	r := &modelResponse{made: m.clock.Now(), sub: user(m.random.IntN(3)), join: registry.Join{
		Issuer: issuer, Browser: browserID(b), Session: m.cookies[b], Response: responseID(m.random.Uint64()),
		ClientID: []string{"shop", "wiki"}[m.random.IntN(2)], Lifetime: time.Hour, Notify: true, AcrossClients: true,
	}}
	reflected := false
	if n := len(m.responses); n > 0 && m.random.IntN(10) == 0 {
		other := m.responses[n-1-m.random.IntN(min(n, 4))]
		if reflected = m.clock.Now().Sub(other.made) < registry.CodeLifetime; reflected {
			r.join.Response = other.join.Response
		}
	}
	m.forget()
	held := m.sessions[r.join.Session]
	joined, err := m.server().Join(m.Context(), r.join)
	if m.check(err); err != nil {
		return
	}
	m.note("browser %d joins %s, %s as %s, code %x", b, name(joined.Session.ID), r.join.ClientID, r.sub, r.join.Response[:2])
	s := m.started(joined.Session)
	if held != nil && held.lost && !held.ended && joined.Session.ID != r.join.Session {
		m.Errorf("the lost session %s goes on as %s", name(r.join.Session), name(joined.Session.ID))
	}
	if joined.Started || s.forgotten != 0 {
		s.forgotten = m.now().Add(registry.CodeLifetime)
	}
	m.cookies[b] = joined.Session.ID
	m.orders++
	if r.order = m.orders; !reflected {
		m.responses = append(m.responses, r)
	}
}

// started is the model of a session that a call returned as one that lives.
func (m *model) started(s *registry.Session) *modelSession {
	known := m.sessions[s.ID]
	switch {
	case known == nil || known.lost:
		known = new(modelSession)
		m.sessions[s.ID] = known
	case known.ended:
		m.Errorf("the ended session %s lives again", name(s.ID))
	}
	known.limit = s.Limit
	return known
}

// redeem redeems any of the last codes, as its user.
func (m *model) redeem() {
	if len(m.responses) == 0 {
		return
	}
	r := m.responses[len(m.responses)-1-m.random.IntN(min(len(m.responses), 6))]
	b := slices.IndexFunc([]int{0, 1, 2}, func(b int) bool { return browserID(b) == r.join.Browser })
	d := redeems(r.join, r.sub, []string{"", "1", "2"}[m.random.IntN(3)])
	d.AcrossClients = true
	redeemed, err := m.server().Redeem(m.Context(), d)
	s := redeemed.Session
	m.check(err)
	if known := m.clock.Now().Sub(r.made) < registry.CodeLifetime; known != (s != nil) {
		m.Errorf("a code is known: %v, of %s", s != nil, r.made)
	}
	if s == nil {
		return
	}
	m.note("browser %d redeems %x: %s, %s %s", b, r.join.Response[:2], name(s.ID), d.Sub, d.Sid)
	equal(m, "browser of the code", m.browserOf(s.ID), b)
	if s.Ended != 0 {
		m.owe(s, r.join.ClientID, d.Sub, d.Sid, true)
	} else {
		m.started(s).forgotten = 0
	}
	if r.order > m.broken[b] {
		m.order(b, r, s)
	}
}

// order checks that who signed in follows the order of the responses, not of their codes.
func (m *model) order(b int, r *modelResponse, s *registry.Session) {
	r.in = s.ID
	last := m.latest[b]
	if last == nil || r.order > last.order {
		m.latest[b] = r
		equal(m, "the last response's session lives", s.Live(m.now()), true)
	}
	if last == nil {
		return
	}
	switch over := m.sessions[last.in].ended; {
	case r.order < last.order && over:
		m.Errorf("a late code for %s ends the session of %s", r.sub, last.sub)
	case r.order > last.order && r.sub != last.sub && !over:
		m.Errorf("%s is signed in, and the session of %s lives on", r.sub, last.sub)
	}
}

func (m *model) endBrowser(b int) {
	ended, err := m.server().End(m.Context(), registry.Ending{Place: registry.PlaceOf(issuer, browserID(b)), Reason: registry.ReasonLogout})
	m.check(err)
	m.note("browser %d signs out of %d sessions", b, len(ended))
	m.gone("", func(s *registry.Session) bool { return m.browserOf(s.ID) == b })
}

func (m *model) endUser(sub string) {
	m.note("an operator ends %s's", sub)
	_, _, err := m.server().EndUser(m.Context(), issuer, sub, registry.ReasonOperator, "")
	m.check(err)
	m.gone(registry.ReasonOperator, func(s *registry.Session) bool { return holds(s, "", sub, "") })
}

func (m *model) endHolder() {
	m.note("alice's sid 1 at the shop ends")
	holder := registry.Holder{ClientID: "shop", Sub: "alice", Sid: "1"}
	_, err := m.server().EndHolder(m.Context(), issuer, holder, registry.Ending{Reason: registry.ReasonOPEnded})
	m.check(err)
	m.gone(registry.ReasonOPEnded, func(s *registry.Session) bool { return holds(s, "shop", "alice", "1") })
}

// gone checks that of those that are meant none lives, and that none else has ended for the
// reason.
func (m *model) gone(reason registry.Reason, meant func(*registry.Session) bool) {
	for _, s := range m.live() {
		if meant(s) {
			m.Errorf("session %s lives on", name(s.ID))
		}
	}
	for _, s := range m.ending {
		if s.Reason == reason && !meant(s) {
			m.Errorf("session %s has ended, too", name(s.ID))
		}
	}
}

// holds reports whether a session has such a subject; empty: any.
func holds(s *registry.Session, client, sub, sid string) bool {
	return slices.ContainsFunc(s.Clients, func(c *registry.Client) bool {
		return (client == "" || c.ID == client) && slices.ContainsFunc(c.Subjects, func(p *registry.Subject) bool {
			return p.Sub == sub && (sid == "" || p.Sid == sid)
		})
	})
}

// recorded lists the sessions of all browsers.
func (m *model) recorded() (all []*registry.Session) {
	for b := range modelBrowsers {
		sessions, err := m.server().Browser(m.Context(), registry.PlaceOf(issuer, browserID(b)))
		m.check(err)
		all = append(all, sessions...)
	}
	return all
}

func (m *model) live() []*registry.Session {
	now := m.now()
	return slices.DeleteFunc(m.recorded(), func(s *registry.Session) bool { return !s.Live(now) })
}

func (m *model) owing() map[registry.NoticeID]registry.PendingNotice {
	all := make(map[registry.NoticeID]registry.PendingNotice)
	for _, s := range m.recorded() {
		for _, o := range s.Pending() {
			all[o.ID()] = o
		}
	}
	return all
}

// claim claims what is due. Passive notices are held back or dropped for what lives beside them.
func (m *model) claim() {
	some, _, err := m.server().Claim(m.Context(), 100)
	m.check(err)
	m.note("%d are claimed", len(some))
	for _, o := range some {
		if m.standsAgainst(o, false) {
			m.Errorf("%s is notified of the %s of %s %q, who is signed in there", o.ClientID, o.Reason, o.Sub, o.Sid)
		}
		m.take(o)
	}
	after := m.owing()
	for id, n := range m.owed {
		if _, there := after[id]; there {
			continue
		}
		if o := n.owed; !m.standsAgainst(o, true) {
			m.Errorf("the notice of %s %s to %s is dropped for no reason", o.Sub, o.Sid, o.ClientID)
		}
		delete(m.owed, id)
	}
}

// standsAgainst reports whether a notice must not be delivered now; equal: since the end of a
// session that lives brings an equal one.
func (m *model) standsAgainst(o registry.PendingNotice, equal bool) bool {
	if o.Reason != registry.ReasonExpiry && o.Reason != registry.ReasonUserSwitch && (!o.Late || o.Sid != "") {
		return false
	}
	return slices.ContainsFunc(m.live(), func(s *registry.Session) bool {
		client := s.Client(o.ClientID)
		return client != nil && slices.ContainsFunc(client.Subjects, func(p *registry.Subject) bool {
			return p.Sub == o.Sub && (p.Sid == o.Sid || o.Sid == "" && !equal)
		})
	})
}

// settle has servers finish with what they have claimed, or be killed.
func (m *model) settle() {
	var outcomes []registry.Outcome
	for _, o := range m.claimed {
		n := m.owed[o.ID()]
		outcome := registry.Outcome{Notice: o, Attempts: o.Attempts + 1}
		switch kind := m.random.IntN(10); {
		// killed
		case n == nil || n.lease != o.Lease || !m.clock.Now().Before(n.claimable) || kind == 0:
			continue
		case kind == 1:
			outcome.Due = m.now().Add(time.Minute)
			n.claimable, n.lease = outcome.Due.Time(), 0
		case kind == 2:
			outcome.Dead, n.dead = true, true
		default:
			outcome.Delivered = true
			delete(m.owed, o.ID())
		}
		outcomes = append(outcomes, outcome)
	}
	m.claimed = nil
	m.note("%d are settled", len(outcomes))
	m.check(m.server().RecordOutcomes(m.Context(), outcomes))
}

// lose empties the store.
func (m *model) lose() {
	m.note("the store is lost")
	m.store.Store = memory.New(m.clock.Now)
	for _, s := range m.sessions {
		s.lost, s.ended, s.forgotten = true, false, 0
	}
	clear(m.owed)
	m.claimed, m.responses, m.latest = nil, nil, [modelBrowsers]*modelResponse{}
	m.broken = [modelBrowsers]int{m.orders, m.orders, m.orders}
}

// forget notes which sessions are forgotten by now: nobody has redeemed a code of theirs.
func (m *model) forget() {
	for _, s := range m.sessions {
		s.lost = s.lost || !s.ended && s.forgotten != 0 && s.forgotten <= m.now()
	}
}

// compare compares the registry with the model.
func (m *model) compare() {
	m.forget()
	now := m.now()
	for id, s := range m.sessions {
		want := registry.Live
		switch {
		case s.ended, now >= s.limit && !s.lost, now >= s.limit.Add(time.Minute):
			want = registry.Ended
		case s.lost:
			want = registry.Unknown
		}
		state, _, err := m.server().Resolve(m.Context(), registry.Ref{Session: id, Until: s.limit.Time()})
		m.check(err)
		// still there
		if forgotten := s.lost && s.forgotten != 0; state != want && (!forgotten || state != registry.Live) {
			m.Errorf("session %s is %d, want %d: %+v", name(id), state, want, s)
		}
	}
	listed := 0
	sessions, _, err := m.server().Owing(m.Context(), "", 100)
	for _, s := range must(m, sessions, err) {
		listed += len(s.Pending())
	}
	equal(m, "notices listed", listed, len(m.owed))
	equal(m, "notices owed", len(m.owing()), len(m.owed))
}

// drain delivers until nothing is owed but what was given up.
func (m *model) drain() {
	for range 200 {
		m.clock.Advance(5 * time.Minute)
		m.claim()
		m.settle()
	}
	for id, n := range m.owed {
		if !n.dead {
			m.Errorf("notice %s is never delivered", id)
		}
	}
}
