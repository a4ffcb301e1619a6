package integration

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A scriptedOP is an OP that does just what session management needs of one: it signs users in with a login cookie, answers
// authorization requests from paths of its own, redeems codes, and signs out by deleting its cookie. In what ways it does so are
// its traits; they are those of real OPs.
type scriptedOP struct {
	issuer string
	traits traits           // set before the first request
	now    func() time.Time // for the lifetime of codes
	server *httptest.Server // nil: it is asked without a network
	front  *httptest.Server // has the login page, if that is elsewhere

	starting atomic.Bool // it answers 502, as a server in front of an OP that is not there yet
	asked    requests

	mu      sync.Mutex
	logins  map[string]*login  // by login cookie
	tickets map[string]*ticket // of flows on their way through the OP's own redirects
	codes   map[string]grant
	keysMu  sync.Mutex
	keys    map[string]jose.JSONWebKey // by client, where each has one
	rolled  bool                       // the OP has replaced its key

	keysServed atomic.Int32 // how often
	count      int          // of sign-ins
	fetches    int          // of the discovery document
}

// traits are how OPs differ. The zero value is an OP that sets its cookie, with a new value, on each authorization response.
type traits struct {
	cookie       cookiePlace
	prefix       string // of its URLs' paths, which a server in front takes away from requests
	cookiePath   string // where the login cookie is; the OP's own pages are below it. Empty: /
	fixedCookie  bool   // the cookie keeps its value for as long as a user is signed in
	otherCookie  bool   // authorization responses set a cookie of another name
	laxCookie    bool   // frames in other sites' pages do not get the login cookie
	switching    switchShape
	newSid       bool // signing in again gives the same user another sid
	signOut      deletion
	loginHost    bool // the login page is on another host
	pairwise     bool // each client gets subs of its own
	manyAccounts bool // several users are signed in at once; id_token_hint or login_hint chooses

	untypedPages bool // form_post pages have no Content-Type

	unnamedTokens bool // ID tokens do not say which key signed them (OpenID Connect Core 1.0, section 10.1)
	unnamedKey    bool // nor has the key a kid
	noSid         bool // nor do they name the session

	members map[string]any // more of its discovery document

	issuers         issuerMode
	keyPerClient    bool          // each client's documents have a key of its own
	ownSessionState bool          // session_state in all authorization responses, and in those of tokens
	ownCheckPage    bool          // session management of its own: a check page, and session_state in all successful responses, of tokens, too
	notifiesClients bool          // by back-channel logout of its own
	codeLifetime    time.Duration // zero: codes do not expire
	cleansFrames    bool          // in frames, it deletes a login cookie that it does not know, or did not get
}

// issuerMode says which issuer a client's ID tokens and documents have.
type issuerMode int

const (
	oneIssuer    issuerMode = iota
	perClient               // below /application/o/<client>/, as are the client's documents
	globalIssuer            // the host's root, though documents are below /application/o/<client>/ only
)

// issuerOf is the issuer that a client knows.
func (op *scriptedOP) issuerOf(client string) string {
	switch op.traits.issuers {
	case perClient:
		return op.issuer + "/application/o/" + client + "/"
	case globalIssuer:
		return op.issuer + "/"
	default:
		return op.issuer
	}
}

// below serves a document where the OP has it: below each client's name, or not.
func (op *scriptedOP) below(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if (op.traits.issuers != oneIssuer) != (r.PathValue("client") != "") {
			http.NotFound(w, r)
			return
		}
		serve(w, r)
	}
}

// cookiePlace says which response sets the login cookie.
type cookiePlace int

const (
	onAnswer cookiePlace = iota // the authorization response itself
	oneHopEarlier
	twoHopsEarlier
	neverSet // there is no single sign-on
)

// switchShape says how the cookie shows that another user signed in.
type switchShape int

const (
	newValue switchShape = iota
	deletedFirst
	sameValue // and the same sid: only the sub differs
)

// deletion says how the login cookie is deleted at sign-out.
type deletion int

