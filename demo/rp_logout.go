package main

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
)

// signedOutPath is where the OP sends browsers back to: the app's post_logout_redirect_uri, which
// is registered in the Caddyfile.
const signedOutPath = "/signed-out"

// logoutCookie binds the way back to the browser that left.
const logoutCookie = "logout_state"

// logoutEverywhere signs out of this app and asks the OP to sign out (RP-Initiated Logout 1.0,
// section 2). The app's own session ends first: it must not depend on whether the user comes back.
func (rp *relyingParty) logoutEverywhere(w http.ResponseWriter, r *http.Request) {
	session, signedIn := rp.session(r)
	rp.endSession(w, r)
	if !signedIn || rp.endSessionEndpoint == "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	state := rand.Text()
	setLogoutCookie(w, state, attemptLifetime)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, rp.endSessionEndpoint+"?"+url.Values{
		"id_token_hint":            {session.idToken},
		"post_logout_redirect_uri": {rp.origin + signedOutPath},
		"state":                    {state},
	}.Encode(), http.StatusSeeOther)
}

// signedOut takes users that come back from the OP.
func (rp *relyingParty) signedOut(w http.ResponseWriter, r *http.Request) {
	c, err := r.Cookie(logoutCookie)
	setLogoutCookie(w, "", -1)
	if err != nil || c.Value != r.URL.Query().Get("state") {
		writeError(w, http.StatusBadRequest, "Go to the app's first page", errors.New("this browser did not leave to sign out, or long ago"))
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func setLogoutCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: logoutCookie, Value: value, Path: signedOutPath, MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
