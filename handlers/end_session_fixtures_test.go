package handlers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	endSession = "/oidc/end-session"
	bye        = "https://rp.example.com/bye"
	byeQuery   = "https://rp.example.com/bye?app=1"
)

// An exit is a browser at an OP whose end_session endpoint is ours. The OP's own sign-out is a POST to /logout.
type exit struct {
	*agent

	e       *EndSession
	key     jose.JSONWebKey   // that the OP signs with
	keySet  []jose.JSONWebKey // at its jwks_uri
	fetches atomic.Int32      // of those
	logouts atomic.Int32
	status  int // with which /logout answers
	logout  *http.Request
	sticky  string                    // a cookie that no response deletes
	says    func(http.ResponseWriter) // what /logout answers; nil: status, without the login cookie
}

func newExit(t testing.TB, configure ...func(*EndSession)) *exit {
	w := newWorld(t)
	w.op = knownOP(t, issuer, metadata{JWKSURI: issuer + "/jwks", SigningAlgorithms: []string{"ES256", "RS256", "HS256", "none"}})
	x := &exit{agent: newAgent(t, w), key: newKey(t, "1"), status: http.StatusFound}
	x.login = "login"
	x.keySet = []jose.JSONWebKey{x.key.Public()}
	x.e = &EndSession{
		LoginCookie: "login",
		Upstream:    &Upstream{Path: "/logout"},
		Clients: &Clients{List: []Client{
			{ID: clientID, Name: "The Shop", PostLogoutRedirectURIs: []string{bye, byeQuery}},
			{ID: "wiki", PostLogoutRedirectURIs: []string{"https://wiki.example.com/"}},
		}},
		Keys: new(Keys),
	}
	for _, change := range configure {
		change(x.e)
	}
	x.setUp()
	return x
}

// setUp begins anew, as a restart does.
func (x *exit) setUp() {
	x.t.Helper()
	x.e.Keys, x.e.LoginPlace = &Keys{URI: x.e.Keys.URI}, new(LoginPlace)
	x.e.BackChannel = x.w.backChannel(x.e.Clients)
	x.e.BackChannel.See(x.w.op)
	x.e.Keys.Setup(x.w.env)
	if err := x.e.Clients.Setup(x.w.env); err != nil {
		x.t.Fatal(err)
	}
	if err := x.e.Setup(x.w.env); err != nil {
		x.t.Fatal(err)
	}
	if err := x.e.Validate(); err != nil {
		x.t.Fatal(err)
	}
}

func newKey(t testing.TB, kid string) jose.JSONWebKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: "ES256", Use: "sig"}
}

// op answers as the OP behind.
func (x *exit) op(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/jwks":
		x.fetches.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: x.keySet})
	case "/logout":
		x.logouts.Add(1)
		x.logout = r
		if x.says != nil {
			x.says(w)
			return
		}
		if x.status < 400 {
			http.SetCookie(w, &http.Cookie{Name: "login", MaxAge: -1, Path: "/"})
		}
		w.WriteHeader(x.status)
	default:
		http.NotFound(w, r)
	}
}

// signedIn signs a user in at the OP and at a client.
func (x *exit) signedIn(client, user string) {
	x.t.Helper()
	x.cookies["login"] = user
	code := rand.Text()
	target := strings.Replace(authorize("s"), "client_id="+clientID, "client_id="+client, 1)
	x.get(target, redirect(callback+"?code="+code+"&state=s"))
	x.redeemed(code, client, user, "sid of "+user)
}

