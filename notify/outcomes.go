package notify

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

const (
	// maxFlushed is how many outcomes are recorded at once.
	maxFlushed = 256
	// flushTimeout is for recording the last outcomes when the worker is closed.
	flushTimeout   = 2 * time.Second
	lastFlushRetry = 5 * time.Second
)

// enqueue adds an outcome, which is recorded together with others of the same moment.
func (w *Worker) enqueue(outcome registry.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes = append(w.outcomes, outcome)
	if !w.flushing {
		w.flushing = true
		w.work.Go(w.flush)
	}
}

// flush records outcomes until there are none. While that fails they are kept. They are abandoned
// only when the worker is closed: their notices are due again when their leases expire.
func (w *Worker) flush() {
	retry := flushInterval
	w.pause(flushInterval, nil)
	for {
		outcomes := w.pending()
		if len(outcomes) == 0 {
			return
		}
		err := w.writeOutcomes(outcomes)
		if err == nil {
			w.flushed(len(outcomes))
			retry = flushInterval
			continue
		}
		w.logger.Load().Debug("recording outcomes of logout notices failed", zap.Error(err))
		if !w.pause(retry, nil) {
			w.abandon(err)
			return
		}
		retry = min(2*retry, lastFlushRetry)
	}
}

// pending returns the outcomes to record next. The flush ends where there are none.
func (w *Worker) pending() []registry.Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushing = len(w.outcomes) > 0
	return w.outcomes[:min(len(w.outcomes), maxFlushed)]
}

func (w *Worker) writeOutcomes(outcomes []registry.Outcome) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), flushTimeout)
	defer cancel()
	record := func() { err = w.registry.RecordOutcomes(ctx, outcomes) }
	if !w.guarded("recording outcomes of logout notices", "", record) {
		return errPanicked
	}
	return err
}

// flushed forgets the first outcomes, and says that they are recorded.
func (w *Worker) flushed(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes = append([]registry.Outcome(nil), w.outcomes[n:]...)
	close(w.settled)
	w.settled = make(chan struct{})
}

// abandon drops the outcomes that could not be recorded.
func (w *Worker) abandon(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logger.Load().Warn(
		"outcomes of logout notices were not recorded: clients may be notified again",
		zap.Int("notices", len(w.outcomes)), zap.Error(err))
	w.outcomes, w.flushing = nil, false
}
