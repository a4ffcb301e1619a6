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

// ErrCannotSign says that no logout token for a client can ever be signed, as it is configured.
// [Clients.Token] wraps it: the notice is given up, and the error is logged.
var ErrCannotSign = errors.New("no logout token can be signed for the client")

var (
	errNoToken  = errors.New("no logout token could be signed")
	errPanicked = errors.New("the try panicked")
)

// What an operator can do about notices that were given up.
const (
	mayHaveSession = "the client may still have its session: "

	adviceRefused = mayHaveSession +
		"see its log for why it refuses the logout token, or its registration for the address"
	adviceMoved = mayHaveSession +
		"register the address that it redirects to as its backchannel_logout_uri"
	adviceLate = mayHaveSession +
		"see whether its backchannel_logout_uri can be reached from here"
	adviceNoKey = mayHaveSession +
		"its id_token_signed_response_alg must be one that a signing key fits, " +
		"which HS256 and none never are"
	adviceDropped = mayHaveSession +
		"give it a backchannel_logout_uri if it is to be notified"
	adviceNoToken = mayHaveSession +
		"see the log for why the signing keys could not be used"
)

// A delivery is a claimed notice, with where it goes.
type delivery struct {
	owed    registry.PendingNotice // as it was claimed
	clients Clients
	target  Target
	host    hostKey
	since   time.Time // when it was claimed
	probe   bool      // the host did not answer the last time
}

// startOrWait starts a try, or has it wait until its host has room. Nothing waits for a host that
// does not answer, or for a client that registered itself: any number of these would be in the way
// of the others. One whose lease is about to expire is left to its next claimer.
func (w *Worker) startOrWait(d delivery) {
	if registry.At(w.now().Add(leastLease)) > d.owed.Due {
		return
	}
	w.mu.Lock()
	_, silent := w.hosts.silent[d.host]
	switch {
	case w.closed:
		w.mu.Unlock()
		w.giveBack(d.owed, 0)
	case w.start(d):
		w.mu.Unlock()
	case silent || d.host.selfRegistered:
		w.mu.Unlock()
		w.putOff(d)
	default:
		w.waiting = append(w.waiting, d)
		w.mu.Unlock()
	}
}

// putOff gives a notice back whose host has no room.
func (w *Worker) putOff(d delivery) {
	w.mu.Lock()
	by := w.hosts.putOff(d.host)
	w.mu.Unlock()
	w.giveBack(d.owed, by)
}

// giveBack gives a notice back that was not sent.
func (w *Worker) giveBack(o registry.PendingNotice, due time.Duration) {
	at := registry.At(w.now().Add(due))
	w.enqueue(registry.Outcome{Notice: o, Attempts: o.Attempts, Why: o.Why, Due: at})
}

// start starts a try if its host has room. The caller holds the lock.
func (w *Worker) start(d delivery) bool {
	probe, ok := w.hosts.take(d.host)
	if !ok {
		return false
	}
	d.probe = probe
	w.work.Go(func() { w.try(d) })
	return true
}

// startWaiting starts what has room by now, and puts off what has waited too long.
func (w *Worker) startWaiting() {
	w.mu.Lock()
	var still, late []delivery
	for _, d := range w.waiting {
		switch {
		case time.Since(d.since) > waitLimit:
			late = append(late, d)
		case !w.start(d):
			still = append(still, d)
		}
	}
	w.waiting = still
	w.mu.Unlock()
	for _, d := range late {
		w.putOff(d)
	}
}

// isFull reports whether no more notices are to be claimed.
func (w *Worker) isFull() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting)+len(w.outcomes) >= maxWaiting
}

// try makes one try, and enqueues its outcome.
func (w *Worker) try(d delivery) {
	begun := time.Now()
	result := w.attempt(d)
	took := time.Since(begun)
	w.mu.Lock()
	w.hosts.give(d.host, d.probe)
	// these say nothing about the host
	if !errors.Is(result.Err, errNoToken) && !errors.Is(result.Err, errPanicked) {
		w.hosts.noteResult(d.host, result, took)
	}
	w.mu.Unlock()
	if w.ctx.Err() != nil && result.Status == 0 {
		w.giveBack(d.owed, 0) // ended by Close: it does not count
		return
	}
	w.enqueue(w.outcome(d, result, took))
	w.startWaiting()
}

