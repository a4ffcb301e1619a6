package notify

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestAThousandHostsAreToldManyAtATime(t *testing.T) {
	r := newPlainReceiver(t, slow(50*time.Millisecond))
	w := newWorld(t, map[string]*receiver{"*": r})
	w.site.plain = true
	for i := range 1000 {
		w.owe(fmt.Sprintf("rp%d", i), w.clock.Now())
	}
	begun := time.Now()
	w.begin()
	eventually(t, "all delivered", func() bool { _, delivered, _ := w.count(); return delivered == 1000 })
	took := time.Since(begun)
	t.Logf("took %v, at most %d at once, %d transactions, %d looks", took, r.mostAtOnce(), w.site.settles.Load(), w.dueCalls.Load())
	if n := len(r.tokens()); n != 1000 {
		t.Errorf("%d requests for 1000 notices", n)
	}
	if most := r.mostAtOnce(); most < maxTries/4 || most > maxTries {
		t.Errorf("%d tries at once", most)
	}
	if most := slices.Max(w.store.batches); most > maxBatch {
		t.Errorf("%d outcomes in one transaction", most)
	}
	if n := w.site.settles.Load(); n > 200 {
		t.Errorf("%d transactions", n)
	}
}

func TestAHostIsAskedEightTimesAtOnceAtTheMost(t *testing.T) {
	r := newReceiver(t, slow(20*time.Millisecond))
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
}

// The host that hangs has ten thousand notices, all older than those of the others: more than one list has.
func TestAHostThatHangsDoesNotDelayTheOthers(t *testing.T) {
	hanging, well := newPlainReceiver(t, hangs), newPlainReceiver(t, answers(200))
	w := newWorld(t, map[string]*receiver{"down": hanging, "*": well})
	w.site.plain = true
	for range 10_000 {
		w.owe("down", w.clock.Now().Add(-time.Hour))
	}
	for i := range 50 {
		w.owe(fmt.Sprintf("rp%d", i), w.clock.Now())
	}
	w.begin()
	eventually(t, "the others delivered", func() bool { _, delivered, _ := w.count(); return delivered == 50 })
	if n := hanging.mostAtOnce(); n > maxTriesPerHost {
		t.Errorf("%d tries at once", n)
	}
}

// A cluster is down: forty hosts, all of whose notices are older. Once that is known, the others need not wait for them.
func TestManyHostsThatHangLeaveRoomForTheOthers(t *testing.T) {
	hanging, well := newPlainReceiver(t, hangs), newPlainReceiver(t, answers(200))
	hosts := map[string]*receiver{"well": well}
	for i := range 40 {
		hosts[fmt.Sprintf("down%d", i)] = hanging
	}
	w := newWorld(t, hosts)
	w.site.plain = true
	for i := range 40 * 20 {
		w.owe(fmt.Sprintf("down%d", i%40), w.clock.Now().Add(-time.Hour))
	}
	for i := range 40 {
		w.silent[hostKey{name: fmt.Sprintf("down%d.rp.test", i)}] = struct{}{}
	}
	w.begin()
	eventually(t, "a probe of each host that hangs", func() bool { return len(hanging.tokens()) >= 40 })
	n := w.owe("well", w.clock.Now())
	w.Wake()
	w.settles(t, n.ID, 1)
	if n := hanging.mostAtOnce(); n > 40 {
		t.Errorf("%d tries at once of hosts that hang", n)
	}
}

func TestAHostThatDidNotAnswerIsTriedOneNoticeAtATimeUntilItDoes(t *testing.T) {
	var up atomic.Bool
	r := newPlainReceiver(t, func(w http.ResponseWriter, req *http.Request) {
		if !up.Load() {
			panic(http.ErrAbortHandler)
		}
		slow(20*time.Millisecond)(w, req)
	})
	w := newWorld(t, map[string]*receiver{"rp": r})
	w.site.plain = true
	w.owe("rp", w.clock.Now())
	w.begin()
	eventually(t, "a failure", func() bool { w.Worker.mu.Lock(); defer w.Worker.mu.Unlock(); return len(w.silent) == 1 })
	r.forget()
	for range 20 {
		w.owe("rp", w.clock.Now())
	}
	w.Wake()
	eventually(t, "more failures", func() bool { return len(r.tokens()) >= 3 })
	if most := r.mostAtOnce(); most != 1 {
		t.Errorf("%d tries at once of a host that does not answer", most)
	}
	up.Store(true)
	eventually(t, "all delivered", func() bool {
		w.forward(time.Second) // again and again: a try that is under way now may still fail
		_, delivered, _ := w.count()
		return delivered == 21
	})
	w.Worker.mu.Lock()
	defer w.Worker.mu.Unlock()
	if len(w.silent) != 0 || w.tries[0].probes != 0 {
		t.Errorf("%d silent hosts, %d probes", len(w.silent), w.tries[0].probes)
	}
}

