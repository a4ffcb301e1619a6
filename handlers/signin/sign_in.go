package signin

import (
	"cmp"
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
// sets both cookies. It binds the handle to the session.
func (x *observation) signIn(
	request browser.PendingRequest, origin string, response authorizationResponse,
	handle *sessionstate.Handle,
) {
	c := x.cookies
	c.Sealed.Browser = cmp.Or(c.Sealed.Browser, request.Browser)
	before, code := c.Sealed.Session, response.values.Get("code")
	subject, idToken := x.subject(request, response)
	join := registry.Join{
		Issuer: x.op.Issuer, Browser: c.BrowserID(), Session: before,
		Response: sessionstate.NewResponseID(code), ClientID: request.ClientID, Origin: origin,
		Silent: request.Is(browser.SilentRequest),
		Sub:    subject.Sub, Sid: subject.Sid, IDToken: idToken,
		AcrossClients: x.op.PublicSubjects(),
		Lifetime:      x.env.SessionLifetime, Idle: x.env.IdleTimeout, Notify: x.env.Notifies(x.op),
	}
	handle.Response = join.Response
	if code == "" {
		join.Response = sessionstate.NewIDTokenResponseID(response.idToken())
		join.Complete = true
	}
	handle.Until = x.join(join)
	handle.Session = c.Sealed.Session
	if c.Sealed.Session != before || c.Sealed.State == "" {
		c.Sealed.State = c.Keys.BrowserState(x.op.Issuer, c.Sealed.Session)
	}
	c.State = c.Sealed.State
	c.SetSession()
	c.SetState(c.State)
	x.checkLoginCookie(request)
	x.signIns.Put(browserKey(c.Sealed.Browser), c.Now)
	if code != "" && subject.Sub == "" {
		x.noteCode(request.ClientID, code)
	}
	if origin != "" && !request.Is(browser.BlindRequest) {
		x.origins.Put(originKey(request.ClientID, origin), struct{}{})
	}
}

// join brings the sealed cookie to the session that the registry says, and returns when that ends
// at the latest. Without the registry, the session of the cookie goes on, or one starts that is
// not recorded: the sign-in does not wait for it.
func (x *observation) join(join registry.Join) (until time.Time) {
	ctx, sealed := handlers.RecordingContext(x.request), &x.cookies.Sealed
	joined, err := x.env.Registry.Join(ctx, join)
	if err == nil {
		session := joined.Session
		if joined.Started && session.ID != join.Session {
			x.env.LogStart(ctx, session.Issuer, session.ID, join.ClientID, join.Sub)
		}
		if joined.Full {
			x.env.LogFull(session)
		}
		sealed.Session, sealed.Expires = session.ID, session.Expires.Time()
		return session.Limit.Time()
	}
	handlers.LogUnrecorded(x.env.Logger, "a sign-in is in the browser's cookies only", err)
	if sealed.Session.IsZero() {
		sealed.Session = registry.NewSessionID(join.Issuer, join.Browser)
		sealed.Expires = x.cookies.Now.Add(x.env.SessionLifetime).Truncate(time.Second)
		x.env.LogStart(ctx, join.Issuer, sealed.Session, join.ClientID, join.Sub)
	}
	return sealed.Expires
}

// subject returns who signed in, by the ID token of an implicit or hybrid response (OpenID Connect
// Core 1.0, sections 3.2 and 3.3). A token counts only if the OP has signed it for the client that
// sent the request. Otherwise, and while the OP's keys are unavailable, the response names nobody,
// and the token response will.
func (x *observation) subject(
	request browser.PendingRequest, response authorizationResponse,
) (subject registry.Subject, kept registry.IDToken) {
	idToken := response.idToken()
	if idToken == "" || x.OPKeys == nil || request.Is(browser.BlindRequest) {
		return subject, kept
	}
	claims, err := x.verified(request.ClientID, idToken)
	if err != nil {
		x.env.Logger.Warn("ID token of an authorization response not used",
			zap.String("issuer", x.op.Issuer), zap.String("client_id", request.ClientID),
			zap.Error(err))
		return subject, kept
	}
	x.env.ObserveIDToken(handlers.RecordingContext(x.request), x.op, request.ClientID, claims)
	subject.Sub, subject.Sid = claims.Subject, claims.SessionID
	return subject, recorded(x.op, claims)
}

// recorded is what the registry keeps of an ID token beside its subject: the client's logout
// tokens are like it. Of an OP with several issuers, they have the client's own.
func recorded(op *handlers.OP, claims tokens.IDToken) registry.IDToken {
	kept := registry.IDToken{Algorithm: claims.Algorithm}
	if op.HasSeveralIssuers() {
		kept.Issuer = claims.Issuer
	}
	return kept
}

// verified returns the claims of an ID token that the OP has issued to a client. Its errors hold
// nothing of the token.
func (x *observation) verified(clientID, idToken string) (tokens.IDToken, error) {
	unverified, err := tokens.ReadIDToken(idToken)
	if err != nil {
		return tokens.IDToken{}, err
	}
	if unverified.Symmetric() {
		// no sign-in waits for keys that cannot have signed it
		return tokens.IDToken{}, errors.New("it is signed by a secret of the client")
	}
	op := x.OPKeys.ViewOf(x.op, unverified.Issuer, x.request, x.next)
	keys := x.OPKeys.FindCurrent(op, x.request, x.next, unverified.KeyID)
	claims, err := keys.VerifyIDToken(idToken, x.cookies.Now)
	switch {
	case err != nil:
		return tokens.IDToken{}, err
	case !x.op.Issues(claims.Issuer):
		return tokens.IDToken{}, errors.New("it was issued by another issuer")
	case !claims.IsFor(clientID):
		return tokens.IDToken{}, errors.New("it was issued to another client")
	}
	return claims, nil
}
