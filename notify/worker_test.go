package notify

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/storetest"
)

func TestAThousandHostsAreNotifiedManyAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, slow(50*time.Millisecond))
		w := newWorld(t, map[string]*receiver{"*": r})
		for i := range 1000 {
			w.owe(fmt.Sprintf("rp%d", i), w.clock.Now())
		}
		begun := time.Now()
		w.begin()
		eventually(t, "all delivered", func() bool { _, delivered, _ := w.count(); return delivered == 1000 })
		took := time.Since(begun)
		t.Logf("took %v, at most %d at once, %d transactions, %d claims", took, r.mostAtOnce(), len(w.batches), w.claims.Load())
		if n := len(r.tokens()); n != 1000 {
			t.Errorf("%d requests for 1000 notices", n)
		}
		if most := r.mostAtOnce(); most < maxTries/4 || most > maxTries {
			t.Errorf("%d tries at once", most)
		}
		if most := slices.Max(w.store.batches); most > maxFlushed {
			t.Errorf("%d outcomes in one transaction", most)
		}
		if n := len(w.batches); n > 200 {
			t.Errorf("%d transactions", n)
		}
	})
}

func TestAHostIsAskedEightTimesAtOnceAtTheMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, slow(20*time.Millisecond))
		w := newWorld(t, map[string]*receiver{"rp": r})
		w.interval = time.Hour // what follows goes by itself
		for range 100 {
			w.owe("rp", w.clock.Now())
		}
		w.begin()
		eventually(t, "all delivered", func() bool { _, delivered, _ := w.count(); return delivered == 100 })
		if most := r.mostAtOnce(); most != maxTriesPerHost {
			t.Errorf("%d tries at once, want %d", most, maxTriesPerHost)
		}
		if n := len(r.tokens()); n != 100 {
			t.Errorf("%d requests for 100 notices", n)
		}
	})
}

// A host that hangs has twenty thousand notices, which all came before. What ends now is delivered
// at once; what was to be tried again is claimed in turn.
func TestAHostThatHangsDoesNotDelayTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 20_000
		hanging, well := newPiped(t, hangs), newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"down": hanging, "*": well})
		w.begin()
		w.hosts.silent[hostKey{name: "down.rp.test"}] = 0
		for range many {
			w.owe("down", w.clock.Now().Add(-time.Hour))
		}
		eventually(t, "a try", func() bool { return len(hanging.tokens()) > 0 })
		begun := time.Now()
		fresh := w.owe("fresh", w.clock.Now().Add(time.Minute)) // as leased
		w.Deliver([]registry.PendingNotice{fresh})
		w.settles(t, fresh.ID(), 1)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
		for i := range 50 {
			w.owe(fmt.Sprintf("rp%d", i), w.clock.Now())
		}
		eventually(t, "the others delivered", func() bool { _, delivered, _ := w.count(); return delivered == 51 })
		if n := hanging.mostAtOnce(); n > 1 {
			t.Errorf("%d tries at once", n)
		}
	})
}

// A cluster is down: forty hosts, all of whose notices are older. Once that is known, the others
// need not wait for them.
func TestManyHostsThatHangLeaveRoomForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging, well := newPiped(t, hangs), newPiped(t, answers(200))
		hosts := map[string]*receiver{"well": well}
		for i := range 40 {
			hosts[fmt.Sprintf("down%d", i)] = hanging
		}
		w := newWorld(t, hosts)
		for i := range 40 * 20 {
			w.owe(fmt.Sprintf("down%d", i%40), w.clock.Now().Add(-time.Hour))
		}
		for i := range 40 {
			w.hosts.silent[hostKey{name: fmt.Sprintf("down%d.rp.test", i)}] = 0
		}
		w.begin()
		eventually(t, "a probe of each host that hangs", func() bool { return len(hanging.tokens()) >= 40 })
		n := w.owe("well", w.clock.Now())
		w.Wake()
		w.settles(t, n.ID(), 1)
		if n := hanging.mostAtOnce(); n > 40 {
			t.Errorf("%d tries at once of hosts that hang", n)
		}
	})
}

