package guard_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const set = "session=value-1; HttpOnly; Path=/"

// bound reports whether the browser's session cookie is refused once its session at the OP ends.
func (b *browser) bound() bool {
	b.site.t.Helper()
	if got := withoutCertificates(b.get("/", sets()).cookies); got != "session=value-1" {
		b.site.t.Errorf("before the end, the app gets %q", got)
	}
	thief := b.copyOf("thief")
	b.site.end(b)
	return withoutCertificates(thief.get("/", sets()).cookies) == ""
}

func TestACodeBindsWhereverItIsInTheRequest(t *testing.T) {
	get := func(target string) func(string) *http.Request {
		return func(code string) *http.Request {
			return newRequest(origin + strings.ReplaceAll(target, "CODE", code))
		}
	}
	post := func(target, mediaType, body string) func(string) *http.Request {
		return func(code string) *http.Request {
			r := httptest.NewRequest("POST", origin+strings.ReplaceAll(target, "CODE", code), strings.NewReader(strings.ReplaceAll(body, "CODE", code)))
			r.Header.Set("Content-Type", mediaType)
			return r
		}
	}
	const form = "application/x-www-form-urlencoded"
	tests := map[string]struct {
		request func(code string) *http.Request
		want    bool
	}{
		"query":                       {get("/cb?code=CODE&state=s"), true},
		"query at any path":           {get("/?state=s&code=CODE"), true},
		"query with an escaped name":  {get("/cb?c%6fde=CODE"), true},
		"query with a stray percent":  {get("/cb?x=%&code=CODE"), true},
		"query of a POST":             {post("/api/callback?code=CODE", "text/plain", "x"), true},
		"form_post":                   {post("/cb", form, "state=s&code=CODE"), true},
		"form with a charset":         {post("/cb", form+"; charset=utf-8", "code=CODE"), true},
		"JSON":                        {post("/api/callback", "application/json", `{"state":"s","code":"CODE"}`), true},
		"JSON with a charset":         {post("/api/callback", "application/json; charset=utf-8", ` {"code":"CODE","n":1} `), true},
		"JSON below an object":        {post("/api/callback", "application/json", `{"a":{"code":"CODE"}}`), false},
		"JSON in a list":              {post("/api/callback", "application/json", `[{"code":"CODE"}]`), false},
		"a form that is no form":      {post("/cb", "text/plain", "code=CODE"), false},
		"another parameter":           {get("/cb?xcode=CODE"), false},
		"another code":                {get("/cb?code=CODEx"), false},
		"no code":                     {get("/cb"), false},
		"the fourth of codes":         {get("/cb?code=1&code=2&code=3&code=CODE"), true},
		"in a body that is too large": {post("/cb", form, "code=CODE&x="+strings.Repeat("x", 64<<10)), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			b := s.browser("alice")
			s.signedIn("bob", set) // by which it is known
			code := s.code(b, origin)
			b.send(tt.request(code), s.signsIn(code, "alice", sets(set)))
			if got := b.bound(); got != tt.want {
				t.Errorf("bound: %v", got)
			}
		})
	}
}

func TestTheBodyOfARequestReachesTheAppUntouched(t *testing.T) {
	large := `{"code":"` + strings.Repeat("x", 70<<10) + `"}`
	for name, tt := range map[string]struct{ mediaType, body string }{
		"form":          {"application/x-www-form-urlencoded", "code=some-code&&x=%zz;+&state=s"},
		"JSON":          {"application/json", "{\"code\":\"some-code\"} \n"},
		"large JSON":    {"application/json", large},
		"large form":    {"application/x-www-form-urlencoded", large},
		"anything else": {"application/octet-stream", "code=some-code\x00\xff"},
	} {
		for _, length := range []int64{-1, int64(len(tt.body))} {
			t.Run(name, func(t *testing.T) {
				s := newSite(t)
				r := httptest.NewRequest("POST", origin+"/cb", reply.PlainReader(tt.body))
				r.ContentLength = length
				r.Header.Set("Content-Type", tt.mediaType)
				s.serve(r, func(_ http.ResponseWriter, r *http.Request) {
					if got := reply.ReadAll(t, r.Body); got != tt.body || r.ContentLength != length {
						t.Errorf("the app gets %d bytes of %d, Content-Length %d", len(got), len(tt.body), r.ContentLength)
					}
				})
			})
		}
	}
}

