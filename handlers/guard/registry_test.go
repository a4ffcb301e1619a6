package guard_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func allowing(g *guard.Guard) { g.AllowUnknown = true }

func TestWhileTheRegistryIsUnavailableSessionsAreRefusedForAMoment(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	s.restart() // or it would remember
	s.get(t, "/")
	up := s.Down()
	response := b.get("/", sets())
	if response.reached || response.StatusCode != 503 || response.Header.Get("Retry-After") == "" || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("reached: %v, status %d, %v", response.reached, response.StatusCode, response.Header)
	}
	if len(response.Header["Set-Cookie"]) != 0 {
		t.Errorf("set are %q", response.Header["Set-Cookie"])
	}
	up()
	b.appGets("/", "session=value-1")
}

// get has somebody without cookies visit the site.
func (s *site) get(t *testing.T, target string) {
	t.Helper()
	s.browser("nobody").get(target, sets())
}

func TestWhileTheRegistryIsUnavailableSessionsMayPass(t *testing.T) {
	s := newSite(t, allowing)
	b := s.signedIn("alice", set)
	s.restart(allowing)
	s.get(t, "/")
	up := s.Down()
	b.appGets("/", "session=value-1")
	b.get("/", sets("session=value-2; HttpOnly; Path=/"))
	b.certified("session")
	b.appGets("/", "session=value-2")
	up()
	b.appGets("/", "session=value-2")
	s.end(b)
	b.appGets("/", "") // what was set meanwhile belongs to the session
}

func TestWhileTheRegistryIsUnavailableWhatNeedsItNotPasses(t *testing.T) {
	s := newSite(t)
	s.signedIn("bob", set)
	local := localUser(s)
	s.restart()
	s.get(t, "/")
	s.Down()
	local.appGets("/", "session=value-1")
	other := s.browser("other")
	other.has("theme=dark-1")
	other.appGets("/", "theme=dark-1")
	bare := s.browser("bare")
	bare.has("session=value-1")
	bare.appGets("/", "") // the names are known
}

func TestWhatIsRememberedGoesOnWhileTheRegistryIsUnavailable(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	b.appGets("/", "session=value-1")
	s.Down()
	b.appGets("/", "session=value-1")
}

func TestSignInsGoOnWhileTheRegistryIsUnavailable(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	code := s.code(b, origin)
	s.Down()
	if response := b.get("/cb?code="+code, sets(set)); !response.reached || response.StatusCode != 200 {
		t.Errorf("reached: %v, status %d", response.reached, response.StatusCode)
	}
	if logged := s.logged("a sign-in at an app stays without guard"); len(logged) == 0 {
		t.Error("nothing is logged")
	}
	b.certified()
}

func TestSignInsGoOnWhenTheRegistryBecomesUnavailableMeanwhile(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	code := s.code(b, origin)
	b.get("/cb?code="+code, s.signsIn(code, "alice", func(w http.ResponseWriter, r *http.Request) {
		s.Down()
		sets(set)(w, r)
	}))
	if logged := s.logged("a sign-in at an app stays without guard"); len(logged) != 1 {
		t.Errorf("logged: %v", logged)
	}
}

func TestWithoutKeysSessionsAreRefusedForAMomentOrPass(t *testing.T) {
	for _, allow := range []bool{false, true} {
		s := newSite(t)
		b := s.signedIn("alice", set)
		s.WithoutKeys()
		s.restart(func(g *guard.Guard) { g.AllowUnknown = allow })
		for range 2 {
			response := b.get("/", sets())
			if want := map[bool]int{false: 503, true: 200}[allow]; response.StatusCode != want || response.reached != allow {
				t.Errorf("allow %v: status %d, reached: %v", allow, response.StatusCode, response.reached)
			}
			if got := withoutCertificates(response.cookies); allow && got != "session=value-1" {
				t.Errorf("the app gets %q", got)
			}
		}
		nobody := s.browser("nobody")
		nobody.has("theme=dark-1")
		nobody.appGets("/", "theme=dark-1")
	}
}

func TestWithoutKeysSignInsGoOn(t *testing.T) {
	s := newSite(t)
	s.WithoutKeys()
	s.restart()
	b := s.signedIn("alice", set)
	b.certified()
	if len(b.jar) != 1 {
		t.Errorf("the jar has %+v", b.jar)
	}
}

