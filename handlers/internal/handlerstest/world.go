package handlerstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	jose "github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
	"github.com/oidc-session/caddy-oidc-session/registry/storetest"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

func init() { registry.Limit = 10 * time.Second } // for slow machines

const (
	Issuer   = "https://op.example.com"
	ClientID = "shop"
	Callback = "https://rp.example.com/cb"
	RpOrigin = "https://rp.example.com"
	Lifetime = 24 * time.Hour
)

// The shared keys of the tests: no secrets of anyone.
var (
	FirstSecret  = []byte(strings.Repeat("1", 32))
	SecondSecret = []byte(strings.Repeat("2", 32))
)

// A World is an Env whose clock, store and log the test has in hand.
type World struct {
	Env   handlers.Env
	OP    *handlers.OP
	Keys  *sessionstate.Keyring
	Store *Storage // of env.Registry
	Logs  *observer.ObservedLogs
	Clock *storetest.Clock
	Tells bool              // clients are told
	Woken atomic.Int32      // how often new notices were looked for
	Seen  []string          // of each ID token: the client, kid and sid
	Key   jose.JSONWebKey   // that the OP signs ID tokens with
	JWKS  []jose.JSONWebKey // at its jwks_uri; nil: it answers 503 there
}

func NewWorld(t testing.TB) *World {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	w := &World{
		Keys:  Keyring(t, FirstSecret),
		Logs:  logs,
		Clock: storetest.ClockAt(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)),
		OP:    KnownOP(t, Issuer, handlers.Metadata{JWKSURI: Issuer + "/jwks"}),
		Key:   NewKey(t, "1"),
	}
	w.JWKS = []jose.JSONWebKey{w.Key.Public()}
	w.Store = &Storage{Store: memory.New(w.Clock.Now)}
	w.Env = handlers.Env{
		Keys:            func(context.Context) (*sessionstate.Keyring, error) { return w.Keys, nil },
		Registry:        registry.Open(w.Store, w.HearEnds, zap.New(core)),
		Prepare:         prepare,
		Replace:         func(r *http.Request, text string) string { return strings.ReplaceAll(text, "{method}", r.Method) },
		SessionLifetime: Lifetime,
		Notifies:        func(*handlers.OP) bool { return w.Tells },
		Wake:            func() { w.Woken.Add(1) },
		ObserveIDToken: func(_ context.Context, op *handlers.OP, client string, token tokens.IDToken) {
			w.Seen = append(w.Seen, fmt.Sprintf("%s %s kid %q sid %q", op.Issuer, client, token.KeyID, token.SessionID))
		},
		Logger: zap.New(core),
		Now:    w.Clock.Now,
	}
	return w
}

// BackChannel tells clients when the test has them told: nothing is sent.
func (w *World) BackChannel(clients *clients.Clients) *backchannel.BackChannel {
	if err := clients.Setup(w.Env); err != nil {
		panic(err)
	}
	b := &backchannel.BackChannel{
		Clients: clients, Adopt: func(string) {}, RedirectWait: time.Millisecond, RetryFor: backchannel.DefaultRetryFor,
		Recorded: func() <-chan struct{} { return nil },
		Sender:   notify.NewSender(notify.Guard{}, nil), Strict: notify.NewSender(notify.Guard{}, nil),
	}
	b.Setup(w.Env)
	return b
}

func prepare(sub, _ *http.Request, _ http.ResponseWriter) *http.Request { return sub }

// Logged returns all that was logged, for tests that look for what must not be there.
func (w *World) Logged() string {
	var all strings.Builder
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	for _, entry := range w.Logs.All() {
		line, err := encoder.EncodeEntry(entry.Entry, entry.Context)
		if err != nil {
			return err.Error()
		}
		all.Write(line.Bytes())
	}
	return all.String()
}

