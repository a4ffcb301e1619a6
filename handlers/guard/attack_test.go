package guard_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
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
	t.Cleanup(func() { s.guard.Close(); _ = s.registry.Close() })
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
	for _, c := range w.Result().Cookies() {
		p.jar = slices.DeleteFunc(p.jar, func(old *http.Cookie) bool { return old.Name == c.Name })
		if c.Value != "" && c.MaxAge >= 0 {
			p.jar = append(p.jar, c)
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
	for _, cookies := range []string{
		"a=b, c", "my_sessions=x", "session=x", `state={"a": "my_session", "b": 1}`, "a=b,c=d", "my-session=x", "a", "=a", `a=""`,
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
