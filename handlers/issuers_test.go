package handlers_test

import (
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

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

func TestIssuersOfOneOP(t *testing.T) {
	long := strings.Repeat("x", handlers.MaxSegment)
	tests := map[string]struct {
		issuers   []string
		path      string // that they share
		asked     string // where the OP is asked
		one, none []string
	}{
		"one": {
			[]string{handlerstest.Issuer},
			"", handlers.WellKnown,
			[]string{handlerstest.Issuer},
			[]string{handlerstest.Issuer + "/", handlerstest.Issuer + "/x", "", "https://evil.example"},
		},
		"a last segment that is left open": {
			[]string{handlerstest.Slugs},
			"/application/o", "",
			[]string{handlerstest.Issuer + "/application/o/shop/", handlerstest.Issuer + "/application/o/A-Z_0.9~/", handlerstest.Issuer + "/application/o/" + long + "/"},
			[]string{
				handlerstest.Issuer + "/application/o/shop", handlerstest.Issuer + "/application/o//", handlerstest.Issuer + "/application/o/a/b/", handlerstest.Issuer + "/application/o/", handlerstest.Slugs,
				handlerstest.Issuer + "/application/o/../", handlerstest.Issuer + "/application/o/./", handlerstest.Issuer + "/application/o/%41/", handlerstest.Issuer + "/application/o/é/",
				handlerstest.Issuer + "/application/o/a b/", handlerstest.Issuer + "/application/o/" + long + "x/", handlerstest.Issuer + "/application/o/shop/?x", handlerstest.Issuer, "",
				"https://evil.example/application/o/shop/",
			},
		},
		"without a slash at its end": {
			[]string{handlerstest.Issuer + "/oauth2/openid/*"},
			"/oauth2/openid", "",
			[]string{handlerstest.Issuer + "/oauth2/openid/shop"},
			[]string{handlerstest.Issuer + "/oauth2/openid/shop/", handlerstest.Issuer + "/oauth2/openid/*"},
		},
		"all below the root": {
			[]string{handlerstest.Issuer + "/*"}, "", "", []string{handlerstest.Issuer + "/shop"}, []string{handlerstest.Issuer + "/", handlerstest.Issuer},
		},
		"one and a pattern": {
			[]string{handlerstest.Issuer + "/application/o/*/", handlerstest.Issuer + "/"},
			"", handlers.WellKnown,
			[]string{handlerstest.Issuer + "/", handlerstest.Issuer + "/application/o/shop/"},
			[]string{handlerstest.Issuer, handlerstest.Issuer + "/shop/"},
		},
		"several": {
			[]string{handlerstest.Issuer + "/clients/a", handlerstest.Issuer + "/clients/b"},
			"/clients", "/clients/a" + handlers.WellKnown,
			[]string{handlerstest.Issuer + "/clients/a", handlerstest.Issuer + "/clients/b"},
			[]string{handlerstest.Issuer + "/clients", handlerstest.Issuer + "/clients/c"},
		},
		"several whose paths begin alike": {
			[]string{handlerstest.Issuer + "/client-a", handlerstest.Issuer + "/client-b/x"}, "", "/client-a" + handlers.WellKnown, []string{handlerstest.Issuer + "/client-b/x"}, nil,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			op, err := handlers.NewOP(tt.issuers...)
			if err != nil {
				t.Fatal(err)
			}
			if op.Issuer != tt.issuers[0] || op.Path != tt.path || op.DiscoveryPath != tt.asked {
				t.Errorf("it is %q, at %q, asked at %q", op.Issuer, op.Path, op.DiscoveryPath)
			}
			for _, one := range tt.one {
				if !op.Issues(one) {
					t.Errorf("%q is none of its issuers", one)
				}
				place := strings.TrimSuffix(strings.TrimPrefix(one, handlerstest.Issuer), "/") + handlers.WellKnown
				if got := op.OwnPlace(one); got != place || !op.HasDocument(place) {
					t.Errorf("the document of %q is at %q", one, got)
				}
			}
			for _, none := range tt.none {
				if op.Issues(none) {
					t.Errorf("%q is one of its issuers", none)
				}
			}
		})
	}
}

func TestPathsOfDocuments(t *testing.T) {
	op, err := handlers.NewOP(handlerstest.Issuer + "/")
	if err == nil {
		op, err = op.WithPlaces([]string{"/o/*" + handlers.WellKnown, "/documents/shop"})
	}
	if err != nil {
		t.Fatal(err)
	}
	if op.DiscoveryPath != "/documents/shop" {
		t.Errorf("it is asked at %q", op.DiscoveryPath)
	}
	for path, want := range map[string]bool{
		handlers.WellKnown: true, "/o/shop" + handlers.WellKnown: true, "/documents/shop": true,
		"/o/a/b" + handlers.WellKnown: false, "/o/" + handlers.WellKnown: false, "/documents/wiki": false, "/documents": false, "": false, "/": false,
	} {
		if op.HasDocument(path) != want {
			t.Errorf("%q: %v", path, !want)
		}
	}
}

