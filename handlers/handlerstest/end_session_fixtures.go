package handlerstest

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

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	EndSession = "/oidc/end-session"
	Bye        = "https://rp.example.com/bye"
	ByeQuery   = "https://rp.example.com/bye?app=1"
)

// An Exit is a browser at an OP whose end_session endpoint is ours. The OP's own sign-out is a
// POST to /logout.
type Exit struct {
	*Agent

	E       *logout.EndSession
	Key     jose.JSONWebKey   // that the OP signs with
	KeySet  []jose.JSONWebKey // at its jwks_uri
	Fetches atomic.Int32      // of those
	Logouts atomic.Int32
	Status  int // with which /logout answers
	Logout  *http.Request
	Sticky  string // a cookie that no response deletes
	// what /logout answers; nil: status, without the login cookie
	Says func(http.ResponseWriter)
}

func NewExit(t testing.TB, configure ...func(*logout.EndSession)) *Exit {
	w := NewWorld(t)
	w.OP = KnownOP(t, Issuer, handlers.Metadata{JWKSURI: Issuer + "/jwks", SigningAlgorithms: []string{"ES256", "RS256", "HS256", "none"}})
	x := &Exit{Agent: NewAgent(t, w), Key: NewKey(t, "1"), Status: http.StatusFound}
	x.Login = "login"
	x.KeySet = []jose.JSONWebKey{x.Key.Public()}
	x.E = &logout.EndSession{
		LoginCookie: "login",
		Config:      logout.Config{Upstream: &logout.Upstream{Path: "/logout"}},
		Clients: &clients.Clients{List: []clients.Client{
			{ID: ClientID, Name: "The Shop", PostLogoutRedirectURIs: []string{Bye, ByeQuery}},
			{ID: "wiki", PostLogoutRedirectURIs: []string{"https://wiki.example.com/"}},
		}},
		Keys: new(opkeys.Keys),
	}
	for _, change := range configure {
		change(x.E)
	}
	x.SetUp()
	return x
}

// SetUp begins anew, as a restart does.
func (x *Exit) SetUp() {
	x.T.Helper()
	x.E.Keys, x.E.LoginCookiePaths = &opkeys.Keys{URI: x.E.Keys.URI}, new(browser.LoginCookiePaths)
	x.E.BackChannel = x.W.BackChannel(x.E.Clients)
	x.E.BackChannel.Observe(x.W.OP)
	x.E.Keys.Setup(x.W.Env)
	if err := x.E.Clients.Setup(x.W.Env); err != nil {
		x.T.Fatal(err)
	}
	if err := x.E.Setup(x.W.Env); err != nil {
		x.T.Fatal(err)
	}
	if err := x.E.Validate(); err != nil {
		x.T.Fatal(err)
	}
}

func NewKey(t testing.TB, kid string) jose.JSONWebKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: "ES256", Use: "sig"}
}

// OP answers as the OP behind.
func (x *Exit) OP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/jwks":
		x.Fetches.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: x.KeySet})
	case "/logout":
		x.Logouts.Add(1)
		x.Logout = r
		if x.Says != nil {
			x.Says(w)
			return
		}
		if x.Status < 400 {
			http.SetCookie(w, &http.Cookie{Name: "login", MaxAge: -1, Path: "/"})
		}
		w.WriteHeader(x.Status)
	default:
		http.NotFound(w, r)
	}
}

// SignedIn signs a user in at the OP and at a client.
func (x *Exit) SignedIn(client, user string) {
	x.T.Helper()
	x.Cookies["login"] = user
	code := rand.Text()
	target := strings.Replace(Authorize("s"), "client_id="+ClientID, "client_id="+client, 1)
	x.Get(target, reply.Redirect(Callback+"?code="+code+"&state=s"))
	x.redeemed(code, client, user, "sid of "+user)
}

// redeemed records an ID token that a client got for a code.
func (x *Exit) redeemed(code, client, user, sid string) {
	x.T.Helper()
	_, err := x.W.Env.Registry.Redeem(x.T.Context(), registry.Redemption{
		Issuer: Issuer, Response: sessionstate.NewResponseID(code), Audience: []string{client},
		Sub: user, Sid: sid, Lifetime: Lifetime, Notify: x.W.Tells,
	})
	if err != nil {
		x.T.Fatal(err)
	}
}

// SetsLogin has the OP be observed when it sets its login cookie, for the whole site.
func (x *Exit) SetsLogin() {
	x.E.LoginCookiePaths.Note([]string{"login=alice; Path=/; SameSite=None; Secure"}, "login", httptest.NewRequest(http.MethodPost, Issuer+"/login", nil), x.W.Clock.Now())
}

