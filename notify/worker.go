package notify

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

const (
	pollInterval = time.Second
	closeLimit   = 10 * time.Second
	// claimAtOnce is in how many records notices are claimed by one call: sign-ins wait for it.
	claimAtOnce = 100
	// claimPause is how long a claim waits after one that found something, at least: as long as
	// that took.
	claimPause = time.Millisecond
	// waitLimit is how long a claimed notice waits for its host to have room. Then it is put off,
	// for as long again, or up to maxPutOff if many are.
	waitLimit = 10 * time.Second
	maxPutOff = 10 * time.Minute
	// A notice of which nothing can be said is looked at again after a tenth of the time that it
	// is owed already, within these bounds.
	minAgain = 5 * time.Second
	maxAgain = 5 * time.Minute
	// leastLease is how much of its lease a notice needs, to wait and to be sent by its token.
	leastLease = waitLimit + 2*tryTimeout + flushTimeout
	// flushInterval is how long outcomes are pending before they are recorded.
	flushInterval = 50 * time.Millisecond
)

var errCloseTakesLong = errors.New("logout notices under way take long to end")

// A Registry has what is owed.
type Registry interface {
	// Claim claims notices that are due, as [registry.Registry.Claim] does.
	Claim(ctx context.Context, limit int) (claimed []registry.PendingNotice, none bool, err error)
	// RecordOutcomes records what became of them, as [registry.Registry.RecordOutcomes] does.
	RecordOutcomes(ctx context.Context, outcomes []registry.Outcome) error
}

// Clients say how notices are delivered, as the current configuration has it. Their methods are
// called from several goroutines.
type Clients interface {
	// Route says where a notice goes.
	Route(ctx context.Context, owed registry.PendingNotice) Route
	// Token signs a fresh logout token for it, with jti, iat and exp of its own: a client may
	// refuse one that it has seen. Its error wraps [ErrCannotSign] where it is no use to try
	// again.
	Token(ctx context.Context, owed registry.PendingNotice) (string, error)
}

// A Route is where a notice goes. The zero value has it wait.
type Route struct {
	Target Target
	// Drop is why nobody is notified; empty: somebody is. A notice that was tried before is given
	// up by it.
	Drop string
	// Again: nothing can be said now. The notice is looked at again a while later.
	Again bool
	// WithoutSid: the client is notified without the sid. Whether the notice has to wait for other
	// sessions is decided anew.
	WithoutSid bool
}

// A Worker delivers notices. There is one for all configurations, so that a reload ends no try.
// Use [NewWorker].
type Worker struct {
	registry Registry
	logger   atomic.Pointer[zap.Logger] // of the configuration in use
	now      func() time.Time
	interval time.Duration // between claims when nothing happens; tests change it

	ctx    context.Context // of the tries
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // holds one: claim at once

	mu       sync.Mutex
	uses     []*use // the last is the one in use
	started  bool
	closed   bool
	hosts    hosts
	waiting  []delivery // claimed; their hosts have no room yet
	outcomes []registry.Outcome
	flushing bool
	settled  chan struct{} // closed and replaced when outcomes were recorded
}

// A use is what one configuration has.
type use struct {
	owner   any
	logger  *zap.Logger
	clients Clients
}

// NewWorker returns a worker that does nothing until the first Use. All that depends on when
// notices are due goes by the clock now.
func NewWorker(r Registry, now func() time.Time) *Worker {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Worker{
		registry: r, now: now, interval: pollInterval, ctx: ctx, cancel: cancel,
		wake: make(chan struct{}, 1), hosts: newHosts(), settled: make(chan struct{}),
	}
	w.logger.Store(zap.NewNop())
	return w
}

// Use puts a configuration's clients and its logger into use in place of those before. An owner,
// which must be comparable (a pointer), that has some replaces them and keeps its rank.
func (w *Worker) Use(owner any, logger *zap.Logger, clients Clients) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	next := &use{owner: owner, logger: logger, clients: clients}
	if i := slices.IndexFunc(w.uses, func(u *use) bool { return u.owner == owner }); i >= 0 {
		w.uses[i] = next
	} else {
		w.uses = append(w.uses, next)
	}
	w.logger.Store(w.inUse().logger)
	if !w.started {
		w.started = true
		w.work.Go(w.run)
	}
	w.Wake()
}

