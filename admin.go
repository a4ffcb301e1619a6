package oidcsession

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/internal/clock"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func init() {
	caddy.RegisterModule(AdminAPI{})
}

const (
	// sessionsPath is where sessions are in Caddy's admin API; a session's ID may follow.
	sessionsPath = "/oidc_session/sessions"
	// noticesPath is where the notices are that clients are owed.
	noticesPath = "/oidc_session/notices"
)

// AdminAPI lets operators see and end sessions, and see which clients have not been notified that
// one has ended, through Caddy's admin API:
//
//	GET /oidc_session/sessions?issuer=<issuer>&sub=<sub>[&after=<next>]
//
// The answer is a JSON object with the user's `sessions`, those of up to 100 browsers, and with
// `next`, to ask for more after, if there are more.
//
//	DELETE /oidc_session/sessions?issuer=<issuer>&sub=<sub>
//
// All sessions of the user end, and their clients are notified. The answer is a JSON object with
// their IDs as `ended`.
//
//	DELETE /oidc_session/sessions/<id>?issuer=<issuer>
//
// The ID is that of the log and of the placeholder {http.oidc_session.id}. All sessions of that
// browser end. The OP's own session is not ended: a browser that is signed in there starts another
// one at its next sign-in to an app.
//
//	GET /oidc_session/notices?issuer=<issuer>[&after=<next>]
//
// The answer is a JSON object with the `notices` of up to 1000 browsers: those that are still
// tried, those that were given up within a week, and those that are held back while their user is
// signed in elsewhere; and with `next`. It lists as `cannot_be_notified` the clients that no
// notice reaches, and why.
type AdminAPI struct{}

// CaddyModule returns the Caddy module information.
func (AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.oidc_session", New: func() caddy.Module { return new(AdminAPI) }}
}

// app is the app of the configuration that is in use; nil: it has none. The admin endpoint starts
// before the sites, whose directive may be all that there is to load the app by.
func (*AdminAPI) app() *App {
	loaded, err := caddy.ActiveContext().AppIfConfigured("oidc_session")
	if err != nil {
		return nil
	}
	return loaded.(*App)
}

// Routes are the endpoints.
func (a *AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: sessionsPath, Handler: caddy.AdminHandlerFunc(a.serveSessions)},
		{Pattern: sessionsPath + "/", Handler: caddy.AdminHandlerFunc(a.serveSession)},
		{Pattern: noticesPath, Handler: caddy.AdminHandlerFunc(a.serveNotices)},
	}
}

// Errors that the operator sees.
var (
	errNoApp         = errors.New("oidc_session is not configured")
	errIssuerMissing = errors.New("the parameter issuer is missing")
	errSubMissing    = errors.New("the parameter sub is missing")
	errSessionID     = errors.New("the path must end with a session's ID, as it is in the log")
	errNoSession     = errors.New("no such session of that issuer is recorded")
	errAfter         = errors.New("the parameter after must be the next of an earlier answer")
)

// An operatorSession is what an operator sees of a session.
type operatorSession struct {
	ID      string          `json:"id"`
	Created time.Time       `json:"created"`
	Expires time.Time       `json:"expires"`
	Ended   time.Time       `json:"ended,omitzero"`
	Reason  registry.Reason `json:"reason,omitempty"`
	Clients []string        `json:"clients"`
}

// asked returns the app and the issuer that a request is about, and where a listing goes on.
func (a *AdminAPI) asked(r *http.Request, methods ...string) (app *App, issuer string, after registry.Position, err error) {
	app, issuer = a.app(), r.URL.Query().Get("issuer")
	position, err := base64.RawURLEncoding.Strict().DecodeString(r.URL.Query().Get("after"))
	switch {
	case !slices.Contains(methods, r.Method):
		err = caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method not allowed: %s", r.Method)}
	case app == nil:
		err = caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errNoApp}
	case issuer == "":
		err = caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errIssuerMissing}
	case err != nil || len(position) > 65:
		err = caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errAfter}
	}
	return app, issuer, registry.Position(position), err
}

// nextOf is a position as an answer has it.
func nextOf(p registry.Position) string { return base64.RawURLEncoding.EncodeToString([]byte(p)) }

// answerWith writes an answer, or why there is none.
func answerWith(w http.ResponseWriter, value any, err error) error {
	switch {
	case errors.Is(err, errNoSession):
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: err}
	case errors.Is(err, registry.ErrInvalid):
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	case err != nil:
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(value)
}

// serveSession ends the sessions of one browser.
func (a *AdminAPI) serveSession(w http.ResponseWriter, r *http.Request) error {
	app, issuer, _, err := a.asked(r, http.MethodDelete)
	if err != nil {
		return err
	}
	id, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(r.URL.Path, sessionsPath+"/"))
	if err != nil || len(id) != len(sessionstate.SessionID{}) {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errSessionID}
	}
	ended, err := app.endSession(context.WithoutCancel(r.Context()), issuer, sessionstate.SessionID(id))
	return answerWith(w, map[string][]string{"ended": idsOf(ended)}, err)
}