func TestAHostThatDidNotAnswerIsTriedOneNoticeAtATimeUntilItDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		r := newPiped(t, func(w http.ResponseWriter, req *http.Request) {
			if !up.Load() {
				panic(http.ErrAbortHandler)
			}
			slow(20*time.Millisecond)(w, req)
		})
		w := newWorld(t, map[string]*receiver{"rp": r})
		w.owe("rp", w.clock.Now())
		w.begin()
		eventually(t, "a failure", func() bool { w.Worker.mu.Lock(); defer w.Worker.mu.Unlock(); return len(w.hosts.silent) == 1 })
		r.forget()
		for range 20 {
			w.owe("rp", w.clock.Now())
		}
		w.Wake()
		eventually(t, "more failures", func() bool { w.Advance(time.Second); return len(r.tokens()) >= 3 })
		if most := r.mostAtOnce(); most != 1 {
			t.Errorf("%d tries at once of a host that does not answer", most)
		}
		up.Store(true)
		eventually(t, "all delivered", func() bool {
			w.Advance(time.Second) // again and again: a try that is under way now may still fail
			_, delivered, _ := w.count()
			return delivered == 21
		})
		w.Worker.mu.Lock()
		defer w.Worker.mu.Unlock()
		if len(w.hosts.silent) != 0 || w.hosts.tries[0].probes != 0 {
			t.Errorf("%d silent hosts, %d probes", len(w.hosts.silent), w.hosts.tries[0].probes)
		}
	})
}

func TestAHostThatHangsDoesNotKeepTheWorkerBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, hangs)
		w := newWorld(t, map[string]*receiver{"down": r})
		w.interval = time.Hour
		for range 1000 {
			w.owe("down", w.clock.Now())
		}
		w.begin()
		eventually(t, "eight tries", func() bool { return len(r.tokens()) >= maxTriesPerHost })
		time.Sleep(200 * time.Millisecond)
		if n := w.claims.Load(); n > 12 {
			t.Errorf("the registry was asked %d times", n)
		}
	})
}

func TestOutcomesAreKeptWhileTheyCannotBeRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"*": r})
		w.away.Store(true)
		for i := range 20 {
			w.owe(fmt.Sprintf("rp%d", i), w.clock.Now())
		}
		w.begin()
		eventually(t, "some warnings", func() bool {
			return w.logs.FilterMessageSnippet("recording outcomes of logout notices failed").Len() >= 2
		})
		if owed, _, _ := w.count(); owed != 20 {
			t.Errorf("%d owed", owed)
		}
		w.away.Store(false)
		eventually(t, "all recorded", func() bool { _, delivered, _ := w.count(); return delivered == 20 })
		if n := len(r.tokens()); n != 20 {
			t.Errorf("%d requests for 20 notices", n)
		}
	})
}

// Memory is bounded while a store takes no outcomes.
func TestNoMoreIsTriedWhileTooMuchIsNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"*": r})
		w.away.Store(true)
		const many = maxWaiting + 1000
		for i := range many {
			w.owe(fmt.Sprintf("rp%d", i%200), w.clock.Now())
		}
		w.begin()
		eventually(t, "as many tries as may be", func() bool { return len(r.tokens()) >= maxWaiting })
		time.Sleep(100 * time.Millisecond)
		if n := len(r.tokens()); n == many {
			t.Errorf("%d tries", n)
		}
		w.away.Store(false)
		eventually(t, "all recorded", func() bool { owed, _, _ := w.count(); return owed == 0 })
		if n := len(r.tokens()); n != many {
			t.Errorf("%d requests for %d notices", n, many)
		}
	})
}

// A reload comes while 300 tries are under way or waiting: another owner, other objects, the same
// store.
func TestAReloadLosesNoneAndSendsNoneTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, slow(30*time.Millisecond))
		w := newWorld(t, map[string]*receiver{"*": r})
		for i := range 300 {
			w.owe(fmt.Sprintf("rp%d", i%60), w.clock.Now())
		}
		w.begin()
		owner := any(w)
		for reload := range 20 {
			time.Sleep(5 * time.Millisecond)
			next := &site{sender: w.site.sender, retryFor: time.Hour}
			w.Use(next, w.zap, next)
			w.Release(owner)
			owner = next
			if reload%5 == 0 { // one that fails
				failed := &site{sender: w.site.sender, retryFor: time.Hour}
				w.Use(failed, w.zap, failed)
				w.Release(failed)
			}
		}
		eventually(t, "all delivered", func() bool { _, delivered, _ := w.count(); return delivered == 300 })
		perNotice := make(map[string]int)
		for _, token := range r.tokens() {
			perNotice[noticeOf(token)]++
		}
		for id, n := range perNotice {
			if n != 1 {
				t.Errorf("%s was sent %d times", id, n)
			}
		}
		if len(perNotice) != 300 {
			t.Errorf("%d of 300 were sent", len(perNotice))
		}
	})
}

func TestTheConfigurationThatCameLastIsInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		oldRP, newRP := newPiped(t, answers(200)), newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"rp": oldRP})
		w.begin()
		next := &site{sender: senderTo(t, map[string]*receiver{"*": newRP})}
		w.Use(next, w.zap, next)

		w.settles(t, w.owe("rp", w.clock.Now()).ID(), 1)
		if len(oldRP.tokens()) != 0 || len(newRP.tokens()) != 1 {
			t.Fatalf("%d by the old, %d by the new", len(oldRP.tokens()), len(newRP.tokens()))
		}
		w.begin() // the old one replaces its sites, and stays behind the new
		w.settles(t, w.owe("rp", w.clock.Now()).ID(), 1)
		if len(oldRP.tokens()) != 0 || len(newRP.tokens()) != 2 {
			t.Fatalf("%d by the old, %d by the new", len(oldRP.tokens()), len(newRP.tokens()))
		}
		w.Release(next) // the reload failed
		w.settles(t, w.owe("rp", w.clock.Now()).ID(), 1)
		if len(oldRP.tokens()) != 1 || len(newRP.tokens()) != 2 {
			t.Fatalf("%d by the old, %d by the new", len(oldRP.tokens()), len(newRP.tokens()))
		}
		w.Release(w)
		w.Release("somebody who never used it")
		w.owe("rp", w.clock.Now())
		w.Wake()
		calls := w.claims.Load()
		time.Sleep(100 * time.Millisecond)
		if w.claims.Load() > calls+1 { // one may have been under way
			t.Error("a site is asked that nobody uses any more")
		}
	})
}

func TestOutcomesAreRecordedThoughTheServerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, slow(30*time.Millisecond))
		w := newWorld(t, map[string]*receiver{"*": r})
		for i := range 300 {
			w.owe(fmt.Sprintf("rp%d", i), w.clock.Now())
		}
		w.begin()
		eventually(t, "some outcomes", func() bool { return w.logs.FilterMessage("logout delivered").Len() > 30 })
		w.Release(w)
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		logged := w.logs.FilterMessage("logout delivered").Len()
		if _, delivered, _ := w.count(); delivered != logged {
			t.Errorf("%d were delivered, %d recorded", logged, delivered)
		}
	})
}

func TestTheLogIsThatOfTheConfigurationInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"rp": r})
		w.begin()
		core, logs := observer.New(zapcore.InfoLevel)
		w.Use(w.site, zap.New(core), w.site)
		w.settles(t, w.owe("rp", w.clock.Now()).ID(), 1)
		w.Release(w.site)
		w.settles(t, w.owe("rp", w.clock.Now()).ID(), 1)
		if first, second := w.logs.FilterMessage("logout delivered").Len(), logs.FilterMessage("logout delivered").Len(); first != 1 || second != 1 {
			t.Errorf("%d and %d lines", first, second)
		}
	})
}

func TestCloseLeavesOwedWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging, well := newPiped(t, hangs), newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"down": hanging, "up": well})
		down := w.owe("down", w.clock.Now())
		up := w.owe("up", w.clock.Now())
		w.begin()
		eventually(t, "a try under way and an outcome", func() bool {
			return len(hanging.tokens()) == 1 && w.logs.FilterMessage("logout delivered").Len() == 1
		})
		begun := time.Now()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > closeLimit-time.Second {
			t.Errorf("took %v", took)
		}
		if n, ok := w.notice(down.ID()); !ok || n.Attempts != 0 || n.Due > registry.At(w.clock.Now()) {
			t.Errorf("got %+v, owed: %v", n, ok)
		}
		if !w.settlement(up.ID()).Delivered {
			t.Error("an outcome at hand was lost")
		}
		w.Use(w, w.zap, w.site) // too late, and no harm
		w.Wake()
		if err := w.Close(); err != nil {
			t.Error(err)
		}

		// After the restart it is delivered at once.
		again := NewWorker(w.store, w.clock.Now)
		defer again.Close()
		w.site.sender = senderTo(t, map[string]*receiver{"*": well})
		again.Use(w, w.zap, w.site)
		if !w.settles(t, down.ID(), 1).Delivered {
			t.Error("not delivered")
		}
	})
}

func TestAWorkerThatWasNeverUsedCanBeClosed(t *testing.T) {
	w := NewWorker(newStore(storetest.NewClock()), time.Now)
	w.Wake()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// The bubble finds goroutines that are left.
func TestNothingIsLeftAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, func(w http.ResponseWriter, req *http.Request) {
			if req.Host == "rp0.rp.test" {
				hangs(w, req)
			}
		})
		w := newWorld(t, map[string]*receiver{"*": r})
		for i := range 100 {
			w.owe(fmt.Sprintf("rp%d", i), w.clock.Now())
		}
		w.begin()
		eventually(t, "all but one delivered", func() bool { _, delivered, _ := w.count(); return delivered == 99 })
		if n := w.hosts.tries[0].tries; n != 1 {
			t.Errorf("%d tries under way", n)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if n := len(w.hosts.perHost) + w.hosts.tries[0].tries + len(w.waiting) + len(w.outcomes); n != 0 {
			t.Errorf("left: %+v, %d waiting, %d outcomes", w.hosts, len(w.waiting), len(w.outcomes))
		}
	})
}