func TestALostRegistryHasUsersSignInOnceMore(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	s.Lose()
	s.restart()
	b.appGets("/", "")
	if len(b.jar) != 0 {
		t.Errorf("the jar has %+v", b.jar)
	}
	b.session = sessionstate.SessionID{}
	b.signIn(set)
	b.appGets("/", "session=value-1")
}

func TestALiveAnswerIsRemembered(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	b.appGets("/", "session=value-1")
	got := s.Counted("get")
	for i := range 100 {
		b.appGets("/", "session=value-1")
		b.get("/", sets(set))
		if i == 0 && got() != 0 {
			t.Fatalf("the registry was asked %d times", got())
		}
	}
	if got() != 0 {
		t.Errorf("the registry was asked %d times", got())
	}
	s.end(b)
	b.appGets("/", "")
}

func TestANameIsAskedForOnceInTenSeconds(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	b.appGets("/", "session=value-1")
	got := s.Counted("get")
	for range 100 {
		s.Clock.Advance(time.Second)
		b.appGets("/", "session=value-1")
	}
	if got() != 10 {
		t.Errorf("the registry was asked %d times", got())
	}
}

func TestAnAnswerIsForgottenWhenAnotherServerEndsTheSession(t *testing.T) {
	s := newSite(t)
	second := s.another()
	b := s.signedIn("alice", set)
	b.copyOf("x").at(second).appGets("/", "session=value-1")
	b.appGets("/", "session=value-1")
	s.end(b)
	b.copyOf("x").at(second).appGets("/", "")
	b.appGets("/", "")
}

// The end comes while the registry's answer is under way.
func TestAnAnswerThatIsOldWhenItComesIsNotRemembered(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	s.restart()
	s.get(t, "/")
	place := registry.PlaceOfSession(b.session)
	ended := false
	s.Store.Store = answering{s.Store.Store, func(keys []registry.Key) {
		if isOf := slices.ContainsFunc(keys, func(k registry.Key) bool { return string(k[1:]) == string(place[:]) }); isOf && !ended {
			ended = true
			s.end(b)
		}
	}}
	b.copyOf("x").get("/", sets()) // either is right
	if !ended {
		t.Fatal("it was not asked for")
	}
	b.copyOf("x").appGets("/", "")
}

// answering is a store that does something between reading and answering.
type answering struct {
	registry.Store
	do func(keys []registry.Key)
}

func (a answering) Get(ctx context.Context, fresh bool, keys ...registry.Key) ([][]byte, error) {
	values, err := a.Store.Get(ctx, fresh, keys...)
	a.do(keys)
	return values, err
}

// Else each request to the site would wait for a registry that does not answer, one after another.
func TestWhileTheRegistryIsUnavailableAtTheStartNotEachRequestAsksForNames(t *testing.T) {
	s := newSite(t)
	s.signedIn("bob", set)
	s.restart()
	asked := 0
	s.Store.Do(func(context.Context, string, ...registry.Key) error {
		asked++
		return registry.ErrUnavailable
	})
	for range 10 {
		s.get(t, "/")
	}
	if asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
	s.Store.Do(nil)
	s.Clock.Advance(time.Second)
	thief := s.browser("thief")
	thief.has("session=value-1")
	thief.appGets("/", "")
}

func TestSeveralSessionsOfOneBrowserAreRemembered(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	other := s.browser("alice")
	other.id, other.codes = b.id, b.codes // the cookie of the OP's session was lost, that of the browser was not
	other.signIn(set)
	if b.session == other.session {
		t.Fatal("it is one session")
	}
	for range 2 {
		b.appGets("/", "session=value-1")
		other.appGets("/", "session=value-1")
	}
	got := s.Counted("get")
	b.appGets("/", "session=value-1")
	other.appGets("/", "session=value-1")
	if got() != 0 {
		t.Errorf("the registry was asked %d times", got())
	}
	s.end(b) // ends what the browser has
	b.appGets("/", "")
	other.appGets("/", "")
}

// Its name is known by the certificate of the session that was lost, which stays in the browser if
// nothing takes its place.
func TestACookieThatIsSetAnewWhenTheRegistryIsLostIsCertified(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	s.Lose()
	s.restart()
	b.get("/", sets("session=anonymous; Path=/; HttpOnly"))
	b.appGets("/", "session=anonymous")
	b.session = sessionstate.SessionID{}
	b.signInBy(says(200)) // as PHP does, the app sets it no more
	b.appGets("/", "session=anonymous")
}
