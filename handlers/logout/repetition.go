package logout

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
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

// maxAsked is how often the OP is asked in one sign-out with the answers on record.
const maxAsked = 4

// endAtOPOnce ends the OP's own session, unless a request that this one repeats has: the OP may
// refuse to do it twice. After a failure it is asked again. While the registry is unavailable, it
// is asked each time.
func (e *EndSession) endAtOPOnce(l *logoutExchange) error {
	if !e.asksOP(l.r) {
		return e.endAtOP(l)
	}
	ctx, until := registry.Patient(handlers.RecordingContext(l.r)), l.Now.Add(repeatedWithin)
	header := l.w.Header()
	for try := range maxAsked {
		claim, outcome := l.onceValues(try)
		first, _, err := e.env.Registry.Once(ctx, l.op.Issuer, claim, "", until)
		if err != nil {
			e.logUnrecorded(err)
			break
		}
		if first {
			earlier := len(header["Set-Cookie"])
			failed := e.endAtOP(l)
			answered := opOutcome{
				Ended: failed == nil, Proved: l.proved, Cookies: header["Set-Cookie"][earlier:],
			}
			_, _, err = e.env.Registry.Once(
				ctx, l.op.Issuer, outcome, answered.seal(l, outcome), until)
			if err != nil {
				e.logUnrecorded(err)
			}
			return failed
		}
		if before := e.awaitOutcome(l, outcome); before.Ended {
			header["Set-Cookie"] = append(header["Set-Cookie"], before.Cookies...)
			l.proved = before.Proved
			return nil
		}
		if err := l.r.Context().Err(); err != nil {
			return err // nobody waits any more: what is under way goes on
		}
	}
	return e.endAtOP(l)
}

func (e *EndSession) logUnrecorded(err error) {
	const message = "that the OP was asked to end its session is not recorded"
	handlers.LogUnrecorded(e.env.Logger, message, err)
}

// onceValues are the one-time values of a sign-out: that the OP is asked, and what it has
// answered. They are of the browser and its session or, without one, of the question that was
// answered there.
func (l *logoutExchange) onceValues(try int) (claim, outcome [16]byte) {
	of := l.Sealed.Session[:]
	if l.Sealed.Session.IsZero() {
		of = l.answered[:]
	}
	signOut := strconv.Itoa(try) + " " + string(l.Sealed.Browser[:]) + string(of)
	return handlers.Hash("logout of " + signOut), handlers.Hash("outcome of " + signOut)
}

// seal returns the outcome for the registry, where it is of use under its own one-time value alone.
func (o opOutcome) seal(l *logoutExchange, value [16]byte) string {
	plain, _ := json.Marshal(o) // strings and booleans: it cannot fail
	sealed := l.Keys.Seal(outcomePurpose, l.op.Issuer, append(value[:], plain...))
	if len(sealed) > sessionstate.MaxSealed {
		return "" // as if the OP had refused: a repetition asks it again
	}
	return sealed
}

// openOutcome returns a sealed outcome. It is zero if there is none, it was too long, or it is
// another sign-out's or under another key.
func openOutcome(l *logoutExchange, value [16]byte, sealed string) (o opOutcome) {
	opened, _, err := l.Keys.Open(outcomePurpose, l.op.Issuer, sealed)
	plain, own := bytes.CutPrefix(opened, value[:])
	if err != nil || !own || json.Unmarshal(plain, &o) != nil {
		return opOutcome{}
	}
	return o
}

// awaitOutcome waits for what the OP answers the first request of a sign-out. It is zero if that
// takes too long: the server that asked may have stopped.
func (e *EndSession) awaitOutcome(l *logoutExchange, value [16]byte) opOutcome {
	ctx, cancel := context.WithTimeout(l.r.Context(), handlers.SubRequestTimeout)
	defer cancel()
	for {
		sealed, found, err := e.env.Registry.LeadsTo(ctx, l.op.Issuer, value)
		if err == nil && found {
			return openOutcome(l, value, sealed)
		}
		select {
		case <-time.After(outcomePause):
		case <-ctx.Done():
			return opOutcome{}
		}
	}
}