// What a sub is worth ends at its issuer: two clients with issuers of their own may know one
// user by two.
func TestSubjectsAreNotComparedAcrossIssuers(t *testing.T) {
	for configured, want := range map[string]bool{handlerstest.Issuer: true, handlerstest.Slugs: false} {
		op, err := handlers.NewOP(configured)
		if err != nil {
			t.Fatal(err)
		}
		if op, _ = op.With(handlers.Metadata{SubjectTypesSupported: []string{"public"}}); op.PublicSubjects() != want {
			t.Errorf("%s: %v", configured, !want)
		}
	}
}

func TestWhicheverDocumentIsAskedForFirstTellsTheEndpoints(t *testing.T) {
	c := handlerstest.NewCrowd(t, handlerstest.Slugs)
	if op := c.Find("/login?x=y"); op == nil || op.Discovered || c.Fetches.Load() != 0 {
		t.Fatalf("before any document: %+v, %d fetches", op, c.Fetches.Load())
	}
	op := c.Find("/application/o/shop" + handlers.WellKnown)
	if op == nil || op.AuthorizationPath != "/authorize" || op.Issuer != handlerstest.Slugs || op.KeysAt("/application/o/shop/jwks/") == nil {
		t.Fatalf("got %+v", op)
	}
	if op := c.Find("/login?x=y"); op.KeysAt("/application/o/wiki/jwks/") != nil || c.Fetches.Load() != 1 {
		t.Errorf("%d fetches", c.Fetches.Load())
	}
	// A client that has its document already asks for its keys, or signs out at its own endpoint.
	if op := c.Find("/application/o/wiki/jwks/"); op.KeysAt("/application/o/wiki/jwks/").DocumentIssuer != handlerstest.Issuer+"/application/o/wiki/" {
		t.Error("the keys of another client are not known")
	}
	if op := c.Find("/application/o/app/end/"); !op.IsEndSessionPath("/application/o/app/end/") || !op.IsEndSessionPath("/application/o/shop/end/") || op.IsEndSessionPath("/application/o/x/end/") {
		t.Error("the end_session endpoint of another client is not known")
	}
	if n := c.Fetches.Load(); n != 3 {
		t.Errorf("%d fetches", n)
	}
}

func TestADocumentThatIsNotThereIsNotAskedForAgainAtOnce(t *testing.T) {
	c := handlerstest.NewCrowd(t, handlerstest.Slugs)
	c.Find("/application/o/shop" + handlers.WellKnown)
	for range 3 {
		c.Find("/application/o/none/jwks/")
		c.Find("/application/o/none" + handlers.WellKnown)
		c.P.As(c.P.Known().Load(), handlerstest.Issuer+"/application/o/none/", httptest.NewRequest("GET", handlerstest.Issuer+"/", nil), c)
	}
	if n := c.Fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
	c.W.Clock.Advance(handlers.AskAgainIn)
	c.Find("/application/o/none/jwks/")
	if n := c.Fetches.Load(); n != 3 {
		t.Errorf("%d fetches after a while", n)
	}
}

func TestADocumentThatIsRefusedToOneCallerIsAskedForByAnother(t *testing.T) {
	c := handlerstest.NewCrowd(t, handlerstest.Slugs)
	c.Find("/application/o/shop" + handlers.WellKnown)
	respond := c.Respond
	c.Respond = func(w http.ResponseWriter, r *http.Request) error {
		if r.RemoteAddr == "192.0.2.66:4711" {
			return caddyhttp.Error(http.StatusForbidden, nil)
		}
		return respond(w, r)
	}
	const path = "/application/o/wiki/jwks/"
	for i, address := range []string{"192.0.2.66", "192.0.2.7"} {
		op := c.P.Find(handlerstest.From(httptest.NewRequest("GET", handlerstest.Issuer+path, nil), address), c)
		if known := op.KeysAt(path) != nil; known != (i == 1) {
			t.Errorf("%s: the document is known: %v", address, known)
		}
	}
}

func TestWhatIsKnownOfManyIssuersIsBounded(t *testing.T) {
	c := handlerstest.NewCrowd(t, handlerstest.Slugs)
	r := httptest.NewRequest("GET", handlerstest.Issuer+"/", nil)
	for i := range 3 * handlers.MaxViews {
		op := c.Find(fmt.Sprintf("/application/o/client%d%s", i, handlers.WellKnown))
		c.P.As(op, fmt.Sprintf("%s/application/o/client%d/", handlerstest.Issuer, i), r, c)
	}
	op := c.P.Known().Load()
	if len(op.Views()) != handlers.MaxViews || op.KeysAt(fmt.Sprintf("/application/o/client%d/jwks/", 3*handlers.MaxViews-1)) == nil || op.KeysAt("/application/o/client0/jwks/") != nil {
		t.Errorf("%d documents are known", len(op.Views()))
	}
	if n := c.P.Documents().Flights(); n > handlers.MaxAsked {
		t.Errorf("%d questions are under way", n)
	}
}

