package handlers

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// Bounds of asking the OP for a document.
const (
	// how many questions, its own or others', a request waits for
	askTries = 3
	// after the OP was not there; at least as long as the question took
	AskPause   = 250 * time.Millisecond
	askAgainIn = 5 * time.Second // after any other failure
	maxRefused = 1 << 10         // callers that are remembered
)

// A Refresher asks the OP for a document: one question at a time, whose answer all wait for, and
// none for a while after one has failed. Its zero value is ready.
type Refresher[T any] struct {
	Mu sync.Mutex // of what an answer changes, also that of who has the refresher
	asking
}

// An Inquiry is one question for a document.
type Inquiry[T any] struct {
	Fetch  func() (T, error)           // in another goroutine, without the lock
	Every  time.Duration               // how soon after an answer the OP may be asked again
	Keep   func(T) (then func())       // takes an answer; then, unless nil, runs without the lock
	Failed func(err error, worse bool) // there is none; worse: the log is to say so
}

// Ask starts a question unless one is under way or it is too early for one, or there is nothing to
// ask. It returns a channel that is closed when there is nothing more to wait for, and whether
// that is the caller's own question.
func (f *Refresher[T]) Ask(
	now func() time.Time, who caller, prepare func() *Inquiry[T],
) (flight <-chan struct{}, own bool) {
	f.Mu.Lock()
	defer f.Mu.Unlock()
	if wait := f.blocked(now(), who); wait != nil {
		return wait, false
	}
	q := prepare()
	if q == nil {
		return Closed, false
	}
	done := f.begin(now())
	go func() {
		defer close(done)
		value, err := q.Fetch()
		f.finish(now(), who, q, value, err)
	}()
	return done, true
}

// finish ends a question. It keeps the answer at once: who asks in between would ask the OP again.
func (f *Refresher[T]) finish(now time.Time, who caller, q *Inquiry[T], value T, err error) {
	var then func()
	f.Mu.Lock()
	f.Flight = nil
	if err != nil {
		q.Failed(err, f.Failed(now, who, err))
	} else {
		then = q.Keep(value)
		f.Answered(now.Add(q.Every))
	}
	f.Mu.Unlock()
	if then != nil {
		then()
	}
}

// asking bounds how often the OP is asked. Its zero value is ready. The lock of who has it guards
// it.
//
// A question goes through the site as its caller came, and a site refuses some callers: by
// address, by User-Agent, or who is not signed in at its own wall. That says nothing of the OP,
// and is remembered of that caller alone. An OP that is not there may be starting.
type asking struct {
	Flight    chan struct{} // closed at the end of the question under way; nil when none is
	began     time.Time     // when that was asked
	patience  time.Time     // until when it is worth waiting for
	notBefore time.Time     // when the OP may be asked again
	refused   map[caller]time.Time
	trouble   trouble // that was logged; none: it is over
}

// trouble says how badly asking goes.
type trouble int

const (
	refusedSome trouble = iota + 1
	failedAll
)

// A caller stands for requests that a site treats alike, as far as can be told.
type caller [sha256.Size]byte

// CallerOf returns who a question is asked for, and how it goes to the OP.
func CallerOf(r *http.Request, next caddyhttp.Handler) caller {
	return sha256.Sum256([]byte(ClientAddress(r) + "\n" + strippedPrefix(next) + "\n" + r.UserAgent()))
}

// blocked returns nil if the OP may be asked now, and else a channel that is closed when there is
// nothing more to wait for.
func (a *asking) blocked(now time.Time, who caller) <-chan struct{} {
	switch {
	case a.Flight != nil && now.Before(a.patience):
		return a.Flight
	case a.Flight != nil: // the handler behind hangs, whatever it is told
		return Closed
	case now.Before(a.notBefore) || now.Before(a.refused[who]):
		return Closed
	default:
		return nil
	}
}

// begin notes a question. At its end, flight is nil again, and then the channel is closed.
func (a *asking) begin(now time.Time) chan struct{} {
	a.Flight, a.began, a.patience = make(chan struct{}), now, now.Add(SubRequestTimeout)
	return a.Flight
}

// Answered notes that the OP has answered, and when it may be asked again.
func (a *asking) Answered(notBefore time.Time) {
	a.notBefore, a.trouble = notBefore, 0
	clear(a.refused)
}

// Failed notes that a question was not answered, and reports whether the log is to say so.
func (a *asking) Failed(now time.Time, who caller, err error) (news bool) {
	found, failure := failedAll, new(OPError)
	switch {
	case !errors.As(err, &failure):
		a.notBefore = now.Add(askAgainIn)
	case failure.Refused:
		found = refusedSome
		a.refuse(now, who)
	default:
		a.notBefore = now.Add(min(max(AskPause, now.Sub(a.began)), askAgainIn))
	}
	news = found > a.trouble
	a.trouble = max(found, a.trouble)
	return news
}

// refuse remembers a caller.
func (a *asking) refuse(now time.Time, who caller) {
	if len(a.refused) >= maxRefused {
		maps.DeleteFunc(a.refused, func(_ caller, until time.Time) bool { return !now.Before(until) })
	}
	if len(a.refused) >= maxRefused || a.refused == nil {
		a.refused = make(map[caller]time.Time) // who is forgotten asks once more
	}
	a.refused[who] = now.Add(askAgainIn)
}

// Await asks by ask until what was asked for is known, as long as a request may wait. The question
// under way may be another caller's, who is refused: then the request asks one of its own.
func Await(r *http.Request, ask func() (flight <-chan struct{}, own bool), known func() bool) {
	ctx, cancel := context.WithTimeout(r.Context(), MetadataWait)
	defer cancel()
	for range askTries {
		flight, own := ask()
		select {
		case <-flight:
		case <-ctx.Done():
			return
		}
		if own || flight == Closed || known() {
			return
		}
	}
}

// An OPError says that a question of ours got no document.
type OPError struct {
	Err     error
	Status  int  // of the answer; zero: there was none
	Refused bool // for the sake of the caller, perhaps: the OP may well answer others
	advice  string
}

func (e *OPError) Error() string { return e.Err.Error() }

func (e *OPError) Unwrap() error { return e.Err }

// isRefusal reports whether a status may be due to who asks.
func isRefusal(status int) bool { return status >= 300 && status < 500 }

// unanswered is the error of a handler that has no answer: a wall's, which refuses the caller, or
// that of a proxy without an OP.
func unanswered(err error) *OPError {
	failure := &OPError{Err: fmt.Errorf("asking the OP: %w", err)}
	if status := new(caddyhttp.HandlerError); errors.As(err, status) {
		failure.Status, failure.Refused = status.StatusCode, isRefusal(status.StatusCode)
	}
	return failure
}

// FailureFields are what the log says of a failure.
func FailureFields(err error, fields ...zap.Field) []zap.Field {
	fields = append(fields, zap.Error(err))
	if failure := new(OPError); errors.As(err, &failure) {
		if failure.Status != 0 {
			fields = append(fields, zap.Int("status", failure.Status))
		}
		if failure.advice != "" {
			fields = append(fields, zap.String("advice", failure.advice))
		}
	}
	return fields
}

// Closed is the channel of what needs no waiting for.
var Closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