func TestWhatARouteSaysIsRecorded(t *testing.T) {
	for name, test := range map[string]struct {
		route    Route
		attempts int
		age      time.Duration // of the notice
		want     registry.Outcome
		again    time.Duration
		logged   zapcore.Level
	}{
		"the client is not to be notified":         {route: Route{Drop: "why"}, want: registry.Outcome{Delivered: true, Why: "why"}, logged: zapcore.DebugLevel},
		"nor any more":                             {route: Route{Drop: "why"}, attempts: 2, want: registry.Outcome{Dead: true, Attempts: 2, Why: "why"}, logged: zapcore.ErrorLevel},
		"without the sid":                          {route: Route{WithoutSid: true}, want: registry.Outcome{WithoutSid: true}},
		"nothing can be said now":                  {route: Route{Again: true}, attempts: 1, want: registry.Outcome{Attempts: 1}, again: minAgain},
		"nothing could be said for ten minutes":    {route: Route{Again: true}, age: 10 * time.Minute, again: time.Minute},
		"nothing could be said since the last day": {route: Route{Again: true}, age: 24 * time.Hour, again: maxAgain},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				w.interval = time.Hour
				w.site.route = func(registry.PendingNotice) Route { return test.route }
				n := w.owe("rp", w.clock.Now().Add(-test.age))
				n.Attempts = test.attempts
				w.put(n)
				settled := w.Recorded()
				w.begin()
				<-settled
				if !test.want.Delivered && !test.want.Dead {
					test.want.Due = registry.At(w.clock.Now().Add(test.again))
				}
				if got := w.settlement(n.ID()); got != test.want {
					t.Errorf("got %+v, want %+v", got, test.want)
				}
				if lines := w.logs.FilterField(zap.String("why", "why")).All(); test.route.Drop != "" && (len(lines) != 1 || lines[0].Level != test.logged) {
					t.Errorf("logged %v", w.logs.All())
				}
			})
		})
	}
}

func TestWhatEndsHereIsDeliveredWithoutAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"rp": r})
		w.interval = time.Hour
		n := w.owe("rp", w.clock.Now().Add(time.Minute))
		// nobody uses the worker yet: it is claimed when its lease is over
		w.Deliver([]registry.PendingNotice{n})
		w.begin()
		eventually(t, "the first claim", func() bool { return w.claims.Load() > 0 })
		if len(r.tokens()) != 0 {
			t.Error("it was sent")
		}
		w.Deliver([]registry.PendingNotice{n})
		w.settles(t, n.ID(), 1)
	})
}

// busy is a registry in which something is due at any time, and a claim takes a while.
type busy struct{ claims atomic.Int64 }

func (b *busy) Claim(context.Context, int) ([]registry.PendingNotice, bool, error) {
	b.claims.Add(1)
	time.Sleep(40 * time.Millisecond)
	return nil, false, nil
}

func (*busy) RecordOutcomes(context.Context, []registry.Outcome) error { return nil }

// Rule 8: a hundred thousand sessions may expire at once, and sign-ins must not wait behind them.
func TestClaimsLeaveAsMuchTimeAsTheyTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(busy)
		w := NewWorker(r, time.Now)
		w.Use(r, zap.NewNop(), new(site))
		time.Sleep(time.Second)
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if n := r.claims.Load(); n < 10 || n > 13 {
			t.Errorf("%d claims of 40 ms in a second", n)
		}
	})
}

// Another server claims it before long: two would send it.
func TestANoticeIsNotSentAtTheEndOfItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPiped(t, answers(200))
		w := newWorld(t, map[string]*receiver{"rp": r})
		w.interval = time.Hour
		w.begin()
		eventually(t, "the first claim", func() bool { return w.claims.Load() > 0 })
		late, early := w.owe("rp", w.clock.Now().Add(leastLease-time.Second)), w.owe("rp", w.clock.Now().Add(leastLease))
		w.Deliver([]registry.PendingNotice{late, early})
		w.settles(t, early.ID(), 1)
		if got := r.tokens(); len(got) != 1 || noticeOf(got[0]) != early.ID().String() {
			t.Errorf("sent %q", got)
		}
	})
}
