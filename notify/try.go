package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// ErrCannotSign says that no logout token for a client can ever be signed, as it is configured. A site's Token wraps it: the notice is given
// up, and the log has the error.
var ErrCannotSign = errors.New("no logout token can be signed for the client")

var (
	errNoToken  = errors.New("no logout token could be signed")
	errPanicked = errors.New("the try panicked")
)

// What an operator can do about notices that were given up.
const (
	adviceRefused = "the client may still have its session: see its log for why it refuses the logout token, or its registration for the address"
	adviceMoved   = "the client may still have its session: register the address that it redirects to as its backchannel_logout_uri"
	adviceLate    = "the client may still have its session: see whether its backchannel_logout_uri can be reached from here"
	adviceNoKey   = "the client may still have its session: its id_token_signed_response_alg must be one that a signing key fits, which HS256 and none never are"
	adviceNoToken = "the client may still have its session: see the log for why the signing keys could not be used"
)

// A trial is one try of a notice.
type trial struct {
	from   *use
	issuer string
	site   Site
	notice Notice
	host   hostKey
	probe  bool // the host did not answer the last time
}

// try makes one try, and hands on its outcome.
func (w *Worker) try(t trial) {
	begun := time.Now()
	result := w.attempt(t)
	took := time.Since(begun)
	ended := w.ctx.Err() != nil && result.Status == 0 // by Close: it does not count
	var s Settlement
	if !ended {
		s = w.judge(t, result, took)
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	w.give(t.host, t.probe)
	if ended {
		w.land(noticeKey{t.issuer, t.notice.ID})
		return
	}
	if !errors.Is(result.Err, errNoToken) && !errors.Is(result.Err, errPanicked) { // those say nothing of the host
		w.heard(t.host, result, took)
	}
	w.record(t.from, t.issuer, s)
	w.wakeForMore()
}

// attempt signs a token and sends it. A panic of what it calls is a failure like another.
func (w *Worker) attempt(t trial) (result Result) {
	finished := w.guarded("sending logout notice", t.issuer, func() {
		token, err := w.token(t)
		if err != nil {
			result = unsigned(err)
			return
		}
		result = t.notice.Target.Sender.Send(w.ctx, t.notice.Target.URI, token)
	})
	if !finished {
		return Result{Outcome: Retry, Err: errPanicked}
	}
	return result
}

// unsigned says what follows from an error of signing.
func unsigned(err error) Result {
	if errors.Is(err, ErrCannotSign) {
		return Result{Outcome: Final, Err: err}
	}
	return Result{Outcome: Retry, Err: errNoToken}
}

func (w *Worker) token(t trial) (string, error) {
	ctx, cancel := context.WithTimeout(w.ctx, TryTimeout)
	defer cancel()
	token, err := t.site.Token(ctx, t.notice)
	if err != nil {
		w.logger.Load().Debug("signing logout token", zap.Stringer("notice", t.notice.ID), zap.String("issuer", t.issuer), zap.Error(err))
	}
	return token, err
}

// judge decides what becomes of the notice, and tells the log.
func (w *Worker) judge(t trial, result Result, took time.Duration) Settlement {
	now := w.now()
	s := Settlement{ID: t.notice.ID, Attempts: t.notice.Attempts + 1}
	log := w.about(t.issuer, t.notice).With(zap.String("host", hostName(t.notice.Target.URI)), zap.Int("attempts", s.Attempts), zap.Duration("duration", took))
	if result.Outcome == Delivered {
		s.Delivered = true
		log.Info("logout delivered", zap.Duration("age", now.Sub(t.notice.Created)))
		return s
	}
	if t.notice.Asked && result.Status == http.StatusBadRequest {
		s.Delivered = true
		log.Info("client that asked for the logout has ended its session already", zap.Int("status", result.Status))
		return s
	}

	s.Why = why(result)
	log = log.With(zap.String("why", s.Why))
	switch {
	case result.Outcome == Final:
		s.Dead = true
		log.Error("logout given up", zap.String("advice", adviceOf(result.Err, adviceOn(result))))
	case s.Attempts >= leastAttempts(t.notice.Target.RetryFor) && now.Sub(t.notice.Created) >= t.notice.Target.RetryFor:
		s.Dead = true
		log.Error("logout given up", zap.String("advice", adviceOf(result.Err, adviceLate)))
	default:
		s.Due = now.Add(Delay(s.Attempts, result.RetryAfter, rand.Float64())) //nolint:gosec // spreads load, guards nothing
		log = log.With(zap.Time("next", s.Due))
		if t.notice.Attempts == 0 {
			log.Warn("logout not delivered, trying again")
		} else {
			log.Debug("logout not delivered, trying again")
		}
	}
	return s
}

// leastAttempts is how often a notice is tried before it is given up as too old: after a long time without power, the network may take
// as long as half a minute after this server.
func leastAttempts(retryFor time.Duration) int {
	if retryFor == 0 {
		return 1
	}
	return 6
}

// adviceOf is the advice about a token that was not signed, or another one.
func adviceOf(err error, other string) string {
	switch {
	case errors.Is(err, ErrCannotSign):
		return adviceNoKey
	case errors.Is(err, errNoToken):
		return adviceNoToken
	default:
		return other
	}
}

// adviceOn is the advice about an answer that is no success and never will be.
func adviceOn(result Result) string {
	if result.Redirect != "" {
		return adviceMoved
	}
	return adviceRefused
}

// about returns a logger that names a notice. What says who the user is stays out of the log.
func (w *Worker) about(issuer string, n Notice) *zap.Logger {
	return w.logger.Load().With(zap.Stringer("notice", n.ID), zap.String("issuer", issuer), zap.String("client_id", n.ClientID), zap.String("reason", n.Reason))
}

func why(result Result) string {
	switch {
	case result.Err != nil:
		return short(result.Err.Error())
	case result.Redirect != "":
		return short(fmt.Sprintf("answered with status %d: backchannel_logout_uri must be the final address, and it redirects to %s",
			result.Status, result.Redirect))
	default:
		return fmt.Sprintf("answered with status %d", result.Status)
	}
}

// guarded calls f and reports whether it returned. A panic does not end the server. The log has where it was and not its value, which
// may have a secret.
func (w *Worker) guarded(doing, issuer string, f func()) (returned bool) {
	defer func() {
		if p := recover(); p != nil {
			w.logger.Load().Error("panic while "+doing, zap.String("issuer", issuer), zap.String("type", fmt.Sprintf("%T", p)), zap.Stack("stack"))
		}
	}()
	f()
	return true
}
