package handlers

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// signIn continues the browser's session or starts one, records that the client takes part, and sets both cookies.
func (b *Browser) signIn(v *visit, request pendingRequest, origin string, response authorizationResponse, handle *sessionstate.Handle) {
	if v.sealed.browser.IsZero() {
		v.sealed.browser = request.browser
	}
	before := v.sealed.session
	subject, like := b.subject(v, request, response)
	join := registry.Join{
		Issuer: v.op.Issuer, Browser: v.browser(), Session: before,
		Response: sessionstate.NewResponseID(response.values.Get("code")), ClientID: request.clientID, Origin: origin, Silent: request.is(silent),
		Sub: subject.Sub, Sid: subject.Sid, IDToken: like, AcrossClients: v.op.publicSubjects,
		Lifetime: v.env.SessionLifetime, Idle: v.env.IdleTimeout, Tell: v.env.Tells(v.op),
	}
	handle.Until = joinSession(v, join)
	if v.sealed.session != before || v.sealed.state == "" {
		v.sealed.state = v.keys.BrowserState(v.op.Issuer, v.sealed.session)
	}
	handle.Session, handle.Response = v.sealed.session, join.Response
	v.state = v.sealed.state
	v.giveSession()
	v.giveState(v.state)
	b.checkLoginCookie(v.op, request)
	b.signIns.put(browserKey(v.sealed.browser), v.now)
	if code := response.values.Get("code"); b.Redemptions != nil && code != "" && subject.Sub == "" {
		b.Redemptions.responded(v.env.Logger, v.op.Issuer, request.clientID, code, v.now)
	}
	if origin != "" && !request.is(blind) {
		b.origins.put(originKey(request.clientID, origin), struct{}{})
	}
}

// joinSession brings the visit's sealed cookie to the session that the registry says, and returns when that
// ends at the latest. Without the registry, the session of the cookie goes on, or one starts that is
// not recorded: login does not wait for it.
func joinSession(v *visit, join registry.Join) (until time.Time) {
	ctx := recording(v.r)
	joined, err := v.env.Registry.Join(ctx, join)
	if err == nil {
		session := joined.Session
		if joined.Started && session.ID != join.Session {
			v.env.logStart(ctx, session.Issuer, session.ID, join.ClientID, join.Sub)
		}
		if joined.Full {
			v.env.logFull(session)
		}
		v.sealed.session, v.sealed.expires = session.ID, session.Expires.Time()
		return session.Limit.Time()
	}
	unrecorded(v.env.Logger, "a sign-in is in the browser's cookies only", err)
	if v.sealed.session.IsZero() {
		v.sealed.session = registry.NewSessionID(join.Issuer, join.Browser)
		v.sealed.expires = v.now.Add(v.env.SessionLifetime).Truncate(time.Second)
		v.env.logStart(ctx, join.Issuer, v.sealed.session, join.ClientID, join.Sub)
	}
	return v.sealed.expires
}

// subject returns who signed in, by the ID token of an implicit or hybrid response (OpenID Connect Core 1.0, sections 3.2 and 3.3). A
// token counts for nothing unless the OP has signed it for the client that asked; then, and while the OP's keys are unavailable, the
// response names nobody, and the token response will.
func (b *Browser) subject(v *visit, request pendingRequest, response authorizationResponse) (registry.Subject, registry.IDToken) {
	idToken := response.values.Get("id_token")
	if idToken == "" || response.mode == inQuery || request.is(blind) || b.OPKeys == nil {
		return registry.Subject{}, registry.IDToken{}
	}
	claims, err := b.verified(v, request.clientID, idToken)
	if err != nil {
		v.env.Logger.Warn("ID token of an authorization response not used", zap.String("issuer", v.op.Issuer),
			zap.String("client_id", request.clientID), zap.Error(err))
		return registry.Subject{}, registry.IDToken{}
	}
	v.env.SawIDToken(recording(v.r), v.op, request.clientID, claims)
	return registry.Subject{Sub: claims.Subject, Sid: claims.SessionID}, recorded(v.op, claims)
}

// recorded is what the registry keeps of an ID token beside its subject: the client's logout tokens are to be like it. Of an OP with
// several issuers, they have the client's own.
func recorded(op *OP, claims tokens.IDToken) registry.IDToken {
	kept := registry.IDToken{Algorithm: claims.Algorithm}
	if op.hasSeveralIssuers() {
		kept.Issuer = claims.Issuer
	}
	return kept
}

// verified returns the claims of an ID token that the OP has issued to a client.
func (b *Browser) verified(v *visit, clientID, idToken string) (tokens.IDToken, error) {
	unverified, err := tokens.ReadIDToken(idToken)
	if err != nil {
		return tokens.IDToken{}, err
	}
	if unverified.Symmetric() {
		return tokens.IDToken{}, errSymmetric // no sign-in waits for keys that cannot have signed it
	}
	op := b.OPKeys.as(v.op, unverified.Issuer, v.r, v.from.next)
	keys := b.OPKeys.FindCurrent(op, v.r, v.from.next, unverified.KeyID)
	claims, err := keys.VerifyIDToken(idToken, v.now)
	switch {
	case err != nil:
		return tokens.IDToken{}, err
	case !v.op.issues(claims.Issuer):
		return tokens.IDToken{}, errOtherIssuer
	case !claims.IsFor(clientID):
		return tokens.IDToken{}, errOtherAudience
	}
	return claims, nil
}

// Reasons why an ID token does not count. They hold nothing of the token.
var (
	errSymmetric     = errors.New("it is signed by a secret of the client")
	errOtherIssuer   = errors.New("it was issued by another issuer")
	errOtherAudience = errors.New("it was issued to another client")
)
