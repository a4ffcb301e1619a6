package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/coreos/go-oidc/v3/oidc"
)

// backchannelPath is where the OP tells the app that a session has ended: its backchannel_logout_uri, as the Caddyfile has it.
const backchannelPath = "/backchannel-logout"

// logoutEvent is the member of events that makes a token a logout token (Back-Channel Logout 1.0, section 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// maxLogoutToken is how long a request with a logout token may be, in bytes.
const maxLogoutToken = 16 << 10

// backchannelLogout ends the sessions that a logout token names (section 2.5). No browser has a part in it: their next requests find
// nobody signed in. A token that cannot be verified is refused, and nothing ends.
func (rp *relyingParty) backchannelLogout(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, maxLogoutToken)
	user, err := rp.readLogoutToken(r.Context(), r.PostFormValue("logout_token"))
	if err != nil {
		http.Error(w, "invalid logout_token", http.StatusBadRequest)
		return
	}
	rp.mu.Lock()
	defer rp.mu.Unlock()
	rp.notified++
	for value, session := range rp.sessions {
		if session.user == user {
			delete(rp.sessions, value)
		}
	}
}

// readLogoutToken verifies a logout token by the OP's keys, as an ID token (section 2.6), and returns whose sessions end. The demo's OP
// does not name sessions in its ID tokens, so that all of the user's end.
func (rp *relyingParty) readLogoutToken(ctx context.Context, raw string) (user string, err error) {
	token, err := rp.verifier.Verify(oidc.ClientContext(ctx, rp.client), raw)
	if err != nil {
		return "", fmt.Errorf("verifying the logout token: %w", err)
	}
	var claims struct {
		Events map[string]struct{} `json:"events"`
		Nonce  *string             `json:"nonce"`
	}
	if err := token.Claims(&claims); err != nil {
		return "", fmt.Errorf("reading the logout token: %w", err)
	}
	if _, ok := claims.Events[logoutEvent]; !ok || claims.Nonce != nil || token.Subject == "" {
		return "", errors.New("it is no logout token of a user")
	}
	return token.Subject, nil
}
