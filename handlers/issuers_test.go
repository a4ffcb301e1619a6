package handlers

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// slugs is an OP that has an issuer for each of its clients.
const slugs = issuer + "/application/o/*/"

func TestIssuersOfOneOP(t *testing.T) {
	long := strings.Repeat("x", maxSegment)
	tests := map[string]struct {
		issuers   []string
		path      string // that they share
		asked     string // where the OP is asked
		one, none []string
	}{
		"one": {
			[]string{issuer},
			"", wellKnown,
			[]string{issuer},
			[]string{issuer + "/", issuer + "/x", "", "https://evil.example"},
		},
		"a last segment that is left open": {
			[]string{slugs},
			"/application/o", "",
			[]string{issuer + "/application/o/shop/", issuer + "/application/o/A-Z_0.9~/", issuer + "/application/o/" + long + "/"},
			[]string{
				issuer + "/application/o/shop", issuer + "/application/o//", issuer + "/application/o/a/b/", issuer + "/application/o/", slugs,
				issuer + "/application/o/../", issuer + "/application/o/./", issuer + "/application/o/%41/", issuer + "/application/o/é/",
				issuer + "/application/o/a b/", issuer + "/application/o/" + long + "x/", issuer + "/application/o/shop/?x", issuer, "",
				"https://evil.example/application/o/shop/",
			},
		},
		"without a slash at its end": {
			[]string{issuer + "/oauth2/openid/*"},
			"/oauth2/openid", "",
			[]string{issuer + "/oauth2/openid/shop"},
			[]string{issuer + "/oauth2/openid/shop/", issuer + "/oauth2/openid/*"},
		},
		"all below the root": {
			[]string{issuer + "/*"}, "", "", []string{issuer + "/shop"}, []string{issuer + "/", issuer},
		},
		"one and a pattern": {
			[]string{issuer + "/application/o/*/", issuer + "/"},
			"", wellKnown,
			[]string{issuer + "/", issuer + "/application/o/shop/"},
			[]string{issuer, issuer + "/shop/"},
		},
		"several": {
			[]string{issuer + "/clients/a", issuer + "/clients/b"},
			"/clients", "/clients/a" + wellKnown,
			[]string{issuer + "/clients/a", issuer + "/clients/b"},
			[]string{issuer + "/clients", issuer + "/clients/c"},
		},
		"several whose paths begin alike": {
			[]string{issuer + "/client-a", issuer + "/client-b/x"}, "", "/client-a" + wellKnown, []string{issuer + "/client-b/x"}, nil,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			op, err := newOP(tt.issuers...)
			if err != nil {
				t.Fatal(err)
			}
			if op.Issuer != tt.issuers[0] || op.path != tt.path || op.DiscoveryPath != tt.asked {
				t.Errorf("it is %q, at %q, asked at %q", op.Issuer, op.path, op.DiscoveryPath)
			}
			for _, one := range tt.one {
				if !op.issues(one) {
					t.Errorf("%q is none of its issuers", one)
				}
				place := strings.TrimSuffix(strings.TrimPrefix(one, issuer), "/") + wellKnown
				if got := op.ownPlace(one); got != place || !op.HasDocument(place) {
					t.Errorf("the document of %q is at %q", one, got)
				}
			}
			for _, none := range tt.none {
				if op.issues(none) {
					t.Errorf("%q is one of its issuers", none)
				}
			}
		})
	}
}

func TestPathsOfDocuments(t *testing.T) {
	op, err := newOP(issuer + "/")
	if err == nil {
		op, err = op.withPlaces([]string{"/o/*" + wellKnown, "/documents/shop"})
	}
	if err != nil {
		t.Fatal(err)
	}
	if op.DiscoveryPath != "/documents/shop" {
		t.Errorf("it is asked at %q", op.DiscoveryPath)
	}
	for path, want := range map[string]bool{
		wellKnown: true, "/o/shop" + wellKnown: true, "/documents/shop": true,
		"/o/a/b" + wellKnown: false, "/o/" + wellKnown: false, "/documents/wiki": false, "/documents": false, "": false, "/": false,
	} {
		if op.HasDocument(path) != want {
			t.Errorf("%q: %v", path, !want)
		}
	}
}

// What a sub is worth ends at its issuer: two clients with issuers of their own may know one
// user by two.
func TestSubjectsAreNotComparedAcrossIssuers(t *testing.T) {
	for configured, want := range map[string]bool{issuer: true, slugs: false} {
		op, err := newOP(configured)
		if err != nil {
			t.Fatal(err)
		}
		if op, _ = op.with(metadata{SubjectTypesSupported: []string{"public"}}); op.publicSubjects != want {
			t.Errorf("%s: %v", configured, !want)
		}
	}
}