func (a *App) endSession(ctx context.Context, issuer string, id sessionstate.SessionID) ([]*registry.Session, error) {
	place := registry.PlaceOfSession(id)
	recorded, err := a.run.registry.Browser(ctx, place)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(recorded, func(s *registry.Session) bool { return s.ID == id && s.Issuer == issuer }) {
		return nil, errNoSession
	}
	return a.run.registry.End(registry.Patient(ctx), registry.Ending{Place: place, Reason: registry.ReasonOperator})
}

// serveSessions lists or ends the sessions of a user.
func (a *AdminAPI) serveSessions(w http.ResponseWriter, r *http.Request) error {
	app, issuer, after, err := a.asked(r, http.MethodGet, http.MethodDelete)
	if err != nil {
		return err
	}
	sub := r.URL.Query().Get("sub")
	if sub == "" {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errSubMissing}
	}
	if r.Method == http.MethodDelete {
		ended, err := app.endUser(context.WithoutCancel(r.Context()), issuer, sub)
		return answerWith(w, map[string][]string{"ended": idsOf(ended)}, err)
	}
	sessions, next, err := app.run.registry.User(r.Context(), issuer, sub, after)
	list := struct {
		Sessions []operatorSession `json:"sessions"`
		Next     string            `json:"next,omitempty"`
	}{Sessions: []operatorSession{}, Next: nextOf(next)}
	for _, s := range sessions {
		shown := operatorSession{
			ID: s.ID.String(), Created: s.Created.Time(), Expires: s.Expires.Time(), Ended: s.Ended.Time(), Reason: s.Reason, Clients: []string{},
		}
		for _, client := range s.Clients {
			shown.Clients = append(shown.Clients, client.ID)
		}
		list.Sessions = append(list.Sessions, shown)
	}
	return answerWith(w, list, err)
}

// endUser ends all sessions of a user.
func (a *App) endUser(ctx context.Context, issuer, sub string) (all []*registry.Session, err error) {
	var ended []*registry.Session
	for next := registry.Position(""); ; {
		ended, next, err = a.run.registry.EndUser(ctx, issuer, sub, registry.ReasonOperator, next)
		all = append(all, ended...)
		if err != nil || next == "" {
			return all, err
		}
	}
}

func idsOf(sessions []*registry.Session) []string {
	ids := []string{}
	for _, session := range sessions {
		ids = append(ids, session.ID.String())
	}
	return ids
}

// maxOperatorNotices is of how many browsers one answer lists notices.
const maxOperatorNotices = 1000

// An operatorNotice is what an operator sees of a notice: nothing of the user.
type operatorNotice struct {
	ID       string          `json:"id"`
	ClientID string          `json:"client_id"`
	Reason   registry.Reason `json:"reason"`
	Created  time.Time       `json:"created"`
	Due      time.Time       `json:"due,omitzero"`
	Attempts int             `json:"attempts"`
	GivenUp  bool            `json:"given_up"`
	Held     bool            `json:"held,omitempty"` // until the user is signed in nowhere else
	Why      string          `json:"why,omitempty"`
}

func (a *AdminAPI) serveNotices(w http.ResponseWriter, r *http.Request) error {
	app, issuer, after, err := a.asked(r, http.MethodGet)
	if err != nil {
		return err
	}
	sessions, next, err := app.run.registry.Owing(registry.Patient(r.Context()), after, maxOperatorNotices)
	if err != nil {
		return answerWith(w, nil, err)
	}
	unnotified, err := app.run.sites.unnotified(r.Context(), issuer)
	list := struct {
		Notices    []operatorNotice         `json:"notices"`
		Next       string                   `json:"next,omitempty"`
		Unnotified []backchannel.Unnotified `json:"cannot_be_notified,omitempty"`
	}{Notices: []operatorNotice{}, Next: nextOf(next), Unnotified: unnotified}
	for _, session := range sessions {
		if session.Issuer == issuer {
			for _, owed := range session.Pending() {
				list.Notices = append(list.Notices, shownNotice(session, owed))
			}
		}
	}
	return answerWith(w, list, err)
}

func shownNotice(s *registry.Session, o registry.PendingNotice) operatorNotice {
	return operatorNotice{
		ID: o.ID().String(), ClientID: o.ClientID, Reason: o.Reason, Created: s.Ended.Time(), Due: o.Due.Time(),
		Attempts: o.Attempts, GivenUp: o.Dead(), Held: o.Lease == 0 && !o.Asked && !o.Dead() && o.Due > registry.At(clock.Now()), Why: o.Why,
	}
}

// Interface guard
var _ caddy.AdminRouter = (*AdminAPI)(nil)
