package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
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
	adviceDropped = "the client may still have its session: give it a backchannel_logout_uri if it is to be notified"
	adviceNoToken = "the client may still have its session: see the log for why the signing keys could not be used"
)

// A trial is one try of a notice.
type trial struct {
	owed    registry.Owed // as it was claimed
	clients Clients
	target  Target
	host    hostKey
	since   time.Time // when it was claimed
	probe   bool      // the host did not answer the last time
}

// begin begins a try, or has it wait until its host has room. Nothing waits of a host that does not
// answer, or of a client that registered itself: any number of these would be in the way of the others.
// One whose lease is about to expire is left to whoever claims it then.
func (w *Worker) begin(t trial) {
	if registry.At(w.now().Add(leastLease)) > t.owed.Due {
		return
	}
	w.mu.Lock()
	_, silent := w.hosts.silent[t.host]
	switch {
	case w.closed:
		w.mu.Unlock()
		w.giveBack(t.owed, 0)
	case w.start(t):
		w.mu.Unlock()
	case silent || t.host.selfRegistered:
		w.mu.Unlock()
		w.putOff(t)
	default:
		w.waiting = append(w.waiting, t)
		w.mu.Unlock()
	}
}

// putOff gives a notice back whose host has no room.
func (w *Worker) putOff(t trial) {
	w.mu.Lock()
	by := w.hosts.putOff(t.host)
	w.mu.Unlock()
	w.giveBack(t.owed, by)
}

// giveBack gives a notice back that was not sent.
func (w *Worker) giveBack(o registry.Owed, due time.Duration) {
	w.record(registry.Outcome{Owed: o, Attempts: o.Attempts, Why: o.Why, Due: registry.At(w.now().Add(due))})
}

// start begins a try if its host has room. The caller holds the lock.
func (w *Worker) start(t trial) bool {
	probe, ok := w.hosts.take(t.host)
	if !ok {
		return false
	}
	t.probe = probe
	w.work.Go(func() { w.try(t) })
	return true
}

// beginWaiting begins what has room by now, and puts off what has waited too long.
func (w *Worker) beginWaiting() {
	w.mu.Lock()
	var still, late []trial
	for _, t := range w.waiting {
		switch {
		case time.Since(t.since) > waitLimit:
			late = append(late, t)
		case !w.start(t):
			still = append(still, t)
		}
	}
	w.waiting = still
	w.mu.Unlock()
	for _, t := range late {
		w.putOff(t)
	}
}

// isFull reports whether no more notices are to be claimed.
func (w *Worker) isFull() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting)+len(w.outcomes) >= maxWaiting
}

// try makes one try, and hands on its outcome.
func (w *Worker) try(t trial) {
	begun := time.Now()
	result := w.attempt(t)
	took := time.Since(begun)
	w.mu.Lock()
	w.hosts.give(t.host, t.probe)
	if !errors.Is(result.Err, errNoToken) && !errors.Is(result.Err, errPanicked) { // those say nothing of the host
		w.hosts.note(t.host, result, took)
	}
	w.mu.Unlock()
	if w.ctx.Err() != nil && result.Status == 0 {
		w.giveBack(t.owed, 0) // ended by Close: it does not count
		return
	}
	w.record(w.judge(t, result, took))
	w.beginWaiting()
}

// attempt signs a token and sends it. A panic of what it calls is a failure like another.
func (w *Worker) attempt(t trial) (result Result) {
	finished := w.guarded("sending a logout notice", t.owed.Issuer, func() {
		token, err := w.token(t)
		if err != nil {
			result = unsigned(err)
			return
		}
		result = t.target.Sender.Send(w.ctx, t.target.URI, token)
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
	token, err := t.clients.Token(ctx, t.owed)
	if err != nil {
		w.about(t.owed).Debug("signing a logout token failed", zap.Error(err))
	}
	return token, err
}

// judge decides what becomes of the notice, and tells the log.
func (w *Worker) judge(t trial, result Result, took time.Duration) registry.Outcome {
	outcome := registry.Outcome{Owed: t.owed, Attempts: t.owed.Attempts + 1}
	log := w.about(t.owed).With(zap.String("host", hostName(t.target.URI)), zap.Int("attempts", outcome.Attempts), zap.Duration("duration", took))
	age := w.age(t.owed)
	switch {
	case result.Outcome == Delivered:
		outcome.Delivered = true
		log.Info("logout delivered", zap.Duration("age", age))
		return outcome
	case t.owed.Asked && result.Status == http.StatusBadRequest:
		outcome.Delivered = true
		log.Info("client that asked for the logout has ended its session already", zap.Int("status", result.Status))
		return outcome
	}
	outcome.Why = why(result)
	log = log.With(zap.String("why", outcome.Why))
	switch {
	case result.Outcome == Final:
		outcome.Dead = true
		log.Error("logout given up", zap.String("advice", adviceOf(result.Err, adviceOn(result))))
	case outcome.Attempts >= leastAttempts(t.target.RetryFor) && age >= t.target.RetryFor:
		outcome.Dead = true
		log.Error("logout given up", zap.String("advice", adviceOf(result.Err, adviceLate)))
	default:
		next := w.now().Add(Delay(outcome.Attempts, result.RetryAfter, rand.Float64())) //nolint:gosec // spreads load, guards nothing
		outcome.Due = registry.At(next)
		log = log.With(zap.Time("next", next))
		if t.owed.Attempts == 0 {
			log.Warn("logout not delivered, trying again")
		} else {
			log.Debug("logout not delivered, trying again")
		}
	}
	return outcome
}

// A Target is where a notice goes.
type Target struct {
	URI      string        // the client's backchannel_logout_uri
	Sender   *Sender       // who dials it
	RetryFor time.Duration // how old a notice gets before a failed attempt is its last, if it is the sixth; zero: there is one attempt
	// SelfRegistered: the client has registered itself, as anybody may. Such clients share a small
	// part of the tries.
	SelfRegistered bool
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
func (w *Worker) about(o registry.Owed) *zap.Logger {
	return w.logger.Load().With(zap.Stringer("notice", o.ID()), zap.String("issuer", o.Issuer), zap.Stringer("session", o.Session),
		zap.String("client_id", o.ClientID), zap.String("reason", string(o.Reason)))
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
