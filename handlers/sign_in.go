package handlers

import (
	"net/url"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// signIn continues the browser's session or starts one, records that the client takes part, and sets both cookies.
func (v *visit) signIn(request pendingRequest, origin string, response url.Values, handle *sessionstate.Handle) {
	if v.sealed.browser.IsZero() {
		v.sealed.browser = request.browser
	}
	before := v.sealed.session
	join := registry.Join{
		Issuer: v.op.Issuer, Browser: v.browser(), Session: before, Fresh: sessionstate.NewSessionID(),
		Response: sessionstate.NewResponseID(response.Get("code")), ClientID: request.clientID, Origin: origin, Silent: request.is(silent),
		Subject: v.subject(request.clientID, response.Get("id_token")), AcrossClients: v.op.publicSubjects,
		Now: v.now, Lifetime: v.env.SessionLifetime, Idle: v.env.IdleTimeout, Tell: v.env.Tells(v.op),
	}
	v.join(join)
	if v.sealed.session != before || v.sealed.state == "" {
		v.sealed.state = v.keys.BrowserState(v.op.Issuer, v.sealed.session)
	}
	handle.Registry, handle.Session, handle.Response = v.sealed.registry, v.sealed.session, join.Response
	v.state = v.sealed.state
	v.giveSession()
	v.giveState(v.state)
}

// join brings the visit's sealed cookie to the session that the registry says. Without the registry, the session of the cookie
// goes on, or one starts that no registry knows: login does not wait for it.
func (v *visit) join(join registry.Join) {
	ctx := recording(v.r)
	id, err := v.env.Registry.ID(ctx)
	if err == nil {
		join.Known = v.sealed.registry == id
		var session registry.Session
		if session, err = v.env.Registry.Join(ctx, join); err == nil {
			if !session.Predecessor.IsZero() && session.ID == join.Fresh {
				logSwitch(v.env.Logger, session)
				v.env.tellOfSwitch(ctx, v.op, session)
			}
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

// subject reads who signed in from the ID token of an implicit or hybrid response (OpenID Connect Core 1.0, sections 3.2 and 3.3).
// It comes from the OP itself, on its way to the client, which verifies it. A token that is not the client's names nobody.
func (v *visit) subject(clientID, idToken string) registry.Subject {
	if idToken == "" {
		return registry.Subject{}
	}
	claims, err := tokens.ReadIDToken(idToken)
	if err != nil || !v.op.issues(claims.Issuer) || !slices.Contains(claims.Audience, clientID) {
		v.env.Logger.Warn("cannot use the ID token of an authorization response", zap.String("issuer", v.op.Issuer), zap.Error(err))
		return registry.Subject{}
	}
	v.env.SawIDToken(recording(v.r), v.op, clientID, claims)
	return registry.Subject{Sub: claims.Subject, Sid: claims.SessionID}
}