const (
	byMaxAge deletion = iota
	byMaxAgeWithValue
	byExpires
	byEmptyValue // with an expiry to come, in an answer to a script
	byNothing    // the cookie stays, and means nothing any more
	byNewValue   // of a session in which nobody is signed in
	byClearSiteData
)

// A login is what the OP knows of one browser.
type login struct {
	cookie   string
	accounts []account // who is signed in, the latest first; none: nobody
}

type account struct{ user, sid string }

type grant struct {
	user, clientID, sid, challenge string
	expires                        time.Time
}

// newScriptedOP returns an OP behind a port of its own.
func newScriptedOP(t *testing.T, issuer string) *scriptedOP {
	op := scriptOP(issuer)
	op.server = httptest.NewServer(op)
	op.front = httptest.NewServer(op.mux())
	t.Cleanup(op.server.Close)
	t.Cleanup(op.front.Close)
	return op
}

// ServeHTTP serves a request that came over a network.
func (op *scriptedOP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op.asked.note(r)
	if op.starting.Load() {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	op.mux().ServeHTTP(w, r)
}

// requests are the last ones for each path.
type requests struct{ last sync.Map }

func (q *requests) note(r *http.Request) { q.last.Store(r.URL.Path, r.Clone(context.Background())) }

// to returns the last request for a path; one without anything if there was none.
func (q *requests) to(path string) *http.Request {
	if r, ok := q.last.Load(path); ok {
		return r.(*http.Request)
	}
	return new(http.Request)
}

// scriptOP returns an OP that is asked through its mux.
func scriptOP(issuer string) *scriptedOP {
	return &scriptedOP{
		issuer: issuer, now: time.Now,
		logins: make(map[string]*login), tickets: make(map[string]*ticket), codes: make(map[string]grant),
		keys: make(map[string]jose.JSONWebKey),
	}
}

// mux serves each page at every path below which the login cookie may be.
func (op *scriptedOP) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", op.below(op.discovery))
	mux.HandleFunc("GET /jwks", op.below(op.jwks))
	mux.HandleFunc("GET /application/o/{client}/.well-known/openid-configuration", op.below(op.discovery))
	mux.HandleFunc("GET /application/o/{client}/jwks/{$}", op.below(op.jwks))
	mux.HandleFunc("POST /token", op.token)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "the OP at %s", r.URL.Path) })
	for _, below := range []string{"", "/account"} {
		mux.HandleFunc(below+"/authorize", op.authorize)
		mux.HandleFunc("GET "+below+"/signin", op.loginPage)
		mux.HandleFunc("POST "+below+"/login", op.login)
		mux.HandleFunc("GET "+below+"/established", op.established)
		mux.HandleFunc("GET "+below+"/hop", op.hop)
		mux.HandleFunc(below+"/logout", op.logout)
	}
	return mux
}

// proxy is the directive that leads to the OP.
func (op *scriptedOP) proxy() string {
	return "reverse_proxy " + strings.TrimPrefix(op.server.URL, "http://")
}

// at is the path of a page of the OP's.
func (op *scriptedOP) at(page string) string { return op.traits.prefix + op.traits.cookiePath + page }

func (op *scriptedOP) discovery(w http.ResponseWriter, r *http.Request) {
	op.mu.Lock()
	op.fetches++
	op.mu.Unlock()
	client, keys := r.PathValue("client"), op.issuer+"/jwks"
	if client != "" {
		keys = op.issuer + "/application/o/" + client + "/jwks/"
	}
	subjects := "public"
	if op.traits.pairwise {
		subjects = "pairwise"
	}
	w.Header().Set("Content-Type", "application/json")
	document := map[string]any{
		"issuer":                  op.issuerOf(client),
		"authorization_endpoint":  op.issuer + "/authorize",
		"token_endpoint":          op.issuer + "/token",
		"jwks_uri":                keys,
		"subject_types_supported": []string{subjects},

		"id_token_signing_alg_values_supported": []string{"ES256"},
		"backchannel_logout_supported":          op.traits.notifiesClients,
	}
	maps.Copy(document, op.traits.members)
	if op.traits.ownCheckPage {
		document["check_session_iframe"] = op.issuer + "/its-own-check"
	}
	_ = json.NewEncoder(w).Encode(document)
}