func Keyring(t testing.TB, secrets ...[]byte) *sessionstate.Keyring {
	t.Helper()
	keys, err := sessionstate.NewKeyring(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// KnownOP is an OP with /authorize and /token.
func KnownOP(t testing.TB, issuer string, m handlers.Metadata) *handlers.OP {
	t.Helper()
	op, err := handlers.NewOP(issuer)
	if err != nil {
		t.Fatal(err)
	}
	m.AuthorizationEndpoint, m.TokenEndpoint = op.Origin+"/authorize", op.Origin+"/token"
	op, _ = op.With(m)
	return op
}

// HearEnds does what the app does when sessions have ended, but for notices, which tests look for.
func (w *World) HearEnds(sessions []*registry.Session) {
	for _, session := range sessions {
		w.Env.LogEnd(context.Background(), session)
		if !session.Silent && session.Reason != registry.ReasonExpiry {
			backchannel.LogUnnotified(w.Env.Logger, session)
		}
	}
}

// A Storage is a store that does what the test says before each call: wait, fail, or count it.
type Storage struct {
	registry.Store

	mu sync.Mutex
	// call: get, members, edit; nil: nothing
	before func(ctx context.Context, call string, keys ...registry.Key) error
}

func (s *Storage) Do(before func(ctx context.Context, call string, keys ...registry.Key) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

func (s *Storage) call(ctx context.Context, call string, keys ...registry.Key) error {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(ctx, call, keys...)
}

func (s *Storage) Get(ctx context.Context, fresh bool, keys ...registry.Key) ([][]byte, error) {
	if err := s.call(ctx, "get", keys...); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, fresh, keys...)
}

func (s *Storage) Members(ctx context.Context, limit int, sets ...registry.Key) ([][]string, error) {
	if err := s.call(ctx, "members", sets...); err != nil {
		return nil, err
	}
	return s.Store.Members(ctx, limit, sets...)
}

func (s *Storage) Edit(ctx context.Context, edits ...*registry.Edit) error {
	var keys []registry.Key
	for _, edit := range edits {
		keys = append(keys, edit.Key)
	}
	if err := s.call(ctx, "edit", keys...); err != nil {
		return err
	}
	return s.Store.Edit(ctx, edits...)
}

func (s *Storage) Open(*zap.Logger) (registry.Store, error) { return s, nil }

func (*Storage) SharingKey() string { return "test" }

func (w *World) NoticesOf(sites ...*backchannel.BackChannel) *backchannel.Notices {
	return &backchannel.Notices{BackChannels: func(string) []*backchannel.BackChannel { return sites }}
}

func Unavailable(context.Context, string, ...registry.Key) error { return registry.ErrUnavailable }

// Down makes the registry unavailable and returns what makes it available again.
func (w *World) Down() (up func()) {
	w.Store.Do(Unavailable)
	return func() { w.Store.Do(nil) }
}

// Limited gives calls of the registry as long as they have in earnest.
func Limited(t *testing.T) {
	t.Helper()
	limit := registry.Limit
	registry.Limit = 250 * time.Millisecond
	t.Cleanup(func() { registry.Limit = limit })
}

// Counted counts calls of the store from now on.
func (w *World) Counted(call string) func() int {
	var n atomic.Int32
	w.Store.Do(func(_ context.Context, what string, _ ...registry.Key) error {
		if what == call {
			n.Add(1)
		}
		return nil
	})
	return func() int { return int(n.Load()) }
}

// Lose has the store forget everything.
func (w *World) Lose() { w.Store.Store = memory.New(w.Clock.Now) }

var ErrNoKeys = errors.New("no keys")

func (w *World) WithoutKeys() {
	w.Env.Keys = func(context.Context) (*sessionstate.Keyring, error) { return nil, ErrNoKeys }
}

// An Agent is a browser with a cookie jar, at the OP's site.
type Agent struct {
	T            testing.TB
	W            *World
	Login        string                // the configured login cookie
	SessionState handlers.SessionState // the configured session_state
	Clients      *clients.Clients
	Dest         string // Sec-Fetch-Dest
	Cookies      map[string]string

	B    *signin.Observer // made for the first request
	Keys *opkeys.Keys
}

func NewAgent(t testing.TB, w *World) *Agent {
	return &Agent{T: t, W: w, Cookies: make(map[string]string)}
}

// Get sends a GET for a path of the OP's site, answered by the OP as respond says.
func (a *Agent) Get(target string, respond http.HandlerFunc) *http.Response {
	a.T.Helper()
	return a.Send(httptest.NewRequest(http.MethodGet, a.W.OP.Origin+target, nil), respond)
}

// Send sends a request with the agent's cookies, and keeps those of the response.
func (a *Agent) Send(r *http.Request, respond http.HandlerFunc) *http.Response {
	a.T.Helper()
	for name, value := range a.Cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	if a.Dest != "" {
		r.Header.Set("Sec-Fetch-Dest", a.Dest)
	}
	if r.Header["Accept"] == nil {
		r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	}
	b := a.Browser()
	recorder := httptest.NewRecorder()
	if !b.Involved(a.W.OP, r) {
		respond(recorder, r)
	} else if err := b.Serve(a.W.OP, recorder, r, reply.Handler(a.W.withKeys(respond))); err != nil {
		a.T.Fatal(err)
	}
	response := recorder.Result()
	for _, c := range response.Cookies() {
		if c.MaxAge < 0 {
			delete(a.Cookies, c.Name)
		} else {
			a.Cookies[c.Name] = c.Value
		}
	}
	return response
}

// Browser is the handler of the OP's site, as the agent is configured now.
func (a *Agent) Browser() *signin.Observer {
	if a.B == nil {
		a.B, a.Keys = new(signin.Observer), new(opkeys.Keys)
	}
	a.B.LoginCookie, a.B.SessionState, a.B.Clients, a.B.OPKeys = a.Login, a.SessionState, a.Clients, a.Keys
	a.B.Setup(a.W.Env)
	a.Keys.Setup(a.W.Env)
	return a.B
}

// Knows makes clients known at the OP's site.
func (a *Agent) Knows(configured ...clients.Client) {
	a.T.Helper()
	a.Clients = &clients.Clients{List: configured}
	if err := a.Clients.Setup(a.W.Env); err != nil {
		a.T.Fatal(err)
	}
}

// withKeys answers at the OP's jwks_uri, and else as respond does.
func (w *World) withKeys(respond http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/jwks":
			respond(rw, r)
		case w.JWKS == nil:
			rw.WriteHeader(http.StatusServiceUnavailable)
		default:
			rw.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(rw).Encode(jose.JSONWebKeySet{Keys: w.JWKS})
		}
	}
}

