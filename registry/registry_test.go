package registry_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
	"github.com/oidc-session/caddy-oidc-session/registry/storetest"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const issuer = "https://op.example.com"

// A fake is a store that a test has its hand in.
type fake struct {
	registry.Store

	edit func(ctx context.Context, edits []*registry.Edit) error // nil: the store's own
	due  func() ([]registry.Key, error)
}

func (f *fake) Edit(ctx context.Context, edits ...*registry.Edit) error {
	if f.edit != nil {
		return f.edit(ctx, edits)
	}
	return f.Store.Edit(ctx, edits...)
}

func (f *fake) Due(ctx context.Context, limit int) ([]registry.Key, error) {
	if f.due != nil {
		return f.due()
	}
	return f.Store.Due(ctx, limit)
}

type opener func() (registry.Store, error)

func (o opener) Open(*zap.Logger) (registry.Store, error) { return o() }
func (o opener) SharingKey() string                       { return "test" }

// A world is a registry over a store in memory.
type world struct {
	*testing.T
	*registry.Registry

	store *fake
	clock *storetest.Clock
	logs  *observer.ObservedLogs

	mu    sync.Mutex
	ended []registry.Reason // as announced
	ids   uint64
}

func newWorld(t *testing.T) *world {
	clock := storetest.NewClock()
	return onStore(t, &fake{Store: memory.New(clock.Now)}, clock)
}

// onStore is one of several servers that share a store.
func onStore(t *testing.T, store *fake, clock *storetest.Clock) *world {
	core, logs := observer.New(zapcore.InfoLevel)
	logger := zap.New(core)
	w := &world{T: t, store: store, clock: clock, logs: logs}
	w.Registry = registry.Open(opener(func() (registry.Store, error) { return store, nil }), func(sessions []*registry.Session) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, s := range sessions {
			w.ended = append(w.ended, s.Reason)
		}
	}, logger)
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// announced are the reasons of the ends since the last time, in order.
func (w *world) announced() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	reasons := slices.Sorted(slices.Values(w.ended))
	w.ended = nil
	return strings.Trim(fmt.Sprint(reasons), "[]")
}