// attempt signs a token and sends it. A panic of what it calls is a failure like another.
func (w *Worker) attempt(d delivery) (result Result) {
	finished := w.guarded("sending a logout notice", d.owed.Issuer, func() {
		token, err := w.token(d)
		switch {
		case errors.Is(err, ErrCannotSign):
			result.Err = err
		case err != nil:
			result.Err = errNoToken
		default:
			result = d.target.Sender.Send(w.ctx, d.target.URI, token)
		}
	})
	if !finished {
		return Result{Err: errPanicked}
	}
	return result
}

func (w *Worker) token(d delivery) (string, error) {
	ctx, cancel := context.WithTimeout(w.ctx, tryTimeout)
	defer cancel()
	token, err := d.clients.Token(ctx, d.owed)
	if err != nil {
		w.about(d.owed).Debug("signing a logout token failed", zap.Error(err))
	}
	return token, err
}

// outcome decides what becomes of the notice, and logs it.
func (w *Worker) outcome(d delivery, result Result, took time.Duration) registry.Outcome {
	outcome := registry.Outcome{Notice: d.owed, Attempts: d.owed.Attempts + 1}
	log := w.about(d.owed).With(zap.String("host", hostName(d.target.URI)),
		zap.Int("attempts", outcome.Attempts), zap.Duration("duration", took))
	age := w.age(d.owed)
	switch {
	case result.delivered():
		outcome.Delivered = true
		log.Info("logout delivered", zap.Duration("age", age))
		return outcome
	case d.owed.Asked && result.Status == http.StatusBadRequest:
		outcome.Delivered = true
		log.Info("client that asked for the logout has ended its session already",
			zap.Int("status", result.Status))
		return outcome
	}
	outcome.Why = why(result)
	log = log.With(zap.String("why", outcome.Why))
	retryFor := d.target.RetryFor
	if !result.mayPass() || outcome.Attempts >= leastAttempts(retryFor) && age >= retryFor {
		outcome.Dead = true
		log.Error("logout given up", zap.String("advice", adviceOn(result)))
		return outcome
	}
	jitter := rand.Float64() //nolint:gosec // spreads load, guards nothing
	next := w.now().Add(retryDelay(outcome.Attempts, result.RetryAfter, jitter))
	outcome.Due = registry.At(next)
	log = log.With(zap.Time("next", next))
	if d.owed.Attempts == 0 {
		log.Warn("logout not delivered, trying again")
	} else {
		log.Debug("logout not delivered, trying again")
	}
	return outcome
}

// A Target is where a notice goes.
type Target struct {
	URI    string  // the client's backchannel_logout_uri
	Sender *Sender // who dials it
	// RetryFor is how old a notice is when a failed attempt is its last, from the sixth one on;
	// zero: there is one attempt.
	RetryFor time.Duration
	// SelfRegistered: the client has registered itself, as anybody may. Such clients share a small
	// part of the tries.
	SelfRegistered bool
}

// leastAttempts is how often a notice is tried before it is given up as too old: after a power
// cut, the network may be back half a minute later than this server.
func leastAttempts(retryFor time.Duration) int {
	if retryFor == 0 {
		return 1
	}
	return 6
}

// adviceOn is the advice about a notice that is given up after this result.
func adviceOn(result Result) string {
	switch {
	case errors.Is(result.Err, ErrCannotSign):
		return adviceNoKey
	case errors.Is(result.Err, errNoToken):
		return adviceNoToken
	case result.Redirect != "":
		return adviceMoved
	case result.mayPass():
		return adviceLate
	default:
		return adviceRefused
	}
}

// about returns a logger that names a notice. What says who the user is stays out of the log.
func (w *Worker) about(o registry.PendingNotice) *zap.Logger {
	return w.logger.Load().With(zap.Stringer("notice", o.ID()),
		zap.String("issuer", o.Issuer), zap.Stringer("session", o.Session),
		zap.String("client_id", o.ClientID), zap.String("reason", string(o.Reason)))
}

func why(result Result) string {
	switch {
	case result.Err != nil:
		return short(result.Err.Error())
	case result.Redirect != "":
		return short(fmt.Sprintf("answered with status %d: "+
			"backchannel_logout_uri must be the final address, and it redirects to %s",
			result.Status, result.Redirect))
	default:
		return fmt.Sprintf("answered with status %d", result.Status)
	}
}

// guarded calls f and reports whether it returned. A panic does not end the server. The log says
// where it was, without its value, which may contain a secret.
func (w *Worker) guarded(doing, issuer string, f func()) (returned bool) {
	defer func() {
		if p := recover(); p != nil {
			w.logger.Load().Error("panic while "+doing, zap.String("issuer", issuer),
				zap.String("type", fmt.Sprintf("%T", p)), zap.Stack("stack"))
		}
	}()
	f()
	return true
}
