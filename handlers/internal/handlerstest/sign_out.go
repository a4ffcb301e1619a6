package handlerstest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/notify"
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

// EndElsewhere ends the session in the registry alone.
func (x *Exit) EndElsewhere() {
	x.T.Helper()
	x.W.End(x.T, x.OpenS().Browser, registry.ReasonOperator)
}

var (
	FrameAddress = regexp.MustCompile(`data-src="([^"]*)"`)
	NextAddress  = regexp.MustCompile(`data-next="([^"]*)"`)
)

// Next is where the page of the frames goes on.
func (x *Exit) Next(page string) *http.Request {
	x.T.Helper()
	found := NextAddress.FindStringSubmatch(page)
	if found == nil {
		x.T.Fatalf("there are no frames on %s", page)
	}
	return httptest.NewRequest(http.MethodGet, Issuer+html.UnescapeString(found[1]), nil)
}

// Reads sends a request and returns the page that the user reads.
func (x *Exit) Reads(r *http.Request) string {
	x.T.Helper()
	return reply.ReadAll(x.T, x.Once(r).Body)
}

// OnReceipt checks whom a page lists, by a part of the sentence before each list.
func OnReceipt(t *testing.T, body string, want map[string][]string) {
	t.Helper()
	if lists := strings.Count(body, "<ul>"); lists != len(want) {
		t.Errorf("%d lists, want %d: %s", lists, len(want), body)
	}
	for sentence, names := range want {
		_, rest, _ := strings.Cut(body, sentence)
		list, _, _ := strings.Cut(rest, "</ul>")
		var got []string
		for _, item := range strings.Split(list, "<li>")[1:] {
			name, _, _ := strings.Cut(item, "</li>")
			got = append(got, html.UnescapeString(name))
		}
		if !reflect.DeepEqual(got, names) {
			t.Errorf("%q are %q, want %q", sentence, got, names)
		}
	}
}

// Redeem gives a client another ID token for the session.
func (x *Exit) Redeem(client, user, sid string) {
	x.T.Helper()
	code := client + user + sid
	x.Get(strings.Replace(Authorize("s"), "client_id="+ClientID, "client_id="+client, 1), reply.Redirect(Callback+"?code="+code+"&state=s"))
	x.redeemed(code, client, user, sid)
}

// Confirm answers a question from our own page.
func (x *Exit) Confirm(value, answer string) *http.Response {
	x.T.Helper()
	return x.PostForm(EndSession+handlers.ConfirmSuffix, Issuer, Values("confirmation", value, "answer", answer))
}

// WithOutcome are the lines that the log has of requests that came to an end.
func (x *Exit) WithOutcome(outcome string) []map[string]any {
	var lines []map[string]any
	for _, entry := range x.W.Logs.FilterMessage("end_session").FilterField(zap.String("outcome", outcome)).All() {
		fields := entry.ContextMap()
		fields["level"] = entry.Level
		lines = append(lines, fields)
	}
	return lines
}

// Waiting is closed when a request looks for what the OP has answered another.
func (x *Exit) Waiting() <-chan struct{} {
	waits := make(chan struct{})
	looked := sync.OnceFunc(func() { close(waits) })
	x.W.Store.Do(func(_ context.Context, call string, keys ...registry.Key) error {
		if call == "get" && keys[0][0] == 'p' { // a pointer: what a one-time value leads to
			looked()
		}
		return nil
	})
	return waits
}

// AnotherServer has the same configuration and the same registry, and no memory in common.
func (x *Exit) AnotherServer() *logout.EndSession {
	x.T.Helper()
	env := x.W.Env
	env.Registry = registry.Open(x.W.Store, x.W.HearEnds, env.Logger)
	e := &logout.EndSession{
		LoginCookie: x.E.LoginCookie, LoginCookiePaths: new(browser.LoginCookiePaths), Config: x.E.Config,
		Clients: x.E.Clients, Keys: new(opkeys.Keys), BackChannel: x.W.BackChannel(x.E.Clients),
		FrontChannel: x.E.FrontChannel, FrontChannelTimeout: x.E.FrontChannelTimeout,
	}
	e.BackChannel.Observe(x.W.OP)
	e.Keys.Setup(env)
	if err := e.Setup(env); err != nil {
		x.T.Fatal(err)
	}
	return e
}

