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

	"github.com/caddyserver/caddy/v2"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func init() {
	caddy.RegisterModule(AdminAPI{})
}

const (
	// sessionsPath is where sessions are in Caddy's admin API; a session's ID follows.
	sessionsPath = "/oidc_session/sessions/"
	// noticesPath is where the notices are that clients are owed.
	noticesPath = "/oidc_session/notices"
)

// AdminAPI lets operators end a session, and see which clients have not been told that one has ended, through Caddy's admin API:
//
//	DELETE /oidc_session/sessions/<id>?issuer=<issuer>
//
// The ID is that of the log and of the placeholder {http.oidc_session.id}. All sessions of that browser end, and their clients are told.
// The answer is a JSON object with their IDs as `ended`. The OP's own session is not ended: a browser that is signed in there starts
// another one at its next sign-in to an app.
//
//	GET /oidc_session/notices?issuer=<issuer>[&after=<id>]
//
// The answer is a JSON object with up to 1000 `notices`: those that are still tried, those that were given up within a week, and those that
// are held back while their user is signed in elsewhere; and the `next` ID to ask for more after, if there are more. Those that
// `cannot_be_notified` are clients that no notice reaches, and why.
type AdminAPI struct{}

// CaddyModule returns the Caddy module information.
func (AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.oidc_session", New: func() caddy.Module { return new(AdminAPI) }}
}

// app is the app of the configuration that is in use; nil: it has none. The admin endpoint starts before
// the sites, whose directive may be all that there is to load the app by.
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
		{Pattern: sessionsPath, Handler: caddy.AdminHandlerFunc(a.serveSession)},
		{Pattern: noticesPath, Handler: caddy.AdminHandlerFunc(a.serveNotices)},
	}
}

// Errors that the operator sees.
var (
	errNoApp         = errors.New("oidc_session is not configured")
	errIssuerMissing = errors.New("the parameter issuer is missing")
	errSessionID     = errors.New("the path must end with a session's ID, as it is in the log")
	errNoSession     = errors.New("no such session of that issuer is recorded")
	errNoticeID      = errors.New("the parameter after must be a notice's ID, as in an earlier answer")
	errManySessions  = errors.New("the browser has more sessions than end at once: repeat the request")
)

// maxOperatorEnds is how often the registry is asked to end sessions of a browser by one request.
const maxOperatorEnds = 1000

func (a *AdminAPI) serveSession(w http.ResponseWriter, r *http.Request) error {
	app, issuer := a.app(), r.URL.Query().Get("issuer")
	id, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(r.URL.Path, sessionsPath))
	switch {
	case r.Method != http.MethodDelete:
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method not allowed: %s", r.Method)}
	case app == nil:
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errNoApp}
	case issuer == "":
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errIssuerMissing}
	case err != nil || len(id) != len(sessionstate.SessionID{}):
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errSessionID}
	}
	ended, err := app.endSession(r.Context(), issuer, sessionstate.SessionID(id))
	switch {
	case errors.Is(err, errNoSession):
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: err}
	case err != nil:
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(map[string][]string{"ended": ended})
}

// endSession ends the sessions of a session's browser on behalf of an operator, and returns their IDs.
func (a *App) endSession(ctx context.Context, issuer string, id sessionstate.SessionID) ([]string, error) {
	store := registry.Bound(a.registry, registryLimit, registryInFlight)
	session, found, err := store.Session(ctx, issuer, id)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errNoSession
	}
	logsSubject := slices.ContainsFunc(a.sites.of(issuer), (*handlers.BackChannel).LogsSubject)
	env := handlers.Env{Logger: a.logger, Keys: a.keys.get, Registry: store, LogSubject: logsSubject}
	ending := registry.Ending{Issuer: issuer, Browser: session.Browser, Reason: registry.ReasonOperator, Now: now(), Tell: a.sites.tells(issuer)}
	ids := []string{}
	for range maxOperatorEnds {
		ended, err := store.End(context.WithoutCancel(ctx), ending)
		if err != nil {
			return nil, err
		}
		if len(ended) == 0 {
			return ids, nil
		}
		a.worker.Wake()
		for _, session := range ended {
			env.LogEnd(ctx, session)
			if ending.Tell {
				handlers.LogUntold(ctx, a.logger, store, issuer, session.ID)
			}
			ids = append(ids, session.ID.String())
		}
	}
	return nil, errManySessions
}

// Interface guard
var _ caddy.AdminRouter = (*AdminAPI)(nil)
