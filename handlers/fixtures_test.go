package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

func init() { registry.Limit = 10 * time.Second } // for slow machines

const (
	issuer   = "https://op.example.com"
	clientID = "shop"
	callback = "https://rp.example.com/cb"
	rpOrigin = "https://rp.example.com"
	lifetime = 24 * time.Hour
)

// The shared keys of the tests: no secrets of anyone.
var (
	firstSecret  = []byte(strings.Repeat("1", 32))
	secondSecret = []byte(strings.Repeat("2", 32))
)

// A world is an Env whose clock, store and log the test has in hand.
type world struct {
	env   Env
	op    *OP
	keys  *sessionstate.Keyring
	store *storage // of env.Registry
	logs  *observer.ObservedLogs
	clock *clock
	tells bool              // clients are told
	woken atomic.Int32      // how often new notices were looked for
	seen  []string          // of each ID token: the client, kid and sid
	key   jose.JSONWebKey   // that the OP signs ID tokens with
	jwks  []jose.JSONWebKey // at its jwks_uri; nil: it answers 503 there
}

func newWorld(t testing.TB) *world {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	w := &world{
		keys:  keyring(t, firstSecret),
		logs:  logs,
		clock: &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)},
		op:    knownOP(t, issuer, metadata{JWKSURI: issuer + "/jwks"}),
		key:   newKey(t, "1"),
	}
	w.jwks = []jose.JSONWebKey{w.key.Public()}
	w.store = &storage{Store: memory.New(w.clock.Now)}
	w.env = Env{
		Keys:            func(context.Context) (*sessionstate.Keyring, error) { return w.keys, nil },
		Registry:        registry.Open(w.store, w.hearEnds, zap.New(core)),
		Prepare:         prepare,
		Replace:         func(r *http.Request, text string) string { return strings.ReplaceAll(text, "{method}", r.Method) },
		SessionLifetime: lifetime,
		Tells:           func(*OP) bool { return w.tells },
		Wake:            func() { w.woken.Add(1) },
		SawIDToken: func(_ context.Context, op *OP, client string, token tokens.IDToken) {
			w.seen = append(w.seen, fmt.Sprintf("%s %s kid %q sid %q", op.Issuer, client, token.KeyID, token.SessionID))
		},
		Logger: zap.New(core),
		Now:    w.clock.Now,
	}
	return w
}

// backChannel tells clients when the test has them told: nothing is sent.
func (w *world) backChannel(clients *Clients) *BackChannel {
	if err := clients.Setup(w.env); err != nil {
		panic(err)
	}
	b := &BackChannel{
		Clients: clients, Adopt: func(string) {}, RedirectWait: time.Millisecond, RetryFor: DefaultRetryFor,
		Settled: func() <-chan struct{} { return nil },
		Sender:  notify.NewSender(notify.Guard{}, nil), Strict: notify.NewSender(notify.Guard{}, nil),
	}
	b.Setup(w.env)
	return b
}

func prepare(sub, _ *http.Request, _ http.ResponseWriter) *http.Request { return sub }

// logged returns all that was logged, for tests that look for what must not be there.
func (w *world) logged() string {
	var all strings.Builder
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	for _, entry := range w.logs.All() {
		line, err := encoder.EncodeEntry(entry.Entry, entry.Context)
		if err != nil {
			return err.Error()
		}
		all.Write(line.Bytes())
	}
	return all.String()
}

