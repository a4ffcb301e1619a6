package handlers

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
	"time"
)

const (
	// AskPause is how long the OP is not asked again after it was not there; at least as long as
	// the request took.
	AskPause   = 250 * time.Millisecond
	askAgainIn = 5 * time.Second // after any other failure
	askTries   = 3               // requests to the OP, its own or others', that a request waits for
	maxRefused = 1 << 10         // callers that are remembered
)

// A Refresher asks the OP for a document: one request at a time, whose response all wait for, and
// none for a while after one has failed. Its zero value is ready.
type Refresher[T any] struct {
	// Mu guards what a response changes, also in the struct that has the refresher.
	Mu sync.Mutex
	asking
}

// An Inquiry is one request for a document.
type Inquiry[T any] struct {
	// Fetch asks, in another goroutine, without the lock.
	Fetch func() (T, error)
	// Every is how soon after a response the OP may be asked again.
	Every time.Duration
	// Keep takes a document. What it returns, unless nil, runs without the lock.
	Keep func(T) (then func())
	// Failed is called if there is no document; worse: the log is to say so.
	Failed func(err error, worse bool)
}

// Ask starts an inquiry unless one is under way, it is too early for one, or prepare returns nil.
// It returns a channel that is closed when there is nothing more to wait for, and whether that is
// the caller's own inquiry.
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
		return closedChan, false
	}
	done := f.begin(now())
	go func() {
		defer close(done)
		value, err := q.Fetch()
		f.finish(now(), who, q, value, err)
	}()
	return done, true
}

// finish ends an inquiry. It keeps the document at once: a request in between would ask again.
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

// Await asks by ask until the document is known, as long as a request may wait. The inquiry under
// way may be that of another caller, who is refused: then the request asks for itself.
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
		if own || flight == closedChan || known() {
			return
		}
	}
}

// asking bounds how often the OP is asked. Its zero value is ready. The lock of the refresher
// guards it.
//
// A request of ours goes through the site as its caller's did, and a site refuses some callers: by
// address, by User-Agent, or because they are not signed in at its own wall. That says nothing of
// the OP, and is remembered of that caller alone. An OP that is not there may be starting.
type asking struct {
	Flight    chan struct{} // closed at the end of the inquiry under way; nil when none is
	began     time.Time     // when that began
	patience  time.Time     // until when it is worth waiting for
	notBefore time.Time     // when the OP may be asked again
	refused   map[caller]time.Time
	trouble   trouble // that was logged; zero: none, or no longer
}

// trouble says how badly asking goes.
type trouble int

const (
	refusedSome trouble = iota + 1
	failedAll
)

// blocked returns nil if the OP may be asked now, and else a channel that is closed when there is
// nothing more to wait for.
func (a *asking) blocked(now time.Time, who caller) <-chan struct{} {
	switch {
	case a.Flight != nil && now.Before(a.patience):
		return a.Flight
	case a.Flight != nil: // the handler behind hangs, though its context has ended
		return closedChan
	case now.Before(a.notBefore) || now.Before(a.refused[who]):
		return closedChan
	default:
		return nil
	}
}

// begin notes an inquiry. At its end, Flight is nil again, and then the channel is closed.
func (a *asking) begin(now time.Time) chan struct{} {
	a.Flight, a.began, a.patience = make(chan struct{}), now, now.Add(SubRequestTimeout)
	return a.Flight
}

// Answered notes that the OP has answered, and when it may be asked again.
func (a *asking) Answered(notBefore time.Time) {
	a.notBefore, a.trouble = notBefore, 0
	clear(a.refused)
}

// Failed notes that an inquiry has failed, and reports whether the log is to say so.
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
		maps.DeleteFunc(a.refused, func(_ caller, until time.Time) bool {
			return !now.Before(until)
		})
	}
	if len(a.refused) >= maxRefused || a.refused == nil {
		a.refused = make(map[caller]time.Time) // a forgotten caller asks once more
	}
	a.refused[who] = now.Add(askAgainIn)
}

// closedChan is the channel of what needs no waiting for.
var closedChan = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
