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
// The response is a JSON object with the user's `sessions`, those of up to 100 browsers, and with
// `next`, to ask for more after, if there are more.
//
//	DELETE /oidc_session/sessions?issuer=<issuer>&sub=<sub>
//
// All sessions of the user end, and their clients are notified. The response is a JSON object with
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
// The response is a JSON object with the `notices` of up to 1000 browsers: those that are still
// tried, those that were given up within a week, and those that are held back while their user is
// signed in elsewhere; and with `next`. It lists as `cannot_be_notified` the clients that no
// notice reaches, and why.
type AdminAPI struct{}

// CaddyModule returns the Caddy module information.
func (AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID: "admin.api.oidc_session", New: func() caddy.Module { return new(AdminAPI) },
	}
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

// An operatorRequest is what a request of an operator says.
type operatorRequest struct {
	app         *App
	issuer, sub string
	after       registry.Position // where a listing goes on
}

// readOperatorRequest reads a request, whose error is the response to it. The admin endpoint starts
// before the sites, whose directive may be all that there is to load the app by.
func readOperatorRequest(r *http.Request, methods ...string) (o operatorRequest, err error) {
	query := r.URL.Query()
	after, errOfAfter := base64.RawURLEncoding.Strict().DecodeString(query.Get("after"))
	o.issuer, o.sub, o.after = query.Get("issuer"), query.Get("sub"), registry.Position(after)
	app, errOfApp := caddy.ActiveContext().AppIfConfigured("oidc_session")
	switch {
	case !slices.Contains(methods, r.Method):
		err = fmt.Errorf("method not allowed: %s", r.Method)
		return o, apiError(http.StatusMethodNotAllowed, err)
	case errOfApp != nil:
		return o, apiError(http.StatusNotFound, errNoApp)
	case o.issuer == "":
		return o, apiError(http.StatusBadRequest, errIssuerMissing)
	case errOfAfter != nil || len(after) > maxPosition:
		return o, apiError(http.StatusBadRequest, errAfter)
	}
	o.app = app.(*App)
	return o, nil
}

// maxPosition is the longest position of a listing, in bytes.
const maxPosition = 65

// textOf is a position as a response has it.
func textOf(p registry.Position) string { return base64.RawURLEncoding.EncodeToString([]byte(p)) }

// apiError is a response that says what is wrong.
func apiError(status int, err error) error { return caddy.APIError{HTTPStatus: status, Err: err} }