// Each request for a document that nobody knows would make one to the OP: so many at a time,
// and no more.
func TestQuestionsForDocumentsAreFew(t *testing.T) {
	c := handlerstest.NewCrowd(t, handlerstest.Slugs)
	release := make(chan struct{})
	respond := c.Respond
	c.Respond = func(w http.ResponseWriter, r *http.Request) error {
		<-release
		return respond(w, r)
	}
	prepared, prepare := 0, c.P.Env().Prepare
	c.P.Env().Prepare = func(sub, caller *http.Request, w http.ResponseWriter) *http.Request {
		prepared++
		return prepare(sub, caller, w)
	}
	var flights []<-chan struct{}
	for i := range 20 {
		path := fmt.Sprintf("/application/o/client%d%s", i, handlers.WellKnown)
		flight, _ := c.P.AskAt(path, httptest.NewRequest("GET", handlerstest.Issuer+path, nil), c)
		flights = append(flights, flight)
	}
	close(release)
	for _, flight := range flights {
		<-flight
	}
	if n := c.Fetches.Load(); n != handlers.MaxAsked || prepared != handlers.MaxAsked {
		t.Errorf("%d questions, of %d that were prepared", n, prepared)
	}
}

// What the registry remembers counts only where the configuration lets documents be.
func TestARememberedPlaceMustBeOneOfTheOPs(t *testing.T) {
	c := handlerstest.NewCrowd(t, handlerstest.Slugs)
	if err := c.W.Env.Registry.Note(t.Context(), handlerstest.Slugs, registry.Facts{Discovery: "/elsewhere" + handlers.WellKnown}); err != nil {
		t.Fatal(err)
	}
	if op := c.Find("/login?x=y"); op == nil || op.Discovered || c.Fetches.Load() != 0 {
		t.Errorf("got %+v after %d fetches", op, c.Fetches.Load())
	}
}

// After a restart the registry may just be opening when the first user comes.
func TestTheFirstRequestWaitsForTheRegistryToRememberADocument(t *testing.T) {
	handlerstest.Limited(t)
	for takes, waits := range map[time.Duration]time.Duration{time.Second: time.Second, time.Hour: handlers.MetadataWait} {
		synctest.Test(t, func(t *testing.T) {
			c := handlerstest.NewCrowd(t, handlerstest.Slugs)
			if err := c.W.Env.Registry.Note(t.Context(), handlerstest.Slugs, registry.Facts{Discovery: "/application/o/shop" + handlers.WellKnown}); err != nil {
				t.Fatal(err)
			}
			slow := &slowOpening{c.W.Store, takes}
			c.P.Env().Registry = registry.Open(slow, c.W.HearEnds, zap.NewNop())
			began := time.Now()
			op := c.Find("/login?x=y")
			c.Find("/login?x=y")
			if known := op.AuthorizationPath == "/authorize"; known != (takes == waits) || time.Since(began) != waits {
				t.Errorf("got %+v after %s", op, time.Since(began))
			}
			time.Sleep(takes) // or the store would be opening still
		})
	}
}

// slowOpening is a store that takes its time to open.
type slowOpening struct {
	*handlerstest.Storage
	takes time.Duration
}

func (s *slowOpening) Open(logger *zap.Logger) (registry.Store, error) {
	time.Sleep(s.takes)
	return s.Storage.Open(logger)
}

// After a restart, whoever signs in first may do so at an issuer whose document nobody fetches:
// its keys are kept all the same.
func TestTheKeysOfASignInAreThoseOfItsOwnIssuer(t *testing.T) {
	c := handlerstest.NewCrowd(t, handlerstest.Slugs)
	op := c.Find("/application/o/shop" + handlers.WellKnown)
	keys := &opkeys.Keys{As: c.P.As}
	keys.Setup(c.W.Env)
	token := signin.Observer{OPKeys: keys}
	token.Setup(c.W.Env)
	var mu sync.Mutex
	asked := make(map[string]bool)
	respond, answer := c.Respond, reply.Answering(`{"id_token":"`+handlerstest.HintOf(t, handlerstest.Issuer+"/application/o/wiki/")+`"}`)
	c.Respond = func(w http.ResponseWriter, r *http.Request) error {
		mu.Lock()
		asked[r.URL.Path] = true
		mu.Unlock()
		if r.URL.Path == "/token" {
			answer(w, r)
			return nil
		}
		return respond(w, r)
	}
	r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/token", strings.NewReader(handlerstest.CodeForm("c").Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	if err := token.ServeToken(op, httptest.NewRecorder(), r, c); err != nil {
		t.Fatal(err)
	}
	const document, set = "/application/o/wiki" + handlers.WellKnown, "/application/o/wiki/jwks/"
	handlerstest.Eventually(t, "the keys are not asked for", func() bool { // for which the token response does not wait
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