func TestAHostThatHangsDoesNotKeepTheWorkerBusy(t *testing.T) {
	r := newReceiver(t, hangs)
	w := newWorld(t, map[string]*receiver{"down": r})
	w.interval = time.Hour
	for range 1000 {
		w.owe("down", w.clock.Now())
	}
	w.begin()
	eventually(t, "eight tries", func() bool { return len(r.tokens()) >= maxTriesPerHost })
	time.Sleep(200 * time.Millisecond)
	// One look, which reads further twice.
	if n := w.dueCalls.Load(); n > 4 {
		t.Errorf("the site was asked %d times", n)
	}
}

func TestOutcomesAreKeptWhileTheyCannotBeRecorded(t *testing.T) {
	r := newReceiver(t, answers(200))
	w := newWorld(t, map[string]*receiver{"*": r})
	w.away.Store(true)
	for i := range 20 {
		w.owe(fmt.Sprintf("rp%d", i), w.clock.Now())
	}
	w.begin()
	eventually(t, "some warnings", func() bool {
		return w.logs.FilterMessageSnippet("cannot be recorded, trying again").Len() >= 2
	})
	if owed, _, _ := w.count(); owed != 20 {
		t.Errorf("%d owed", owed)
	}
	w.away.Store(false)
	eventually(t, "all recorded", func() bool { _, delivered, _ := w.count(); return delivered == 20 })
	if n := len(r.tokens()); n != 20 {
		t.Errorf("%d requests for 20 notices", n)
	}
}

// Memory is bounded while a store takes no outcomes.
func TestNoMoreIsTriedWhileTooMuchIsNotRecorded(t *testing.T) {
	r := newPlainReceiver(t, answers(200)) // a try that TLS keeps for five seconds would be due again by a clock that stands still
	w := newWorld(t, map[string]*receiver{"*": r})
	w.site.plain = true
	w.away.Store(true)
	for i := range maxUnsettled + 500 {
		w.owe(fmt.Sprintf("rp%d", i%200), w.clock.Now())
	}
	w.begin()
	eventually(t, "as many tries as may be", func() bool { return len(r.tokens()) == maxUnsettled })
	time.Sleep(100 * time.Millisecond)
	if n := len(r.tokens()); n != maxUnsettled {
		t.Errorf("%d tries, want %d", n, maxUnsettled)
	}
	w.away.Store(false)
	eventually(t, "all recorded", func() bool { owed, _, _ := w.count(); return owed == 0 })
	if n := len(r.tokens()); n != maxUnsettled+500 {
		t.Errorf("%d requests for %d notices", n, maxUnsettled+500)
	}
}