func TestABrokenBodyIsBrokenForTheApp(t *testing.T) {
	s := newSite(t)
	broken := errors.New("connection lost")
	r := httptest.NewRequest("POST", origin+"/cb", reply.BrokenReader{Reader: strings.NewReader("code=some"), Err: broken})
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	s.serve(r, func(_ http.ResponseWriter, r *http.Request) {
		if got, err := io.ReadAll(r.Body); string(got) != "code=some" || !errors.Is(err, broken) {
			t.Errorf("the app gets %q, %v", got, err)
		}
	})
}

func TestACodeBindsOnlyWhereItIsRedeemed(t *testing.T) {
	type signIn struct {
		s    *site
		b    *browser
		code string
	}
	callback := func(in signIn, respond http.HandlerFunc) { in.b.get("/cb?code="+in.code, respond) }
	tests := map[string]struct {
		origin string
		visit  func(in signIn)
		want   bool
	}{
		"redeemed in the request": {origin, func(in signIn) { callback(in, in.s.signsIn(in.code, "alice", sets(set))) }, true},
		"not redeemed":            {origin, func(in signIn) { callback(in, sets(set)) }, false},
		"redeemed before":         {origin, func(in signIn) { in.s.redeem(in.code, "alice"); callback(in, sets(set)) }, false},
		"redeemed afterwards":     {origin, func(in signIn) { callback(in, sets(set)); in.s.redeem(in.code, "alice") }, false},
		"redeemed in another":     {origin, func(in signIn) { in.b.get("/other", in.s.signsIn(in.code, "alice", sets(set))) }, false},
		"redeemed after the header": {origin, func(in signIn) {
			callback(in, func(w http.ResponseWriter, r *http.Request) { sets(set)(w, r); in.s.redeem(in.code, "alice") })
		}, false},
		"expired":                      {origin, func(in signIn) { in.s.Clock.Advance(registry.CodeLifetime); callback(in, sets(set)) }, false},
		"of another site":              {"https://other.example.com", func(in signIn) { callback(in, in.s.signsIn(in.code, "alice", sets(set))) }, false},
		"of the site's parent":         {"https://example.com", func(in signIn) { callback(in, in.s.signsIn(in.code, "alice", sets(set))) }, false},
		"of no origin":                 {"", func(in signIn) { callback(in, in.s.signsIn(in.code, "alice", sets(set))) }, false},
		"of a redirect URI without //": {"app.example.com", func(in signIn) { callback(in, in.s.signsIn(in.code, "alice", sets(set))) }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.signedIn("bob", set)
			b := s.browser("alice")
			tt.visit(signIn{s, b, s.code(b, tt.origin)})
			if got := b.bound(); got != tt.want {
				t.Errorf("bound: %v", got)
			}
		})
	}
}

func TestTheSitesOwnPortIsThatOfTheScheme(t *testing.T) {
	for requested, origin := range map[string]string{
		"https://app.example.com:443/cb": "https://app.example.com", "http://app.example.com:80/cb": "http://app.example.com",
		"https://APP.example.com/cb": "https://app.example.com", "https://app.example.com:8443/cb": "https://app.example.com:8443",
		"http://[::1]:8080/cb": "http://[::1]:8080",
	} {
		s := newSite(t)
		b := s.browser("alice")
		code := s.code(b, origin)
		r := newRequest(requested + "?code=" + code)
		if got := s.serve(r, s.signsIn(code, "alice", sets(set))); len(got.Header["Set-Cookie"]) != 2 {
			t.Errorf("%s: set are %q", requested, got.Header["Set-Cookie"])
		}
	}
}

func TestACodeOfAnotherIssuerBindsNothing(t *testing.T) {
	s := newSite(t, func(g *guard.Guard) { g.Issuers = func() []string { return []string{"https://other.example.com"} } })
	b := s.signedIn("alice", set)
	b.certified()
}

func TestAnErrorAfterTheCodeWasRedeemedBindsAllTheSame(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	b.get("/", sets(set))
	b.signInBy(says(500))
	if !b.bound() {
		t.Error("it is not bound")
	}
}