// Authorize is the path and query of an authorization request.
func Authorize(state string) string {
	return "/authorize?" + url.Values{
		"response_type": {"code"}, "scope": {"openid"}, "client_id": {ClientID}, "redirect_uri": {Callback}, "state": {state},
	}.Encode()
}

// SignIn goes through a sign-in of one hop and returns the session_state.
func (a *Agent) SignIn(code string) string {
	a.T.Helper()
	return SessionState(a.T, a.Get(Authorize("s"), reply.Redirect(Callback+"?code="+code+"&state=s")))
}

// OpenS opens the agent's sealed cookie.
func (a *Agent) OpenS() browser.SessionCookie {
	a.T.Helper()
	c, _, ok := browser.OpenSessionCookie(a.W.Keys, a.W.OP.Issuer, a.Cookies[a.W.OP.Cookies.Session])
	if !ok {
		a.T.Fatal("the browser has no sealed cookie that opens")
	}
	return c
}

func (a *Agent) StateCookie() string { return a.Cookies[a.W.OP.Cookies.State] }

// Pendings counts the agent's pending cookies.
func (a *Agent) Pendings() (n int) {
	for name := range a.Cookies {
		if strings.HasPrefix(name, a.W.OP.Cookies.Pending) {
			n++
		}
	}
	return n
}

// Session returns what is recorded of a session; nil: nothing is.
func (w *World) Session(t testing.TB, id sessionstate.SessionID) *registry.Session {
	t.Helper()
	sessions, err := w.Env.Registry.Browser(t.Context(), registry.PlaceOfSession(id))
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(sessions, func(s *registry.Session) bool { return s.ID == id }); i >= 0 {
		return sessions[i]
	}
	return nil
}