// A reload comes while 300 tries are under way or waiting: another owner, other objects, the same store.
func TestAReloadLosesNoneAndSendsNoneTwice(t *testing.T) {
	r := newPlainReceiver(t, slow(30*time.Millisecond))
	w := newWorld(t, map[string]*receiver{"*": r})
	w.site.plain = true
	for i := range 300 {
		w.owe(fmt.Sprintf("rp%d", i%60), w.clock.Now())
	}
	w.begin()
	owner := any(w)
	for reload := range 20 {
		time.Sleep(5 * time.Millisecond)
		next := &site{store: w.store, sender: w.site.sender, retryFor: time.Hour, plain: true}
		w.Use(next, w.zap, map[string]Site{theIssuer: next})
		w.Release(owner)
		owner = next
		if reload%5 == 0 { // one that fails
			failed := &site{store: w.store, sender: w.site.sender, retryFor: time.Hour, plain: true}
			w.Use(failed, w.zap, map[string]Site{theIssuer: failed})
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
}

func TestTheConfigurationThatCameLastIsInUse(t *testing.T) {
	oldRP, newRP := newReceiver(t, answers(200)), newReceiver(t, answers(200))
	w := newWorld(t, map[string]*receiver{"rp": oldRP})
	w.begin()
	next := &site{store: w.store, sender: senderTo(t, map[string]*receiver{"*": newRP})}
	w.Use(next, w.zap, map[string]Site{theIssuer: next})

	w.settles(t, w.owe("rp", w.clock.Now()).ID, 1)
	if len(oldRP.tokens()) != 0 || len(newRP.tokens()) != 1 {
		t.Fatalf("%d by the old, %d by the new", len(oldRP.tokens()), len(newRP.tokens()))
	}
	w.begin() // the old one replaces its sites, and stays behind the new
	w.settles(t, w.owe("rp", w.clock.Now()).ID, 1)
	if len(oldRP.tokens()) != 0 || len(newRP.tokens()) != 2 {
		t.Fatalf("%d by the old, %d by the new", len(oldRP.tokens()), len(newRP.tokens()))
	}
	w.Release(next) // the reload failed
	w.settles(t, w.owe("rp", w.clock.Now()).ID, 1)
	if len(oldRP.tokens()) != 1 || len(newRP.tokens()) != 2 {
		t.Fatalf("%d by the old, %d by the new", len(oldRP.tokens()), len(newRP.tokens()))
	}
	w.Release(w)
	w.Release("somebody who never used it")
	w.owe("rp", w.clock.Now())
	w.Wake()
	calls := w.dueCalls.Load()
	time.Sleep(100 * time.Millisecond)
	if w.dueCalls.Load() > calls+1 { // one may have been under way
		t.Error("a site is asked that nobody uses any more")
	}
}

func TestOutcomesAtHandAreRecordedBeforeTheirSiteGoes(t *testing.T) {
	r := newReceiver(t, answers(200))
	w := newWorld(t, map[string]*receiver{"rp": r})
	w.owe("rp", w.clock.Now())
	w.begin()
	eventually(t, "an outcome", func() bool { return w.logs.FilterMessage("logout delivered").Len() == 1 })
	w.Release(w) // within the time that outcomes are gathered
	if _, delivered, _ := w.count(); delivered != 1 {
		t.Error("the outcome was lost")
	}
}

// Outcomes come between the moment that a configuration goes and the one that the next knows its issuers, or the worker ends.
func TestOutcomesAreRecordedThoughTheirConfigurationHasGone(t *testing.T) {
	for name, goes := range map[string]func(w *world){
		"the server stops": func(w *world) {
			w.Release(w)
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		},
		"the next configuration has not learnt its issuer": func(w *world) {
			w.Use(w.site, w.zap, nil)
			w.Release(w)
			eventually(t, "the end of all tries", func() bool { w.Worker.mu.Lock(); defer w.Worker.mu.Unlock(); return w.tries[0].tries == 0 })
			w.Use(w.site, w.zap, map[string]Site{theIssuer: w.site})
			eventually(t, "all delivered", func() bool { owed, _, _ := w.count(); return owed == 0 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newPlainReceiver(t, slow(30*time.Millisecond))
			w := newWorld(t, map[string]*receiver{"*": r})
			w.site.plain = true
			for i := range 300 {
				w.owe(fmt.Sprintf("rp%d", i), w.clock.Now())
			}
			w.begin()
			eventually(t, "some outcomes", func() bool { return w.logs.FilterMessage("logout delivered").Len() > 30 })
			goes(w)
			logged := w.logs.FilterMessage("logout delivered").Len()
			if _, delivered, _ := w.count(); delivered != logged {
				t.Errorf("%d were delivered, %d recorded", logged, delivered)
			}
			if n := len(r.tokens()); name != "the server stops" && n != 300 {
				t.Errorf("%d requests for 300 notices", n)
			}
		})
	}
}

func TestTheLogIsThatOfTheConfigurationInUse(t *testing.T) {
	r := newReceiver(t, answers(200))
	w := newWorld(t, map[string]*receiver{"rp": r})
	w.begin()
	core, logs := observer.New(zapcore.InfoLevel)
	w.Use(w.site, zap.New(core), map[string]Site{theIssuer: w.site})
	w.settles(t, w.owe("rp", w.clock.Now()).ID, 1)
	w.Release(w.site)
	w.settles(t, w.owe("rp", w.clock.Now()).ID, 1)
	if first, second := w.logs.FilterMessage("logout delivered").Len(), logs.FilterMessage("logout delivered").Len(); first != 1 || second != 1 {
		t.Errorf("%d and %d lines", first, second)
	}
}

func TestReleaseDoesNotWaitLongForAStoreThatIsAway(t *testing.T) {
	r := newReceiver(t, answers(200))
	w := newWorld(t, map[string]*receiver{"rp": r})
	w.away.Store(true)
	w.owe("rp", w.clock.Now())
	w.begin()
	eventually(t, "a failure", func() bool { return w.logs.FilterMessageSnippet("cannot be recorded").Len() > 0 })
	begun := time.Now()
	w.Release(w)
	if took := time.Since(begun); took > releaseLimit+10*time.Second {
		t.Errorf("took %v", took)
	}
	if owed, _, _ := w.count(); owed != 1 {
		t.Error("the notice is owed no more")
	}
	// The outcome is kept, and recorded when the store is back.
	w.away.Store(false)
	eventually(t, "delivered", func() bool { _, delivered, _ := w.count(); return delivered == 1 })
	if n := len(r.tokens()); n != 1 {
		t.Errorf("sent %d times", n)
	}
}

func TestCloseLeavesOwedWhatIsUnderWay(t *testing.T) {
	hanging, well := newReceiver(t, hangs), newReceiver(t, answers(200))
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
	if n, ok := w.notice(down.ID); !ok || n.Attempts != 0 || !n.Due.Equal(down.Due) {
		t.Errorf("got %+v, owed: %v", n, ok)
	}
	if !w.settlement(up.ID).Delivered {
		t.Error("an outcome at hand was lost")
	}
	w.Use(w, w.zap, map[string]Site{theIssuer: w.site}) // too late, and no harm
	w.Wake()
	if err := w.Close(); err != nil {
		t.Error(err)
	}

	// After the restart it is delivered.
	again := NewWorker(w.clock.Now)
	defer again.Close()
	w.site.sender = senderTo(t, map[string]*receiver{"*": well})
	again.Use(w, w.zap, map[string]Site{theIssuer: w.site})
	if !w.settles(t, down.ID, 1).Delivered {
		t.Error("not delivered")
	}
}

func TestAWorkerThatWasNeverUsedCanBeClosed(t *testing.T) {
	w := NewWorker(time.Now)
	w.Wake()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestNoGoroutineIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	func() {
		r := unstarted(func(w http.ResponseWriter, req *http.Request) {
			if req.Host == "rp0.rp.test" {
				hangs(w, req)
			}
		})
		r.server.Start()
		defer r.close()
		w := newWorld(t, map[string]*receiver{"*": r})
		w.site.plain = true
		for i := range 100 {
			w.owe(fmt.Sprintf("rp%d", i), w.clock.Now())
		}
		w.begin()
		eventually(t, "all but one delivered", func() bool { _, delivered, _ := w.count(); return delivered == 99 })
		eventually(t, "the loop and one try", func() bool {
			w.forward(time.Second) // where the first one is over, the next is due
			w.Worker.mu.Lock()
			defer w.Worker.mu.Unlock()
			return w.tries[0].tries == 1 && len(w.Worker.batches) == 0 && len(w.flight) == 1
		})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		w.Worker.mu.Lock()
		defer w.Worker.mu.Unlock()
		if len(w.flight)+len(w.perSite)+len(w.perHost)+len(w.landed)+w.tries[0].tries != 0 {
			t.Errorf("left: %d in flight, %d sites, %d hosts, %d landed, %d tries", len(w.flight), len(w.perSite), len(w.perHost), len(w.landed), w.tries[0].tries)
		}
	}()
	eventually(t, "as few goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
}

// A list can be older than an outcome: the site read it, the outcome was recorded, the worker sees the list.
func TestAnOldListDoesNotHaveANoticeSentAgain(t *testing.T) {
	r := newReceiver(t, answers(200))
	w := newWorld(t, map[string]*receiver{"rp": r})
	late := &lateSite{site: w.site, listed: make(chan struct{}), hand: make(chan struct{})}
	n := w.owe("rp", w.clock.Now())
	w.Use(w, w.zap, map[string]Site{theIssuer: late})
	eventually(t, "the try", func() bool { return w.logs.FilterMessage("logout delivered").Len() == 1 })
	late.hold.Store(true)
	w.Wake()
	<-late.listed // with the notice, for it is not recorded yet
	w.settles(t, n.ID, 1)
	eventually(t, "the landing", func() bool { w.Worker.mu.Lock(); defer w.Worker.mu.Unlock(); return len(w.flight) == 0 })
	close(late.hand)
	calls := w.dueCalls.Load()
	eventually(t, "more looks", func() bool { return w.dueCalls.Load() >= calls+3 })
	if n := len(r.tokens()); n != 1 {
		t.Errorf("sent %d times", n)
	}
}

// A lateSite reads its list, and hands it over later when told to hold it.
type lateSite struct {
	*site
	hold   atomic.Bool
	listed chan struct{}
	hand   chan struct{}
}

func (s *lateSite) Due(ctx context.Context, now time.Time, limit int) ([]Notice, error) {
	notices, err := s.site.Due(ctx, now, limit)
	if s.hold.CompareAndSwap(true, false) {
		if len(notices) != 1 {
			return nil, fmt.Errorf("the list came too late to be old: it has %d", len(notices))
		}
		close(s.listed)
		<-s.hand
	}
	return notices, err
}

// Settle waits until there is an old list.
func (s *lateSite) Settle(ctx context.Context, settlements []Settlement) error {
	<-s.listed
	return s.site.Settle(ctx, settlements)
}
