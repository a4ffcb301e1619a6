package handlers

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/go-jose/go-jose/v4"
)

// find looks for a key as a request of the endpoint does.
func (x *exit) find(kid string) bool {
	x.t.Helper()
	r := httptest.NewRequest(http.MethodGet, issuer+endSession, nil)
	return x.e.Keys.Find(x.w.op, r, handler(x.op), kid).Has(kid)
}

func TestKeysAreAskedForOnce(t *testing.T) {
	x := newExit(t)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if !x.find("1") {
				t.Error("the key is not known")
			}
			x.find("unknown")
		})
	}
	all.Wait()
	if got := x.fetches.Load(); got != 1 {
		t.Errorf("%d questions for 100 requests with a known and an unknown key", got)
	}
}

func TestAnUnknownKeyIsAskedForAtMostEveryThirtySeconds(t *testing.T) {
	x := newExit(t)
	x.find("1")
	for range 10 {
		x.w.clock.advance(3 * time.Second)
		x.find("unknown")
	}
	if got := x.fetches.Load(); got != 2 {
		t.Errorf("%d questions in 30 s", got)
	}
}

func TestANewKeyIsFoundWhenItIsFirstUsed(t *testing.T) {
	x := newExit(t)
	x.find("1")
	x.keySet = append(x.keySet, public(newKey(t, "2")))
	x.w.clock.advance(31 * time.Second)
	if !x.find("2") {
		t.Error("the new key is not known")
	}
}

// Threat 22: a hint that was signed before the OP changed its keys.
func TestThreatKeyRollOver(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	hint := x.hint(clientID, "alice")
	x.find("1")
	x.keySet = []jose.JSONWebKey{public(newKey(t, "2"))}
	x.w.clock.advance(11 * time.Minute)
	if !x.find("2") || !x.find("1") {
		t.Fatal("both keys must be known while the server runs")
	}
	x.setUp() // a restart
	x.w.clock.advance(time.Hour)
	if got := outcome(t, x.ask(values("id_token_hint", hint))); got != "signed out" {
		t.Errorf("after a restart: %s", got)
	}
	for range 31 {
		x.w.clock.advance(24 * time.Hour)
		x.find("not known") // waits for the OP, and has the old ones looked for
	}
	if x.find("1") {
		t.Error("the old key is known for more than 30 days")
	}
}

// signsInOnce has an ID token pass in a token response, and waits until the OP's keys are recorded because of it.
func (x *exit) signsInOnce(token string) {
	x.t.Helper()
	x.signedIn(clientID, "alice")
	endpoint := Token{OPKeys: x.e.Keys}
	endpoint.Setup(x.w.env)
	r := httptest.NewRequest(http.MethodPost, issuer+"/token", strings.NewReader(codeForm("c").Encode()))
	r.Header.Set("Content-Type", formType)
	err := endpoint.Serve(x.w.op, httptest.NewRecorder(), r, handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			x.op(w, r)
			return
		}
		answering(`{"access_token":"a","id_token":"`+token+`"}`)(w, r)
	}))
	if err != nil {
		x.t.Fatal(err)
	}
	x.awaitKeys()
}

// awaitKeys waits until the OP's keys are recorded, for which no token response waits.
func (x *exit) awaitKeys() {
	x.t.Helper()
	eventually(x.t, "the OP's keys are not recorded after a sign-in", func() bool {
		kept, err := x.w.env.Registry.Keys(x.t.Context(), issuer)
		return err == nil && len(kept) > 0
	})
}