// Live reports whether a session is recorded, and lives.
func (w *World) Live(t testing.TB, id sessionstate.SessionID) bool {
	t.Helper()
	session := w.Session(t, id)
	return session != nil && session.Live(registry.At(w.Clock.Now()))
}

// Clients lists who takes part in a session.
func (w *World) Clients(t testing.TB, id sessionstate.SessionID) []*registry.Client {
	t.Helper()
	if session := w.Session(t, id); session != nil {
		return session.Clients
	}
	return nil
}

// End ends a browser's sessions.
func (w *World) End(t testing.TB, browser sessionstate.BrowserID, reason registry.Reason) {
	t.Helper()
	if _, err := w.Env.Registry.End(t.Context(), registry.Ending{Place: registry.PlaceOf(w.OP.Issuer, browser), Reason: reason}); err != nil {
		t.Fatal(err)
	}
}

// Claim ends what has expired, and claims what is owed.
func (w *World) Claim(t testing.TB) []registry.PendingNotice {
	t.Helper()
	claimed, _, err := w.Env.Registry.Claim(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	return claimed
}

// Register has a client registered by itself.
func (w *World) Register(t testing.TB, id, metadata string) {
	t.Helper()
	if err := w.Env.Registry.Register(t.Context(), Issuer, registry.Registered{ID: id, Metadata: []byte(metadata)}); err != nil {
		t.Fatal(err)
	}
}

// Eventually waits for what happens in the background.
func Eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	for deadline := time.After(10 * time.Second); !happened(); runtime.Gosched() {
		select {
		case <-deadline:
			t.Fatal(what)
		default:
		}
	}
}

// SessionState returns the session_state in a response's query or fragment, or "".
func SessionState(t testing.TB, response *http.Response) string {
	t.Helper()
	location, err := response.Location()
	if err != nil {
		t.Fatal(err)
	}
	fragment, err := url.ParseQuery(location.EscapedFragment())
	if err != nil {
		t.Fatal(err)
	}
	return location.Query().Get("session_state") + fragment.Get("session_state")
}

func CookieNamed(response *http.Response, name string) *http.Cookie {
	for _, c := range response.Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

const DocumentURL = Issuer + handlers.WellKnown

// Ask sends a sub-request for target on behalf of caller.
func (w *World) Ask(t *testing.T, caller *http.Request, target string, next caddyhttp.Handler) (*handlers.OPResponse, error) {
	t.Helper()
	question, err := handlers.NewSubRequest(w.Env, caller, next, target)
	if err != nil {
		t.Fatal(err)
	}
	return question.Send()
}

// Checker is the check page's handler in the world.
func (w *World) Checker() *check.Endpoint {
	c := &check.Endpoint{Path: handlers.DefaultCheckSessionPath}
	c.Setup(w.Env)
	return c
}

// Question is a check that the page asks.
func Question(form string) *http.Request {
	r := httptest.NewRequest("POST", CheckPage, strings.NewReader(form))
	r.Header.Set("Content-Type", exchange.FormType)
	r.Header.Set("Origin", Issuer)
	return r
}

// A PageCheck is what the page asks of one session_state.
type PageCheck struct{ ClientID, SessionState, Origin, BrowserState string }

// CheckForm is the form that the page sends.
func CheckForm(q PageCheck) string {
	form := url.Values{"client_id": {q.ClientID}, "session_state": {q.SessionState}, "origin": {q.Origin}}
	if q.BrowserState != "" {
		form.Set("browser_state", q.BrowserState)
	}
	return form.Encode()
}

// Status is that of an answer or of the error instead of it.
func Status(t testing.TB, err error, recorder *httptest.ResponseRecorder) int {
	t.Helper()
	if refused, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		if recorder.Body.Len() > 0 {
			t.Errorf("beside the error, %q was sent", recorder.Body)
		}
		return refused.StatusCode
	}
	if err != nil {
		t.Errorf("an error without a status: %v", err)
	}
	return recorder.Code
}

// Forget lets the time pass after which a session is forgotten none of whose codes was redeemed.
func (w *World) Forget(t *testing.T) {
	t.Helper()
	w.Clock.Advance(registry.CodeLifetime)
	w.Claim(t)
}