func keyring(t testing.TB, secrets ...[]byte) *sessionstate.Keyring {
	t.Helper()
	keys, err := sessionstate.NewKeyring(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// knownOP is an OP with /authorize and /token.
func knownOP(t testing.TB, issuer string, m metadata) *OP {
	t.Helper()
	op, err := newOP(issuer)
	if err != nil {
		t.Fatal(err)
	}
	m.AuthorizationEndpoint, m.TokenEndpoint = op.Origin+"/authorize", op.Origin+"/token"
	op, _ = op.with(m)
	return op
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// hearEnds does what the app does when sessions have ended, but for notices, which tests look for.
func (w *world) hearEnds(sessions []*registry.Session) {
	for _, session := range sessions {
		w.env.LogEnd(context.Background(), session)
		if !session.Silent && session.Reason != registry.ReasonExpiry {
			LogUnnotified(w.env.Logger, session)
		}
	}
}

// A storage is a store that does what the test says before each call: wait, fail, or count it.
type storage struct {
	registry.Store

	mu     sync.Mutex
	before func(ctx context.Context, call string, keys ...registry.Key) error // call: get, members, edit; nil: nothing
}

func (s *storage) do(before func(ctx context.Context, call string, keys ...registry.Key) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

func (s *storage) call(ctx context.Context, call string, keys ...registry.Key) error {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(ctx, call, keys...)
}

func (s *storage) Get(ctx context.Context, fresh bool, keys ...registry.Key) ([][]byte, error) {
	if err := s.call(ctx, "get", keys...); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, fresh, keys...)
}

func (s *storage) Members(ctx context.Context, limit int, sets ...registry.Key) ([][]string, error) {
	if err := s.call(ctx, "members", sets...); err != nil {
		return nil, err
	}
	return s.Store.Members(ctx, limit, sets...)
}

func (s *storage) Edit(ctx context.Context, edits ...*registry.Edit) error {
	var keys []registry.Key
	for _, edit := range edits {
		keys = append(keys, edit.Key)
	}
	if err := s.call(ctx, "edit", keys...); err != nil {
		return err
	}
	return s.Store.Edit(ctx, edits...)
}

func (s *storage) Open(*zap.Logger) (registry.Store, error) { return s, nil }

func (*storage) SharingKey() string { return "test" }

func (w *world) noticesOf(sites ...*BackChannel) *Notices {
	return &Notices{BackChannels: func(string) []*BackChannel { return sites }}
}

func unavailable(context.Context, string, ...registry.Key) error { return registry.ErrUnavailable }

// down makes the registry unavailable and returns what makes it available again.
func (w *world) down() (up func()) {
	w.store.do(unavailable)
	return func() { w.store.do(nil) }
}

// limited gives calls of the registry as long as they have in earnest.
func limited(t *testing.T) {
	t.Helper()
	limit := registry.Limit
	registry.Limit = 250 * time.Millisecond
	t.Cleanup(func() { registry.Limit = limit })
}

// counted counts calls of the store from now on.
func (w *world) counted(call string) func() int {
	var n atomic.Int32
	w.store.do(func(_ context.Context, what string, _ ...registry.Key) error {
		if what == call {
			n.Add(1)
		}
		return nil
	})
	return func() int { return int(n.Load()) }
}

// lose has the store forget everything.
func (w *world) lose() { w.store.Store = memory.New(w.clock.Now) }

var errNoKeys = errors.New("no keys")

func (w *world) withoutKeys() {
	w.env.Keys = func(context.Context) (*sessionstate.Keyring, error) { return nil, errNoKeys }
}

// An agent is a browser with a cookie jar, at the OP's site.
type agent struct {
	t            testing.TB
	w            *world
	login        string       // the configured login cookie
	sessionState SessionState // the configured session_state
	pushed       *Pushed
	clients      *Clients
	dest         string // Sec-Fetch-Dest
	cookies      map[string]string

	b    *Browser // made for the first request
	keys *Keys
}

func newAgent(t testing.TB, w *world) *agent {
	return &agent{t: t, w: w, cookies: make(map[string]string)}
}

// get sends a GET for a path of the OP's site, answered by the OP as respond says.
func (a *agent) get(target string, respond http.HandlerFunc) *http.Response {
	a.t.Helper()
	return a.send(httptest.NewRequest(http.MethodGet, a.w.op.Origin+target, nil), respond)
}

// send sends a request with the agent's cookies, and keeps those of the response.
func (a *agent) send(r *http.Request, respond http.HandlerFunc) *http.Response {
	a.t.Helper()
	for name, value := range a.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	if a.dest != "" {
		r.Header.Set("Sec-Fetch-Dest", a.dest)
	}
	if r.Header["Accept"] == nil {
		r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	}
	b := a.browser()
	recorder := httptest.NewRecorder()
	if !b.Involved(a.w.op, r) {
		respond(recorder, r)
	} else if err := b.Serve(a.w.op, recorder, r, handler(a.w.withKeys(respond))); err != nil {
		a.t.Fatal(err)
	}
	response := recorder.Result()
	for _, c := range response.Cookies() {
		if c.MaxAge < 0 {
			delete(a.cookies, c.Name)
		} else {
			a.cookies[c.Name] = c.Value
		}
	}
	return response
}

// browser is the handler of the OP's site, as the agent is configured now.
func (a *agent) browser() *Browser {
	if a.b == nil {
		a.b, a.keys = &Browser{LoginPlace: new(LoginPlace), Redemptions: new(Redemptions)}, new(Keys)
	}
	a.b.LoginCookie, a.b.SessionState, a.b.Pushed, a.b.Clients, a.b.OPKeys = a.login, a.sessionState, a.pushed, a.clients, a.keys
	a.b.Setup(a.w.env)
	a.keys.Setup(a.w.env)
	return a.b
}

// knows makes clients known at the OP's site.
func (a *agent) knows(configured ...Client) {
	a.t.Helper()
	a.clients = &Clients{List: configured}
	if err := a.clients.Setup(a.w.env); err != nil {
		a.t.Fatal(err)
	}
}

// withKeys answers at the OP's jwks_uri, and else as respond does.
func (w *world) withKeys(respond http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/jwks":
			respond(rw, r)
		case w.jwks == nil:
			rw.WriteHeader(http.StatusServiceUnavailable)
		default:
			rw.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(rw).Encode(jose.JSONWebKeySet{Keys: w.jwks})
		}
	}
}

// authorize is the path and query of an authorization request.
func authorize(state string) string {
	return "/authorize?" + url.Values{
		"response_type": {"code"}, "scope": {"openid"}, "client_id": {clientID}, "redirect_uri": {callback}, "state": {state},
	}.Encode()
}

// signIn goes through a sign-in of one hop and returns the session_state.
func (a *agent) signIn(code string) string {
	a.t.Helper()
	return sessionState(a.t, a.get(authorize("s"), redirect(callback+"?code="+code+"&state=s")))
}

// openS opens the agent's sealed cookie.
func (a *agent) openS() sessionCookie {
	a.t.Helper()
	c, _, ok := openSessionCookie(a.w.keys, a.w.op.Issuer, a.cookies[a.w.op.cookies.session])
	if !ok {
		a.t.Fatal("the browser has no sealed cookie that opens")
	}
	return c
}

func (a *agent) stateCookie() string { return a.cookies[a.w.op.cookies.state] }

// pendings counts the agent's pending cookies.
func (a *agent) pendings() (n int) {
	for name := range a.cookies {
		if strings.HasPrefix(name, a.w.op.cookies.pending) {
			n++
		}
	}
	return n
}

// session returns what is recorded of a session; nil: nothing is.
func (w *world) session(t testing.TB, id sessionstate.SessionID) *registry.Session {
	t.Helper()
	sessions, err := w.env.Registry.Browser(t.Context(), registry.PlaceOfSession(id))
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(sessions, func(s *registry.Session) bool { return s.ID == id }); i >= 0 {
		return sessions[i]
	}
	return nil
}

// live reports whether a session is recorded, and lives.
func (w *world) live(t testing.TB, id sessionstate.SessionID) bool {
	t.Helper()
	session := w.session(t, id)
	return session != nil && session.Live(registry.At(w.clock.Now()))
}

// clients lists who takes part in a session.
func (w *world) clients(t testing.TB, id sessionstate.SessionID) []*registry.Client {
	t.Helper()
	if session := w.session(t, id); session != nil {
		return session.Clients
	}
	return nil
}

// end ends a browser's sessions.
func (w *world) end(t testing.TB, browser sessionstate.BrowserID, reason registry.Reason) {
	t.Helper()
	if _, err := w.env.Registry.End(t.Context(), registry.Ending{Place: registry.PlaceOf(w.op.Issuer, browser), Reason: reason}); err != nil {
		t.Fatal(err)
	}
}

// claim ends what has expired, and claims what is owed.
func (w *world) claim(t testing.TB) []registry.Owed {
	t.Helper()
	claimed, _, err := w.env.Registry.Claim(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	return claimed
}

// register has a client registered by itself.
func (w *world) register(t testing.TB, id, metadata string) {
	t.Helper()
	if err := w.env.Registry.Register(t.Context(), issuer, registry.Registered{ID: id, Metadata: []byte(metadata)}); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what happens in the background.
func eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	for deadline := time.After(10 * time.Second); !happened(); runtime.Gosched() {
		select {
		case <-deadline:
			t.Fatal(what)
		default:
		}
	}
}

// handler is an OP that always answers.
func handler(respond http.HandlerFunc) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		respond(w, r)
		return nil
	})
}

func redirect(location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	}
}

func page(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<form>") }

// answering returns an OP that answers with JSON.
func answering(document string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, document)
	}
}

// sessionState returns the session_state in a response's query or fragment, or "".
func sessionState(t testing.TB, response *http.Response) string {
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

func cookieNamed(response *http.Response, name string) *http.Cookie {
	for _, c := range response.Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func readAll(t testing.TB, body io.Reader) string {
	t.Helper()
	all, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}