func TestIDTokensThatTheResponseCarriedBind(t *testing.T) {
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
	tests := map[string]struct {
		target, mediaType, body string
		respond                 http.HandlerFunc
		want                    bool
	}{
		"form_post, a cookie":    {"/cb", "application/x-www-form-urlencoded", "state=s&id_token=" + token, sets(set), true},
		"form_post, a redirect":  {"/cb", "application/x-www-form-urlencoded", "id_token=" + token, says(302, "Location: /", "Set-Cookie: "+set), true},
		"JSON":                   {"/api/cb", "application/json", `{"id_token":"` + token + `"}`, sets(set), true},
		"an error with a cookie": {"/cb", "application/x-www-form-urlencoded", "id_token=" + token, says(400, "Set-Cookie: "+set), false},
		"another token":          {"/cb", "application/x-www-form-urlencoded", "id_token=" + token + "x", sets(set), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.secrets = append(s.secrets, token)
			s.signedIn("bob", set)
			b := s.browser("alice")
			s.Clock.Advance(time.Second)
			b.session = s.join(b, registry.Join{
				Response: sessionstate.NewIDTokenResponseID(token), Complete: true, Sub: "alice", Origin: origin,
			})
			b.post(tt.target, tt.mediaType, tt.body, tt.respond)
			if got := b.bound(); got != tt.want {
				t.Errorf("bound: %v", got)
			}
		})
	}
}

func TestAnIDTokenWithoutASessionCookieBindsNothing(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	b.get("/", sets(set))
	b.session = s.join(b, registry.Join{
		Response: sessionstate.NewIDTokenResponseID("token-1"), Complete: true, Sub: "alice", Origin: origin,
	})
	b.post("/cb", "application/x-www-form-urlencoded", "id_token=token-1", sets("theme=dark-1; Path=/"))
	b.certified()
}

func TestAVictimLedToACodeOfAnAttackerKeepsItsSession(t *testing.T) {
	s := newSite(t)
	victim := s.signedIn("victim", set)
	for name, respond := range map[string]func(code string) http.HandlerFunc{
		"the app refuses it":                  func(string) http.HandlerFunc { return says(400) },
		"the app refuses it and sets cookies": func(string) http.HandlerFunc { return says(302, "Location: /", "Set-Cookie: "+set) },
	} {
		attacker := s.browser("attacker")
		code := s.code(attacker, origin)
		victim.get("/cb?code="+code, respond(code))
		s.redeem(code, "attacker")
		s.end(attacker)
		if got := withoutCertificates(victim.get("/", sets()).cookies); got != "session=value-1" {
			t.Errorf("%s: the app gets %q", name, got)
		}
	}
	if !victim.bound() {
		t.Error("the victim is no longer bound")
	}
}

// The attacker redeems the code at the moment at which the victim is led to it.
func TestOfTwoRequestsWithOneCodeABrowserWithALiveSessionKeepsIt(t *testing.T) {
	for name, victimFirst := range map[string]bool{"the victim's first": true, "the attacker's first": false} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			victim, attacker := s.signedIn("victim", set), s.browser("attacker")
			target := "/cb?code=" + s.code(attacker, origin)
			code := strings.TrimPrefix(target, "/cb?code=")
			redeeming := s.signsIn(code, "attacker", sets("session=value-2; HttpOnly; Path=/"))
			refusing := sets(set) // of the victim, who keeps the cookie
			if victimFirst {
				victim.get(target, func(w http.ResponseWriter, r *http.Request) {
					attacker.get(target, redeeming)
					refusing(w, r)
				})
			} else {
				attacker.get(target, func(w http.ResponseWriter, r *http.Request) {
					redeeming(w, r)
					victim.get(target, refusing)
				})
			}
			attacker.appGets("/", "session=value-2")
			s.end(attacker)
			attacker.appGets("/", "")
			if !victim.bound() {
				t.Error("the victim is no longer bound")
			}
		})
	}
}

func TestAUserWhoSendsTheCallbackTwiceAtOnceDoesNotEscape(t *testing.T) {
	s := newSite(t)
	s.signedIn("bob", set)
	b := s.browser("alice")
	target := "/cb?code=" + s.code(b, origin)
	code := strings.TrimPrefix(target, "/cb?code=")
	second := s.browser("alice's other window")
	b.get(target, func(w http.ResponseWriter, r *http.Request) {
		second.get(target, s.signsIn(code, "alice", sets("session=value-2; HttpOnly; Path=/")))
		sets("session=value-3; HttpOnly; Path=/")(w, r) // an app that accepts what was redeemed a moment ago
	})
	b.appGets("/", "session=value-3")
	second.appGets("/", "session=value-2")
	s.end(b)
	b.appGets("/", "")
	second.appGets("/", "")
}

func TestAUserWhoSendsTheCallbackAgainKeepsTheSession(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	target := "/cb?code=" + s.code(b, origin)
	b.get(target, s.signsIn(strings.TrimPrefix(target, "/cb?code="), "alice", sets(set)))
	b.get(target, says(400, "Set-Cookie: "+set))
	if !b.bound() {
		t.Error("it is not bound")
	}
}