func must[T any](t testing.TB, value T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

func browserID(n int) (id sessionstate.BrowserID) {
	binary.BigEndian.PutUint64(id[:], uint64(n)+1)
	return id
}

// aJoin is the next response of a browser, for the shop.
func (w *world) aJoin(browser int) registry.Join {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids++
	return registry.Join{
		Issuer: issuer, Browser: browserID(browser), Response: responseID(w.ids), ClientID: "shop",
		Origin: "https://shop.example.com", Lifetime: time.Hour, Notify: true,
	}
}

func responseID(n uint64) (id sessionstate.ResponseID) {
	binary.BigEndian.PutUint64(id[:], n)
	return id
}

func redeems(j registry.Join, sub, sid string) registry.Redemption {
	return registry.Redemption{
		Issuer: j.Issuer, Response: j.Response, Audience: []string{j.ClientID}, Sub: sub, Sid: sid, Lifetime: j.Lifetime, Notify: j.Notify,
	}
}

func (w *world) join(j registry.Join) *registry.Session {
	w.Helper()
	joined, err := w.Join(w.Context(), j)
	return must(w, joined, err).Session
}

func (w *world) redeem(d registry.Redemption) *registry.Session {
	w.Helper()
	redeemed, err := w.Redeem(w.Context(), d)
	return must(w, redeemed, err).Session
}

// signIn is a response and its code.
func (w *world) signIn(browser int, sub, sid string) *registry.Session {
	w.Helper()
	j := w.aJoin(browser)
	w.join(j)
	return w.redeem(redeems(j, sub, sid))
}

func (w *world) end(browser int) []*registry.Session {
	w.Helper()
	ended, err := w.End(w.Context(), registry.Ending{Place: registry.PlaceOf(issuer, browserID(browser)), Reason: registry.ReasonLogout})
	return must(w, ended, err)
}

func (w *world) state(s *registry.Session) registry.State {
	w.Helper()
	state, _, err := w.Resolve(w.Context(), registry.Ref{Session: s.ID, Until: s.Limit.Time()})
	return must(w, state, err)
}

// claims takes all that is due: client, sub, sid, in order.
func (w *world) claims() (claimed []registry.PendingNotice, names string) {
	w.Helper()
	for none := false; !none; {
		var some []registry.PendingNotice
		var err error
		some, none, err = w.Claim(w.Context(), 100)
		claimed = append(claimed, must(w, some, err)...)
	}
	var all []string
	for _, o := range claimed {
		all = append(all, strings.Join([]string{o.ClientID, o.Sub, o.Sid}, " "))
	}
	slices.Sort(all)
	return claimed, strings.Join(all, ", ")
}

func keyOf(browser int) registry.Key {
	place := registry.PlaceOf(issuer, browserID(browser))
	return registry.Key("b" + string(place[:]))
}

// put writes a value where a browser's record is.
func (w *world) put(browser int, value []byte) {
	w.Helper()
	edit := &registry.Edit{Key: keyOf(browser), Rule: func([]byte) (*registry.Change, error) {
		return &registry.Change{Value: value, Expires: w.clock.Now().Add(time.Hour), Ends: w.clock.Now()}, nil
	}}
	if err := errors.Join(w.store.Store.Edit(w.Context(), edit), edit.Err); err != nil {
		w.Fatal(err)
	}
}

func (w *world) value(browser int) string {
	w.Helper()
	values, err := w.store.Get(w.Context(), true, keyOf(browser))
	return string(must(w, values, err)[0])
}

func TestRegistry(t *testing.T) {
	for name, test := range map[string]func(*world){
		"a sign-in is known by its session, browser, response and user": func(w *world) {
			j := w.aJoin(1)
			w.join(j)
			s := w.redeem(redeems(j, "alice", "1"))
			equal(w, "state", w.state(s), registry.Live)
			equal(w, "place", registry.PlaceOfSession(s.ID), registry.PlaceOf(issuer, browserID(1)))
			sessions, err := w.Browser(w.Context(), registry.PlaceOfSession(s.ID))
			equal(w, "browser's", must(w, sessions, err)[0].ID, s.ID)
			response, found, err := w.Response(w.Context(), issuer, j.Response)
			equal(w, "response", must(w, found, err), true)
			equal(w, "response's", response.Session == s.ID && response.Origin == j.Origin && response.Redeemed > response.Made, true)
			sessions, next, err := w.User(w.Context(), issuer, "alice", "")
			equal(w, "user's", must(w, sessions, err)[0].ID, s.ID)
			equal(w, "next", next, "")
		},
		"a response without a code is redeemed as soon as it is made": func(w *world) {
			j := w.aJoin(1)
			j.Complete = true
			s := w.join(j)
			response, found, err := w.Response(w.Context(), issuer, j.Response)
			equal(w, "response", must(w, found, err), true)
			equal(w, "response's", response.Session == s.ID && response.Origin == j.Origin && response.Redeemed == response.Made, true)
			w.clock.Advance(registry.CodeLifetime)
			w.claims()
			equal(w, "state ten minutes later", w.state(s), registry.Live)
		},
		"a response is not found ten minutes after it was made": func(w *world) {
			found := func(j registry.Join) bool {
				w.Helper()
				_, found, err := w.Response(w.Context(), issuer, j.Response)
				return must(w, found, err)
			}
			code, complete := w.aJoin(1), w.aJoin(2)
			complete.Complete = true
			moved := w.aJoin(3)
			moved.Session, moved.AcrossClients = w.signIn(3, "alice", "1").ID, true
			for _, j := range []registry.Join{code, complete, moved} {
				w.join(j)
			}
			equal(w, "successor", w.redeem(redeems(moved, "bob", "2")).Predecessor, moved.Session)
			w.clock.Advance(registry.CodeLifetime - time.Millisecond)
			equal(w, "before", found(code) && found(complete) && found(moved), true)
			w.clock.Advance(time.Second)
			equal(w, "after", found(code) || found(complete) || found(moved), false)
			w.join(moved) // the OP responds with the code again
			equal(w, "one that is remembered for longer", found(moved), false)
		},
		"what is not found is no error": func(w *world) {
			_, found, err := w.Response(w.Context(), issuer, responseID(9))
			equal(w, "response", must(w, found, err), false)
			sessions, err := w.Browser(w.Context(), registry.Place{})
			equal(w, "browser's", len(must(w, sessions, err)), 0)
			equal(w, "redeemed", w.redeem(redeems(w.aJoin(1), "alice", "")), nil)
			equal(w, "ended", len(w.end(1)), 0)
			sessions, _, err = w.User(w.Context(), issuer, "alice", "")
			equal(w, "user's", len(must(w, sessions, err)), 0)
		},
		"issuers do not see each other's records": func(w *world) {
			j := w.aJoin(1)
			s := w.join(j)
			d := redeems(j, "alice", "")
			d.Issuer += "/tenant"
			equal(w, "redeemed", w.redeem(d), nil)
			other := j
			other.Issuer += "/tenant"
			equal(w, "session", w.join(other).ID == s.ID, false)
			w.end(1)
			sessions, err := w.Browser(w.Context(), registry.PlaceOf(other.Issuer, other.Browser))
			equal(w, "lives there", must(w, sessions, err)[0].Ended, 0)
		},
		"rule 1: what is not recorded is unknown until its time is over": func(w *world) {
			s := w.signIn(1, "alice", "1")
			w.store.Store = memory.New(w.clock.Now) // all is lost
			equal(w, "state", w.state(s), registry.Unknown)
			w.clock.Advance(time.Hour)
			equal(w, "at its limit", w.state(s), registry.Unknown)
			w.clock.Advance(time.Minute)
			equal(w, "after it", w.state(s), registry.Ended)
			state, _, err := w.Resolve(w.Context(), registry.Ref{Session: s.ID})
			equal(w, "with no limit known", must(w, state, err), registry.Unknown)
		},
		"a session that was lost goes on under its ID, and is seen to end": func(w *world) {
			s := w.signIn(1, "alice", "1")
			w.store.Store = memory.New(w.clock.Now)
			j := w.aJoin(1)
			j.Session = s.ID
			equal(w, "session", w.join(j).ID, s.ID)
			equal(w, "state", w.state(s), registry.Live)
			w.end(1)
			equal(w, "state", w.state(s), registry.Ended)
		},
		"rule 2: what leads to a record is in one edit with it, and is verified by it": func(w *world) {
			j := w.aJoin(1)
			w.store.edit = func(ctx context.Context, edits []*registry.Edit) error {
				e := edits[0]
				if len(e.Marks) != 2 || e.Marks[0].Member != j.ClientID || e.Marks[1].Member != string(keyOf(1)[1:]) || e.Key != keyOf(1) {
					w.Errorf("the edit is of %q, with the marks %+v", e.Key, e.Marks)
				}
				return w.store.Store.Edit(ctx, edits...)
			}
			j.Sub = "alice"
			w.join(j)
			w.redeem(redeems(j, "bob", "2"))
			w.store.edit = nil
			w.put(1, nil) // the record goes, what leads to it stays
			equal(w, "redeemed", w.redeem(redeems(j, "alice", "")), nil)
			_, found, err := w.Response(w.Context(), issuer, j.Response)
			equal(w, "response", must(w, found, err), false)
			w.signIn(1, "carol", "3")
			sessions, _, err := w.User(w.Context(), issuer, "alice", "")
			equal(w, "alice's", len(must(w, sessions, err)), 0)
		},
		"rule 4: a code is its first browser's": func(w *world) {
			j := w.aJoin(1)
			first := w.join(j)
			reflected := w.aJoin(2)
			reflected.Response = j.Response
			w.join(reflected)
			equal(w, "session", w.redeem(redeems(j, "alice", "")).ID, first.ID)
			sessions, err := w.Browser(w.Context(), registry.PlaceOf(issuer, browserID(2)))
			equal(w, "subjects of the other", len(must(w, sessions, err)[0].Clients[0].Subjects), 0)
		},
		"rule 5: the order of responses is that of writes, though the clock goes back": func(w *world) {
			first := w.aJoin(1)
			s := w.join(first)
			w.clock.Advance(-5 * time.Minute)
			last := w.aJoin(1)
			last.Session = s.ID
			w.join(last)
			bob := w.redeem(redeems(last, "bob", ""))
			alice := w.redeem(redeems(first, "alice", ""))
			equal(w, "alice's successor", alice.Successor, bob.ID)
			equal(w, "bob's", w.state(bob), registry.Live)
		},
		"rule 6: sessions that expire while no server runs are noticed a day later": func(w *world) {
			w.signIn(1, "alice", "1")
			w.clock.Advance(24 * time.Hour)
			_, names := w.claims() // ends it, too
			equal(w, "claimed", names, "shop alice 1")
			equal(w, "announced", w.announced(), "expiry")
		},
		"rule 7: a record of a newer version is never overwritten": func(w *world) {
			s := w.signIn(1, "alice", "1")
			newer := "\x02" + w.value(1)[1:]
			w.put(1, []byte(newer))
			_, err := w.Join(w.Context(), w.aJoin(1))
			_, endErr := w.End(w.Context(), registry.Ending{Place: registry.PlaceOfSession(s.ID), Reason: registry.ReasonLogout})
			state, _, resolveErr := w.Resolve(w.Context(), registry.Ref{Session: s.ID})
			_, _, userErr := w.EndUser(w.Context(), issuer, "alice", registry.ReasonOperator, "")
			_, _, claimErr := w.Claim(w.Context(), 10)
			for i, err := range []error{err, endErr, resolveErr, userErr, claimErr} {
				if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "update this server") {
					w.Errorf("error %d is %v", i, err)
				}
			}
			equal(w, "state", state, registry.Unknown)
			equal(w, "value", w.value(1), newer)
			equal(w, "another browser's", w.state(w.signIn(2, "alice", "2")), registry.Live)
		},
		"a damaged record is lost alone, and said so once": func(w *world) {
			s, other := w.signIn(1, "alice", "1"), w.signIn(2, "alice", "2")
			w.put(1, []byte("\x01\xff nonsense"))
			equal(w, "state", w.state(s), registry.Unknown)
			sessions, _, err := w.User(w.Context(), issuer, "alice", "")
			equal(w, "user's", must(w, sessions, err)[0].ID, other.ID)
			for range 3 { // it is due
				w.claims()
				w.clock.Advance(3 * time.Second)
			}
			equal(w, "logged", w.logs.FilterMessage("session record lost: damaged").Len(), 1)
			j := w.aJoin(1)
			j.Session = s.ID
			equal(w, "session", w.join(j).ID, s.ID)
		},
		"whoever watches hears of a damaged record once it is met": func(w *world) {
			for i, meet := range []func(browser int){
				func(browser int) { w.end(browser) }, func(int) { w.claims() }, func(browser int) { w.join(w.aJoin(browser)) },
			} {
				s := w.signIn(i, "alice", "1")
				var heard []registry.State
				cancel := w.Watch(func(place registry.Place) {
					if place == registry.PlaceOfSession(s.ID) {
						heard = append(heard, w.state(s))
					}
				})
				w.put(i, []byte("\x01\xff nonsense"))
				meet(i)
				cancel()
				equal(w, fmt.Sprint("heard by ", i), fmt.Sprint(heard), fmt.Sprint([]registry.State{registry.Unknown}))
			}
		},
		"rule 8: what ends is not refused for want of room, nor a user switch": func(w *world) {
			s := w.signIn(1, "alice", "1")
			full, clients := false, 0
			for ; !full && clients < 600; clients++ {
				j := w.aJoin(1)
				j.Session, j.ClientID, j.Origin = s.ID, fmt.Sprintf("00000000-0000-0000-0000-%012d", clients), fmt.Sprintf("https://app-%d.example.com", clients)
				j.Sub, j.Sid = "alice", fmt.Sprintf("00000000-0000-0000-0000-%012d", clients)
				joined, err := w.Join(w.Context(), j)
				full = must(w, joined, err).Full
			}
			if clients < 300 || clients > 511 {
				w.Errorf("full after %d clients", clients)
			}
			bob := w.aJoin(1)
			bob.Session, bob.Sub, bob.AcrossClients = s.ID, "bob", true
			joined, err := w.Join(w.Context(), bob)
			equal(w, "full at the switch", must(w, joined, err).Full, false)
			successor := joined.Session
			equal(w, "predecessor", successor.Predecessor, s.ID)
			equal(w, "alice's", w.state(s), registry.Ended)
			equal(w, "ended", len(w.end(1)), 1)
			w.clock.Advance(time.Minute)
			claimed, _ := w.claims()
			if len(claimed) < clients-1 {
				w.Errorf("%d notices of %d", len(claimed), clients)
			}
			must(w, 0, w.RecordOutcomes(w.Context(), []registry.Outcome{{Notice: claimed[0], Dead: true, Why: strings.Repeat("x", 500)}}))
		},
		"codes that a page makes by the thousand leave room for a sign-in": func(w *world) {
			s := w.signIn(1, "alice", "1")
			for _, complete := range []bool{false, true} { // those without a code, too
				for range 1000 {
					j := w.aJoin(1)
					j.Session, j.Complete = s.ID, complete
					w.join(j)
				}
				for range 5 {
					j := w.aJoin(1)
					j.Session = s.ID
					joined, err := w.Join(w.Context(), j)
					equal(w, "full", must(w, joined, err).Full, false)
					equal(w, "session", w.redeem(redeems(j, "alice", "1")).ID, s.ID)
				}
				if size := len(w.value(1)); size > registry.MaxRecord {
					w.Errorf("the record has %d bytes", size)
				}
			}
		},
		"rule 10: another server's end is seen at once where the store caches nothing": func(w *world) {
			other := onStore(w.T, w.store, w.clock)
			s := w.signIn(1, "alice", "1")
			equal(w, "state", other.state(s), registry.Live)
			w.end(1)
			equal(w, "state", other.state(s), registry.Ended)
		},
		"whatever ends sessions, it is announced and whoever watches hears of it": func(w *world) {
			var heard []registry.Place
			defer w.Watch(func(place registry.Place) { heard = append(heard, place) })()
			expect := func(reasons string, browsers ...int) {
				w.Helper()
				equal(w, "announced", w.announced(), reasons)
				var want []registry.Place
				for _, browser := range browsers {
					want = append(want, registry.PlaceOf(issuer, browserID(browser)))
				}
				heard = slices.DeleteFunc(heard, func(place registry.Place) bool { return place == registry.Place{} })
				equal(w, reasons+" heard", slices.Equal(heard, want), true)
				heard = nil
			}
			w.signIn(1, "alice", "1")
			w.end(1)
			expect("logout", 1)
			first := w.aJoin(2)
			s := w.join(first)
			last := w.aJoin(2)
			last.Session = s.ID
			w.join(last)
			w.redeem(redeems(last, "bob", ""))
			expect("")
			w.redeem(redeems(first, "alice", "")) // was over before
			expect("user_switch", 2)
			ended, _, err := w.EndUser(w.Context(), issuer, "bob", registry.ReasonOperator, "")
			equal(w, "ended", len(must(w, ended, err)), 1)
			expect("operator", 2)
			for range registry.MaxBrowserSessions + 1 {
				w.join(w.aJoin(3))
			}
			expect("expiry", 3)
			short := w.aJoin(4)
			short.Lifetime = time.Minute
			w.join(short)
			w.redeem(redeems(short, "carol", ""))
			w.clock.Advance(5 * time.Minute)
			w.claims()
			expect("expiry", 4)
		},
		"whoever watches and hangs delays no other caller": func(w *world) {
			hangs, free := make(chan struct{}, 1), make(chan struct{})
			defer w.Watch(func(place registry.Place) {
				if place == registry.PlaceOf(issuer, browserID(1)) {
					hangs <- struct{}{}
					<-free
				}
			})()
			w.signIn(1, "alice", "1")
			w.signIn(2, "bob", "1")
			var all sync.WaitGroup
			all.Go(func() { w.end(1) })
			<-hangs
			ended := make(chan int, 1)
			all.Go(func() { ended <- len(w.end(2)) })
			select {
			case n := <-ended:
				equal(w, "ended", n, 1)
			case <-time.After(5 * time.Second):
				w.Error("an end of another browser waits for it")
			}
			close(free)
			all.Wait()
		},
		"ends and new sessions are announced beside what is forgotten by the same change": func(w *world) {
			for range 3 { // nobody redeems their codes
				w.join(w.aJoin(1))
			}
			w.clock.Advance(9 * time.Minute)
			first := w.aJoin(1)
			s := w.join(first)
			last := w.aJoin(1)
			last.Session = s.ID
			w.join(last)
			w.redeem(redeems(last, "bob", ""))
			w.clock.Advance(2 * time.Minute) // three are forgotten by the next one
			w.redeem(redeems(first, "alice", ""))
			equal(w, "announced", w.announced(), "user_switch")
		},
		"who ends a session has the first lease of what it owes": func(w *world) {
			w.signIn(1, "alice", "1")
			owed := w.end(1)[0].Pending()[0]
			equal(w, "leased", owed.Lease != 0, true)
			_, names := w.claims()
			equal(w, "claimed by another", names, "")
			must(w, 0, w.RecordOutcomes(w.Context(), []registry.Outcome{{Notice: owed, Delivered: true}}))
			w.clock.Advance(time.Hour)
			_, names = w.claims()
			equal(w, "claimed later", names, "")
		},
		"a claim that was not committed claims nothing": func(w *world) {
			w.signIn(1, "alice", "1")
			w.end(1)
			w.clock.Advance(registry.Lease + time.Second)
			w.store.edit = func(_ context.Context, edits []*registry.Edit) error {
				_, _ = edits[0].Apply([]byte(w.value(1)))
				return errors.New("disk full")
			}
			claimed, _, err := w.Claim(w.Context(), 10)
			if len(claimed) != 0 || !errors.Is(err, registry.ErrUnavailable) {
				w.Errorf("%d claimed, error %v", len(claimed), err)
			}
			w.store.edit = func(_ context.Context, edits []*registry.Edit) error {
				_, _ = edits[0].Apply([]byte(w.value(1)))
				edits[0].Err = errors.New("a race was lost")
				return nil
			}
			w.clock.Advance(2 * time.Second) // until it is listed again
			claimed, _, err = w.Claim(w.Context(), 10)
			if len(claimed) != 0 || !errors.Is(err, registry.ErrUnavailable) {
				w.Errorf("%d claimed by an edit that failed, error %v", len(claimed), err)
			}
		},
		"owing sessions are listed page by page": func(w *world) {
			for i := range 5 {
				w.signIn(i, "alice", "1")
				w.end(i)
			}
			w.signIn(9, "alice", "1")
			listed := 0
			for next, calls := registry.Position(""), 0; calls == 0 || next != ""; calls++ {
				var sessions []*registry.Session
				var err error
				sessions, next, err = w.Owing(w.Context(), next, 2)
				listed += len(must(w, sessions, err))
			}
			equal(w, "listed", listed, 5)
		},
		"a value counts once": func(w *world) {
			once := func(issuer string, value byte, leadsTo string) string {
				first, before, err := w.Once(w.Context(), issuer, [16]byte{value}, leadsTo, w.clock.Now().Add(time.Minute))
				return fmt.Sprint(must(w, first, err), before)
			}
			equal(w, "first", once(issuer, 1, ""), "true")
			equal(w, "again", once(issuer, 1, ""), "false")
			equal(w, "another", once(issuer, 2, "somewhere"), "true")
			equal(w, "leads to", once(issuer, 2, "elsewhere"), "falsesomewhere")
			led := func(issuer string, value byte) string {
				to, found, err := w.LeadsTo(w.Context(), issuer, [16]byte{value})
				return fmt.Sprint(must(w, found, err), to)
			}
			equal(w, "read", led(issuer, 2), "truesomewhere")
			equal(w, "read of another issuer's", led(issuer+"/tenant", 2), "false")
			equal(w, "another issuer's", once(issuer+"/tenant", 1, ""), "true")
			s := w.signIn(1, "alice", "1")
			equal(w, "no issuer's", once("", 1, string(s.ID[:])), "true")
			equal(w, "no issuer's again", once("", 1, ""), "false"+string(s.ID[:]))
			equal(w, "no issuer's, read", led("", 1), "true"+string(s.ID[:]))
			w.clock.Advance(time.Minute)
			equal(w, "after its time", once(issuer, 1, ""), "true")
			firsts := make(chan bool, 20)
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					first, _, err := w.Once(w.Context(), issuer, [16]byte{3}, "", w.clock.Now().Add(time.Minute))
					firsts <- first && err == nil
				})
			}
			all.Wait()
			close(firsts)
			n := 0
			for first := range firsts {
				if first {
					n++
				}
			}
			equal(w, "firsts of many", n, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newWorld(t))
		})
	}
}

