package opkeys_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	jose "github.com/go-jose/go-jose/v4"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
)

func TestKeysAreAskedForOnce(t *testing.T) {
	x := handlerstest.NewExit(t)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if !x.Find("1") {
				t.Error("the key is not known")
			}
			x.Find("unknown")
		})
	}
	all.Wait()
	if got := x.Fetches.Load(); got != 1 {
		t.Errorf("%d questions for 100 requests with a known and an unknown key", got)
	}
}

func TestAnUnknownKeyIsAskedForAtMostEveryThirtySeconds(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.Find("1")
	for range 10 {
		x.W.Clock.Advance(3 * time.Second)
		x.Find("unknown")
	}
	if got := x.Fetches.Load(); got != 2 {
		t.Errorf("%d questions in 30 s", got)
	}
}

func TestANewKeyIsFoundWhenItIsFirstUsed(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.Find("1")
	x.KeySet = append(x.KeySet, public(handlerstest.NewKey(t, "2")))
	x.W.Clock.Advance(31 * time.Second)
	if !x.Find("2") {
		t.Error("the new key is not known")
	}
}

// Threat 22: a hint that was signed before the OP changed its keys.
func TestThreatKeyRollOver(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	hint := x.Hint(handlerstest.ClientID, "alice")
	x.Find("1")
	x.KeySet = []jose.JSONWebKey{public(handlerstest.NewKey(t, "2"))}
	x.W.Clock.Advance(11 * time.Minute)
	if !x.Find("2") || !x.Find("1") {
		t.Fatal("both keys must be known while the server runs")
	}
	x.SetUp() // a restart
	x.W.Clock.Advance(time.Hour)
	if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("id_token_hint", hint))); got != "signed out" {
		t.Errorf("after a restart: %s", got)
	}
	for range 31 {
		x.W.Clock.Advance(24 * time.Hour)
		x.Find("not known") // waits for the OP, and has the old ones looked for
	}
	if x.Find("1") {
		t.Error("the old key is known for more than 30 days")
	}
}

// No hint has come, and nobody has fetched the keys, before the OP replaces them.
func TestAHintByAKeyThatWasReplacedAfterTheSignIn(t *testing.T) {
	for name, restarts := range map[string]bool{"the same server": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t)
			hint := x.Hint(handlerstest.ClientID, "alice")
			x.SignsInOnce(hint)
			x.KeySet = []jose.JSONWebKey{public(handlerstest.NewKey(t, "2"))}
			x.W.Clock.Advance(11 * time.Minute)
			if restarts {
				x.SetUp()
			}
			if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("id_token_hint", hint))); got != "signed out" {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestKeysThatCannotBeHad(t *testing.T) {
	for name, uri := range map[string]string{"nowhere": "", "on another origin": "https://keys.example.com/jwks", "not there": handlerstest.Issuer + "/nothing"} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t)
			x.W.OP = handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{JWKSURI: uri, SigningAlgorithms: []string{"ES256"}})
			x.SignedIn(handlerstest.ClientID, "alice")
			for range 3 {
				if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice")))); got != "question" {
					t.Errorf("got %s", got)
				}
			}
			if n := x.W.Logs.FilterMessageSnippet("keys are unavailable").Len(); n != 1 {
				t.Errorf("it is logged %d times", n)
			}
		})
	}
}

func TestKeysElsewhereAreAskedForDirectlyWhereConfigured(t *testing.T) {
	x := handlerstest.NewExit(t)
	asked := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/jwks", http.StatusFound)
			return
		}
		x.OP(w, r)
	}))
	t.Cleanup(elsewhere.Close)
	x.E.Keys.URI = elsewhere.URL + "/jwks"
	x.SetUp()
	if !x.Find("1") || asked != 1 {
		t.Errorf("the key is not known, or it was asked %d times", asked)
	}
	x.E.Keys.URI = elsewhere.URL + "/moved"
	x.SetUp()
	x.Find("1") // kept from before
	if asked != 2 {
		t.Errorf("a redirect was followed: asked %d times", asked)
	}
}

func TestAFloodOfUnknownKeysDoesNotKeepTheRegistryAtWork(t *testing.T) {
	x := handlerstest.NewExit(t)
	asked := x.W.Counted("get")
	for range 1000 {
		x.Find("unknown")
	}
	if asked() > 3 || x.Fetches.Load() != 1 {
		t.Errorf("the registry was asked %d times, the OP %d times", asked(), x.Fetches.Load())
	}
}

func TestKeysAreKnownWhileTheRegistryIsAway(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.Find("1")
	x.W.Down()
	x.KeySet = []jose.JSONWebKey{public(handlerstest.NewKey(t, "2"))}
	x.W.Clock.Advance(11 * time.Minute)
	if !x.Find("2") || !x.Find("1") {
		t.Error("the old or the new key is not known")
	}
}

func TestOldKeysStayInUseWhileTheOPIsAway(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.Find("1")
	x.W.OP = handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{JWKSURI: handlerstest.Issuer + "/nothing"})
	x.W.Clock.Advance(24 * time.Hour)
	if !x.Find("1") {
		t.Error("the key is forgotten")
	}
}

func public(key jose.JSONWebKey) jose.JSONWebKey { return key.Public() }

