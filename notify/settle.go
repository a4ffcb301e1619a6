package notify

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
)

const (
	maxBatch      = 256
	batchInterval = 50 * time.Millisecond // how long outcomes are gathered before they are recorded

	settleTimeout    = 5 * time.Second // for one call of a site's Settle
	firstSettleRetry = 100 * time.Millisecond
	lastSettleRetry  = 5 * time.Second
)

var errSettlePanicked = errors.New("recording panicked")

// batchKey is what is recorded together.
type batchKey struct {
	from   *use
	issuer string
}

// A batch gathers outcomes until they are recorded.
type batch struct {
	settlements []Settlement  // guarded by the worker's lock
	now         chan struct{} // holds one: do not gather any longer
	done        chan struct{} // closed when all are recorded
}

// hurry ends the gathering.
func (b *batch) hurry() {
	select {
	case b.now <- struct{}{}:
	default:
	}
}

// record hands on an outcome. The notice stays in flight until it is recorded. The caller holds the lock.
func (w *Worker) record(from *use, issuer string, s Settlement) {
	key := batchKey{from, issuer}
	b := w.batches[key]
	if b == nil {
		b = &batch{now: make(chan struct{}, 1), done: make(chan struct{})}
		w.batches[key] = b
		w.work.Go(func() { w.settle(key, b) })
	}
	b.settlements = append(b.settlements, s)
	if len(b.settlements) == maxBatch {
		b.hurry()
	}
}

// settle records a batch, and what is added to it meanwhile. While that fails the outcomes are kept; they are lost, and their notices
// stay owed, only when the worker is closed.
func (w *Worker) settle(key batchKey, b *batch) {
	defer close(b.done)
	retry := firstSettleRetry
	w.pause(batchInterval, b.now)
	for {
		site, settlements := w.gathered(key, b)
		if len(settlements) == 0 {
			return
		}
		err := w.settleWith(site, key.issuer, settlements)
		switch {
		case err == nil:
			w.recorded(key.issuer, b, settlements)
			retry = firstSettleRetry
		case w.ctx.Err() != nil:
			w.lose(key, b, err)
			return
		default:
			w.logger.Load().Warn("outcomes of logout notices cannot be recorded, trying again",
				zap.String("issuer", key.issuer), zap.Int("notices", len(settlements)), zap.Error(err))
			w.pause(retry, b.now)
			retry = min(2*retry, lastSettleRetry)
		}
	}
}

// gathered returns what is to be recorded next, and where. When there is nothing the batch is over.
func (w *Worker) gathered(key batchKey, b *batch) (Site, []Settlement) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(b.settlements) == 0 {
		delete(w.batches, key)
		return nil, nil
	}
	return w.siteFor(key.from, key.issuer), slices.Clone(b.settlements[:min(len(b.settlements), maxBatch)])
}

// settleWith has a site record outcomes. This is not ended by Close, which waits for it.
func (w *Worker) settleWith(site Site, issuer string, settlements []Settlement) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	if !w.guarded("recording outcomes of logout notices", issuer, func() { err = site.Settle(ctx, settlements) }) {
		return errSettlePanicked
	}
	return err
}

// recorded ends the flight of notices whose outcomes were recorded, and tells who waits for that.
func (w *Worker) recorded(issuer string, b *batch, settlements []Settlement) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.settlements = slices.Delete(b.settlements, 0, len(settlements))
	for _, s := range settlements {
		w.land(noticeKey{issuer, s.ID})
	}
	close(w.settled)
	w.settled = make(chan struct{})
	w.wakeForMore()
}

// lose gives up all that the batch has.
func (w *Worker) lose(key batchKey, b *batch, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logger.Load().Warn("outcomes of logout notices were not recorded: clients may be told again",
		zap.String("issuer", key.issuer), zap.Int("notices", len(b.settlements)), zap.Error(err))
	for _, s := range b.settlements {
		w.land(noticeKey{key.issuer, s.ID})
	}
	b.settlements = nil
	delete(w.batches, key)
}

// land ends a notice's flight. The caller holds the lock, as for all that follow.
func (w *Worker) land(key noticeKey) {
	delete(w.flight, key)
	if w.perSite[key.issuer]--; w.perSite[key.issuer] == 0 {
		delete(w.perSite, key.issuer)
	}
	if w.looking {
		w.landed[key] = struct{}{}
	}
}

// wakeForMore is called when there is room again.
func (w *Worker) wakeForMore() {
	if w.more {
		w.Wake()
	}
}

// leavingWith returns the batches that had better be recorded before a configuration goes: those from it, and those that no other
// can record.
func (w *Worker) leavingWith(leaving *use) []*batch {
	var found []*batch
	for key, b := range w.batches {
		elsewhere := slices.ContainsFunc(w.uses, func(u *use) bool { return u != leaving && u.sites[key.issuer] != nil })
		if key.from == leaving || !elsewhere {
			found = append(found, b)
		}
	}
	return found
}