// TestNoticesAreHeldBack: clients of another browser of the same user are left alone.
func TestNoticesAreHeldBack(t *testing.T) {
	for name, test := range map[string]struct {
		ours, others string // their sids
		// what is claimed when ours has expired, and when the other ended by logout
		now, later string
	}{
		"the same sid":                  {"1", "1", "", "shop alice 1"},
		"both without":                  {"", "", "", "shop alice "},
		"another sid":                   {"1", "2", "shop alice 1", "shop alice 2"},
		"ours without, theirs with":     {"", "2", "", "shop alice , shop alice 2"},
		"ours with one, theirs without": {"1", "", "shop alice 1", "shop alice "},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			short := w.aJoin(1)
			short.Lifetime = time.Minute
			w.join(short)
			w.redeem(redeems(short, "alice", test.ours))
			long := w.aJoin(2)
			long.Lifetime = 30 * 24 * time.Hour
			w.join(long)
			w.redeem(redeems(long, "alice", test.others))
			w.clock.Advance(time.Minute)
			claimed, names := w.claims() // ends it, too
			equal(t, "claimed", names, test.now)
			for _, o := range claimed {
				must(t, 0, w.RecordOutcomes(t.Context(), []registry.Outcome{{Notice: o, Delivered: true}}))
			}
			w.end(2)
			w.clock.Advance(time.Hour)
			_, names = w.claims()
			equal(t, "claimed later", names, test.later)
		})
	}
	t.Run("with more browsers than are looked at, it waits for an hour", func(t *testing.T) {
		w := newWorld(t)
		for i := range 257 {
			j := w.aJoin(i)
			j.Sub, j.Sid, j.Lifetime = "alice", fmt.Sprint(i), 10*time.Second
			w.join(j)
		}
		w.clock.Advance(10 * time.Second)
		_, names := w.claims()
		equal(t, "claimed", names, "")
	})
}

