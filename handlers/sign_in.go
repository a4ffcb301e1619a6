package handlers

import (
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// signIn continues the browser's session or starts one, records that the client takes part, and sets both cookies.
func (v *visit) signIn(clientID, origin, code string, handle *sessionstate.Handle) {
	before := v.sealed.session
	v.join(clientID, origin, sessionstate.NewResponseID(code))
	if v.sealed.session != before || v.sealed.state == "" {
		v.sealed.state = v.keys.BrowserState(v.op.Issuer, v.sealed.session)
	}
	handle.Registry, handle.Session, handle.Response = v.sealed.registry, v.sealed.session, sessionstate.NewResponseID(code)
	v.state = v.sealed.state
	v.giveSession()
	v.giveState(v.state)
}

// join brings the visit's sealed cookie to the session that the registry says. Without the registry, the session of the cookie
// goes on, or one starts that no registry knows: login does not wait for it.
func (v *visit) join(clientID, origin string, response sessionstate.ResponseID) {
	ctx, browser := recording(v.r), v.browser()
	id, err := v.env.Registry.ID(ctx)
	if err == nil {
		var session registry.Session
		session, err = v.env.Registry.Join(ctx, registry.Join{
			Issuer: v.op.Issuer, Browser: browser,
			Session: v.sealed.session, Known: v.sealed.registry == id, Fresh: sessionstate.NewSessionID(),
			Response: response, ClientID: clientID, Origin: origin,
			Now: v.now, Lifetime: v.env.SessionLifetime,
		})
		if err == nil {
			v.sealed.session, v.sealed.registry, v.sealed.expires = session.ID, id, session.Expires
			return
		}
	}
	unrecorded(v.env.Logger, "a sign-in is in the browser's cookies only", err)
	if v.sealed.session.IsZero() {
		v.sealed.session, v.sealed.registry = sessionstate.NewSessionID(), sessionstate.RegistryID{}
		v.sealed.expires = v.now.Add(v.env.SessionLifetime).Truncate(time.Second)
	}
}