func TestKeysThatPassAreTaken(t *testing.T) {
	passing := func(x *handlerstest.Exit, query string, respond http.HandlerFunc) *httptest.ResponseRecorder {
		b := x.W.BackChannel(x.E.Clients) // tells nobody
		b.OPKeys = x.E.Keys
		j := backchannel.JWKS{BackChannel: b}
		j.Setup(x.W.Env)
		recorder := httptest.NewRecorder()
		if j.Serves(x.W.OP, "/jwks") {
			r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/jwks"+query, nil)
			if err := j.Serve(x.W.OP, recorder, r, reply.Handler(respond)); err != nil {
				t.Fatal(err)
			}
		}
		return recorder
	}
	knows := func(x *handlerstest.Exit) bool {
		return x.E.Keys.Have().Has("1")
	}
	x := handlerstest.NewExit(t)
	passed := passing(x, "", x.OP)
	if direct := httptest.NewRecorder(); !knows(x) {
		t.Error("the keys are not known")
	} else if x.OP(direct, httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/jwks", nil)); passed.Body.String() != direct.Body.String() {
		t.Errorf("the document became %s", passed.Body)
	}
	if got := passing(x, "", x.OP); got.Body.Len() != 0 {
		t.Error("keys that are young are read again")
	}
	for name, nothing := range map[string]*handlerstest.Exit{"query": handlerstest.NewExit(t), "404": handlerstest.NewExit(t), "no keys": handlerstest.NewExit(t), "configured elsewhere": handlerstest.NewExit(t)} {
		query, respond := "", nothing.OP
		switch name {
		case "query":
			query = "?x=y"
		case "404":
			respond = http.NotFound
		case "no keys":
			respond = reply.Answering(`{"keys":[]}`)
		case "configured elsewhere":
			nothing.E.Keys.URI = "https://keys.example.com/jwks"
		}
		if passing(nothing, query, respond); knows(nothing) {
			t.Errorf("%s: the keys are learnt", name)
		}
	}
	// What has been learnt is what is recorded, too.
	x.KeySet = append(x.KeySet[:0:0], public(handlerstest.NewKey(t, "2")))
	x.W.Clock.Advance(opkeys.MaxAge)
	passing(x, "", x.OP)
	if !x.Find("1") || !x.Find("2") {
		t.Error("the old or the new key is not known")
	}
}

// Threat: a caller whom the site refuses kept the OP's keys from being learnt, for everybody.
func TestARefusalOfTheKeysToOneCallerIsNotRememberedForOthers(t *testing.T) {
	for name, refuse := range handlerstest.Refusals {
		x := handlerstest.NewExit(t)
		ask := func(address string) bool {
			r := handlerstest.From(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession, nil), address)
			return x.E.Keys.Find(x.W.OP, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				if r.RemoteAddr == "192.0.2.66:4711" {
					return refuse(w, r)
				}
				x.OP(w, r)
				return nil
			}), "1").Has("1")
		}
		if ask("192.0.2.66") || !ask("192.0.2.7") {
			t.Errorf("%s: the key is not known", name)
		}
	}
}

// As for its document: a handler that hangs holds up those who come in its time, and nobody
// afterwards.
func TestKeysAreNotWaitedForWhileAHandlerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := handlerstest.NewExit(t)
		x.W.Env.Now = time.Now
		x.SetUp()
		release := make(chan struct{})
		hung := reply.Handler(func(http.ResponseWriter, *http.Request) { <-release })
		for _, want := range []time.Duration{handlers.MetadataWait, handlers.MetadataWait, handlers.MetadataWait, 0, 0} {
			began := time.Now()
			x.E.Keys.Find(x.W.OP, httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession, nil), hung, "1")
			if took := time.Since(began); took != want {
				t.Errorf("a request waited %v, want %v", took, want)
			}
		}
		close(release)
	})
}

func TestKeysOfAnOPThatStillStartsAreAskedForAgain(t *testing.T) {
	x := handlerstest.NewExit(t)
	r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession, nil)
	down := handlerstest.Failing(http.StatusBadGateway)
	for range 3 {
		x.E.Keys.Find(x.W.OP, r, down, "1")
	}
	if x.Find("1") || down.Fetches.Load() != 1 {
		t.Errorf("%d questions at once", down.Fetches.Load())
	}
	x.W.Clock.Advance(handlers.AskPause)
	if !x.Find("1") {
		t.Error("the key is not known once the OP is there")
	}
}

// The OP replaces its keys before anybody sends a hint: those of the first sign-in are known all
// the same, also after a restart.
func TestTheKeysOfTheFirstSignInAreKept(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	hint := x.Hint(handlerstest.ClientID, "alice")
	token := signin.Observer{OPKeys: x.E.Keys}
	token.Setup(x.W.Env)
	answer := reply.Answering(`{"id_token":"` + hint + `"}`)
	r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/token", strings.NewReader(handlerstest.CodeForm("c").Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	err := token.ServeToken(x.W.OP, httptest.NewRecorder(), r, reply.Handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/jwks" {
			x.OP(w, r)
			return
		}
		answer(w, r)
	}))
	if err != nil {
		t.Fatal(err)
	}
	x.AwaitKeys()
	x.KeySet = []jose.JSONWebKey{public(handlerstest.NewKey(t, "2"))}
	x.SetUp()
	x.W.Clock.Advance(time.Hour)
	if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("id_token_hint", hint))); got != "signed out" {
		t.Errorf("a hint by a key of before is answered: %s", got)
	}
}