// IDClaims are those of an ID token of a client for a user, long expired.
func IDClaims(client, user string) map[string]any {
	return map[string]any{"iss": Issuer, "sub": user, "aud": client, "sid": "sid of " + user, "exp": 1}
}

func (x *Exit) Hint(client, user string) string { return Sign(x.T, x.Key, IDClaims(client, user), nil) }

// Sign signs claims, with more fields in the header.
func Sign(t testing.TB, key jose.JSONWebKey, claims map[string]any, header map[jose.HeaderKey]any) string {
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

// Ask requests the endpoint by GET.
func (x *Exit) Ask(parameters url.Values) *http.Response {
	x.T.Helper()
	return x.Do(httptest.NewRequest(http.MethodGet, Issuer+EndSession+"?"+parameters.Encode(), nil))
}

// PostForm posts a form to a path, from a page of an origin.
func (x *Exit) PostForm(path, origin string, form url.Values) *http.Response {
	x.T.Helper()
	r := httptest.NewRequest(http.MethodPost, Issuer+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	r.Header.Set("Origin", origin)
	return x.Do(r)
}

// Do sends a request and follows the endpoint's redirects to itself, of which there is one at
// most.
func (x *Exit) Do(r *http.Request) *http.Response {
	x.T.Helper()
	response := x.Once(r)
	for range 2 {
		location, err := response.Location()
		if err != nil || !strings.HasPrefix(location.String(), Issuer+EndSession) {
			return response
		}
		response = x.Once(httptest.NewRequest(http.MethodGet, location.String(), nil))
	}
	return response
}

func (x *Exit) Once(r *http.Request) *http.Response {
	x.T.Helper()
	for name, value := range x.Cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	if !x.E.Serves(x.W.OP, r.URL.Path) {
		x.T.Fatalf("%s is not served", r.URL.Path)
	}
	recorder := httptest.NewRecorder()
	if err := x.E.Serve(x.W.OP, recorder, r, reply.Handler(x.OP)); err != nil {
		x.T.Fatalf("an error is returned, which Caddy would log with the URL: %v", err)
	}
	response := recorder.Result()
	for _, c := range response.Cookies() {
		if c.MaxAge < 0 {
			if c.Name != x.Sticky {
				delete(x.Cookies, c.Name)
			}
		} else {
			x.Cookies[c.Name] = c.Value
		}
	}
	response.Request = r
	return response
}

var Hidden = regexp.MustCompile(`name="confirmation" value="([^"]*)"`)

// Confirmation is the value in the form of a page; empty: it has no form.
func Confirmation(t testing.TB, response *http.Response) string {
	t.Helper()
	found := Hidden.FindStringSubmatch(reply.ReadAll(t, response.Body))
	if found == nil {
		return ""
	}
	return html.UnescapeString(found[1])
}

// Answer gives an answer to a question.
func (x *Exit) Answer(question *http.Response, answer string) *http.Response {
	x.T.Helper()
	value := Confirmation(x.T, question)
	if value == "" {
		x.T.Fatal("there is no question to answer")
	}
	return x.PostForm(EndSession+handlers.ConfirmSuffix, Issuer, url.Values{"confirmation": {value}, "answer": {answer}})
}

// Outcome says what a response is: "question", "signed out", "error 400", "to LOCATION" ...
func Outcome(t testing.TB, response *http.Response) string {
	t.Helper()
	if location := response.Header.Get("Location"); location != "" {
		return "to " + location
	}
	body := reply.ReadAll(t, response.Body)
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

// IsSignedIn reports whether the browser's session lives, here and at the OP.
func (x *Exit) IsSignedIn() (here, atOP bool) {
	x.T.Helper()
	if c, _, ok := browser.OpenSessionCookie(x.W.Keys, Issuer, x.Cookies[x.W.OP.Cookies.Session]); ok && !c.Session.IsZero() {
		here = x.W.Live(x.T, c.Session)
	}
	_, atOP = x.Cookies["login"]
	return here, atOP
}

func (x *Exit) MustBe(signedIn bool) {
	x.T.Helper()
	if here, atOP := x.IsSignedIn(); here != signedIn || atOP != signedIn {
		x.T.Errorf("signed in here: %v, at the OP: %v; want %v for both", here, atOP, signedIn)
	}
}

func Values(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

func NewRSAKey(t testing.TB) jose.JSONWebKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: "rsa", Algorithm: "RS256", Use: "sig"}
}

// Raw sends a query or a form as it is.
func (x *Exit) Raw(query string, post bool) *http.Response {
	x.T.Helper()
	r := httptest.NewRequest(http.MethodGet, Issuer+EndSession, nil)
	r.URL.RawQuery = query
	if post {
		r = httptest.NewRequest(http.MethodPost, Issuer+EndSession, strings.NewReader(query))
		r.Header.Set("Content-Type", exchange.FormType)
	}
	return x.Once(r)
}
