package notify

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	maxTries        = 256 // at once, over all clients but those that registered themselves
	maxTriesPerHost = 8   // at once, so that a host that hangs does not hold up the others
	// maxSelfRegistered is how many tries there are at once to clients that registered
	// themselves: whoever may register clients has any number of hosts that take long.
	maxSelfRegistered = maxTries / 4

	// Hosts that did not answer are tried one notice at a time, and all of them together by one
	// of probeShare tries at once: the rest is for those that answer, however many are down.
	probeShare = 4
	// slowAnswer is from when on an answer of a client that registered itself counts as none for
	// that.
	slowAnswer = time.Second
	// maxSilent is how many such hosts are known.
	maxSilent = 10_000

	// maxUnsettled is how many notices of an issuer are in flight, those included whose outcome is not recorded yet. Its site is
	// not asked for more until then.
	maxUnsettled = 4 * maxTries

	pollInterval = time.Second
	closeLimit   = 10 * time.Second
	// releaseLimit is how long Release waits for outcomes to be recorded.
	releaseLimit = 2 * time.Second
)

var errCloseTakesLong = errors.New("logout notices under way take long to end")

// A Worker delivers the notices that sites owe. There is one for all configurations, so that a reload ends no try and begins none
// twice. Use [NewWorker].
type Worker struct {
	logger   atomic.Pointer[zap.Logger] // of the configuration in use
	now      func() time.Time
	interval time.Duration // between looks when nothing happens; tests change it

	ctx    context.Context // of the tries
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // holds one: look at once

	mu      sync.Mutex
	uses    []*use // the last is the one in use
	started bool
	closed  bool

	flight  map[noticeKey]struct{} // tried now, or their outcome not recorded yet
	perSite map[string]int         // how many of those, by issuer
	tries   [2]pool                // under way: to other clients, and to those that registered themselves
	perHost map[hostKey]int        // of those, by host
	silent  map[hostKey]struct{}   // hosts that did not answer the last try
	looking bool
	landed  map[noticeKey]struct{} // recorded since the look under way began: its list may be older
	more    bool                   // the last look left notices for want of room
	batches map[batchKey]*batch
	settled chan struct{} // closed and replaced when a batch was recorded
}

// A use is the sites of one configuration.
type use struct {
	owner  any
	logger *zap.Logger
	sites  map[string]Site // by issuer
}

// A pool counts tries, of which there is a most.
type pool struct {
	most   int
	tries  int // under way
	probes int // of those, to silent hosts
}

func (p *pool) isFull() bool { return p.tries >= p.most }

type noticeKey struct {
	issuer string
	id     ID
}

// NewWorker returns a worker that does nothing until the first Use. All that depends on when notices were made and when they are due
// goes by the clock now.
func NewWorker(now func() time.Time) *Worker {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Worker{
		now: now, interval: pollInterval,
		ctx: ctx, cancel: cancel,
		wake:    make(chan struct{}, 1),
		flight:  make(map[noticeKey]struct{}),
		perSite: make(map[string]int),
		tries:   [2]pool{{most: maxTries}, {most: maxSelfRegistered}},
		perHost: make(map[hostKey]int),
		silent:  make(map[hostKey]struct{}),
		landed:  make(map[noticeKey]struct{}),
		batches: make(map[batchKey]*batch),
		settled: make(chan struct{}),
	}
	w.logger.Store(zap.NewNop())
	return w
}

// Use puts a configuration's sites, by issuer, and its logger into use in place of those before. An owner, which must be comparable (a
// pointer), that has some replaces them and keeps its rank. Tries under way go on, and count for the new sites.
func (w *Worker) Use(owner any, logger *zap.Logger, sites map[string]Site) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	next := &use{owner: owner, logger: logger, sites: sites}
	if i := w.indexOf(owner); i >= 0 {
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

// Release ends what Use began; the configuration before it is in use again if it was the last. Outcomes at hand are recorded
// first, for which it waits two seconds at the most: what Release's caller closes next may be where they go.
func (w *Worker) Release(owner any) {
	w.mu.Lock()
	i := w.indexOf(owner)
	if i < 0 {
		w.mu.Unlock()
		return
	}
	leaving := w.uses[i]
	pending := w.leavingWith(leaving)
	w.mu.Unlock()

	ctx, cancel := context.WithTimeout(w.ctx, releaseLimit)
	defer cancel()
	for _, b := range pending {
		b.hurry()
		select {
		case <-b.done:
		case <-ctx.Done():
		}
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	w.uses = slices.DeleteFunc(w.uses, func(u *use) bool { return u == leaving })
	if current := w.inUse(); current != nil {
		w.logger.Store(current.logger)
	}
	w.Wake()
}

// Wake says that there may be new notices: the sites are asked at once. It never blocks.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Settled returns a channel that is closed when the next outcomes have been recorded.
func (w *Worker) Settled() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settled
}

// Close ends the tries under way, whose notices stay owed, and records the outcomes it has. It waits ten seconds at the most. The
// worker cannot be used again.
func (w *Worker) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cancel()

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

// indexOf finds the owner's use; -1: it has none. The caller holds the lock, as for all that follow.
func (w *Worker) indexOf(owner any) int {
	return slices.IndexFunc(w.uses, func(u *use) bool { return u.owner == owner })
}

// inUse returns the configuration that came last; nil: there is none.
func (w *Worker) inUse() *use {
	if len(w.uses) == 0 {
		return nil
	}
	return w.uses[len(w.uses)-1]
}

// siteFor returns where an outcome of the issuer is recorded: with the configuration that the notice is from while that is there,
// then with the one that came last and has the issuer, and where none has, with the one that it is from all the same. What all of
// them record to is there for as long as the worker.
func (w *Worker) siteFor(from *use, issuer string) Site {
	if slices.Contains(w.uses, from) {
		return from.sites[issuer]
	}
	for _, u := range slices.Backward(w.uses) {
		if site := u.sites[issuer]; site != nil {
			return site
		}
	}
	return from.sites[issuer]
}
