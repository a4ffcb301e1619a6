package rules

import (
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// End ends the live sessions of a browser as [registry.Ending] says.
func End(tx Tx, ending registry.Ending) []registry.Session {
	var ended []registry.Session
	for _, session := range tx.BrowserSessions(ending.Browser) {
		if !session.Live(ending.Now) { // expired, and not removed yet
			continue
		}
		session.Ended, session.Reason = instant(ending.Now), ending.Reason
		end(tx, session, ending.Tell)
		ended = append(ended, session)
	}
	return ended
}

// Resolve returns the session that a response belongs to now, as [registry.Registry.Resolve] says.
func Resolve(tx Tx, id sessionstate.SessionID, response sessionstate.ResponseID) (registry.Session, bool) {
	if rebinding, found := tx.Rebinding(response); found && !response.IsZero() {
		if session, found := tx.Session(rebinding.Session); found {
			return session, true
		}
	}
	return tx.Session(id)
}