func TestALoginCookieBelowAnIssuerOfTheSameOPIsItsOwn(t *testing.T) {
	a, b, other := issuer+"/clients/a", issuer+"/clients/b", issuer+"/other"
	browser := Browser{LoginCookie: "login", Issuers: func() [][]string { return [][]string{{a, b}, {slugs}, {other}, nil} }}
	several, err := newOP(a, b)
	if err != nil {
		t.Fatal(err)
	}
	open, err := newOP(slugs)
	if err != nil {
		t.Fatal(err)
	}
	for path, theirs := range map[string][2]bool{ // whether it is another OP's than several, and than open
		"/": {false, false}, "/clients/b/x": {false, true}, "/application/o/shop/": {true, false}, "/other/": {true, true}, "/clients": {false, false},
	} {
		line := "login=; Path=" + path
		if got := [2]bool{browser.isAnotherIssuers(several, line, "/"), browser.isAnotherIssuers(open, line, "/")}; got != theirs {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// A crowd is an OP with an issuer for each client, whose documents and keys are answered by the
// client's name.
type crowd struct {
	source
	w *world
	p *Provider
}

func newCrowd(t *testing.T, configured string, paths ...string) *crowd {
	t.Helper()
	c := &crowd{w: newWorld(t)}
	c.respond = func(w http.ResponseWriter, r *http.Request) error {
		client, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/application/o/"), wellKnown)
		if !ok || strings.HasPrefix(client, "none") {
			http.NotFound(w, r)
			return nil
		}
		answering(crowdDocument(client))(w, r)
		return nil
	}
	c.p = &Provider{Issuers: []string{configured}, Discovery: paths}
	if err := c.p.Setup(c.w.env); err != nil {
		t.Fatal(err)
	}
	return c
}

func crowdDocument(client string) string {
	return fmt.Sprintf(`{"issuer":"%[1]s/application/o/%[2]s/","authorization_endpoint":"%[1]s/authorize","token_endpoint":"%[1]s/token",`+
		`"jwks_uri":"%[1]s/application/o/%[2]s/jwks/","end_session_endpoint":"%[1]s/application/o/%[2]s/end/","subject_types_supported":["public"],`+
		`"id_token_signing_alg_values_supported":["ES256"]}`, issuer, client)
}

func (c *crowd) find(path string) *OP {
	return c.p.Find(httptest.NewRequest("GET", issuer+path, nil), c)
}

func TestWhicheverDocumentIsAskedForFirstTellsTheEndpoints(t *testing.T) {
	c := newCrowd(t, slugs)
	if op := c.find("/login?x=y"); op == nil || op.learnt || c.fetches.Load() != 0 {
		t.Fatalf("before any document: %+v, %d fetches", op, c.fetches.Load())
	}
	op := c.find("/application/o/shop" + wellKnown)
	if op == nil || op.AuthorizationPath != "/authorize" || op.Issuer != slugs || op.keysAt("/application/o/shop/jwks/") == nil {
		t.Fatalf("got %+v", op)
	}
	if op := c.find("/login?x=y"); op.keysAt("/application/o/wiki/jwks/") != nil || c.fetches.Load() != 1 {
		t.Errorf("%d fetches", c.fetches.Load())
	}
	// A client that has its document already asks for its keys, or signs out at its own endpoint.
	if op := c.find("/application/o/wiki/jwks/"); op.keysAt("/application/o/wiki/jwks/").issuer != issuer+"/application/o/wiki/" {
		t.Error("the keys of another client are not known")
	}
	if op := c.find("/application/o/app/end/"); !op.endsAt("/application/o/app/end/") || !op.endsAt("/application/o/shop/end/") || op.endsAt("/application/o/x/end/") {
		t.Error("the end_session endpoint of another client is not known")
	}
	if n := c.fetches.Load(); n != 3 {
		t.Errorf("%d fetches", n)
	}
}

func TestADocumentThatIsNotThereIsNotAskedForAgainAtOnce(t *testing.T) {
	c := newCrowd(t, slugs)
	c.find("/application/o/shop" + wellKnown)
	for range 3 {
		c.find("/application/o/none/jwks/")
		c.find("/application/o/none" + wellKnown)
		c.p.As(c.p.known.Load(), issuer+"/application/o/none/", httptest.NewRequest("GET", issuer+"/", nil), c)
	}
	if n := c.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
	c.w.clock.advance(askAgainIn)
	c.find("/application/o/none/jwks/")
	if n := c.fetches.Load(); n != 3 {
		t.Errorf("%d fetches after a while", n)
	}
}

func TestADocumentThatIsRefusedToOneCallerIsAskedForByAnother(t *testing.T) {
	c := newCrowd(t, slugs)
	c.find("/application/o/shop" + wellKnown)
	respond := c.respond
	c.respond = func(w http.ResponseWriter, r *http.Request) error {
		if r.RemoteAddr == "192.0.2.66:4711" {
			return caddyhttp.Error(http.StatusForbidden, nil)
		}
		return respond(w, r)
	}
	const path = "/application/o/wiki/jwks/"
	for i, address := range []string{"192.0.2.66", "192.0.2.7"} {
		op := c.p.Find(from(httptest.NewRequest("GET", issuer+path, nil), address), c)
		if known := op.keysAt(path) != nil; known != (i == 1) {
			t.Errorf("%s: the document is known: %v", address, known)
		}
	}
}

func TestWhatIsKnownOfManyIssuersIsBounded(t *testing.T) {
	c := newCrowd(t, slugs)
	r := httptest.NewRequest("GET", issuer+"/", nil)
	for i := range 3 * maxViews {
		op := c.find(fmt.Sprintf("/application/o/client%d%s", i, wellKnown))
		c.p.As(op, fmt.Sprintf("%s/application/o/client%d/", issuer, i), r, c)
	}
	op := c.p.known.Load()
	if len(op.views) != maxViews || op.keysAt(fmt.Sprintf("/application/o/client%d/jwks/", 3*maxViews-1)) == nil || op.keysAt("/application/o/client0/jwks/") != nil {
		t.Errorf("%d documents are known", len(op.views))
	}
	if n := c.p.documents.flights; n > maxAsked {
		t.Errorf("%d questions are under way", n)
	}
}

// Each request for a document that nobody knows would make one to the OP: so many at a time,
// and no more.
func TestQuestionsForDocumentsAreFew(t *testing.T) {
	c := newCrowd(t, slugs)
	release := make(chan struct{})
	respond := c.respond
	c.respond = func(w http.ResponseWriter, r *http.Request) error {
		<-release
		return respond(w, r)
	}
	var flights []<-chan struct{}
	for i := range 20 {
		path := fmt.Sprintf("/application/o/client%d%s", i, wellKnown)
		flight, _ := c.p.askAt(path, httptest.NewRequest("GET", issuer+path, nil), c)
		flights = append(flights, flight)
	}
	close(release)
	for _, flight := range flights {
		<-flight
	}
	if n := c.fetches.Load(); n != maxAsked {
		t.Errorf("%d questions", n)
	}
}

func TestThePlaceOfADocumentIsRememberedInTheRegistry(t *testing.T) {
	c := newCrowd(t, slugs)
	b := c.w.backChannel(new(Clients))
	for _, step := range []struct {
		after     time.Duration
		sees, has string
	}{{0, "shop", "shop"}, {0, "wiki", "shop"}, {documentAgain, "app", "app"}} {
		c.w.clock.advance(step.after)
		b.See(c.find("/application/o/" + step.sees + wellKnown))
		if facts, err := c.w.env.Registry.Facts(t.Context(), slugs); err != nil || facts.Discovery != "/application/o/"+step.has+wellKnown {
			t.Errorf("after %s, recorded is %s, %v", step.sees, facts.Discovery, err)
		}
	}

	later := &Provider{Issuers: []string{slugs}}
	if err := later.Setup(c.w.env); err != nil {
		t.Fatal(err)
	}
	if op := later.Find(involved(issuer), c); op == nil || op.AuthorizationPath != "/authorize" {
		t.Errorf("after a restart: %+v", op)
	}
}

// What the registry remembers counts only where the configuration lets documents be.
func TestARememberedPlaceMustBeOneOfTheOPs(t *testing.T) {
	c := newCrowd(t, slugs)
	if err := c.w.env.Registry.Note(t.Context(), slugs, registry.Facts{Discovery: "/elsewhere" + wellKnown}); err != nil {
		t.Fatal(err)
	}
	if op := c.find("/login?x=y"); op == nil || op.learnt || c.fetches.Load() != 0 {
		t.Errorf("got %+v after %d fetches", op, c.fetches.Load())
	}
}

func TestFramesHaveTheIssuerOfTheClientsOwnIDTokens(t *testing.T) {
	e := &EndSession{}
	op, err := newOP(slugs)
	if err != nil {
		t.Fatal(err)
	}
	p := clientOf("shop", "alice", "1")
	p.IDToken.Issuer = issuer + "/application/o/shop/"
	frames := e.framesOf(op, Client{ID: "shop", FrontChannelLogoutURI: "https://rp.example.com/out"}, p)
	if want := "https://rp.example.com/out?iss=https%3A%2F%2Fop.example.com%2Fapplication%2Fo%2Fshop%2F&sid=1"; len(frames) != 1 || frames[0] != want {
		t.Errorf("got %v", frames)
	}
}

// An issuer's document may be away: a hint of that issuer counts as none, and is no error.
func TestAHintOfAnIssuerWhoseDocumentIsAwayCountsAsNone(t *testing.T) {
	c := newCrowd(t, slugs)
	op := c.find("/application/o/shop" + wellKnown)
	keys := &Keys{As: c.p.As}
	keys.Setup(c.w.env)
	e := &EndSession{Keys: keys}
	if err := e.Setup(c.w.env); err != nil {
		t.Fatal(err)
	}
	respond, asked := c.respond, ""
	c.respond = func(w http.ResponseWriter, r *http.Request) error {
		asked = r.URL.Path
		return respond(w, r)
	}
	token := hintOf(t, issuer+"/application/o/none/")
	if _, err := e.verifyHint(op, httptest.NewRequest("GET", issuer+"/", nil), c, token); !errors.Is(err, tokens.ErrHintUnknownKey) {
		t.Errorf("got %v", err)
	}
	if asked != "/application/o/none"+wellKnown {
		t.Errorf("asked for %s", asked)
	}
}

// hintOf is a token of an issuer whose signature fits no key.
func hintOf(t *testing.T, issuer string) string {
	t.Helper()
	claims := fmt.Sprintf(`{"iss":%q,"sub":"alice","aud":"shop","exp":%d}`, issuer, time.Now().Add(time.Hour).Unix())
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return strings.Join([]string{encode(`{"alg":"ES256","kid":"x"}`), encode(claims), encode(strings.Repeat("x", 64))}, ".")
}

// An issuer per client is a world of its own: ID tokens of one that name no key say nothing of
// another's.
func TestWhatTheIDTokensOfOneIssuerLackIsNothingToAnother(t *testing.T) {
	keys, _, err := tokens.GenerateSigningKeys()
	if err != nil {
		t.Fatal(err)
	}
	c := newCrowd(t, slugs)
	b := c.w.backChannel(new(Clients))
	b.Configured, b.OPKeys, b.Keys = true, new(Keys), func(context.Context) (*tokens.SigningKeys, error) { return keys, nil }
	b.OPKeys.Setup(c.w.env)
	j := &JWKS{BackChannel: b}
	j.Setup(c.w.env)
	for _, client := range []string{"shop", "wiki"} {
		b.See(c.find("/application/o/" + client + wellKnown))
	}
	op := c.p.Named()
	for client, token := range map[string]tokens.IDToken{
		"shop": {Issuer: issuer + "/application/o/shop/", KeyID: "1", SessionID: "a"}, "wiki": {Issuer: issuer + "/application/o/wiki/"},
	} {
		b.SawIDToken(t.Context(), op, client, token)
	}
	for client, want := range map[string]bool{"shop": true, "wiki": false} {
		path := "/application/o/" + client + "/jwks/"
		recorder := httptest.NewRecorder()
		if !j.Serves(op, path) {
			t.Fatalf("%s is not served", path)
		}
		err := j.Serve(op, recorder, httptest.NewRequest("GET", issuer+path, nil), handler(answering(`{"keys":[{"kty":"oct","kid":"1","k":"AA"}]}`)))
		if got := strings.Contains(recorder.Body.String(), keys.Published()[0].ID); err != nil || got != want {
			t.Errorf("the keys of %s have ours: %v, %v", client, got, err)
		}
		view := op.as(issuer + "/application/o/" + client + "/")
		if got := fmt.Sprint(b.Members(view)); strings.Contains(got, "backchannel_logout_supported") != want ||
			strings.Contains(got, "backchannel_logout_session_supported") != want {
			t.Errorf("the document of %s gets %s", client, got)
		}
		b.Clients.List = []Client{{ID: client, BackChannelLogoutURI: "https://rp.example.com/back"}}
		if err := b.Clients.Setup(c.w.env); err != nil {
			t.Fatal(err)
		}
		signed, err := c.w.noticesOf(b).Token(t.Context(), registry.Owed{
			Issuer: slugs, ClientID: client, Sub: "alice", IDToken: registry.IDToken{Issuer: view.issuer, Algorithm: "ES256"},
		})
		if (err == nil) != want || want && tokens.IssuerOf(signed) != view.issuer {
			t.Errorf("the token for %s has iss %q, %v", client, tokens.IssuerOf(signed), err)
		}
	}
}

// Without the issuer of its ID tokens, nothing could be signed for a client that it would take.
func TestNoTokenIsSignedInTheNameOfAPattern(t *testing.T) {
	keys, _, err := tokens.GenerateSigningKeys()
	if err != nil {
		t.Fatal(err)
	}
	c := newCrowd(t, slugs)
	b := c.w.backChannel(&Clients{List: []Client{{ID: "shop", BackChannelLogoutURI: "https://rp.example.com/back"}}})
	b.Configured, b.Keys = true, func(context.Context) (*tokens.SigningKeys, error) { return keys, nil }
	if err := b.Clients.Setup(c.w.env); err != nil {
		t.Fatal(err)
	}
	b.See(c.find("/application/o/shop" + wellKnown))
	if _, err := c.w.noticesOf(b).Token(t.Context(), registry.Owed{Issuer: slugs, ClientID: "shop", Sub: "alice"}); !errors.Is(err, notify.ErrCannotSign) {
		t.Errorf("got %v", err)
	}
}

// After a restart the registry may just be opening when the first user comes.
func TestTheFirstRequestWaitsForTheRegistryToRememberADocument(t *testing.T) {
	limited(t)
	for takes, waits := range map[time.Duration]time.Duration{time.Second: time.Second, time.Hour: metadataWait} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, slugs)
			if err := c.w.env.Registry.Note(t.Context(), slugs, registry.Facts{Discovery: "/application/o/shop" + wellKnown}); err != nil {
				t.Fatal(err)
			}
			slow := &slowOpening{c.w.store, takes}
			c.p.env.Registry = registry.Open(slow, c.w.hearEnds, zap.NewNop())
			began := time.Now()
			op := c.find("/login?x=y")
			c.find("/login?x=y")
			if known := op.AuthorizationPath == "/authorize"; known != (takes == waits) || time.Since(began) != waits {
				t.Errorf("got %+v after %s", op, time.Since(began))
			}
			time.Sleep(takes) // or the store would be opening still
		})
	}
}

