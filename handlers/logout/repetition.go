package logout

import (
	"context"
	"encoding/json"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	// repeatedWithin is how long after a sign-out a request that comes with the cookies of before
	// is its repetition: the second click of a double click. The browser shows the response to
	// that one, and may never have seen the first, cookies included.
	repeatedWithin = time.Minute

	// outcomePause is how long a repetition waits before it looks again for the OP's answer.
	outcomePause = 50 * time.Millisecond

	outcomePurpose = "logout outcome" // in the registry
)

// An opOutcome is what the OP answered when it was asked to end its own session. Requests that
// repeat the sign-out, maybe at another server, are answered by it.
type opOutcome struct {
	Ended   bool     `json:"ended,omitempty"`   // the OP did not refuse
	Proved  bool     `json:"proved,omitempty"`  // and it is certain that its session has ended
	Cookies []string `json:"cookies,omitempty"` // the Set-Cookie lines that came with that
}

// endAtOPOnce ends the OP's own session, unless a request that this one repeats has: the OP may
// refuse to do it twice. While the registry is unavailable, the OP is asked each time.
func (e *EndSession) endAtOPOnce(l *logoutExchange) error {
	if !e.asksOP(l.r) {
		return e.endAtOP(l)
	}
	ctx, until := handlers.RecordingContext(l.r), l.Now.Add(repeatedWithin)
	claim, outcome := l.onceValues()
	first, _, err := e.env.Registry.Once(ctx, l.op.Issuer, claim, "", until)
	header := l.w.Header()
	if err == nil && !first {
		if before := e.awaitOutcome(l, outcome); before.Ended {
			header["Set-Cookie"] = append(header["Set-Cookie"], before.Cookies...)
			l.proved = before.Proved
			return nil
		}
	}
	earlier := len(header["Set-Cookie"])
	failed := e.endAtOP(l)
	if err == nil {
		answered := opOutcome{
			Ended: failed == nil, Proved: l.proved, Cookies: header["Set-Cookie"][earlier:],
		}
		value, _ := json.Marshal(answered) // strings and booleans: it cannot fail
		sealed := l.Keys.Seal(outcomePurpose, l.op.Issuer, value)
		if len(sealed) > sessionstate.MaxSealed {
			sealed = "" // as if the OP had refused: a repetition asks it again
		}
		_, _, err = e.env.Registry.Once(ctx, l.op.Issuer, outcome, sealed, until)
	}
	if err != nil {
		const message = "that the OP was asked to end its session is not recorded"
		handlers.LogUnrecorded(e.env.Logger, message, err)
	}
	return failed
}

// onceValues are the one-time values of a sign-out: that the OP is asked, and what it has
// answered. They are of the browser and its session or, without one, of the question that was
// answered there.
func (l *logoutExchange) onceValues() (claim, outcome [16]byte) {
	of := l.Sealed.Session[:]
	if l.Sealed.Session.IsZero() {
		of = l.answered[:]
	}
	signOut := string(l.Sealed.Browser[:]) + string(of)
	return handlers.Hash("logout of " + signOut), handlers.Hash("outcome of " + signOut)
}

// awaitOutcome waits for what the OP answers the first request of a sign-out. It is zero if that
// takes too long: the server that asked may have stopped.
func (e *EndSession) awaitOutcome(l *logoutExchange, value [16]byte) (outcome opOutcome) {
	ctx, cancel := context.WithTimeout(
		handlers.RecordingContext(l.r), handlers.SubRequestTimeout)
	defer cancel()
	for {
		sealed, found, err := e.env.Registry.LeadsTo(ctx, l.op.Issuer, value)
		if err != nil {
			return opOutcome{}
		}
		if found {
			opened, _, _ := l.Keys.Open(outcomePurpose, l.op.Issuer, sealed)
			_ = json.Unmarshal(opened, &outcome) // zero if it is too long, or under another key
			return outcome
		}
		select {
		case <-time.After(outcomePause):
		case <-ctx.Done():
			return opOutcome{}
		}
	}
}