// Release ends what Use began; the configuration before it is in use again if it was the last.
func (w *Worker) Release(owner any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.uses = slices.DeleteFunc(w.uses, func(u *use) bool { return u.owner == owner })
	if current := w.inUse(); current != nil {
		w.logger.Store(current.logger)
	}
	w.Wake()
}

// inUse returns the configuration that came last; nil: there is none. The caller holds the lock.
func (w *Worker) inUse() *use {
	if len(w.uses) == 0 {
		return nil
	}
	return w.uses[len(w.uses)-1]
}

// clients are those in use; nil: there are none.
func (w *Worker) clients() Clients {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u := w.inUse(); u != nil {
		return u.clients
	}
	return nil
}

// Wake says that there may be new notices: they are claimed at once. It never blocks.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Deliver takes notices that were claimed when their sessions ended. It does not block.
func (w *Worker) Deliver(owed []registry.PendingNotice) {
	if len(owed) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || !w.started {
		return // their leases expire
	}
	w.work.Go(func() { w.take(owed) })
}

// Recorded returns a channel that is closed when the next outcomes have been recorded.
func (w *Worker) Recorded() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settled
}

// Close ends the tries under way, gives back what was not sent, and records the outcomes it has.
// It waits ten seconds at most. The worker cannot be used again.
func (w *Worker) Close() error {
	w.mu.Lock()
	w.closed = true
	waiting := w.waiting
	w.waiting = nil
	w.mu.Unlock()
	w.cancel()
	for _, d := range waiting {
		w.giveBack(d.owed, 0)
	}

	done := make(chan struct{})
	go func() {
		w.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(closeLimit):
		return errCloseTakesLong
	}
}

// run claims until the worker is closed.
func (w *Worker) run() {
	for {
		begun := time.Now()
		none := w.claim()
		pause, early := w.interval, w.wake
		if !none {
			pause, early = max(claimPause, time.Since(begun)), nil
		}
		if !w.pause(pause, early) {
			return
		}
	}
}

// claim begins a try of what is due. none: that is all.
func (w *Worker) claim() (none bool) {
	none = true
	w.guarded("claiming logout notices", "", func() {
		w.startWaiting()
		if w.clients() == nil || w.isFull() {
			return
		}
		claimed, nothing, err := w.registry.Claim(w.ctx, claimAtOnce)
		if err != nil { // a store that is unavailable says so itself
			w.logger.Load().Debug("claiming logout notices failed", zap.Error(err))
			return
		}
		none = nothing
		w.take(claimed)
	})
	return none
}

// pause waits, and reports whether the worker goes on.
func (w *Worker) pause(d time.Duration, early <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.ctx.Done():
		return false
	case <-early:
	case <-timer.C:
	}
	return true
}

// take routes claimed notices, and begins to deliver them.
func (w *Worker) take(owed []registry.PendingNotice) {
	clients := w.clients()
	if clients == nil {
		return
	}
	for _, o := range owed {
		w.guarded("routing a logout notice", o.Issuer, func() { w.route(clients, o) })
	}
}

func (w *Worker) route(clients Clients, o registry.PendingNotice) {
	route := clients.Route(w.ctx, o)
	outcome := registry.Outcome{Notice: o, Attempts: o.Attempts, Why: o.Why}
	switch {
	case route.Drop != "":
		outcome.Delivered, outcome.Dead, outcome.Why = o.Attempts == 0, o.Attempts > 0, route.Drop
		w.logDropped(o, route.Drop)
	case route.WithoutSid:
		outcome.WithoutSid, outcome.Due = true, registry.At(w.now())
	case route.Again:
		outcome.Due = registry.At(w.now().Add(min(max(w.age(o)/10, minAgain), maxAgain)))
	default:
		w.startOrWait(delivery{
			owed: o, clients: clients, since: time.Now(),
			target: route.Target, host: hostOf(route.Target),
		})
		return
	}
	w.enqueue(outcome)
}

// age is how long a notice has been owed.
func (w *Worker) age(o registry.PendingNotice) time.Duration {
	return w.now().Sub(o.Until.Add(-registry.NoticeLifetime).Time())
}

// logDropped logs that a notice is not sent. Most clients are never to be notified, which is no
// news; one that was tried before has lost its address since.
func (w *Worker) logDropped(o registry.PendingNotice, why string) {
	log := w.about(o).With(zap.Int("attempts", o.Attempts), zap.String("why", why))
	if o.Attempts == 0 {
		log.Debug("logout notice dropped")
		return
	}
	log.Error("logout given up", zap.String("advice", adviceDropped))
}
