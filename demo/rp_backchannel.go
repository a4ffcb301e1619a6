package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// backchannelPath is where the OP tells the app that a session has ended: its
// backchannel_logout_uri, as the Caddyfile has it.
const backchannelPath = "/backchannel-logout"

// logoutEvent is the member of events that makes a token a logout token (Back-Channel Logout 1.0,
// section 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// maxLogoutToken is how long a request with a logout token may be, in bytes.
const maxLogoutToken = 16 << 10

// backchannelLogout ends the sessions that a logout token names (section 2.5). No browser has a
// part in it: their next requests find nobody signed in. A token that cannot be verified is
// refused, and nothing ends. It is no error that there is nothing to end (section 2.7).
func (rp *relyingParty) backchannelLogout(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, maxLogoutToken)
	logout, err := rp.readLogoutToken(r.Context(), r.PostFormValue("logout_token"))
	if err != nil {
		http.Error(w, "invalid logout_token", http.StatusBadRequest)
		return
	}
	rp.mu.Lock()
	defer rp.mu.Unlock()
	rp.notified++
	for value, session := range rp.sessions {
		if logout.ends(session) {
			delete(rp.sessions, value)
		}
	}
}

// A logoutToken says which sessions have ended: the one that the OP calls sid, or all of a user.
type logoutToken struct {
	user, sid string // one of them may be empty
}

func (l logoutToken) ends(session rpSession) bool {
	return (l.sid == "" || l.sid == session.sid) && (l.user == "" || l.user == session.user)
}

// clockSkew is how far the OP's clock may be ahead of the app's.
const clockSkew = time.Minute

// readLogoutToken verifies a logout token (section 2.6): its signature, iss, aud and exp as an ID
// token's, by the one algorithm that ID tokens of this app have, then what makes it a logout
// token. A jti counts once: who has a token that was sent cannot send it again.
func (rp *relyingParty) readLogoutToken(ctx context.Context, raw string) (logoutToken, error) {
	token, err := rp.verifier.Verify(oidc.ClientContext(ctx, rp.client), raw)
	if err != nil {
		return logoutToken{}, fmt.Errorf("verifying the logout token: %w", err)
	}
	var claims struct {
		Events map[string]*struct{} `json:"events"` // objects: null is none
		Nonce  *json.RawMessage     `json:"nonce"`
		SID    string               `json:"sid"`
		JTI    string               `json:"jti"`
	}
	if err := token.Claims(&claims); err != nil {
		return logoutToken{}, fmt.Errorf("reading the logout token: %w", err)
	}
	switch {
	case !mayBeLogoutToken(raw) || claims.Events[logoutEvent] == nil || claims.Nonce != nil:
		return logoutToken{}, errors.New("it is no logout token")
	case token.IssuedAt.IsZero() || time.Until(token.IssuedAt) > clockSkew:
		return logoutToken{}, errors.New("it has no iat, or one to come")
	case token.Subject == "" && claims.SID == "":
		return logoutToken{}, errors.New("it names neither a user nor a session")
	case claims.JTI == "" || !rp.isFirst(claims.JTI, token.Expiry):
		return logoutToken{}, errors.New("it has no jti, or one that was used before")
	}
	return logoutToken{user: token.Subject, sid: claims.SID}, nil
}

// mayBeLogoutToken reports whether the header does not say that a token is of another kind. Many
// OPs give no type, or that of all tokens, so that these are accepted as well (section 4.1).
func mayBeLogoutToken(verified string) bool {
	var header struct {
		Typ *string `json:"typ"`
	}
	encoded, _, _ := strings.Cut(verified, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || json.Unmarshal(decoded, &header) != nil {
		return false
	}
	if header.Typ == nil {
		return true
	}
	name := strings.TrimPrefix(strings.ToLower(*header.Typ), "application/")
	return name == "logout+jwt" || name == "jwt"
}

// isFirst reports whether a jti is used for the first time, and remembers it for as long as its
// token is valid.
func (rp *relyingParty) isFirst(jti string, expiry time.Time) bool {
	rp.mu.Lock()
	defer rp.mu.Unlock()
	maps.DeleteFunc(rp.used, func(_ string, expiry time.Time) bool { return time.Now().After(expiry) })
	if _, known := rp.used[jti]; known {
		return false
	}
	rp.used[jti] = expiry
	return true
}
