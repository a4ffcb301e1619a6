package signin

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// signIn continues the browser's session or starts one, records that the client takes part, and
// sets both cookies.
func (o *Observer) signIn(v *browser.Cookies, request browser.PendingRequest, origin string, response authorizationResponse, handle *sessionstate.Handle) {
	if v.Sealed.Browser.IsZero() {
		v.Sealed.Browser = request.Browser
	}
	before := v.Sealed.Session
	subject, like := o.subject(v, request, response)
	join := registry.Join{
		Issuer: v.OP.Issuer, Browser: v.BrowserID(), Session: before,
		Response: sessionstate.NewResponseID(response.values.Get("code")), ClientID: request.ClientID, Origin: origin, Silent: request.Is(browser.SilentRequest),
		Sub: subject.Sub, Sid: subject.Sid, IDToken: like, AcrossClients: v.OP.PublicSubjects,
		Lifetime: v.Env.SessionLifetime, Idle: v.Env.IdleTimeout, Notify: v.Env.Notifies(v.OP),
	}
	handle.Until = joinSession(v, join)
	if v.Sealed.Session != before || v.Sealed.State == "" {
		v.Sealed.State = v.Keys.BrowserState(v.OP.Issuer, v.Sealed.Session)
	}
	handle.Session, handle.Response = v.Sealed.Session, join.Response
	v.State = v.Sealed.State
	v.SetSession()
	v.SetState(v.State)
	o.checkLoginCookie(v.OP, request)
	o.signIns.Put(browserKey(v.Sealed.Browser), v.Now)
	if code := response.values.Get("code"); o.Redemptions != nil && code != "" && subject.Sub == "" {
		o.Redemptions.responded(v.Env.Logger, v.OP.Issuer, request.ClientID, code, v.Now)
	}
	if origin != "" && !request.Is(browser.BlindRequest) {
		o.origins.Put(originKey(request.ClientID, origin), struct{}{})
	}
}

// joinSession brings the visit's sealed cookie to the session that the registry says, and returns
// when that ends at the latest. Without the registry, the session of the cookie goes on, or one
// starts that is not recorded: login does not wait for it.
func joinSession(v *browser.Cookies, join registry.Join) (until time.Time) {
	ctx := handlers.RecordingContext(v.Request)
	joined, err := v.Env.Registry.Join(ctx, join)
	if err == nil {
		session := joined.Session
		if joined.Started && session.ID != join.Session {
			v.Env.LogStart(ctx, session.Issuer, session.ID, join.ClientID, join.Sub)
		}
		if joined.Full {
			v.Env.LogFull(session)
		}
		v.Sealed.Session, v.Sealed.Expires = session.ID, session.Expires.Time()
		return session.Limit.Time()
	}
	handlers.LogUnrecorded(v.Env.Logger, "a sign-in is in the browser's cookies only", err)
	if v.Sealed.Session.IsZero() {
		v.Sealed.Session = registry.NewSessionID(join.Issuer, join.Browser)
		v.Sealed.Expires = v.Now.Add(v.Env.SessionLifetime).Truncate(time.Second)
		v.Env.LogStart(ctx, join.Issuer, v.Sealed.Session, join.ClientID, join.Sub)
	}
	return v.Sealed.Expires
}

// subject returns who signed in, by the ID token of an implicit or hybrid response (OpenID Connect
// Core 1.0, sections 3.2 and 3.3). A token counts for nothing unless the OP has signed it for the
// client that asked; then, and while the OP's keys are unavailable, the response names nobody, and
// the token response will.
func (o *Observer) subject(v *browser.Cookies, request browser.PendingRequest, response authorizationResponse) (registry.Subject, registry.IDToken) {
	idToken := response.values.Get("id_token")
	if idToken == "" || response.mode == inQuery || request.Is(browser.BlindRequest) || o.OPKeys == nil {
		return registry.Subject{}, registry.IDToken{}
	}
	claims, err := o.verified(v, request.ClientID, idToken)
	if err != nil {
		v.Env.Logger.Warn("ID token of an authorization response not used", zap.String("issuer", v.OP.Issuer),
			zap.String("client_id", request.ClientID), zap.Error(err))
		return registry.Subject{}, registry.IDToken{}
	}
	v.Env.SawIDToken(handlers.RecordingContext(v.Request), v.OP, request.ClientID, claims)
	return registry.Subject{Sub: claims.Subject, Sid: claims.SessionID}, recorded(v.OP, claims)
}

// recorded is what the registry keeps of an ID token beside its subject: the client's logout
// tokens are to be like it. Of an OP with several issuers, they have the client's own.
func recorded(op *handlers.OP, claims tokens.IDToken) registry.IDToken {
	kept := registry.IDToken{Algorithm: claims.Algorithm}
	if op.HasSeveralIssuers() {
		kept.Issuer = claims.Issuer
	}
	return kept
}

// verified returns the claims of an ID token that the OP has issued to a client.
func (o *Observer) verified(v *browser.Cookies, clientID, idToken string) (tokens.IDToken, error) {
	unverified, err := tokens.ReadIDToken(idToken)
	if err != nil {
		return tokens.IDToken{}, err
	}
	if unverified.Symmetric() {
		// no sign-in waits for keys that cannot have signed it
		return tokens.IDToken{}, errSymmetric
	}
	op := o.OPKeys.ViewOf(v.OP, unverified.Issuer, v.Request, v.Arrival.Next)
	keys := o.OPKeys.FindCurrent(op, v.Request, v.Arrival.Next, unverified.KeyID)
	claims, err := keys.VerifyIDToken(idToken, v.Now)
	switch {
	case err != nil:
		return tokens.IDToken{}, err
	case !v.OP.Issues(claims.Issuer):
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