func TestSessionsOfAUser(t *testing.T) {
	w := newWorld(t)
	for i := range 250 {
		if j := w.aJoin(i); i%5 == 0 { // 50 of alice, 200 of a hundred others
			w.join(j)
			w.redeem(redeems(j, "alice", ""))
		} else {
			w.signIn(i, fmt.Sprint("user ", i%100), "")
		}
	}
	bob := w.signIn(1000, "bob", "")
	count := func(sub string) (live int) {
		for next, calls := registry.Position(""), 0; calls == 0 || next != ""; calls++ {
			sessions, after, err := w.User(t.Context(), issuer, sub, next)
			next = after
			for _, s := range must(t, sessions, err) {
				if s.Live(registry.At(w.clock.Now())) {
					live++
				}
			}
		}
		return live
	}
	equal(t, "alice's", count("alice"), 50)
	ended, next, err := w.EndUser(t.Context(), issuer, "alice", registry.ReasonOperator, "")
	equal(t, "ended", len(must(t, ended, err)), 50)
	equal(t, "next", next, "")
	equal(t, "alice's", count("alice"), 0)
	equal(t, "bob's", w.state(bob), registry.Live)
	other, _, err := w.EndUser(t.Context(), issuer+"/tenant", "bob", registry.ReasonOperator, "")
	equal(t, "another issuer's", len(must(t, other, err)), 0)

	t.Run("page by page", func(t *testing.T) {
		w := newWorld(t)
		for i := range 250 { // of an account whose sessions are over, but for a few
			j := w.aJoin(i)
			j.Lifetime = time.Duration(1+i/200) * 30 * time.Minute
			w.join(j)
			w.redeem(redeems(j, "alice", ""))
			if i%100 == 99 {
				w.clock.Advance(10 * time.Minute)
			}
		}
		pages, listed, ended := 0, 0, 0
		for next := registry.Position(""); pages == 0 || next != ""; pages++ {
			sessions, after, err := w.User(t.Context(), issuer, "alice", next)
			listed += len(must(t, sessions, err))
			some, afterEnd, err := w.EndUser(t.Context(), issuer, "alice", registry.ReasonOperator, next)
			ended += len(must(t, some, err))
			equal(t, "the same pages", after, afterEnd)
			next = after
		}
		equal(t, "pages", pages, 3)
		equal(t, "listed", listed, 250)
		equal(t, "ended", ended, registry.MaxUserSessions)
	})
}

