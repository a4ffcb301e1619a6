package rules

import (
	"slices"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// Redeem records a token response as [registry.Redemption] says. It has changed nothing when it returns an error.
func Redeem(tx Tx, redemption registry.Redemption) (registry.Redeemed, error) {
	response, found := tx.Response(redemption.Response)
	if !found || !redemption.Now.Before(response.Expires) || !slices.Contains(redemption.Audience, response.ClientID) {
		return registry.Redeemed{}, nil
	}
	session, found := tx.Session(response.Session)
	if !found { // it was shorter than the code's lifetime
		if redemption.Tell {
			removed := registry.Session{ID: response.Session, Reason: registry.ReasonExpiry}
			participation := registry.Participation{ClientID: response.ClientID, IDToken: redemption.IDToken}
			owe(tx, removed, participation, redemption.Subject, redemption.Now, true)
		}
		return registry.Redeemed{}, nil
	}
	i := identification{
		tx: tx, response: response, subject: redemption.Subject, idToken: redemption.IDToken, across: redemption.AcrossClients,
		fresh: redemption.Fresh, now: redemption.Now, lifetime: redemption.Lifetime,
		idle: redemption.Idle, tell: redemption.Tell,
	}
	redeemed, err := i.record(session)
	if err != nil || redeemed.Session.ID == session.ID {
		return redeemed, err
	}
	response.Session = redeemed.Session.ID
	tx.PutResponse(redemption.Response, response)
	tx.PutRebinding(redemption.Response, Rebinding{Session: redeemed.Session.ID, Expires: redeemed.Session.Limit})
	return redeemed, nil
}