// respond writes a response, or why there is none.
func respond(w http.ResponseWriter, value any, err error) error {
	switch {
	case errors.Is(err, errNoSession):
		return apiError(http.StatusNotFound, err)
	case errors.Is(err, registry.ErrInvalid):
		return apiError(http.StatusBadRequest, err)
	case err != nil:
		return apiError(http.StatusServiceUnavailable, err)
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(value)
}

// respondEnded names the sessions that have ended.
func respondEnded(w http.ResponseWriter, ended []*registry.Session, err error) error {
	ids := []string{}
	for _, session := range ended {
		ids = append(ids, session.ID.String())
	}
	return respond(w, map[string][]string{"ended": ids}, err)
}

// serveSession ends the sessions of one browser.
func (*AdminAPI) serveSession(w http.ResponseWriter, r *http.Request) error {
	o, err := readOperatorRequest(r, http.MethodDelete)
	if err != nil {
		return err
	}
	text := strings.TrimPrefix(r.URL.Path, sessionsPath+"/")
	id, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(id) != len(sessionstate.SessionID{}) {
		return apiError(http.StatusBadRequest, errSessionID)
	}
	ended, err := o.endSession(context.WithoutCancel(r.Context()), sessionstate.SessionID(id))
	return respondEnded(w, ended, err)
}

func (o operatorRequest) endSession(
	ctx context.Context, id sessionstate.SessionID,
) ([]*registry.Session, error) {
	place := registry.PlaceOfSession(id)
	recorded, err := o.app.run.registry.Browser(ctx, place)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(recorded, func(s *registry.Session) bool {
		return s.ID == id && s.Issuer == o.issuer
	}) {
		return nil, errNoSession
	}
	ending := registry.Ending{Place: place, Reason: registry.ReasonOperator}
	return o.app.run.registry.End(registry.Patient(ctx), ending)
}

// An operatorSession is what an operator sees of a session.
type operatorSession struct {
	ID      string          `json:"id"`
	Created time.Time       `json:"created"`
	Expires time.Time       `json:"expires"`
	Ended   time.Time       `json:"ended,omitzero"`
	Reason  registry.Reason `json:"reason,omitempty"`
	Clients []string        `json:"clients"`
}

// serveSessions lists or ends the sessions of a user.
func (*AdminAPI) serveSessions(w http.ResponseWriter, r *http.Request) error {
	o, err := readOperatorRequest(r, http.MethodGet, http.MethodDelete)
	if err != nil {
		return err
	}
	if o.sub == "" {
		return apiError(http.StatusBadRequest, errSubMissing)
	}
	if r.Method == http.MethodDelete {
		ended, err := o.endUser(context.WithoutCancel(r.Context()))
		return respondEnded(w, ended, err)
	}
	sessions, next, err := o.app.run.registry.User(r.Context(), o.issuer, o.sub, o.after)
	list := struct {
		Sessions []operatorSession `json:"sessions"`
		Next     string            `json:"next,omitempty"`
	}{Sessions: []operatorSession{}, Next: textOf(next)}
	for _, s := range sessions {
		shown := operatorSession{
			ID: s.ID.String(), Created: s.Created.Time(), Expires: s.Expires.Time(),
			Ended: s.Ended.Time(), Reason: s.Reason, Clients: []string{},
		}
		for _, client := range s.Clients {
			shown.Clients = append(shown.Clients, client.ID)
		}
		list.Sessions = append(list.Sessions, shown)
	}
	return respond(w, list, err)
}

// endUser ends all sessions of a user.
func (o operatorRequest) endUser(ctx context.Context) (all []*registry.Session, err error) {
	for next := registry.Position(""); ; {
		var ended []*registry.Session
		ended, next, err = o.app.run.registry.EndUser(
			ctx, o.issuer, o.sub, registry.ReasonOperator, next)
		all = append(all, ended...)
		if err != nil || next == "" {
			return all, err
		}
	}
}

// maxOperatorNotices is of how many browsers one response lists notices.
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

// serveNotices lists the notices that an issuer's clients are owed.
func (*AdminAPI) serveNotices(w http.ResponseWriter, r *http.Request) error {
	o, err := readOperatorRequest(r, http.MethodGet)
	if err != nil {
		return err
	}
	run := &o.app.run
	ctx := registry.Patient(r.Context())
	sessions, next, err := run.registry.Owing(ctx, o.after, maxOperatorNotices)
	if err != nil {
		return respond(w, nil, err)
	}
	unnotified, err := run.sites.unnotified(r.Context(), o.issuer)
	list := struct {
		Notices    []operatorNotice         `json:"notices"`
		Next       string                   `json:"next,omitempty"`
		Unnotified []backchannel.Unnotified `json:"cannot_be_notified,omitempty"`
	}{Notices: []operatorNotice{}, Next: textOf(next), Unnotified: unnotified}
	for _, session := range sessions {
		if session.Issuer == o.issuer {
			for _, owed := range session.Pending() {
				list.Notices = append(list.Notices, shownNotice(session, owed))
			}
		}
	}
	return respond(w, list, err)
}

func shownNotice(s *registry.Session, n registry.PendingNotice) operatorNotice {
	later := n.Due > registry.At(clock.Now())
	return operatorNotice{
		ID: n.ID().String(), ClientID: n.ClientID, Reason: n.Reason, Created: s.Ended.Time(),
		Due: n.Due.Time(), Attempts: n.Attempts, GivenUp: n.Dead(), Why: n.Why,
		Held: later && n.Lease == 0 && !n.Asked && !n.Dead(),
	}
}

// Interface guard
var _ caddy.AdminRouter = (*AdminAPI)(nil)