// redeemed records an ID token that a client got for a code.
func (x *exit) redeemed(code, client, user, sid string) {
	x.t.Helper()
	_, err := x.w.env.Registry.Redeem(x.t.Context(), registry.Redemption{
		Issuer: issuer, Response: sessionstate.NewResponseID(code), Audience: []string{client},
		Sub: user, Sid: sid, Lifetime: lifetime, Tell: x.w.tells,
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

// setsLogin has the OP be observed when it sets its login cookie, for the whole site.
func (x *exit) setsLogin() {
	x.e.LoginPlace.note([]string{"login=alice; Path=/; SameSite=None; Secure"}, "login", httptest.NewRequest(http.MethodPost, issuer+"/login", nil), x.w.clock.Now())
}

// idClaims are those of an ID token of a client for a user, long expired.
func idClaims(client, user string) map[string]any {
	return map[string]any{"iss": issuer, "sub": user, "aud": client, "sid": "sid of " + user, "exp": 1}
}

func (x *exit) hint(client, user string) string { return sign(x.t, x.key, idClaims(client, user), nil) }

// sign signs claims, with more fields in the header.
func sign(t testing.TB, key jose.JSONWebKey, claims map[string]any, header map[jose.HeaderKey]any) string {
	t.Helper()
	options := &jose.SignerOptions{ExtraHeaders: header}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// ask requests the endpoint by GET.
func (x *exit) ask(parameters url.Values) *http.Response {
	x.t.Helper()
	return x.do(httptest.NewRequest(http.MethodGet, issuer+endSession+"?"+parameters.Encode(), nil))
}

// postForm posts a form to a path, from a page of an origin.
func (x *exit) postForm(path, origin string, form url.Values) *http.Response {
	x.t.Helper()
	r := httptest.NewRequest(http.MethodPost, issuer+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Origin", origin)
	return x.do(r)
}

// do sends a request and follows the endpoint's redirects to itself, of which there is one at most.
func (x *exit) do(r *http.Request) *http.Response {
	x.t.Helper()
	response := x.once(r)
	for range 2 {
		location, err := response.Location()
		if err != nil || !strings.HasPrefix(location.String(), issuer+endSession) {
			return response
		}
		response = x.once(httptest.NewRequest(http.MethodGet, location.String(), nil))
	}
	return response
}

func (x *exit) once(r *http.Request) *http.Response {
	x.t.Helper()
	for name, value := range x.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	if !x.e.Serves(x.w.op, r.URL.Path) {
		x.t.Fatalf("%s is not served", r.URL.Path)
	}
	recorder := httptest.NewRecorder()
	if err := x.e.Serve(x.w.op, recorder, r, handler(x.op)); err != nil {
		x.t.Fatalf("an error is returned, which Caddy would log with the URL: %v", err)
	}
	response := recorder.Result()
	for _, c := range response.Cookies() {
		if c.MaxAge < 0 {
			if c.Name != x.sticky {
				delete(x.cookies, c.Name)
			}
		} else {
			x.cookies[c.Name] = c.Value
		}
	}
	response.Request = r
	return response
}

var hidden = regexp.MustCompile(`name="confirmation" value="([^"]*)"`)

// confirmation is the value in the form of a page; empty: it has no form.
func confirmation(t testing.TB, response *http.Response) string {
	t.Helper()
	found := hidden.FindStringSubmatch(readAll(t, response.Body))
	if found == nil {
		return ""
	}
	return html.UnescapeString(found[1])
}

// answer gives an answer to a question.
func (x *exit) answer(question *http.Response, answer string) *http.Response {
	x.t.Helper()
	value := confirmation(x.t, question)
	if value == "" {
		x.t.Fatal("there is no question to answer")
	}
	return x.postForm(endSession+confirmSuffix, issuer, url.Values{"confirmation": {value}, "answer": {answer}})
}

// outcome says what a response is: "question", "signed out", "error 400", "to LOCATION" ...
func outcome(t testing.TB, response *http.Response) string {
	t.Helper()
	if location := response.Header.Get("Location"); location != "" {
		return "to " + location
	}
	body := readAll(t, response.Body)
	response.Body = http.NoBody
	switch {
	case response.StatusCode != http.StatusOK:
		return "error"
	case strings.Contains(body, "<h1>Sign out?"):
		return "question"
	case strings.Contains(body, "<h1>You are signed out"):
		return "signed out"
	case strings.Contains(body, "<h1>You are still signed in"):
		return "stayed"
	case body == "":
		return "nothing"
	default:
		return body
	}
}

// isSignedIn reports whether the browser's session lives, here and at the OP.
func (x *exit) isSignedIn() (here, atOP bool) {
	x.t.Helper()
	if c, _, ok := openSessionCookie(x.w.keys, issuer, x.cookies[x.w.op.cookies.session]); ok && !c.session.IsZero() {
		here = x.w.live(x.t, c.session)
	}
	_, atOP = x.cookies["login"]
	return here, atOP
}

func (x *exit) mustBe(signedIn bool) {
	x.t.Helper()
	if here, atOP := x.isSignedIn(); here != signedIn || atOP != signedIn {
		x.t.Errorf("signed in here: %v, at the OP: %v; want %v for both", here, atOP, signedIn)
	}
}

func values(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

func newRSAKey(t testing.TB) jose.JSONWebKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: "rsa", Algorithm: "RS256", Use: "sig"}
}

// raw sends a query or a form as it is.
func (x *exit) raw(query string, post bool) *http.Response {
	x.t.Helper()
	r := httptest.NewRequest(http.MethodGet, issuer+endSession, nil)
	r.URL.RawQuery = query
	if post {
		r = httptest.NewRequest(http.MethodPost, issuer+endSession, strings.NewReader(query))
		r.Header.Set("Content-Type", formType)
	}
	return x.once(r)
}
