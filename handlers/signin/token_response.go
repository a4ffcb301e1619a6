package signin

import (
	"cmp"
	"encoding/json"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// withoutSessionState returns a token response without the OP's own session_state, where ours
// takes its place: client libraries copy the parameters of the token response over those of the
// authorization response. Nil: it stays as it came.
func (t *Token) withoutSessionState(op *handlers.OP, header http.Header, body []byte) []byte {
	if !t.SessionState.Replaces(op) {
		return nil
	}
	plain, err := exchange.Decode(header, body, exchange.MaxJSON)
	if err != nil {
		t.env.Logger.Warn("cannot read a token response", zap.String("issuer", op.Issuer), zap.Error(err))
		return nil
	}
	edited, found := exchange.RemoveMember(plain, "session_state")
	if !found {
		return nil
	}
	header.Del("Etag")
	return edited
}

// A Token observes the OP's token endpoint (OpenID Connect Core 1.0, section 3.1.3): a successful
// answer to an authorization code says who signed in.
type Token struct {
	// SessionState says what becomes of a session_state of the OP's own.
	SessionState handlers.SessionState
	// Redemptions is told the codes that are redeemed. Nil: nobody is.
	Redemptions *Redemptions
	// OPKeys are to know the key of each ID token, which may come back as a hint once the OP has
	// replaced it. Nil: none are kept.
	OPKeys *opkeys.Keys

	env    handlers.Env
	warned *handlers.Recent[struct{}] // of which clients' ID tokens the log has been told
}

// Setup gives the handler its world.
func (t *Token) Setup(env handlers.Env) { t.env, t.warned = env, new(handlers.Recent[struct{}]) }

// Serve passes a token request on. The response to a code is held until who signed in is recorded,
// so that a client which has its tokens takes part in the session for certain. Of all token
// responses, nothing is changed but a session_state of the OP's own.
func (t *Token) Serve(op *handlers.OP, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Method != http.MethodPost {
		return next.ServeHTTP(w, r)
	}
	form, r := exchange.ReadForm(r)
	code := form.Get("code")
	redeems := form.Get("grant_type") == "authorization_code" && code != "" && len(code) <= handlers.MaxCode
	if !redeems && !t.SessionState.Replaces(op) {
		return next.ServeHTTP(w, r)
	}
	clientID := withClientID(r, form).Get("client_id")
	if redeems && t.Redemptions != nil {
		t.Redemptions.redeemed(clientID, code)
	}
	return exchange.Observe(w, exchange.Unencoded(r), next, func(status int, header http.Header) *exchange.Hold {
		if status != http.StatusOK || !exchange.IsJSON(header) {
			return nil
		}
		return &exchange.Hold{Limit: exchange.MaxJSON, Edit: func(header http.Header, body []byte) []byte {
			if redeems {
				t.redeemed(browser.Arrival{OP: op, Request: r, Next: next}, code, clientID, header, body)
			}
			return t.withoutSessionState(op, header, body)
		}}
	})
}

// redeemed records the ID token of a token response. Its signature is not verified: it comes from
// the OP itself, over the connection that the client trusts it on, and nobody else can answer at
// the OP's token endpoint (OpenID Connect Core 1.0, section 3.1.3.7 (6)). clientID is the client
// as the request names it; empty: it does not.
func (t *Token) redeemed(from browser.Arrival, code, clientID string, header http.Header, body []byte) {
	op, r := from.OP, from.Request
	body, err := exchange.Decode(header, body, exchange.MaxJSON)
	if err != nil {
		t.env.Logger.Warn("cannot read a token response", zap.Error(err))
		return
	}
	var response struct {
		IDToken string `json:"id_token"`
	}
	if json.Unmarshal(body, &response) != nil || response.IDToken == "" {
		return // OAuth without OpenID Connect
	}
	claims, err := tokens.ReadIDToken(response.IDToken)
	if err != nil {
		t.warnOnce(clientID, "ID token of a token response cannot be read: its client takes part without a subject",
			zap.String("client_id", clientID), zap.Error(err))
		return
	}
	if !op.Issues(claims.Issuer) {
		t.warnOnce(clientID, "ID token of another issuer than the OP's: it is not recorded",
			zap.String("issuer", op.Issuer), zap.String("named", claims.Issuer))
		return
	}
	if user, _, ok := r.BasicAuth(); ok && claims.IsFor(user) {
		// which should have been encoded as in a form (RFC 6749, section 2.3.1), and was not
		clientID = user
	}
	if clientID = cmp.Or(clientID, claims.ClientID()); clientID != "" {
		if !claims.IsFor(clientID) {
			t.env.Logger.Warn("an ID token is not for the client that asked: it is not recorded",
				zap.String("issuer", op.Issuer), zap.String("client_id", clientID), zap.Strings("audience", claims.Audience))
			return
		}
		t.env.ObserveIDToken(handlers.RecordingContext(r), op, clientID, claims)
	}
	t.record(op, r, code, clientID, claims)
	if t.OPKeys != nil && !claims.Symmetric() {
		t.OPKeys.Refresh(t.OPKeys.ViewOf(op, claims.Issuer, r, from.Next), r, from.Next, claims.KeyID)
	}
}

// warnOnce warns of something that is so with each sign-in at a client.
func (t *Token) warnOnce(clientID, message string, fields ...zap.Field) {
	if t.warned.First(handlers.Hash(clientID + " " + message)) {
		t.env.Logger.Warn(message, fields...)
	}
}

func (t *Token) record(op *handlers.OP, r *http.Request, code, clientID string, claims tokens.IDToken) {
	ctx := handlers.RecordingContext(r)
	joined, err := t.env.Registry.Redeem(ctx, registry.Redemption{
		Issuer:        op.Issuer,
		Response:      sessionstate.NewResponseID(code),
		Audience:      claims.Audience,
		Sub:           claims.Subject,
		Sid:           claims.SessionID,
		IDToken:       recorded(op, claims),
		AcrossClients: op.PublicSubjects(),
		Lifetime:      t.env.SessionLifetime,
		Idle:          t.env.IdleTimeout,
		Notify:        t.env.Notifies(op),
	})
	session := joined.Session
	switch {
	case err != nil:
		handlers.LogUnrecorded(t.env.Logger, "who signed in is not recorded", err)
		return
	case session == nil:
		return
	case joined.Started:
		t.env.LogStart(ctx, op.Issuer, session.ID, clientID, claims.Subject)
	case joined.Added:
		t.env.LogUser(ctx, session, clientID, claims.Subject)
	case joined.Full:
		t.env.LogFull(session)
	}
	if session.Ended != 0 {
		t.env.Wake() // it joined a session that has ended
	}
}