func TestAUserSwitchRefusesTheOldUserEverywhere(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	old := b.copyOf("old")
	b.name = "bob"
	b.signIn("session=value-2; HttpOnly; Path=/")
	old.appGets("/", "")
	b.appGets("/", "session=value-2")
	s.end(b)
	b.appGets("/", "")
}

func TestACopyFromBeforeTheSignInIsRefusedOnceTheSessionHasEnded(t *testing.T) {
	s := newSite(t)
	s.signedIn("bob", set)
	b := s.browser("alice")
	b.get("/", sets("session=before-1; HttpOnly; Path=/"))
	b.certified("session")
	copied := b.copyOf("thief")
	copied.appGets("/", "session=before-1")
	b.signIn() // the app keeps the cookie
	b.appGets("/", "session=before-1")
	copied.appGets("/", "session=before-1")
	another := copied.copyOf("another").at(s.another())
	s.end(b)
	b.appGets("/", "")
	another.appGets("/", "")
	copied.appGets("/", "")
}

func TestAPreSessionBelongsToTheSessionOfItsOwnSignInAlone(t *testing.T) {
	s := newSite(t)
	s.signedIn("bob", set)
	alice, carol := s.browser("alice"), s.browser("carol")
	for _, b := range []*browser{alice, carol} {
		b.get("/", sets("session=before-1; HttpOnly; Path=/")) // a value that is the same for both
		b.signIn()
	}
	s.end(alice)
	alice.appGets("/", "")
	carol.appGets("/", "session=before-1")
}

func TestSigningInAgainWorksAtOnceAndCopiesStayRefused(t *testing.T) {
	s := newSite(t)
	const kept = "session=always-the-same; HttpOnly; Path=/" // as cookie-session does
	b := s.signedIn("alice", kept)
	copied := b.copyOf("thief")
	bare := s.browser("bare")
	bare.has("session=always-the-same")
	s.end(b)
	b.appGets("/", "")
	b.signIn(kept)
	b.appGets("/", "session=always-the-same")
	copied.appGets("/", "")
	bare.appGets("/", "")
	b.appGets("/", "session=always-the-same")
}

func TestCodesThatAreRedeemedPastCaddyAreWarnedOfOnce(t *testing.T) {
	s := newSite(t)
	const message = "an app's sign-ins are not guarded"
	for i := range 6 {
		b := s.browser("alice")
		b.get("/cb?code="+s.code(b, origin), sets(set))
		want := 0
		if i >= 2 {
			want = 1
		}
		if got := s.logged(message); len(got) != want {
			t.Errorf("after %d sign-ins: %v", i+1, got)
		}
	}
	for _, fields := range s.logged(message) {
		if fields["host"] != host {
			t.Errorf("logged: %v", fields)
		}
	}
}

func TestCodesThatTheAppRefusesAreNotWarnedOf(t *testing.T) {
	s := newSite(t)
	s.signedIn("alice", set)
	for range 6 {
		b := s.browser("mallory")
		b.get("/cb?code="+s.code(b, origin), sets(set))
	}
	if got := s.logged("an app's sign-ins are not guarded"); len(got) != 0 {
		t.Errorf("logged: %v", got)
	}
}

func TestTheUserIsKnownToThoseBehind(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	facts := b.get("/", sets()).facts
	if facts.Session != b.session.String() || facts.Refused != "" || facts.Subject(t.Context()) != "alice" {
		t.Errorf("got %+v, %q", facts, facts.Subject(t.Context()))
	}
	s.end(b)
	if facts = b.get("/", sets()).facts; facts.Session != "" || facts.Refused != "session" || facts.Subject(t.Context()) != "" {
		t.Errorf("after the end: %+v", facts)
	}
	if facts = s.browser("bob").get("/", sets()).facts; facts.Session != "" || facts.Refused != "" {
		t.Errorf("of somebody else: %+v", facts)
	}
}

// The app sets the cookie of the pre-session anew before the sign-in, and another beside it.
func TestAPreSessionThatIsRotatedStaysOne(t *testing.T) {
	s := newSite(t)
	s.signedIn("bob", set, "second=value-2; HttpOnly; Path=/")
	b := s.browser("alice")
	b.get("/", sets("session=before-1; HttpOnly; Path=/"))
	first := b.copyOf("first")
	b.get("/", sets("session=before-2; HttpOnly; Path=/", "second=before-3; HttpOnly; Path=/"))
	second := b.copyOf("second")
	b.signIn(set)
	first.appGets("/", "session=before-1")
	second.appGets("/", "session=before-2; second=before-3")
	s.end(b)
	first.appGets("/", "")
	second.appGets("/", "")
}

