package oidcsession

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// A scriptedOP is an OP that does just what session management needs of one: it signs users in with a login cookie, which it
// rotates at each authorization, answers from a path of its own, redeems codes, and signs out by deleting its cookie.
type scriptedOP struct {
	issuer string
	server *httptest.Server

	mu       sync.Mutex
	sessions map[string]string // login cookie -> user
	codes    map[string]grant
	fetches  int // of the discovery document
}

type grant struct{ user, clientID, sid string }

func newScriptedOP(t *testing.T, issuer string) *scriptedOP {
	op := &scriptedOP{issuer: issuer, sessions: make(map[string]string), codes: make(map[string]grant)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", op.discovery)
	mux.HandleFunc("/authorize", op.authorize)
	mux.HandleFunc("GET /signin", op.loginPage)
	mux.HandleFunc("POST /login", op.login)
	mux.HandleFunc("POST /token", op.token)
	mux.HandleFunc("/logout", op.logout)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "the OP at %s", r.URL.Path) })
	op.server = httptest.NewServer(mux)
	t.Cleanup(op.server.Close)
	return op
}

// proxy is the directive that leads to the OP.
func (op *scriptedOP) proxy() string {
	return "reverse_proxy " + strings.TrimPrefix(op.server.URL, "http://")
}

func (op *scriptedOP) discovery(w http.ResponseWriter, _ *http.Request) {
	op.mu.Lock()
	op.fetches++
	op.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"issuer":                  op.issuer,
		"authorization_endpoint":  op.issuer + "/authorize",
		"token_endpoint":          op.issuer + "/token",
		"jwks_uri":                op.issuer + "/jwks",
		"subject_types_supported": []string{"public"},
	})
}

// authorize answers at once with single sign-on, or sends the browser to the login page.
func (op *scriptedOP) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	user := op.signedIn(r)
	switch {
	case query.Get("redirect_uri") == "https://refused.example/cb":
		http.Error(w, "no such redirect URI", http.StatusBadRequest)
	case user != "" && query.Get("prompt") != "login":
		op.answer(w, r, user, query)
	case query.Get("prompt") == "none":
		redirectTo(w, r, query, url.Values{"error": {"login_required"}})
	default:
		http.Redirect(w, r, "/signin?return="+url.QueryEscape(r.URL.RawQuery), http.StatusFound)
	}
}

func (op *scriptedOP) loginPage(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, "Who are you?")
}

func (op *scriptedOP) login(w http.ResponseWriter, r *http.Request) {
	query, _ := url.ParseQuery(r.FormValue("return"))
	op.answer(w, r, r.FormValue("user"), query)
}

// answer gives a code, and a login cookie with a new value.
func (op *scriptedOP) answer(w http.ResponseWriter, r *http.Request, user string, query url.Values) {
	code, cookie := rand.Text(), rand.Text()
	op.mu.Lock()
	op.codes[code] = grant{user, query.Get("client_id"), "sid of " + user}
	op.sessions[cookie] = user
	op.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "login", Value: cookie, Path: "/", HttpOnly: true})
	redirectTo(w, r, query, url.Values{"code": {code}, "iss": {op.issuer}})
}

func redirectTo(w http.ResponseWriter, r *http.Request, query, answer url.Values) {
	if query.Has("state") {
		answer.Set("state", query.Get("state"))
	}
	http.Redirect(w, r, query.Get("redirect_uri")+"?"+answer.Encode(), http.StatusFound)
}

func (op *scriptedOP) token(w http.ResponseWriter, r *http.Request) {
	op.mu.Lock()
	g, ok := op.codes[r.FormValue("code")]
	delete(op.codes, r.FormValue("code"))
	op.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if !ok || r.FormValue("grant_type") != "authorization_code" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant"}`)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": rand.Text(), "token_type": "Bearer", "id_token": op.idToken(g),
	})
}

// idToken is signed with a key of the moment: nobody verifies it here.
func (op *scriptedOP) idToken(g grant) string {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: key}, nil)
	if err != nil {
		panic(err)
	}
	token, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": op.issuer, "sub": g.user, "aud": g.clientID, "sid": g.sid, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}).Serialize()
	if err != nil {
		panic(err)
	}
	return token
}

func (op *scriptedOP) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie("login"); err == nil {
		op.mu.Lock()
		delete(op.sessions, c.Value)
		op.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: "login", Path: "/", MaxAge: -1})
	fmt.Fprint(w, "signed out")
}

func (op *scriptedOP) signedIn(r *http.Request) string {
	c, err := r.Cookie("login")
	if err != nil {
		return ""
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	return op.sessions[c.Value]
}