// No hint has come, and nobody has fetched the keys, before the OP replaces them.
func TestAHintByAKeyThatWasReplacedAfterTheSignIn(t *testing.T) {
	for name, restarts := range map[string]bool{"the same server": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t)
			hint := x.hint(clientID, "alice")
			x.signsInOnce(hint)
			x.keySet = []jose.JSONWebKey{public(newKey(t, "2"))}
			x.w.clock.advance(11 * time.Minute)
			if restarts {
				x.setUp()
			}
			if got := outcome(t, x.ask(values("id_token_hint", hint))); got != "signed out" {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestKeysThatCannotBeHad(t *testing.T) {
	for name, uri := range map[string]string{"nowhere": "", "on another origin": "https://keys.example.com/jwks", "not there": issuer + "/nothing"} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t)
			x.w.op = knownOP(t, issuer, metadata{JWKSURI: uri, SigningAlgorithms: []string{"ES256"}})
			x.signedIn(clientID, "alice")
			for range 3 {
				if got := outcome(t, x.ask(values("id_token_hint", x.hint(clientID, "alice")))); got != "question" {
					t.Errorf("got %s", got)
				}
			}
			if n := x.w.logs.FilterMessageSnippet("keys are unavailable").Len(); n != 1 {
				t.Errorf("it is logged %d times", n)
			}
		})
	}
}

func TestKeysElsewhereAreAskedForDirectlyWhereConfigured(t *testing.T) {
	x := newExit(t)
	asked := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/jwks", http.StatusFound)
			return
		}
		x.op(w, r)
	}))
	t.Cleanup(elsewhere.Close)
	x.e.Keys.URI = elsewhere.URL + "/jwks"
	x.setUp()
	if !x.find("1") || asked != 1 {
		t.Errorf("the key is not known, or it was asked %d times", asked)
	}
	x.e.Keys.URI = elsewhere.URL + "/moved"
	x.setUp()
	x.find("1") // kept from before
	if asked != 2 {
		t.Errorf("a redirect was followed: asked %d times", asked)
	}
}

func TestAFloodOfUnknownKeysDoesNotKeepTheRegistryAtWork(t *testing.T) {
	x := newExit(t)
	asked := x.w.counted("get")
	for range 1000 {
		x.find("unknown")
	}
	if asked() > 3 || x.fetches.Load() != 1 {
		t.Errorf("the registry was asked %d times, the OP %d times", asked(), x.fetches.Load())
	}
}

func TestKeysAreKnownWhileTheRegistryIsAway(t *testing.T) {
	x := newExit(t)
	x.find("1")
	x.w.down()
	x.keySet = []jose.JSONWebKey{public(newKey(t, "2"))}
	x.w.clock.advance(11 * time.Minute)
	if !x.find("2") || !x.find("1") {
		t.Error("the old or the new key is not known")
	}
}

func TestOldKeysStayInUseWhileTheOPIsAway(t *testing.T) {
	x := newExit(t)
	x.find("1")
	x.w.op = knownOP(t, issuer, metadata{JWKSURI: issuer + "/nothing"})
	x.w.clock.advance(24 * time.Hour)
	if !x.find("1") {
		t.Error("the key is forgotten")
	}
}

func public(key jose.JSONWebKey) jose.JSONWebKey { return key.Public() }

func TestKeysThatPassAreLearntFrom(t *testing.T) {
	passing := func(x *exit, query string, respond http.HandlerFunc) *httptest.ResponseRecorder {
		b := x.w.backChannel(x.e.Clients) // tells nobody
		b.OPKeys = x.e.Keys
		j := JWKS{BackChannel: b}
		j.Setup(x.w.env)
		recorder := httptest.NewRecorder()
		if j.Serves(x.w.op, "/jwks") {
			r := httptest.NewRequest(http.MethodGet, issuer+"/jwks"+query, nil)
			if err := j.Serve(x.w.op, recorder, r, handler(respond)); err != nil {
				t.Fatal(err)
			}
		}
		return recorder
	}
	knows := func(x *exit) bool {
		keys, _ := x.e.Keys.have("")
		return keys.Has("1")
	}
	x := newExit(t)
	passed := passing(x, "", x.op)
	if direct := httptest.NewRecorder(); !knows(x) {
		t.Error("the keys are not known")
	} else if x.op(direct, httptest.NewRequest(http.MethodGet, issuer+"/jwks", nil)); passed.Body.String() != direct.Body.String() {
		t.Errorf("the document became %s", passed.Body)
	}
	if got := passing(x, "", x.op); got.Body.Len() != 0 {
		t.Error("keys that are young are read again")
	}
	for name, nothing := range map[string]*exit{"query": newExit(t), "404": newExit(t), "no keys": newExit(t), "configured elsewhere": newExit(t)} {
		query, respond := "", nothing.op
		switch name {
		case "query":
			query = "?x=y"
		case "404":
			respond = http.NotFound
		case "no keys":
			respond = answering(`{"keys":[]}`)
		case "configured elsewhere":
			nothing.e.Keys.URI = "https://keys.example.com/jwks"
		}
		if passing(nothing, query, respond); knows(nothing) {
			t.Errorf("%s: the keys are learnt", name)
		}
	}
	// What has been learnt is what is recorded, too.
	x.keySet = append(x.keySet[:0:0], public(newKey(t, "2")))
	x.w.clock.advance(keysMaxAge)
	passing(x, "", x.op)
	if !x.find("1") || !x.find("2") {
		t.Error("the old or the new key is not known")
	}
}