// current returns what the OP knows of the browser that a request comes from, without the lock.
func (op *scriptedOP) current(r *http.Request) *login {
	c, err := r.Cookie("login")
	if err != nil || op.logins[c.Value] == nil {
		return new(login)
	}
	return op.logins[c.Value]
}

// choose picks the account that a request asks for; ok is false when that is not signed in.
func (op *scriptedOP) choose(l *login, hint, user string) (chosen account, ok bool) {
	if hint != "" {
		user = op.userOf(subOf(hint))
	}
	i := slices.IndexFunc(l.accounts, func(a account) bool { return user == "" || a.user == user })
	if i < 0 {
		return account{}, false
	}
	return l.accounts[i], true
}

// signIn signs a user in at a browser of which the OP knows l, in the way of its traits.
func (op *scriptedOP) signIn(l *login, user string) *login {
	op.count++
	fresh := account{user, fmt.Sprintf("sid %d", op.count)}
	i := slices.IndexFunc(l.accounts, func(a account) bool { return a.user == user })
	switch {
	case i >= 0: // again
		if !op.traits.newSid {
			fresh = l.accounts[i]
		}
		l.accounts = append([]account{fresh}, slices.Delete(l.accounts, i, i+1)...)
	case op.traits.manyAccounts:
		l.accounts = append([]account{fresh}, l.accounts...)
	case len(l.accounts) > 0 && op.traits.switching == sameValue:
		l.accounts = []account{{user, l.accounts[0].sid}}
	default:
		delete(op.logins, l.cookie)
		return &login{accounts: []account{fresh}}
	}
	return l
}

// setCookie sets the login cookie if the browser needs it: a new one, or a new value.
func (op *scriptedOP) setCookie(w http.ResponseWriter, l *login) {
	if op.traits.cookie == neverSet || l.cookie != "" && (op.traits.fixedCookie || op.traits.switching == sameValue) {
		return
	}
	delete(op.logins, l.cookie)
	l.cookie = rand.Text()
	op.logins[l.cookie] = l
	http.SetCookie(w, op.loginCookie(l.cookie))
}

func (op *scriptedOP) loginCookie(value string) *http.Cookie {
	c := &http.Cookie{Name: "login", Value: value, Path: op.at("/"), HttpOnly: true, SameSite: http.SameSiteNoneMode, Secure: true}
	if op.traits.laxCookie {
		c.SameSite = http.SameSiteLaxMode
	}
	return c
}

// deleteCookie deletes the login cookie in the OP's own way.
func (op *scriptedOP) deleteCookie(w http.ResponseWriter) {
	c := op.loginCookie("")
	switch op.traits.signOut {
	case byMaxAge:
		c.MaxAge = -1
	case byMaxAgeWithValue:
		c.Value, c.MaxAge = "deleted", -1
	case byExpires:
		c.Value, c.Expires = "x", time.Unix(0, 0)
	case byEmptyValue:
		c.Expires = op.now().Add(time.Hour)
	case byNothing:
		return
	case byNewValue:
		c.Value = rand.Text()
	case byClearSiteData:
		w.Header().Set("Clear-Site-Data", `"cache", "cookies"`)
		return
	}
	http.SetCookie(w, c)
}

func (op *scriptedOP) logout(w http.ResponseWriter, r *http.Request) {
	op.mu.Lock()
	defer op.mu.Unlock()
	delete(op.logins, op.current(r).cookie)
	op.deleteCookie(w)
	fmt.Fprint(w, "signed out")
}

// invalidate ends all sign-ins on the server, as an administrator does: browsers keep their cookies.
func (op *scriptedOP) invalidate() {
	op.mu.Lock()
	defer op.mu.Unlock()
	clear(op.logins)
}
