package oidcsession

import (
	"net/http"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/internal/clock"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

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
	sessions, next, err := app.registry.Owing(registry.Patient(r.Context()), after, maxOperatorNotices)
	if err != nil {
		return answerWith(w, nil, err)
	}
	unnotified, err := app.sites.unnotified(r.Context(), issuer)
	list := struct {
		Notices    []operatorNotice         `json:"notices"`
		Next       string                   `json:"next,omitempty"`
		Unnotified []backchannel.Unnotified `json:"cannot_be_notified,omitempty"`
	}{Notices: []operatorNotice{}, Next: nextOf(next), Unnotified: unnotified}
	for _, session := range sessions {
		if session.Issuer == issuer {
			for _, owed := range session.Owed() {
				list.Notices = append(list.Notices, shownNotice(session, owed))
			}
		}
	}
	return answerWith(w, list, err)
}

func shownNotice(s *registry.Session, o registry.Owed) operatorNotice {
	return operatorNotice{
		ID: o.ID().String(), ClientID: o.ClientID, Reason: o.Reason, Created: s.Ended.Time(), Due: o.Due.Time(),
		Attempts: o.Attempts, GivenUp: o.Dead(), Held: o.Lease == 0 && !o.Asked && !o.Dead() && o.Due > registry.At(clock.Now()), Why: o.Why,
	}
}