// Threat: a caller whom the site refuses kept the OP's keys from being learnt, for everybody.
func TestARefusalOfTheKeysToOneCallerIsNotRememberedForOthers(t *testing.T) {
	for name, refuse := range refusals {
		x := newExit(t)
		ask := func(address string) bool {
			r := from(httptest.NewRequest(http.MethodGet, issuer+endSession, nil), address)
			return x.e.Keys.Find(x.w.op, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				if r.RemoteAddr == "192.0.2.66:4711" {
					return refuse(w, r)
				}
				x.op(w, r)
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
		x := newExit(t)
		x.w.env.Now = time.Now
		x.setUp()
		release := make(chan struct{})
		hung := handler(func(http.ResponseWriter, *http.Request) { <-release })
		for _, want := range []time.Duration{metadataWait, metadataWait, metadataWait, 0, 0} {
			began := time.Now()
			x.e.Keys.Find(x.w.op, httptest.NewRequest(http.MethodGet, issuer+endSession, nil), hung, "1")
			if took := time.Since(began); took != want {
				t.Errorf("a request waited %v, want %v", took, want)
			}
		}
		close(release)
	})
}

func TestKeysOfAnOPThatStillStartsAreAskedForAgain(t *testing.T) {
	x := newExit(t)
	r := httptest.NewRequest(http.MethodGet, issuer+endSession, nil)
	down := failing(http.StatusBadGateway)
	for range 3 {
		x.e.Keys.Find(x.w.op, r, down, "1")
	}
	if x.find("1") || down.fetches.Load() != 1 {
		t.Errorf("%d questions at once", down.fetches.Load())
	}
	x.w.clock.advance(askPause)
	if !x.find("1") {
		t.Error("the key is not known once the OP is there")
	}
}

// The OP replaces its keys before anybody sends a hint: those of the first sign-in are known all the same, also after a restart.
func TestTheKeysOfTheFirstSignInAreKept(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	hint := x.hint(clientID, "alice")
	token := Token{OPKeys: x.e.Keys}
	token.Setup(x.w.env)
	answer := answering(`{"id_token":"` + hint + `"}`)
	r := httptest.NewRequest(http.MethodPost, issuer+"/token", strings.NewReader(codeForm("c").Encode()))
	r.Header.Set("Content-Type", formType)
	err := token.Serve(x.w.op, httptest.NewRecorder(), r, handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/jwks" {
			x.op(w, r)
			return
		}
		answer(w, r)
	}))
	if err != nil {
		t.Fatal(err)
	}
	x.awaitKeys()
	x.keySet = []jose.JSONWebKey{public(newKey(t, "2"))}
	x.setUp()
	x.w.clock.advance(time.Hour)
	if got := outcome(t, x.ask(values("id_token_hint", hint))); got != "signed out" {
		t.Errorf("a hint by a key of before is answered: %s", got)
	}
}
