package check

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"net/url"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A question is what the check page asks about one session_state.
type question struct {
	clientID, sessionState, origin string
	browserState                   string // empty: the page could not read it
}

var errNoQuestion = errors.New(
	"a check has the form parameters client_id, session_state and origin, each once")

// readQuestion reads the form of a question.
func readQuestion(w http.ResponseWriter, r *http.Request) (question, error) {
	// XMLHttpRequest may add a charset.
	if contentType := r.Header.Get("Content-Type"); contentType != exchange.FormType {
		mediaType, _, err := mime.ParseMediaType(contentType)
		if err != nil || mediaType != exchange.FormType {
			return question{}, errNoQuestion
		}
	}
	body := bytes.NewBuffer(make([]byte, 0, 1<<10))
	if _, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, handlers.MaxCheck)); err != nil {
		return question{}, errNoQuestion
	}
	form, err := url.ParseQuery(body.String())
	if err != nil {
		return question{}, errNoQuestion
	}
	for _, name := range []string{"client_id", "session_state", "origin"} {
		if len(form[name]) != 1 || form[name][0] == "" {
			return question{}, errNoQuestion
		}
	}
	q := question{
		form.Get("client_id"), form.Get("session_state"), form.Get("origin"),
		form.Get("browser_state"),
	}
	if len(form["browser_state"]) > 1 || len(q.sessionState) > handlers.MaxSessionState {
		return question{}, errNoQuestion
	}
	return q, nil
}

// A verdict is what the server says of a session_state: one word, the whole body of the answer.
type verdict string

const (
	unchanged verdict = "unchanged" // the session is live
	changed   verdict = "changed"   // the session has ended or expired
	failed    verdict = "error"     // it was issued to another client or origin
	unknown   verdict = "unknown"   // nothing is recorded: the page's cookie decides
)

// judge judges a session_state by its handle. A forged handle, one of a session that is not
// recorded, and that of a browser which was not signed in get the same verdict unless the asker
// has a browser state to show: it must not learn which it was.
func (e *Endpoint) judge(op *handlers.OP, r *http.Request, q question) (verdict, error) {
	keys, err := e.env.Keys(r.Context())
	if err != nil {
		return "", err
	}
	_, salt, _ := sessionstate.Split(q.sessionState)
	handle, err := keys.OpenHandle(op.Issuer, salt)
	switch {
	case err != nil:
		return unknown, nil
	case !handle.IsFor(q.clientID, q.origin):
		return failed, nil
	case handle.Session.IsZero():
		return judgeAnonymous(op, keys, q), nil
	}
	ref := registry.Ref{Session: handle.Session, Response: handle.Response, Until: handle.Until}
	state, session, err := e.env.Registry.Resolve(handlers.RecordingContext(r), ref)
	switch {
	case err != nil:
		handlers.LogUnrecorded(e.env.Logger, "a check cannot be answered", err)
		return unknown, nil
	case state == registry.Unknown:
		return unknown, nil // forgotten or lost, which is no sign-out
	case state == registry.Ended:
		return changed, nil
	case q.browserState != "" && keys.IsAnonymousState(op.Issuer, q.browserState):
		// The browser itself has the state of one that is signed out, though this registry does not
		// know that: it was unavailable then, or another server did it.
		return changed, nil
	case sessionstate.IsBrowserState(q.browserState) &&
		!keys.IsBrowserState(op.Issuer, session.ID, q.browserState):
		// The browser has another session now, which this registry need not know: it lost its
		// cookies meanwhile, or signed out and in at another server. Its cookie knows better.
		return unknown, nil
	default:
		return unchanged, nil
	}
}

// judgeAnonymous judges the state of a browser that was not signed in, whose value differs by the
// key: while keys are rotated, servers use different ones. The asker gets nothing that it could not
// compute.
func judgeAnonymous(op *handlers.OP, keys *sessionstate.Keyring, q question) verdict {
	if keys.IsAnonymousState(op.Issuer, q.browserState) &&
		keys.VerifyAnonymous(op.Issuer, q.sessionState, q.clientID, q.origin) {
		return unchanged
	}
	return unknown
}
