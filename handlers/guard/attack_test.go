package guard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
	"github.com/oidc-session/caddy-oidc-session/registry/storetest"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A scene is a strict guard, and what an attacker does to it.
type scene struct {
	testing.TB

	clock    *storetest.Clock
	registry *registry.Registry
	guard    *guard.Guard
	codes    int
	logs     *observer.ObservedLogs
}

func newScene(t testing.TB) *scene {
	s := &scene{TB: t, clock: storetest.NewClock()}
	s.registry = registry.Open(modelOpener{memory.New(s.clock.Now)}, func([]*registry.Session) {}, zap.NewNop())
	keys, err := sessionstate.NewKeyring([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	s.logs = logs
	s.guard = newGuard(s.registry, keys, s.clock.Now, zap.New(core))
	g := s.guard
	t.Cleanup(func() { g.Close(); _ = s.registry.Close() })
	return s
}

// A party is a user with a browser, whose cookies are those of the app, with their certificates.
type party struct {
	*scene

	user    string
	browser sessionstate.BrowserID
	jar     []*http.Cookie
}

func (s *scene) party(user string) *party {
	return &party{scene: s, user: user, browser: sessionstate.NewBrowserID()}
}

// cookies is the Cookie header of a browser.
func (p *party) cookies() string {
	var pairs []string
	for _, c := range p.jar {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

func (p *party) value(name string) string {
	for _, c := range p.jar {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// certificate is the pair of a cookie's certificate.
func (p *party) certificate(name string) string {
	return guard.CertificateName(name) + "=" + p.value(guard.CertificateName(name))
}

// code is one that the OP gives to the user for the app.
func (p *party) code() string {
	p.codes++
	code := fmt.Sprint("code-", p.codes)
	p.join(registry.Join{Response: sessionstate.NewResponseID(code)})
	return code
}

func (p *party) join(j registry.Join) {
	p.Helper()
	j.Issuer, j.Browser, j.ClientID, j.Origin = modelIssuer, p.browser, "app", "https://"+modelHost
	j.Lifetime, j.Notify = time.Hour, true
	if _, err := p.registry.Join(p.Context(), j); err != nil {
		p.Fatal(err)
	}
}

func (p *party) redeem(code string) {
	p.Helper()
	joined, err := p.registry.Redeem(p.Context(), registry.Redemption{
		Issuer: modelIssuer, Response: sessionstate.NewResponseID(code), Audience: []string{"app"},
		Sub: p.user, Lifetime: time.Hour, Notify: true,
	})
	if err != nil || joined.Session == nil {
		p.Fatal(joined, err)
	}
}

func (p *party) end() {
	p.Helper()
	_, err := p.registry.End(p.Context(), registry.Ending{
		Place: registry.PlaceOf(modelIssuer, p.browser), Reason: registry.ReasonLogout,
	})
	if err != nil {
		p.Fatal(err)
	}
}

// send sends a request with the browser's cookies, unless it has some, and returns the response. The
// app responds with lines; it gets the cookies in got.
func (p *party) send(r *http.Request, app func(), lines ...string) (got string, w *httptest.ResponseRecorder) {
	p.Helper()
	if _, has := r.Header["Cookie"]; !has && len(p.jar) > 0 {
		r.Header.Set("Cookie", p.cookies())
	}
	if r.Host == "example.com" {
		r.Host = modelHost
	}
	w = httptest.NewRecorder()
	err := p.guard.Serve(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		var others []string
		for pair := range strings.SplitSeq(strings.Join(r.Header["Cookie"], "; "), "; ") {
			if !strings.Contains(pair, "oidc_guard_") {
				others = append(others, pair)
			}
		}
		got = strings.Join(others, "; ")
		if app != nil {
			app()
		}
		w.Header()["Set-Cookie"] = lines
		w.WriteHeader(http.StatusOK)
		return nil
	}))
	if err != nil {
		p.Fatal(err)
	}
	for _, line := range w.Header()["Set-Cookie"] {
		pair, attributes, _ := strings.Cut(line, ";")
		name, value, _ := strings.Cut(pair, "=")
		p.jar = slices.DeleteFunc(p.jar, func(old *http.Cookie) bool { return old.Name == name })
		if !strings.Contains(attributes, "Max-Age=0") {
			p.jar = append(p.jar, &http.Cookie{Name: name, Value: value})
		}
	}
	return got, w
}

func (p *party) get(lines ...string) (got string) {
	p.Helper()
	got, _ = p.send(httptest.NewRequest("GET", "/", nil), nil, lines...)
	return got
}

// signIn signs the user in, to which the app responds with lines.
func (p *party) signIn(lines ...string) {
	p.Helper()
	code := p.code()
	p.send(httptest.NewRequest("GET", "/callback?code="+code, nil), func() { p.redeem(code) }, lines...)
}

// with sends a request with other cookies, and returns those that reach the app.
func (s *scene) with(cookies ...string) string {
	s.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header["Cookie"] = cookies
	got, _ := s.party("").send(r, nil)
	return got
}

func (s *scene) refused(cookies ...string) {
	s.Helper()
	if got := s.with(cookies...); got != "" {
		s.Errorf("of %q, %q reach the app", cookies, got)
	}
}

func TestThreatACopyInDisguise(t *testing.T) {
	s := newScene(t)
	alice := s.party("alice")
	alice.signIn("my_session=copy; HttpOnly; Path=/")
	for _, cookies := range []string{
		"my_session=copy", "MY_Session=copy", "my.session=copy", "my session=copy", "my[session=copy", "%6dy_session=copy", "my%5Fsession=copy",
		"\xa0my_session=copy", "my_session\x85=copy", "\"my_session\"=copy", "my_session%00x=copy", "%20my_session=copy",
		"a=b, my_session=copy", "a=b,my_session=copy", "a=b my_session=copy", "a=b\tmy_session=copy", "a, my_session=copy",
		"a=b,MY.SESSION=copy", "a=\"b\", my_session=\"copy\"", "=a, my_session=copy", "$my_session=copy",
	} {
		s.refused(cookies)
	}
	if got := s.with("=a, my_session=copy; b=c"); got != "b=c" {
		t.Errorf("%q reach the app", got)
	}
	for _, cookies := range []string{
		"a=b, c", "my_sessions=x", "session=x", `state={"a": "my_session", "b": 1}`, "a=b,c=d", "my-session=x", "a", "=a", `a=""`, "=a; b=c",
	} {
		if got := s.with(cookies); got != cookies {
			t.Errorf("of %q, %q reach the app", cookies, got)
		}
	}
}

// Neither the log nor the response has what the client writes into the names of its cookies.
func TestADisguisedCookieIsNeitherLoggedNorExpired(t *testing.T) {
	s := newScene(t)
	alice := s.party("alice")
	alice.signIn("my_session=copy; HttpOnly; Path=/")
	for i := range 4 {
		_, w := s.party("").send(requestWith("/a/b", fmt.Sprint("My.Session=", i)), nil)
		if lines := w.Header()["Set-Cookie"]; len(lines) > 0 || s.logs.Len() > 0 {
			t.Fatalf("expired: %q, logged: %v", lines, s.logs.All())
		}
	}
}

func requestWith(target string, cookies ...string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	r.Header["Cookie"] = cookies
	return r
}

// escapes signs alice in by a request of her own making, and reports what her session is after the
// logout.
func (s *scene) escapes(request func(code string) *http.Request) string {
	s.Helper()
	s.party("bob").signIn("sid=bob; HttpOnly; Path=/") // by whom the name is known
	alice := s.party("alice")
	code := alice.code()
	alice.send(request(code), func() { alice.redeem(code) }, fmt.Sprintf("sid=%s; HttpOnly; Path=/", code))
	if got := alice.get(); got != "sid="+code {
		s.Errorf("before the logout, %q reaches the app", got)
	}
	alice.end()
	return alice.get()
}

func TestThreatAUserWhoHidesTheCode(t *testing.T) {
	s := newScene(t)
	post := func(mediaType, body string) *http.Request {
		r := httptest.NewRequest("POST", "/callback", strings.NewReader(body))
		r.Header.Set("Content-Type", mediaType)
		return r
	}
	const form = "application/x-www-form-urlencoded"
	for name, request := range map[string]func(code string) *http.Request{
		"as the last of many": func(code string) *http.Request {
			return httptest.NewRequest("GET", "/callback?code=1&code=2&code=3&code=4&code=5&code="+code, nil)
		},
		"as the first of many": func(code string) *http.Request {
			return httptest.NewRequest("GET", "/callback?code="+code+"&code=2&code=3&code=4&code=5", nil)
		},
		"behind a semicolon": func(code string) *http.Request { return httptest.NewRequest("GET", "/callback?a=b;code="+code, nil) },
		"behind many parameters": func(code string) *http.Request {
			return httptest.NewRequest("GET", "/callback?"+strings.Repeat("&", 20_000)+"code="+code, nil)
		},
		"behind a broken one": func(code string) *http.Request { return httptest.NewRequest("GET", "/callback?a=%zz&code="+code, nil) },
		"encoded": func(code string) *http.Request {
			return httptest.NewRequest("GET", "/callback?%63od%65="+strings.ReplaceAll(code, "-", "%2d"), nil)
		},
		"behind a space": func(code string) *http.Request { return httptest.NewRequest("GET", "/callback?+code="+code, nil) },
		"at another port": func(code string) *http.Request {
			r := httptest.NewRequest("GET", "/callback?code="+code, nil)
			r.Host = modelHost + ":1234"
			return r
		},
		"with a dot behind the host": func(code string) *http.Request {
			r := httptest.NewRequest("GET", "/callback?code="+code, nil)
			r.Host = modelHost + "."
			return r
		},
		"in a form with a broken type": func(code string) *http.Request { return post(form+"; =", "code="+code) },
		"in a form by another method": func(code string) *http.Request {
			r := post(form, "code="+code)
			r.Method = "PUT"
			return r
		},
		"in a form with parts": func(code string) *http.Request {
			return post("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"code\"\r\n\r\n"+code+"\r\n--b--\r\n")
		},
		"in JSON by another type": func(code string) *http.Request { return post("application/octet-stream", `{"code": "`+code+`"}`) },
		"in JSON without a length": func(code string) *http.Request {
			r := post("text/plain", `{"code": "`+code+`"}`)
			r.ContentLength = -1
			return r
		},
		"in JSON with something behind": func(code string) *http.Request { return post("application/json", ` {"code": "`+code+`"} x`) },
		"between others in JSON": func(code string) *http.Request {
			return post("application/json", `{"Code": "1", "code": "2", "a": {"code": "3"}, "code": "`+code+`", "cOde": "4"}`)
		},
		"between others in a query": func(code string) *http.Request {
			return httptest.NewRequest("GET", "/callback?Code=1&code=2&code="+code+"&cOde=4", nil)
		},
		"in JSON in capitals": func(code string) *http.Request { return post("application/json", `{"CODE": "`+code+`", "code": 1}`) },
	} {
		t.Run(name, func(t *testing.T) {
			s.TB = t
			if got := s.escapes(request); got != "" {
				t.Errorf("%q reaches the app", got)
			}
		})
	}
}

// A page of another site has the browser of somebody who is signed in post an ID token of the
// attacker's, which is not redeemed by anybody.
func TestThreatAForeignIDTokenBindsNothing(t *testing.T) {
	s := newScene(t)
	alice, mallory := s.party("alice"), s.party("mallory")
	alice.signIn("sid=1; HttpOnly; Path=/")
	mallory.join(registry.Join{Response: sessionstate.NewIDTokenResponseID("TOKEN"), Complete: true, Sub: "mallory"})
	r := httptest.NewRequest("POST", "/", strings.NewReader("id_token=TOKEN"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	alice.send(r, nil, "sid=2; HttpOnly; Path=/")
	mallory.end()
	if got := alice.get(); got != "sid=2" {
		t.Errorf("mallory's logout signs alice out: %q", got)
	}
	alice.end()
	if got := alice.get(); got != "" {
		t.Errorf("alice stays signed in: %q", got)
	}
}

func TestThreatACookieThatLooksLikeACertificateTeachesNothing(t *testing.T) {
	s := newScene(t)
	mallory := s.party("mallory")
	mallory.signIn("sid=1; HttpOnly; Path=/")
	junk := guard.CertificateName("theme") + "=junk"
	mallory.send(requestWith("/", mallory.cookies()+"; theme=dark; "+junk), nil, "theme=light; Path=/")
	if got := s.with("theme=blue"); got != "theme=blue" {
		t.Errorf("others' cookies are refused: %q", got)
	}
	if got := s.with("theme=blue; " + junk); got != "theme=blue" {
		t.Errorf("another site has the cookie refused: %q", got)
	}
}

// Hundreds of cookies with long names cost no more than their length.
func TestThreatManyCookiesWithLongNames(t *testing.T) {
	s := newScene(t)
	s.party("bob").signIn("sid=bob; HttpOnly; Path=/", "sid.0=bob; HttpOnly; Path=/")
	var pairs []string
	for i := range 255 {
		long := strings.Repeat("n", 2000)
		pairs = append(pairs, fmt.Sprint(long, i, ".1=x"), fmt.Sprintf("oidc_guard_%08x=%s", i, "x"))
	}
	header := strings.Join(pairs, "; ")
	if n := testing.AllocsPerRun(3, func() { s.with(header) }); n > 5000 {
		t.Errorf("%.0f allocations", n)
	}
}

func TestThreatARefusalIsNotMuchLargerThanTheRequest(t *testing.T) {
	s := newScene(t)
	s.party("bob").signIn("sid=bob; HttpOnly; Path=/", "other.0=bob; HttpOnly; Path=/")
	var pairs []string
	for i := range 250 {
		pairs = append(pairs, fmt.Sprint("sid=", i), fmt.Sprintf("other.%d=%d", i%100, i))
	}
	path := strings.Repeat("/"+strings.Repeat("p", 500), 20)
	_, w := s.party("").send(requestWith(path, strings.Join(pairs, "; ")), nil)
	size := 0
	for _, line := range w.Header()["Set-Cookie"] {
		size += len(line)
	}
	if lines := len(w.Header()["Set-Cookie"]); lines > 130 || lines < 4 || size > 100_000 {
		t.Errorf("%d lines, %d bytes", lines, size)
	}
}

// A hungStore does not answer.
type hungStore struct {
	registry.Store

	asked atomic.Int32
}

func (s *hungStore) Get(ctx context.Context, _ bool, _ ...registry.Key) ([][]byte, error) {
	s.asked.Add(1)
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestARegistryThatHangsDoesNotHoldUpAllRequests(t *testing.T) {
	handlerstest.Limited(t)
	s := newScene(t)
	store := &hungStore{Store: memory.New(s.clock.Now)}
	hung := registry.Open(modelOpener{store}, func([]*registry.Session) {}, zap.NewNop())
	s.guard = newGuard(hung, nil, s.clock.Now, zap.NewNop())
	t.Cleanup(func() { s.guard.Close(); _ = hung.Close() })
	for range 3 {
		if got := s.with("a=b"); got != "a=b" {
			t.Errorf("%q reach the app", got)
		}
	}
	if n := store.asked.Load(); n != 1 {
		t.Errorf("it is asked %d times", n)
	}
	s.clock.Advance(2 * time.Second)
	s.with("a=b")
	if n := store.asked.Load(); n != 2 {
		t.Errorf("later it is asked %d times", n)
	}
}

// A sibling site can set a cookie of the domain under any name.
func TestThreatAForeignFirstChunk(t *testing.T) {
	s := newScene(t)
	alice := s.party("alice")
	alice.signIn("sid.0=a; HttpOnly; Path=/", "sid.1=b; HttpOnly; Path=/", "slot_1=c; HttpOnly; Path=/")
	own := alice.cookies()
	for _, cookies := range []string{own + "; sid.0=x; slot_0=x", "sid.0=x; slot_0=x; " + own} {
		got := s.with(cookies)
		for _, pair := range []string{"sid.0=a", "sid.1=b", "slot_1=c"} {
			if !strings.Contains(got, pair) {
				t.Errorf("of %q, %q reach the app", cookies, got)
			}
		}
	}
	alice.end()
	if got := s.with("slot_0=x; slot_1=c; " + alice.certificate("slot_1")); got != "slot_0=x" {
		t.Errorf("as a chunk, %q passes", got)
	}
}

func TestOtherCookiesStayAsTheyCame(t *testing.T) {
	s := newScene(t)
	s.party("bob").signIn("sid=bob; HttpOnly; Path=/")
	r := requestWith("/", "flag;a = 1 ;sid=x;\tb=\"2\";;c={\"d\": 3}", "sid=y; e=")
	s.party("").send(r, func() {
		want := []string{"flag;a = 1 ;\tb=\"2\";;c={\"d\": 3}", "e="}
		if got := r.Header["Cookie"]; !slices.Equal(got, want) {
			t.Errorf("the app gets %q, want %q", got, want)
		}
	})
}

func TestANameThatGoDoesNotWriteIsExpired(t *testing.T) {
	s := newScene(t)
	alice := s.party("alice")
	alice.signIn("sess[id]=1; HttpOnly; Path=/")
	alice.end()
	_, w := alice.send(httptest.NewRequest("GET", "/", nil), nil)
	if lines := w.Header()["Set-Cookie"]; len(lines) != 2 || !strings.HasPrefix(lines[0], "sess[id]=; Path=/; Max-Age=0") {
		t.Errorf("expired by %q", lines)
	}
}

// An app that keeps its session, as PHP does, has signed the user in also if the browser has gone,
// or if the app fails afterwards.
func TestThreatAUserWhoDoesNotWaitForTheResponse(t *testing.T) {
	for name, fails := range map[string]bool{"the browser goes": false, "the app fails": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.party("bob").signIn("sid=bob; HttpOnly; Path=/")
			alice := s.party("alice")
			alice.get("sid=alice; HttpOnly; Path=/")
			code := alice.code()
			r := requestWith("/callback?code="+code, alice.cookies())
			r.Host = modelHost
			ctx, leave := context.WithCancel(t.Context())
			w := httptest.NewRecorder()
			_ = s.guard.Serve(w, r.WithContext(ctx), caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				if !fails {
					leave()
				}
				if err := r.Context().Err(); err != nil {
					return err // as reverse_proxy does, while the app goes on
				}
				alice.redeem(code)
				if fails {
					return http.ErrHandlerTimeout
				}
				w.WriteHeader(http.StatusOK)
				select {
				case <-r.Context().Done():
				case <-time.After(10 * time.Second):
					t.Error("the response goes on without its client")
				}
				return nil
			}))
			leave()
			if got := alice.get(); got != "sid=alice" {
				t.Errorf("%q reaches the app", got)
			}
			alice.end()
			if got := alice.get(); got != "" {
				t.Errorf("after the logout, %q reaches the app", got)
			}
		})
	}
}

// A sign-in makes a record for each serial that came with it.
func TestThreatManySerials(t *testing.T) {
	s := newScene(t)
	s.party("bob").signIn("sid=bob; HttpOnly; Path=/")
	var pairs []string
	for i := range 20 {
		visitor := s.party("")
		visitor.get(fmt.Sprintf("sid=%d; HttpOnly; Path=/%d", i, i))
		pairs = append(pairs, visitor.cookies())
	}
	if got := strings.Count(s.with(strings.Join(pairs[:5], "; ")), "sid="); got != 5 {
		t.Errorf("%d of 5 pass", got)
	}
	var many []string
	for i := range 20 { // each with a name, so that each has certificates of its own
		name := fmt.Sprintf("app%d", i)
		s.party("bob").signIn(name + "=bob; HttpOnly; Path=/")
		visitor := s.party("")
		visitor.get(name + "=1; HttpOnly; Path=/")
		many = append(many, visitor.cookies())
	}
	if got := strings.Count(s.with(strings.Join(many, "; ")), "app"); got != 8 {
		t.Errorf("%d of 20 pass", got)
	}
}

// A sibling site plants a cookie of the domain, which the app has given to the attacker.
func TestThreatAPlantedCookieBesideTheUsers(t *testing.T) {
	s := newScene(t)
	alice, mallory := s.party("alice"), s.party("mallory")
	alice.signIn("sid=alice; HttpOnly; Path=/")
	mallory.get("sid=planted; HttpOnly; Path=/")
	planted := mallory.cookies()
	for _, cookies := range []string{planted + "; " + alice.cookies(), alice.cookies() + "; " + planted} {
		if got := s.with(cookies); got != "sid=alice" {
			t.Errorf("%q reach the app", got)
		}
	}
}

func TestACopyIsRefusedUnderAnotherNameOfTheSite(t *testing.T) {
	s := newSite(t)
	s.signedIn("alice", set)
	r := newRequest("https://www.example.com/")
	r.Header.Set("Cookie", "session=value-1")
	reached := ""
	s.serve(r, func(_ http.ResponseWriter, r *http.Request) { reached = r.Header.Get("Cookie") })
	if reached != "" {
		t.Errorf("the app got %q", reached)
	}
}

func TestASignInIsBoundUnderAnotherNameOfTheSite(t *testing.T) {
	s := newSite(t)
	b := s.browser("alice")
	s.get(t, "/")
	code := s.code(b, origin)
	r := newRequest("https://www.example.com/cb?code=" + code)
	response := s.serve(r, s.signsIn(code, "alice", sets(set)))
	s.end(b)
	again := newRequest("https://www.example.com/")
	for _, c := range response.Cookies() {
		again.AddCookie(c)
	}
	reached := "nothing"
	s.serve(again, func(_ http.ResponseWriter, r *http.Request) { reached = r.Header.Get("Cookie") })
	if reached != "" {
		t.Errorf("the app got %q", reached)
	}
}
