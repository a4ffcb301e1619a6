package rules

import (
	"fmt"
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
		return registry.Redeemed{}, nil
	}
	participation, recorded := tx.Participation(session.ID, response.ClientID)
	participation.ClientID = response.ClientID
	if session.Live(redemption.Now) && switched(tx, session, participation, redemption) {
		return switchUser(tx, session, response, participation, redemption)
	}
	redeemed := registry.Redeemed{Known: true, Session: session}
	if slices.Contains(participation.Subjects, redemption.Subject) {
		return redeemed, nil
	}
	redeemed.Full = len(participation.Subjects) >= registry.MaxSubjects ||
		!recorded && len(tx.Participations(session.ID)) >= registry.MaxParticipations
	if !redeemed.Full {
		participation.Subjects = append(participation.Subjects, redemption.Subject)
		tx.PutParticipation(session.ID, participation)
	}
	return redeemed, nil
}

// switched tells whether the Subject is another End-User than those who signed in in the session before. Only Subs of one
// client can be compared, unless the OP gives all clients the same (OpenID Connect Core 1.0, section 8).
func switched(tx Tx, session registry.Session, own registry.Participation, redemption registry.Redemption) bool {
	subjects := own.Subjects
	if redemption.AcrossClients {
		for _, participation := range tx.Participations(session.ID) {
			subjects = append(slices.Clip(subjects), participation.Subjects...)
		}
	}
	same := func(subject registry.Subject) bool { return subject.Sub == redemption.Subject.Sub }
	return len(subjects) > 0 && !slices.ContainsFunc(subjects, same)
}

// switchUser ends the session in favour of a successor, which the response at hand belongs to from now on.
func switchUser(tx Tx, session registry.Session, response Response, participation registry.Participation, redemption registry.Redemption) (registry.Redeemed, error) {
	if _, found := tx.Session(redemption.Fresh); found {
		return registry.Redeemed{}, fmt.Errorf("%w: fresh session ID is in use", registry.ErrInvalid)
	}
	successor := registry.Session{
		ID:      redemption.Fresh,
		Browser: session.Browser,
		Issuer:  session.Issuer,
		Created: instant(redemption.Now),
		Expires: instant(redemption.Now.Add(redemption.Lifetime)),
	}
	session.Ended, session.Reason, session.Successor = instant(redemption.Now), registry.ReasonUserSwitch, successor.ID
	tx.EndSession(session)
	tx.StartSession(successor)

	participation.Subjects = []registry.Subject{redemption.Subject}
	tx.PutParticipation(successor.ID, participation)

	response.Session = successor.ID
	tx.PutResponse(redemption.Response, response)
	tx.PutRebinding(redemption.Response, Rebinding{Session: successor.ID, Expires: successor.Expires})
	return registry.Redeemed{Known: true, Session: successor, Switched: true}, nil
}
