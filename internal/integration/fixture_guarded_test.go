package integration

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A guardedApp is an app that knows nothing of logout: it signs users in by the code flow, keeps its sessions by a cookie, and ends
// none. Its pages say who is signed in. It may stand for a proxy that signs users in for other apps.
type guardedApp struct {
	name   string // its client ID, too
	origin string // as browsers have it
	issuer string // of its OP
	token  string // the token endpoint that it uses; empty: the OP's, through Caddy
	server *httptest.Server
	asked  requests

	mu       sync.Mutex
	sessions map[string]guardedSession // by cookie
}

type guardedSession struct{ user, idToken string }

// newGuardedApp returns an app at http://NAME.localhost, on the port of its OP.
func newGuardedApp(t *testing.T, s site, name string) *guardedApp {
	a := &guardedApp{name: name, origin: fmt.Sprintf("http://%s.localhost:%d", name, s.port), issuer: s.issuer, sessions: make(map[string]guardedSession)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", a.page)
	for _, below := range []string{"", "/oauth2"} {
		mux.HandleFunc("GET "+below+"/login", a.login)
		mux.HandleFunc("GET "+below+"/cb", a.callback)
	}
	mux.HandleFunc("GET /oauth2/sign_in", a.login)
	mux.HandleFunc("GET /oauth2/auth", a.auth)
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.note(r)
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(a.server.Close)
	return a
}

func (a *guardedApp) cookie() string { return a.name + "_session" }

// address is where the app itself is.
func (a *guardedApp) address() string { return strings.TrimPrefix(a.server.URL, "http://") }

// site is the app's site, with the directives before its proxy.
func (a *guardedApp) site(directives string) string {
	return a.origin + " {\n\tbind 127.0.0.1\n\t" + directives + "\n\treverse_proxy " + a.address() + "\n}\n"
}

func (a *guardedApp) session(r *http.Request) guardedSession {
	c, err := r.Cookie(a.cookie())
	if err != nil {
		return guardedSession{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sessions[c.Value]
}

func (a *guardedApp) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprintf(w, "%s: user %q", a.name, a.session(r).user)
}

// auth is what forward_auth asks.
func (a *guardedApp) auth(w http.ResponseWriter, r *http.Request) {
	if a.session(r).user == "" {
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func (a *guardedApp) redirectURI(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, "/oauth2/") {
		return a.origin + "/oauth2/cb"
	}
	return a.origin + "/cb"
}

func (a *guardedApp) login(w http.ResponseWriter, r *http.Request) {
	state := rand.Text()
	http.SetCookie(w, &http.Cookie{Name: "state_" + state, Value: "1", Path: "/", HttpOnly: true})
	http.Redirect(w, r, a.issuer+"/authorize?"+url.Values{
		"client_id": {a.name}, "redirect_uri": {a.redirectURI(r)}, "response_type": {"code"}, "scope": {"openid"}, "state": {state},
	}.Encode(), http.StatusFound)
}

// callback redeems the code from the app's server, through Caddy, and starts a session.
func (a *guardedApp) callback(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: "state_" + r.FormValue("state"), Path: "/", HttpOnly: true, MaxAge: -1})
	client := &http.Client{Transport: newReloaded()}
	response, err := client.PostForm(cmp.Or(a.token, a.issuer+"/token"), url.Values{
		"grant_type": {"authorization_code"}, "code": {r.FormValue("code")}, "client_id": {a.name}, "redirect_uri": {a.redirectURI(r)},
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	var tokens struct {
		IDToken string `json:"id_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&tokens); err != nil || tokens.IDToken == "" {
		http.Error(w, "no ID token", http.StatusBadRequest)
		return
	}
	value := rand.Text()
	a.mu.Lock()
	a.sessions[value] = guardedSession{subOf(tokens.IDToken), tokens.IDToken}
	a.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: a.cookie(), Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/", http.StatusFound)
}

// hint is the ID token of the app's only session.
func (a *guardedApp) hint() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, session := range a.sessions {
		return session.idToken
	}
	return ""
}

// A visitor is a browser that follows redirects, and keeps the cookies of each host apart.
type visitor struct {
	t      *testing.T
	client *http.Client
	jar    *cookiejar.Jar
}

func newVisitor(t *testing.T) *visitor {
	v := &visitor{t: t}
	v.jar, _ = cookiejar.New(nil)
	v.client = &http.Client{Transport: newReloaded(), Jar: loopbackJar{v.jar}}
	return v
}

// reloaded is a network in which a reload closes connections on which no request was read yet.
type reloaded struct{ network *http.Transport }

func newReloaded() reloaded {
	network := transport()
	network.DisableKeepAlives = true
	return reloaded{network}
}

func (n reloaded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := n.network.RoundTrip(r)
	for tries := 0; tries < 5 && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)); tries++ {
		if r.GetBody != nil {
			r.Body, _ = r.GetBody()
		}
		response, err = n.network.RoundTrip(r)
	}
	return response, err
}

// A loopbackJar keeps Secure cookies of plain http, as browsers do on this machine.
type loopbackJar struct{ *cookiejar.Jar }

func (j loopbackJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	for _, c := range cookies {
		c.Secure = false
	}
	j.Jar.SetCookies(u, cookies)
}

func (v *visitor) get(target string) page {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, target, http.NoBody)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.do(r)
}

func (v *visitor) do(r *http.Request) page {
	v.t.Helper()
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Dest", "document")
	response, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return page{response, string(body)}
}

// signIn goes through a sign-in at an app's path, and fills in the OP's login page where it is shown.
func (v *visitor) signIn(target, user string) page {
	v.t.Helper()
	got := v.get(target)
	if strings.Contains(got.body, "Who are you") {
		action, err := got.Request.URL.Parse("/login")
		if err != nil {
			v.t.Fatal(err)
		}
		form := url.Values{"user": {user}, "return": {got.Request.URL.Query().Get("return")}}
		r, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, action.String(), strings.NewReader(form.Encode()))
		if err != nil {
			v.t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		got = v.do(r)
	}
	return got
}

// copyOf returns a browser with the cookies of a host that have a prefix.
func (v *visitor) copyOf(origin, prefix string) *visitor {
	v.t.Helper()
	at, err := url.Parse(origin)
	if err != nil {
		v.t.Fatal(err)
	}
	thief := newVisitor(v.t)
	for _, c := range v.jar.Cookies(at) {
		if strings.HasPrefix(c.Name, prefix) {
			thief.jar.SetCookies(at, []*http.Cookie{{Name: c.Name, Value: c.Value, Path: "/"}})
		}
	}
	return thief
}

// at are the cookies of a host.
func (v *visitor) at(origin string) []*http.Cookie {
	u, _ := url.Parse(origin)
	return v.jar.Cookies(u)
}

// cookies are the names of a host's cookies.
func (v *visitor) cookies(origin string) (names []string) {
	for _, c := range v.at(origin) {
		names = append(names, c.Name)
	}
	return names
}

// expectUser expects the page of an app to name a user; empty: nobody.
func (v *visitor) expectUser(a *guardedApp, user string) {
	v.t.Helper()
	if got := v.get(a.origin + "/"); got.StatusCode != http.StatusOK || got.body != fmt.Sprintf("%s: user %q", a.name, user) {
		v.t.Errorf("the page of %s, for %q: %s, %s", a.name, user, got.Status, got.body)
	}
}

// endSession signs out by an app's hint, and returns the signed-out page.
func (v *visitor) endSession(s site, a *guardedApp) page {
	v.t.Helper()
	got := v.get(s.issuer + endSessionPath + "?id_token_hint=" + url.QueryEscape(a.hint()))
	if got.StatusCode != http.StatusOK || !strings.Contains(got.body, "You are signed out") {
		v.t.Fatalf("signing out: %s %s", got.Status, got.body)
	}
	return got
}
