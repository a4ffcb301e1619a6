package e2e

import (
	"crypto/rand"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// A scriptedOP is an OP that is awkward in every way of those in the field that the two others are
// not: the value of its login cookie is another one after each authorization request, while
// another user gets the same value and the same sid; it signs out by XHR, with an empty value and
// an expiry in the future; its codes come from its login form, too; and it has a session_state and
// a check page of its own, of which nothing is right.
type scriptedOP struct {
	issuer  string
	clients map[string][]string
	signer  tokenSigner
	mux     http.ServeMux

	mu       sync.Mutex
	sessions map[string]*scriptedSession // by each value that the cookie has had
	codes    map[string]scriptedGrant
}

// A scriptedSession is that of one browser. It is over when it has no user.
type scriptedSession struct{ user, sid string }

// A scriptedGrant is what a code stands for.
type scriptedGrant struct{ user, sid, client, nonce string }

func newScriptedOP(t *testing.T, issuer string, clients map[string][]string) *scriptedOP {
	t.Helper()
	o := &scriptedOP{
		issuer: issuer, clients: clients, signer: newTokenSigner(t),
		sessions: make(map[string]*scriptedSession), codes: make(map[string]scriptedGrant),
	}
	o.mux.HandleFunc("GET /.well-known/openid-configuration", o.discover)
	o.mux.HandleFunc("GET /keys", o.keys)
	o.mux.HandleFunc("GET /auth", o.authorize)
	o.mux.HandleFunc("POST /login", o.login)
	o.mux.HandleFunc("POST /token", o.token)
	o.mux.HandleFunc("GET /{$}", o.account)
	o.mux.HandleFunc("POST /switch", o.switchUser)
	o.mux.HandleFunc("POST /sign-out", o.signOut)
	o.mux.HandleFunc("GET /own-check-session", o.ownCheck)
	return o
}

func (o *scriptedOP) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.mux.ServeHTTP(w, r) }

func (o *scriptedOP) discover(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"issuer":                                o.issuer,
		"authorization_endpoint":                o.issuer + "/auth",
		"token_endpoint":                        o.issuer + "/token",
		"jwks_uri":                              o.issuer + "/keys",
		"check_session_iframe":                  o.issuer + "/own-check-session",
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
		"code_challenge_methods_supported":      []string{"S256"},
	})
}

func (o *scriptedOP) keys(w http.ResponseWriter, _ *http.Request) { writeJSON(w, o.signer.public) }

var loginPage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<title>Sign in</title>
<form method="post" action="/login?{{.}}">
	<button name="user" value="alice">Sign in as alice</button>
	<button name="user" value="bob">Sign in as bob</button>
</form>
`))

// authorize takes an authorization request: at once from one who is signed in.
func (o *scriptedOP) authorize(w http.ResponseWriter, r *http.Request) {
	request := r.URL.Query()
	if !slices.Contains(o.clients[request.Get("client_id")], request.Get("redirect_uri")) {
		http.Error(w, "there is no such client", http.StatusBadRequest)
		return
	}
	session := o.session(r)
	switch {
	case session.user != "":
		o.grant(w, r, request, session)
	case request.Get("prompt") == "none":
		o.answer(w, r, request, url.Values{"error": {"login_required"}})
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		loginPage.Execute(w, template.URL(r.URL.RawQuery))
	}
}

// login takes the login form, which leads straight back to the client.
func (o *scriptedOP) login(w http.ResponseWriter, r *http.Request) {
	request := r.URL.Query()
	if !slices.Contains(o.clients[request.Get("client_id")], request.Get("redirect_uri")) {
		http.Error(w, "there is no such client", http.StatusBadRequest)
		return
	}
	o.grant(w, r, request, scriptedSession{user: r.PostFormValue("user"), sid: rand.Text()})
}

// session returns the session of a request; one without user if there is none.
func (o *scriptedOP) session(r *http.Request) scriptedSession {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.find(r); s != nil {
		return *s
	}
	return scriptedSession{}
}

// find returns the session of a request. The lock must be held.
func (o *scriptedOP) find(r *http.Request) *scriptedSession {
	cookie, err := r.Cookie("login")
	if err != nil {
		return nil
	}
	return o.sessions[cookie.Value]
}

// grant gives the cookie a new value and the client a code.
func (o *scriptedOP) grant(w http.ResponseWriter, r *http.Request, request url.Values, session scriptedSession) {
	value, code := rand.Text(), rand.Text()
	o.mu.Lock()
	kept := o.find(r)
	if kept == nil || kept.user == "" {
		kept = &session
	}
	o.sessions[value] = kept // the old values stay good: other tabs may be about to send them
	o.codes[code] = scriptedGrant{session.user, session.sid, request.Get("client_id"), request.Get("nonce")}
	o.mu.Unlock()
	http.SetCookie(w, loginCookie(value))
	o.answer(w, r, request, url.Values{"code": {code}})
}

func loginCookie(value string) *http.Cookie {
	return &http.Cookie{
		Name: "login", Value: value, Path: "/", Expires: time.Now().Add(24 * time.Hour),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode,
	}
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	json.NewEncoder(w).Encode(value)
}
