package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// login sends the browser to the OP. prompt is handed on: none in the hidden iframe of
// rp_iframe.js, login to sign in as somebody else.
func (rp *relyingParty) login(w http.ResponseWriter, r *http.Request) {
	attempt := loginAttempt{
		state:    rand.Text(),
		nonce:    rand.Text(),
		verifier: oauth2.GenerateVerifier(),
		silent:   r.FormValue("prompt") == "none",
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(attempt.nonce), oauth2.S256ChallengeOption(attempt.verifier)}
	if prompt := r.FormValue("prompt"); prompt == "none" || prompt == "login" {
		options = append(options, oauth2.SetAuthURLParam("prompt", prompt))
	}
	// Section 3.1 of Session Management 1.0: the prompt=none request should carry the old ID
	// token.
	if session, ok := rp.session(r); ok && attempt.silent {
		options = append(options, oauth2.SetAuthURLParam("id_token_hint", session.idToken))
	}
	attempt.remember(w)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, rp.oauth2.AuthCodeURL(attempt.state, options...), http.StatusSeeOther)
}

// callback takes the OP's authorization response.
func (rp *relyingParty) callback(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	attempt, ok := recallLoginAttempt(w, r)
	if !ok {
		writeError(w, http.StatusBadRequest, "Start again at the app", errors.New("this browser did not begin this sign-in, or long ago"))
		return
	}
	session, err := rp.redeem(r.Context(), r, attempt)
	if attempt.silent {
		rp.silentResult(w, r, session, err)
		return
	}
	if err != nil {
		writeError(w, http.StatusBadRequest, "Start again at the app", err)
		return
	}
	rp.startSession(w, r, session)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// authorizationError is the error parameter of an authorization response (RFC 6749, section
// 4.1.2.1).
type authorizationError string

func (e authorizationError) Error() string { return "the OP answered: " + string(e) }

// redeem exchanges the code for an ID token, verifies it, and returns the session that it stands
// for. The error is an authorizationError if the OP refused.
func (rp *relyingParty) redeem(ctx context.Context, r *http.Request, attempt loginAttempt) (rpSession, error) {
	query := r.URL.Query()
	if e := query.Get("error"); e != "" {
		return rpSession{}, authorizationError(e)
	}
	ctx = oidc.ClientContext(ctx, rp.client)
	tokens, err := rp.oauth2.Exchange(ctx, query.Get("code"), oauth2.VerifierOption(attempt.verifier))
	if err != nil {
		return rpSession{}, fmt.Errorf("redeeming the code: %w", err)
	}
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return rpSession{}, errors.New("the token response has no ID token")
	}
	token, err := rp.verifier.Verify(ctx, raw)
	if err != nil {
		return rpSession{}, fmt.Errorf("verifying the ID token: %w", err)
	}
	if token.Nonce != attempt.nonce {
		return rpSession{}, errors.New("the ID token belongs to another sign-in")
	}
	var claims struct {
		SID string `json:"sid"`
	}
	if err := token.Claims(&claims); err != nil {
		return rpSession{}, fmt.Errorf("reading the ID token: %w", err)
	}
	return rpSession{user: token.Subject, sid: claims.SID, sessionState: query.Get("session_state"), idToken: raw}, nil
}

// silentAnswer is what the hidden prompt=none iframe says to rp_iframe.js.
type silentAnswer struct {
	Status       string `json:"status"`                  // same | other | none | unknown
	SessionState string `json:"session_state,omitempty"` // the one to watch from now on; only with same
	Error        string `json:"error,omitempty"`         // only with none and unknown
}

// nobodySignedIn are the errors that say that there is no End-User to answer for (OpenID Connect
// Core 1.0, section 3.1.2.6). Others, such as temporarily_unavailable, say nothing about the
// session.
var nobodySignedIn = []authorizationError{"login_required", "interaction_required", "account_selection_required", "consent_required"}

// silentResult acts on the answer to prompt=none (Session Management 1.0, section 3.1): with the
// same user, only session_state is updated; no user or another one is the logout of the user the
// app knew.
func (rp *relyingParty) silentResult(w http.ResponseWriter, r *http.Request, session rpSession, err error) {
	current, _ := rp.session(r)
	var refused authorizationError
	answer := silentAnswer{Status: "unknown"}
	switch {
	case errors.As(err, &refused) && slices.Contains(nobodySignedIn, refused):
		rp.endSession(w, r)
		answer = silentAnswer{Status: "none", Error: string(refused)}
	case err != nil:
		answer.Error = err.Error()
	case session.user != current.user:
		rp.endSession(w, r)
		answer = silentAnswer{Status: "other"}
	default:
		rp.updateSession(r, session)
		answer = silentAnswer{Status: "same", SessionState: session.sessionState}
	}
	writePage(w, "rp_silent.html", errorPolicy, answer)
}

// loginAttempt is one sign-in under way. It is kept in a cookie of its own, named after its state,
// until the callback: that binds the response to the browser that asked, and a silent attempt does
// not disturb one in another tab.
type loginAttempt struct {
	state, nonce string
	verifier     string // of PKCE (RFC 7636)
	silent       bool   // prompt=none in the hidden iframe
}

const (
	attemptCookie   = "login_"
	attemptLifetime = 600 // seconds
)

func (a loginAttempt) remember(w http.ResponseWriter) {
	mode := "page"
	if a.silent {
		mode = "silent"
	}
	a.setCookie(w, strings.Join([]string{a.nonce, a.verifier, mode}, "."), attemptLifetime)
}

// recallLoginAttempt returns the attempt that a callback answers, once. ok is false if this
// browser began none with its state.
func recallLoginAttempt(w http.ResponseWriter, r *http.Request) (a loginAttempt, ok bool) {
	a.state = r.URL.Query().Get("state")
	c, err := r.Cookie(attemptCookie + a.state)
	if err != nil {
		return loginAttempt{}, false
	}
	a.setCookie(w, "", -1)
	fields := strings.Split(c.Value, ".")
	if len(fields) != 3 {
		return loginAttempt{}, false
	}
	a.nonce, a.verifier, a.silent = fields[0], fields[1], fields[2] == "silent"
	return a, true
}

func (a loginAttempt) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: attemptCookie + a.state, Value: value, Path: "/callback", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