// Asked requests the endpoint by GET with header fields, and nothing that is not among them.
func (x *Exit) Asked(header http.Header, parameters ...string) *http.Response {
	x.T.Helper()
	r := httptest.NewRequest(http.MethodGet, Issuer+EndSession+"?"+Values(parameters...).Encode(), nil)
	maps.Copy(r.Header, header)
	return x.Once(r)
}

// Fresh is a hint of alice's that expires a minute from now.
func (x *Exit) Fresh(change ...func(map[string]any)) string {
	claims := IDClaims(ClientID, "alice")
	claims["exp"] = x.W.Clock.Now().Add(time.Minute).Unix()
	for _, change := range change {
		change(claims)
	}
	return Sign(x.T, x.Key, claims, nil)
}

// Visited has a browser that has not signed in here ask for a sign-out, with a cookie.
func (x *Exit) Visited(cookie string) {
	r := httptest.NewRequest(http.MethodGet, Issuer+EndSession, nil)
	r.Header.Set("Cookie", cookie)
	_ = x.E.Serve(x.W.OP, httptest.NewRecorder(), r, reply.Handler(x.OP))
}

// ClientOf is a session's client with one subject.
func ClientOf(client, sub, sid string) *registry.Client {
	return &registry.Client{ID: client, Subjects: []*registry.Subject{{Sub: sub, Sid: sid}}}
}

// Pending lists all that is owed.
func (x *Exit) Pending() (all []registry.PendingNotice) {
	x.T.Helper()
	sessions, _, err := x.W.Env.Registry.Owing(x.T.Context(), "", 1000)
	if err != nil {
		x.T.Fatal(err)
	}
	for _, session := range sessions {
		all = append(all, session.Pending()...)
	}
	return all
}

// RecordOutcomes records what became of the notice of a client, if it is owed one.
func (x *Exit) RecordOutcomes(client string, outcome registry.Outcome) {
	x.T.Helper()
	for _, outcome.Notice = range x.Pending() {
		if outcome.Notice.ClientID != client {
			continue
		}
		if err := x.W.Env.Registry.RecordOutcomes(x.T.Context(), []registry.Outcome{outcome}); err != nil {
			x.T.Fatal(err)
		}
	}
}

// A delivery is a notice that is claimed, and where it goes.
type delivery struct {
	registry.PendingNotice
	notify.Target
}

// Due claims notices, and lists where they go: those that go nowhere are settled.
func (x *Exit) Due() (due []delivery) {
	x.T.Helper()
	x.W.Claim(x.T)
	for _, owed := range x.Pending() {
		if owed.Lease == 0 || owed.Due > registry.At(x.W.Clock.Now().Add(registry.Lease+time.Second)) {
			continue // not due, or held back
		}
		switch route := x.W.NoticesOf(x.E.BackChannel).Route(x.T.Context(), owed); {
		case route.Drop != "":
			x.RecordOutcomes(owed.ClientID, registry.Outcome{Delivered: true})
		case route.WithoutSid:
			x.RecordOutcomes(owed.ClientID, registry.Outcome{WithoutSid: true, Due: 1})
			x.Pass(2 * time.Second)
			return x.Due()
		case !route.Again:
			due = append(due, delivery{owed, route.Target})
		}
	}
	return due
}

// Pass lets time pass, in which what expires ends.
func (x *Exit) Pass(d time.Duration) {
	x.W.Clock.Advance(d)
	x.W.Claim(x.T)
	x.W.Clock.Advance(2 * time.Second) // until it is listed again
}

// DueClients are the clients whose notices are due, sorted.
func (x *Exit) DueClients() string {
	x.T.Helper()
	var clients []string
	for _, n := range x.Due() {
		clients = append(clients, n.ClientID)
	}
	slices.Sort(clients)
	return strings.Join(clients, " ")
}