func TestTheSessionsOfAHolderEndAndNoOthers(t *testing.T) {
	w := newWorld(t)
	first, second := w.signIn(1, "alice", "1"), w.signIn(2, "alice", "1")
	others := []*registry.Session{w.signIn(1, "alice", "2"), w.signIn(3, "alice", "2"), w.signIn(4, "bob", "1")}
	end := func(client, sub, sid string) int {
		e := registry.Ending{Reason: registry.ReasonLogout, Asked: client, AskedWait: time.Minute}
		ended, err := w.EndHolder(t.Context(), issuer, registry.Holder{ClientID: client, Sub: sub, Sid: sid}, e)
		return len(must(t, ended, err))
	}
	equal(t, "another client's", end("wiki", "alice", "1"), 0)
	equal(t, "another sid's", end("shop", "alice", "3"), 0)
	equal(t, "another user's", end("shop", "carol", "1"), 0)
	equal(t, "ended", end("shop", "alice", "1"), 2)
	equal(t, "again", end("shop", "alice", "1"), 0)
	equal(t, "announced", strings.Count(w.announced(), "logout"), 2)
	for _, s := range []*registry.Session{first, second} {
		equal(t, "held", w.state(s), registry.Ended)
	}
	for _, s := range others {
		equal(t, "another's", w.state(s), registry.Live)
	}
	for _, h := range []registry.Holder{{Sub: "alice", Sid: "1"}, {ClientID: "shop", Sid: "1"}, {ClientID: "shop", Sub: "alice"}} {
		if _, err := w.EndHolder(t.Context(), issuer, h, registry.Ending{}); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%+v: error is %v", h, err)
		}
	}
}

func TestAUserHasAHundredSessions(t *testing.T) {
	w := newWorld(t)
	var sessions []*registry.Session
	for i := range 2*registry.MaxUserSessions + 5 {
		w.clock.Advance(time.Millisecond)
		sessions = append(sessions, w.signIn(i, "alice", fmt.Sprint(i)))
	}
	for i, s := range sessions {
		want := registry.Live
		if i < len(sessions)-registry.MaxUserSessions {
			want = registry.Ended
		}
		equal(t, fmt.Sprint("session ", i), w.state(s), want)
	}
	_, _, err := w.EndUser(t.Context(), issuer, "alice", registry.ReasonOperator, "")
	must(t, 0, err)
}