// slowOpening is a store that takes its time to open.
type slowOpening struct {
	*storage
	takes time.Duration
}

func (s *slowOpening) Open(logger *zap.Logger) (registry.Store, error) {
	time.Sleep(s.takes)
	return s.storage.Open(logger)
}

// After a restart, whoever signs in first may do so at an issuer whose document nobody fetches:
// its keys are kept all the same.
func TestTheKeysOfASignInAreThoseOfItsOwnIssuer(t *testing.T) {
	c := newCrowd(t, slugs)
	op := c.find("/application/o/shop" + wellKnown)
	keys := &Keys{As: c.p.As}
	keys.Setup(c.w.env)
	token := Token{OPKeys: keys}
	token.Setup(c.w.env)
	var mu sync.Mutex
	asked := make(map[string]bool)
	respond, answer := c.respond, answering(`{"id_token":"`+hintOf(t, issuer+"/application/o/wiki/")+`"}`)
	c.respond = func(w http.ResponseWriter, r *http.Request) error {
		mu.Lock()
		asked[r.URL.Path] = true
		mu.Unlock()
		if r.URL.Path == "/token" {
			answer(w, r)
			return nil
		}
		return respond(w, r)
	}
	r := httptest.NewRequest(http.MethodPost, issuer+"/token", strings.NewReader(codeForm("c").Encode()))
	r.Header.Set("Content-Type", formType)
	if err := token.Serve(op, httptest.NewRecorder(), r, c); err != nil {
		t.Fatal(err)
	}
	const document, set = "/application/o/wiki" + wellKnown, "/application/o/wiki/jwks/"
	eventually(t, "the keys are not asked for", func() bool { // for which the token response does not wait
		mu.Lock()
		defer mu.Unlock()
		return asked[set]
	})
	mu.Lock()
	defer mu.Unlock()
	if !asked[document] || !asked[set] || asked["/application/o/shop/jwks/"] {
		t.Errorf("asked for %v", asked)
	}
}
