package signin

import (
	"cmp"
	"encoding/json"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// ServeToken passes a request at the token endpoint on. A successful response to an authorization
// code says who signed in (OpenID Connect Core 1.0, section 3.1.3). It is held until that is
// recorded, so that a client which has its tokens takes part in the session for certain. Nothing
// of a token response is changed but a session_state of the OP's own.
func (o *Observer) ServeToken(
	op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler,
) error {
	if r.Method != http.MethodPost {
		return next.ServeHTTP(w, r)
	}
	form, r := exchange.ReadForm(r)
	code := form.Get("code")
	hasCode := code != "" && len(code) <= handlers.MaxCode
	redeems := hasCode && form.Get("grant_type") == "authorization_code"
	if !redeems && !o.SessionState.Replaces(op) {
		return next.ServeHTTP(w, r)
	}
	clientID := withClientID(r, form).Get("client_id")
	if redeems {
		o.redemptions.redeemed(clientID, code)
	}
	edit := func(header http.Header, body []byte) []byte {
		plain, err := exchange.Decode(header, body, exchange.MaxJSON)
		if err != nil {
			o.env.Logger.Warn("cannot read a token response",
				zap.String("issuer", op.Issuer), zap.Error(err))
			return nil
		}
		if redeems {
			x := &redemption{Observer: o, op: op, request: r, next: next, code: code}
			x.read(plain, clientID)
		}
		return o.withoutSessionState(op, header, plain)
	}
	decide := func(status int, header http.Header) *exchange.Hold {
		if status != http.StatusOK || !exchange.IsJSON(header) {
			return nil
		}
		return &exchange.Hold{Limit: exchange.MaxJSON, Edit: edit}
	}
	return exchange.Observe(w, exchange.Unencoded(r), next, decide)
}

// withoutSessionState returns a token response without the OP's own session_state, where ours
// takes its place: client libraries copy the parameters of the token response over those of the
// authorization response. Nil: it stays as it came.
func (o *Observer) withoutSessionState(op *handlers.OP, header http.Header, plain []byte) []byte {
	if !o.SessionState.Replaces(op) {
		return nil
	}
	edited, found := exchange.RemoveMember(plain, "session_state")
	if !found {
		return nil
	}
	header.Del("Etag")
	return edited
}

// A redemption is one token request with an authorization code.
type redemption struct {
	*Observer

	op      *handlers.OP
	request *http.Request
	next    caddyhttp.Handler
	code    string
}

// read records the ID token of a token response. Its signature is not verified: it comes from the
// OP itself, over the connection that the client trusts it on, and nobody else can respond at the
// OP's token endpoint (OpenID Connect Core 1.0, section 3.1.3.7 (6)). clientID is the client as
// the request names it; empty: it names none.
func (x *redemption) read(body []byte, clientID string) {
	var response struct {
		IDToken string `json:"id_token"`
	}
	if json.Unmarshal(body, &response) != nil || response.IDToken == "" {
		return // OAuth without OpenID Connect
	}
	claims, err := tokens.ReadIDToken(response.IDToken)
	if err != nil {
		x.warnOnce(clientID, "ID token of a token response cannot be read: "+
			"its client takes part without a subject",
			zap.String("client_id", clientID), zap.Error(err))
		return
	}
	if !x.op.Issues(claims.Issuer) {
		x.warnOnce(clientID, "ID token of another issuer than the OP's: it is not recorded",
			zap.String("issuer", x.op.Issuer), zap.String("named", claims.Issuer))
		return
	}
	if user, _, ok := x.request.BasicAuth(); ok && claims.IsFor(user) {
		// which should have been encoded as in a form (RFC 6749, section 2.3.1), and was not
		clientID = user
	}
	if clientID = cmp.Or(clientID, claims.ClientID()); clientID != "" {
		if !claims.IsFor(clientID) {
			x.env.Logger.Warn("an ID token is not for the client that asked: it is not recorded",
				zap.String("issuer", x.op.Issuer), zap.String("client_id", clientID),
				zap.Strings("audience", claims.Audience))
			return
		}
		x.env.ObserveIDToken(handlers.RecordingContext(x.request), x.op, clientID, claims)
	}
	x.record(clientID, claims)
	if x.OPKeys != nil && !claims.Symmetric() {
		view := x.OPKeys.ViewOf(x.op, claims.Issuer, x.request, x.next)
		x.OPKeys.Refresh(view, x.request, x.next, claims.KeyID)
	}
}

// warnOnce warns of something that is so with each sign-in at a client.
func (o *Observer) warnOnce(clientID, message string, fields ...zap.Field) {
	if o.warned.First(handlers.Hash(clientID + " " + message)) {
		o.env.Logger.Warn(message, fields...)
	}
}

// record records who signed in, in the session that the code belongs to.
func (x *redemption) record(clientID string, claims tokens.IDToken) {
	ctx := handlers.RecordingContext(x.request)
	joined, err := x.env.Registry.Redeem(ctx, registry.Redemption{
		Issuer:        x.op.Issuer,
		Response:      sessionstate.NewResponseID(x.code),
		Audience:      claims.Audience,
		Sub:           claims.Subject,
		Sid:           claims.SessionID,
		IDToken:       recorded(x.op, claims),
		AcrossClients: x.op.PublicSubjects(),
		Lifetime:      x.env.SessionLifetime,
		Idle:          x.env.IdleTimeout,
		Notify:        x.env.Notifies(x.op),
	})
	session := joined.Session
	switch {
	case err != nil:
		handlers.LogUnrecorded(x.env.Logger, "who signed in is not recorded", err)
		return
	case session == nil:
		return
	case joined.Started:
		x.env.LogStart(ctx, x.op.Issuer, session.ID, clientID, claims.Subject)
	case joined.Added:
		x.env.LogUser(ctx, session, clientID, claims.Subject)
	case joined.Full:
		x.env.LogFull(session)
	}
	if session.Ended != 0 {
		x.env.Wake() // it joined a session that has ended
	}
}
