package oidcsession

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// maxOperatorNotices is how many notices one answer lists.
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
	app, issuer := a.app(), r.URL.Query().Get("issuer")
	var after registry.NoticeID
	id, err := hex.DecodeString(r.URL.Query().Get("after"))
	switch {
	case r.Method != http.MethodGet:
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method not allowed: %s", r.Method)}
	case app == nil:
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errNoApp}
	case issuer == "":
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errIssuerMissing}
	case err != nil || len(id) != 0 && len(id) != len(after):
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errNoticeID}
	}
	copy(after[:], id)
	notices, err := app.unhurried.AllNotices(r.Context(), issuer, after, maxOperatorNotices)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	}
	unnotified, err := app.sites.unnotified(r.Context(), issuer)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	}
	answer := struct {
		Notices    []operatorNotice      `json:"notices"`
		Next       string                `json:"next,omitempty"`
		Unnotified []handlers.Unnotified `json:"cannot_be_notified,omitempty"`
	}{Notices: []operatorNotice{}, Unnotified: unnotified}
	for _, n := range notices {
		answer.Notices = append(answer.Notices, operatorNotice{
			ID: n.ID.String(), ClientID: n.ClientID, Reason: n.Reason, Created: n.Created, Due: n.Due, Attempts: n.Attempts,
			GivenUp: n.Dead, Held: n.Held, Why: n.Why,
		})
	}
	if len(notices) == maxOperatorNotices {
		answer.Next = notices[len(notices)-1].ID.String()
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(answer)
}
