package notify

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

const (
	// maxSettled is how many outcomes are recorded at once.
	maxSettled = 256
	// settleTimeout is for recording the last outcomes when the worker is closed.
	settleTimeout   = 2 * time.Second
	lastSettleRetry = 5 * time.Second
)

// record hands on an outcome, which is recorded with others of the same moment.
func (w *Worker) record(outcome registry.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes = append(w.outcomes, outcome)
	if !w.settling {
		w.settling = true
		w.work.Go(w.settle)
	}
}

// settle records outcomes until there are none. While that fails they are kept; they are lost, and
// their notices due again when their leases expire, only when the worker is closed.
func (w *Worker) settle() {
	retry := settleInterval
	w.pause(settleInterval, nil)
	for {
		outcomes := w.gathered()
		if len(outcomes) == 0 {
			return
		}
		err := w.settleNow(outcomes)
		if err == nil {
			w.recorded(len(outcomes))
			retry = settleInterval
			continue
		}
		w.logger.Load().Debug("recording outcomes of logout notices failed", zap.Error(err))
		if !w.pause(retry, nil) {
			w.lose(err)
			return
		}
		retry = min(2*retry, lastSettleRetry)
	}
}

func (w *Worker) gathered() []registry.Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settling = len(w.outcomes) > 0
	return w.outcomes[:min(len(w.outcomes), maxSettled)]
}

func (w *Worker) settleNow(outcomes []registry.Outcome) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), settleTimeout)
	defer cancel()
	if !w.guarded("recording outcomes of logout notices", "", func() { err = w.registry.Settle(ctx, outcomes) }) {
		return errPanicked
	}
	return err
}

// recorded forgets the first outcomes, and says that they are recorded.
func (w *Worker) recorded(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes = append([]registry.Outcome(nil), w.outcomes[n:]...)
	close(w.settled)
	w.settled = make(chan struct{})
}

func (w *Worker) lose(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logger.Load().Warn("outcomes of logout notices were not recorded: clients may be notified again",
		zap.Int("notices", len(w.outcomes)), zap.Error(err))
	w.outcomes, w.settling = nil, false
}
