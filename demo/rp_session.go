package main

import (
	"crypto/rand"
	"net/http"
)

// sessionCookie is the name of the app's own session cookie. It never leaves the app's origin.
func (rp *relyingParty) sessionCookie() string { return rp.name + "_session" }

// session returns the session of the request; ok is false if there is none.
func (rp *relyingParty) session(r *http.Request) (s rpSession, ok bool) {
	c, err := r.Cookie(rp.sessionCookie())
	if err != nil {
		return rpSession{}, false
	}
	rp.mu.Lock()
	defer rp.mu.Unlock()
	s, ok = rp.sessions[c.Value]
	return s, ok
}

// startSession ends the browser's session, if it has one, and starts s with a cookie of a new
// value.
func (rp *relyingParty) startSession(w http.ResponseWriter, r *http.Request, s rpSession) {
	rp.forget(r)
	value := rand.Text()
	rp.mu.Lock()
	rp.sessions[value] = s
	rp.mu.Unlock()
	rp.setSessionCookie(w, value, 0)
}

// updateSession replaces the browser's session by s; it does nothing if that has ended meanwhile.
func (rp *relyingParty) updateSession(r *http.Request, s rpSession) {
	c, err := r.Cookie(rp.sessionCookie())
	if err != nil {
		return
	}
	rp.mu.Lock()
	defer rp.mu.Unlock()
	if _, ok := rp.sessions[c.Value]; ok {
		rp.sessions[c.Value] = s
	}
}

// endSession signs the browser out of this app.
func (rp *relyingParty) endSession(w http.ResponseWriter, r *http.Request) {
	rp.forget(r)
	rp.setSessionCookie(w, "", -1)
}

func (rp *relyingParty) forget(r *http.Request) {
	c, err := r.Cookie(rp.sessionCookie())
	if err != nil {
		return
	}
	rp.mu.Lock()
	defer rp.mu.Unlock()
	delete(rp.sessions, c.Value)
}

func (rp *relyingParty) setSessionCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: rp.sessionCookie(), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