func TestAPreSessionThatCannotBeBoundIsLogged(t *testing.T) {
	s := newSite(t)
	s.signedIn("bob", set)
	b := s.browser("alice")
	b.get("/", sets("session=before-1; HttpOnly; Path=/"))
	b.signInBy(func(w http.ResponseWriter, r *http.Request) {
		s.Store.Do(func(_ context.Context, call string, keys ...registry.Key) error {
			if call == "edit" && keys[0][0] == 'p' {
				return registry.ErrUnavailable
			}
			return nil
		})
		sets(set)(w, r)
	})
	if logged := s.logged("copies of an app's cookies from before a sign-in stay without guard"); len(logged) != 1 {
		t.Errorf("logged: %v", logged)
	}
	b.certified("session")
}

func TestTheUserOfTheSessionIsKnownAlsoAtASiteThatIsNoClient(t *testing.T) {
	s := newSite(t, func(g *guard.Guard) { g.AppCookies = []string{"wide"} })
	b := s.signedIn("alice", "wide=value-1; Domain=example.com; Path=/")
	facts := b.send(newRequest("https://other.example.com/"), sets()).facts
	if got := facts.Subject(t.Context()); got != "alice" {
		t.Errorf("got %q", got)
	}
	s.Down()
	if got := facts.Subject(t.Context()); got != "" {
		t.Errorf("without the registry, got %q", got)
	}
}

// Caddy counts what a request sends, also where that is nothing.
func TestARequestWithoutABodyIsPassedOnAsItIs(t *testing.T) {
	s := newSite(t)
	r := newRequest(origin + "/")
	body := io.NopCloser(strings.NewReader(""))
	r.Body, r.ContentLength = body, 0
	if s.serve(r, sets()); s.request.Body != body {
		t.Errorf("the app's request has the body %T", s.request.Body)
	}
}

// Its sender may wait for the response before it sends more.
func TestABodyThatIsAStreamIsNotWaitedFor(t *testing.T) {
	for mediaType, begin := range map[string]string{
		"": "data", "text/plain": "data", "application/json": `["first"`, "application/connect+json": "{", "application/grpc+json": "{",
	} {
		t.Run(mediaType, func(t *testing.T) {
			s := newSite(t)
			reader, writer := io.Pipe()
			t.Cleanup(func() { writer.Close() })
			go func() { _, _ = io.WriteString(writer, begin) }()
			r := httptest.NewRequest(http.MethodPost, origin+"/stream", reader)
			r.ContentLength = -1
			r.Header.Set("Content-Type", mediaType)
			s.serve(r, func(_ http.ResponseWriter, r *http.Request) {
				got := make([]byte, len(begin))
				if _, err := io.ReadFull(r.Body, got); err != nil || string(got) != begin {
					t.Errorf("the app got %q, %v", got, err)
				}
			})
		})
	}
}

// Requests over HTTP/3 do not say that they have no body.
func TestAPageWithoutALengthIsNotRead(t *testing.T) {
	s := newSite(t)
	r := newRequest(origin + "/")
	body := io.NopCloser(iotest.ErrReader(errors.New("it is read")))
	r.Body, r.ContentLength = body, -1
	if s.serve(r, sets()); s.request.Body != body {
		t.Errorf("the app's request has the body %T", s.request.Body)
	}
}

func TestAnUnavailableRegistryIsAskedOnceForASignIn(t *testing.T) {
	s := newSite(t)
	s.get(t, "/")
	asked := 0
	s.Store.Do(func(context.Context, string, ...registry.Key) error {
		asked++
		return registry.ErrUnavailable
	})
	s.get(t, "/cb?code=a&code=b;code=c")
	if asked != 1 {
		t.Errorf("it is asked %d times", asked)
	}
}

// Its state cookie, which stays where the app refuses the second request, would be certified from
// then on, and refused where it was set a moment before.
func TestACallbackThatIsSentTwiceTeachesNoStateCookie(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	b.get("/login", says(302, "Location: https://op.example.com/", "Set-Cookie: state=x; Path=/; HttpOnly"))
	code := s.code(b, origin)
	b.get("/cb?code="+code, func(w http.ResponseWriter, r *http.Request) {
		again := newRequest(origin + "/cb?code=" + code)
		again.Header.Set("Cookie", "state=x")
		s.serve(again, s.signsIn(code, "alice", says(302, "Location: /", "Set-Cookie: "+set, "Set-Cookie: state=; Path=/; Max-Age=0")))
		says(400)(w, r)
	})
	if names := s.names(); !slices.Equal(names, []string{"session"}) {
		t.Errorf("the names are %q", names)
	}
}
