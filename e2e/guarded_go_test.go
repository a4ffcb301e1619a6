package e2e

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/gorilla/sessions"
	"golang.org/x/net/websocket"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

// sessionLibrary is what keeps the sessions of a Go app.
type sessionLibrary interface {
	// get returns a text of the session, or an empty one.
	get(r *http.Request, key string) string
	// renew begins another session, with nothing but these texts in it.
	renew(w http.ResponseWriter, r *http.Request, texts map[string]string) error
	// touch is called before a page is written.
	touch(w http.ResponseWriter, r *http.Request) error
	wrap(next http.Handler) http.Handler
}

// A goApp is one of golang.org/x/oauth2 and go-oidc.
type goApp struct {
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
	client   *http.Client
	sessions sessionLibrary
	// A callback that a browser sends twice is answered twice: a code is redeemed once.
	redemptions singleflight.Group
	redeemed    sync.Map // code to user
}

// goGuarded is an app of a session library's.
func goGuarded(name, cookie, options string, library func() sessionLibrary) guardedApp {
	return guardedApp{
		name: name, callback: "/callback", signIn: "/login", private: "/private", cookie: cookie, guard: options,
		start: func(t *testing.T, site, issuer, ca string) string {
			t.Helper()
			return "reverse_proxy " + serveOP(t, newGoApp(t, name, site, issuer, ca, library()))
		},
	}
}

func scsApp() guardedApp {
	return goGuarded("go-scs", "session", "", func() sessionLibrary { return scsSessions{scs.New()} })
}

// gorillaApp has the store's default options, by which scripts may read and write the cookie.
func gorillaApp() guardedApp {
	return goGuarded("go-gorilla", "app-session", "app_cookie app-session", func() sessionLibrary {
		return gorillaSessions{sessions.NewCookieStore([]byte("a key of the test, of 32 letters"))}
	})
}

func newGoApp(t *testing.T, name, site, issuer, ca string, library sessionLibrary) http.Handler {
	t.Helper()
	pool := x509.NewCertPool()
	if certificates, err := os.ReadFile(ca); err != nil || !pool.AppendCertsFromPEM(certificates) {
		t.Fatalf("the CA cannot be read: %v", err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	op, err := oidc.NewProvider(oidc.ClientContext(context.Background(), client), issuer)
	if err != nil {
		t.Fatal(err)
	}
	a := &goApp{
		oauth: oauth2.Config{
			ClientID: name, ClientSecret: name + "-secret", Endpoint: op.Endpoint(), RedirectURL: site + "/callback", Scopes: []string{oidc.ScopeOpenID},
		},
		verifier: op.Verifier(&oidc.Config{ClientID: name}), client: client, sessions: library,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", a.login)
	mux.HandleFunc("GET /callback", a.callback)
	mux.HandleFunc("GET /private", a.private)
	mux.HandleFunc("GET /local", a.local)
	mux.HandleFunc("GET /events", a.events)
	mux.Handle("GET /ws", websocket.Handler(echo))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "welcome") })
	return library.wrap(mux)
}

func (a *goApp) login(w http.ResponseWriter, r *http.Request) {
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	if err := a.sessions.renew(w, r, map[string]string{"state": state, "verifier": verifier}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, a.oauth.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), http.StatusFound)
}

func (a *goApp) callback(w http.ResponseWriter, r *http.Request) {
	state := a.sessions.get(r, "state")
	if state == "" || state != r.FormValue("state") {
		http.Error(w, "another state", http.StatusBadRequest)
		return
	}
	code, verifier := r.FormValue("code"), a.sessions.get(r, "verifier")
	user, err, _ := a.redemptions.Do(code, func() (any, error) {
		if user, ok := a.redeemed.Load(code); ok {
			return user, nil
		}
		user, err := a.redeem(code, verifier)
		if err == nil {
			a.redeemed.Store(code, user)
		}
		return user, err
	})
	if err == nil {
		err = a.sessions.renew(w, r, map[string]string{"user": user.(string)})
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, "/private", http.StatusFound)
}

// redeem returns the user whom a code is of.
func (a *goApp) redeem(code, verifier string) (string, error) {
	ctx := oidc.ClientContext(context.Background(), a.client)
	token, err := a.oauth.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return "", err
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return "", errors.New("no ID token")
	}
	verified, err := a.verifier.Verify(ctx, raw)
	if err != nil {
		return "", err
	}
	return verified.Subject, nil
}

func (a *goApp) private(w http.ResponseWriter, r *http.Request) {
	user := a.sessions.get(r, "user")
	if user == "" {
		http.Redirect(w, r, "/login", http.StatusFound)
		return
	}
	if err := a.sessions.touch(w, r); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprint(w, "user: "+user)
}

// local signs a user in whom the OP knows nothing of.
func (a *goApp) local(w http.ResponseWriter, r *http.Request) {
	if err := a.sessions.renew(w, r, map[string]string{"user": r.FormValue("user")}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/private", http.StatusFound)
}

// events is a stream for everybody, which says who it is for and goes on until the other end is
// gone.
func (a *goApp) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	stream := http.NewResponseController(w)
	user := a.sessions.get(r, "user")
	for {
		fmt.Fprintf(w, "data: user: %s\n\n", user)
		if stream.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// echo sends back what it gets.
func echo(socket *websocket.Conn) {
	for text := ""; websocket.Message.Receive(socket, &text) == nil && websocket.Message.Send(socket, text) == nil; {
	}
}

// scsSessions are alexedwards/scs's, on the server.
type scsSessions struct{ *scs.SessionManager }

func (s scsSessions) get(r *http.Request, key string) string { return s.GetString(r.Context(), key) }

func (s scsSessions) renew(_ http.ResponseWriter, r *http.Request, texts map[string]string) error {
	if err := errors.Join(s.Clear(r.Context()), s.RenewToken(r.Context())); err != nil {
		return err
	}
	for key, text := range texts {
		s.Put(r.Context(), key, text)
	}
	return nil
}

func (scsSessions) touch(http.ResponseWriter, *http.Request) error { return nil }

// wrap leaves out what is no session's: the library's writer cannot be hijacked.
func (s scsSessions) wrap(next http.Handler) http.Handler {
	wrapped := s.LoadAndSave(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			next.ServeHTTP(w, r)
			return
		}
		wrapped.ServeHTTP(w, r)
	})
}

// gorillaSessions are gorilla/sessions', in the cookie, which each page saves anew.
type gorillaSessions struct{ store sessions.Store }

const gorillaName = "app-session"

func (s gorillaSessions) get(r *http.Request, key string) string {
	session, err := s.store.Get(r, gorillaName)
	if err != nil {
		return ""
	}
	text, _ := session.Values[key].(string)
	return text
}

func (s gorillaSessions) renew(w http.ResponseWriter, r *http.Request, texts map[string]string) error {
	session, _ := s.store.Get(r, gorillaName) // a new one, if the cookie cannot be read
	clear(session.Values)
	for key, text := range texts {
		session.Values[key] = text
	}
	return session.Save(r, w)
}

func (s gorillaSessions) touch(w http.ResponseWriter, r *http.Request) error {
	session, err := s.store.Get(r, gorillaName)
	if err != nil {
		return err
	}
	session.Values["seen"] = rand.Text()
	return session.Save(r, w)
}

func (gorillaSessions) wrap(next http.Handler) http.Handler { return next }
