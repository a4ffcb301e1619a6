package guard_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	host   = "app.example.com"
	origin = "https://" + host
	client = "app"
)

// A site is an app behind a guard. The app is whatever a test has it respond to a request.
type site struct {
	*handlerstest.World
	t       testing.TB
	guard   *guard.Guard
	context context.Context // of requests
	facts   *guard.Facts    // of the last request; nil: none
	request *http.Request   // as it reached the app last
	reached int             // how many requests did
	secrets []string        // that no log line may have
}

// newSite is a site whose guard is strict from the start.
func newSite(t testing.TB, configure ...func(*guard.Guard)) *site {
	t.Helper()
	s := &site{World: handlerstest.NewWorld(t), t: t, context: t.Context()}
	s.restart(configure...)
	t.Cleanup(func() {
		logged := s.Logged()
		for _, secret := range s.secrets {
			if len(secret) > 5 && strings.Contains(logged, secret) {
				t.Errorf("the log has %q", secret)
			}
		}
	})
	return s
}

// restart puts another guard in the place of the site's, over the same registry and keys.
func (s *site) restart(configure ...func(*guard.Guard)) {
	s.t.Helper()
	g := &guard.Guard{OnLogout: guard.Strip, CloseStreams: true}
	g.Issuers = func() []string { return []string{"https://other.example.com", handlerstest.Issuer} }
	g.Expose = func(_ *http.Request, facts *guard.Facts) { s.facts = facts }
	for _, f := range configure {
		f(g)
	}
	if err := g.Validate(); err != nil {
		s.t.Fatal(err)
	}
	g.Setup(s.Env)
	s.t.Cleanup(g.Close)
	s.guard = g
}

// A response is what came of a request, and what of the request reached the app.
type response struct {
	*http.Response
	body    string
	err     error
	reached bool
	cookies string // that the app got
	facts   guard.Facts
}

// serve serves a request; the app responds as respond does.
func (s *site) serve(r *http.Request, respond http.HandlerFunc) response {
	s.t.Helper()
	s.facts, s.request = nil, nil
	recorder := httptest.NewRecorder()
	err := s.guard.Serve(recorder, r, reply.Handler(func(w http.ResponseWriter, r *http.Request) {
		s.request = r.Clone(r.Context())
		s.reached++
		respond(w, r)
	}))
	out := response{err: err, reached: s.request != nil}
	if out.reached {
		out.cookies = strings.Join(s.request.Header["Cookie"], "; ")
	}
	if s.facts != nil {
		out.facts = *s.facts
	}
	out.Response = recorder.Result()
	if status := new(caddyhttp.HandlerError); errors.As(err, status) {
		out.StatusCode = status.StatusCode
	} else if err != nil {
		s.t.Fatal(err)
	}
	out.body = reply.ReadAll(s.t, out.Body)
	return out
}

// code makes an authorization response to an origin, in a browser's session at the OP.
func (s *site) code(b *browser, origin string) (code string) {
	s.t.Helper()
	s.Clock.Advance(time.Second)
	b.codes++
	code = fmt.Sprintf("code-%x-%d", b.id[:4], b.codes)
	b.session = s.join(b, registry.Join{Response: sessionstate.NewResponseID(code), Origin: origin})
	s.secrets = append(s.secrets, code)
	return code
}

func (s *site) join(b *browser, j registry.Join) sessionstate.SessionID {
	s.t.Helper()
	j.Issuer, j.Browser, j.Session = handlerstest.Issuer, b.id, b.session
	j.ClientID, j.Lifetime = client, handlerstest.Lifetime
	joined, err := s.Env.Registry.Join(s.t.Context(), j)
	if err != nil {
		s.t.Fatal(err)
	}
	return joined.Session.ID
}

// redeem redeems a code, as the OP's site sees the app do it.
func (s *site) redeem(code, user string) {
	s.t.Helper()
	_, err := s.Env.Registry.Redeem(s.t.Context(), registry.Redemption{
		Issuer: handlerstest.Issuer, Response: sessionstate.NewResponseID(code), Audience: []string{client},
		Sub: user, AcrossClients: true, Lifetime: handlerstest.Lifetime,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// signsIn is an app that redeems a code in its callback, and then responds.
func (s *site) signsIn(code, user string, respond http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.redeem(code, user)
		respond(w, r)
	}
}

// end ends the browser's session at the OP.
func (s *site) end(b *browser) {
	s.t.Helper()
	s.Clock.Advance(time.Second)
	s.End(s.t, b.id, registry.ReasonLogout)
}

// sets is an app that sets cookies, given as Set-Cookie lines.
func sets(lines ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, line := range lines {
			w.Header().Add("Set-Cookie", line)
		}
		_, _ = io.WriteString(w, "hello")
	}
}

// says is an app that responds with header fields, given as "Field: value".
func says(status int, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, field := range fields {
			name, value, _ := strings.Cut(field, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(status)
	}
}

// A cookie is one in a jar.
type cookie struct {
	name, value, path, domain string
	hostOnly, secure          bool
	expires                   time.Time // zero: with the browser
}

// A browser is one with a cookie jar, and perhaps with a session at the OP.
type browser struct {
	site    *site
	name    string
	agent   string
	id      sessionstate.BrowserID
	session sessionstate.SessionID // at the OP
	codes   int
	jar     []cookie
}

func (s *site) browser(name string) *browser {
	return &browser{site: s, name: name, agent: "Browser of " + name, id: sessionstate.NewBrowserID()}
}

// signedIn is a browser whose user signs in, by which the app sets cookies.
func (s *site) signedIn(name string, lines ...string) *browser {
	s.t.Helper()
	b := s.browser(name)
	b.signIn(lines...)
	return b
}

// signIn signs the user in at the app, which sets cookies with it.
func (b *browser) signIn(lines ...string) response {
	b.site.t.Helper()
	return b.signInBy(sets(lines...))
}

func (b *browser) signInBy(respond http.HandlerFunc) response {
	b.site.t.Helper()
	code := b.site.code(b, origin)
	return b.get("/cb?code="+code+"&state=s", b.site.signsIn(code, b.name, respond))
}

func (b *browser) get(target string, respond http.HandlerFunc) response {
	b.site.t.Helper()
	return b.send(httptest.NewRequest(http.MethodGet, origin+target, nil), respond)
}

// post posts a body.
func (b *browser) post(target, mediaType, body string, respond http.HandlerFunc) response {
	b.site.t.Helper()
	r := httptest.NewRequest(http.MethodPost, origin+target, strings.NewReader(body))
	r.Header.Set("Content-Type", mediaType)
	return b.send(r, respond)
}

// send sends a request with the browser's cookies, and keeps those of the response.
func (b *browser) send(r *http.Request, respond http.HandlerFunc) response {
	b.site.t.Helper()
	if header := b.cookiesFor(r); header != "" {
		r.Header.Set("Cookie", header)
	}
	r.Header.Set("User-Agent", b.agent)
	if r.Context() == context.Background() {
		r = r.WithContext(b.site.context)
	}
	at := *r.URL // what is behind may change it
	response := b.site.serve(r, respond)
	for _, line := range response.Header["Set-Cookie"] {
		b.keep(line, r.Host, at.EscapedPath(), at.Scheme == "https")
	}
	return response
}

// cookiesFor is the Cookie header for a request (RFC 6265, section 5.4).
func (b *browser) cookiesFor(r *http.Request) string {
	now, requested := b.site.Clock.Now(), hostname(r.Host)
	b.jar = slices.DeleteFunc(b.jar, func(c cookie) bool { return !c.expires.IsZero() && !c.expires.After(now) })
	var sent []cookie
	for _, c := range b.jar {
		atHost := requested == c.domain || !c.hostOnly && strings.HasSuffix(requested, "."+c.domain)
		if atHost && pathMatches(r.URL.EscapedPath(), c.path) && (!c.secure || r.URL.Scheme == "https") {
			sent = append(sent, c)
		}
	}
	slices.SortStableFunc(sent, func(a, b cookie) int { return len(b.path) - len(a.path) })
	var pairs []string
	for _, c := range sent {
		pairs = append(pairs, c.name+"="+c.value)
	}
	return strings.Join(pairs, "; ")
}

func hostname(host string) string {
	name, _, _ := strings.Cut(host, ":")
	return name
}

func pathMatches(request, cookie string) bool {
	return request == cookie || strings.HasPrefix(request, cookie) && (strings.HasSuffix(cookie, "/") || request[len(cookie)] == '/')
}

// keep keeps a cookie (RFC 6265, sections 5.2 and 5.3; RFC 6265bis for the prefixes).
func (b *browser) keep(line, host, requestPath string, secure bool) {
	pair, attributes, _ := strings.Cut(line, ";")
	c := cookie{hostOnly: true, domain: hostname(host)}
	c.name, c.value, _ = strings.Cut(pair, "=")
	c.name, c.value = strings.TrimSpace(c.name), strings.TrimSpace(c.value)
	if end := strings.LastIndexByte(requestPath, '/'); end > 0 {
		c.path = requestPath[:end]
	} else {
		c.path = "/"
	}
	b.site.secrets = append(b.site.secrets, c.value)
	now, hasMaxAge := b.site.Clock.Now(), false
	for attribute := range strings.SplitSeq(attributes, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(attribute), "=")
		switch strings.ToLower(key) {
		case "path":
			if strings.HasPrefix(value, "/") {
				c.path = value
			}
		case "domain":
			if value == "" {
				continue
			}
			if c.domain = strings.ToLower(strings.TrimPrefix(value, ".")); !strings.HasSuffix("."+hostname(host), "."+c.domain) {
				return
			}
			c.hostOnly = false
		case "secure":
			c.secure = true
		case "max-age":
			var seconds int
			if _, err := fmt.Sscan(value, &seconds); err == nil {
				c.expires, hasMaxAge = now.Add(time.Duration(seconds)*time.Second), true
			}
		case "expires":
			if at, err := http.ParseTime(value); err == nil && !hasMaxAge {
				c.expires = at
			}
		}
	}
	prefixed := strings.HasPrefix(strings.ToLower(c.name), "__host-")
	if prefixed && (!c.hostOnly || c.path != "/") || (prefixed || strings.HasPrefix(strings.ToLower(c.name), "__secure-")) && !c.secure || c.secure && !secure {
		return
	}
	same := func(other cookie) bool {
		return other.name == c.name && other.path == c.path && other.domain == c.domain && other.hostOnly == c.hostOnly
	}
	switch i := slices.IndexFunc(b.jar, same); {
	case !c.expires.IsZero() && !c.expires.After(now):
		b.jar = slices.DeleteFunc(b.jar, same)
	case i >= 0:
		b.jar[i] = c
	default:
		b.jar = append(b.jar, c)
	}
}

// names are those of the cookies in the jar.
func (b *browser) names() (names []string) {
	for _, c := range b.jar {
		names = append(names, c.name)
	}
	slices.Sort(names)
	return names
}

// find returns the cookie of a name; ok is false unless there is just one.
func (b *browser) find(name string) (c cookie, ok bool) {
	n := 0
	for _, other := range b.jar {
		if other.name == name {
			c, n = other, n+1
		}
	}
	return c, n == 1
}

// has makes the jar hold cookies of the whole site, given as NAME=VALUE, whoever set them.
func (b *browser) has(pairs ...string) {
	for _, pair := range pairs {
		b.keep(pair+"; Path=/", host, "/", true)
	}
}

// drop takes cookies out of the jar.
func (b *browser) drop(names ...string) {
	b.jar = slices.DeleteFunc(b.jar, func(c cookie) bool { return slices.Contains(names, c.name) })
}

// copyOf is another browser with a copy of the jar: a thief's.
func (b *browser) copyOf(name string) *browser {
	thief := b.site.browser(name)
	thief.jar = slices.Clone(b.jar)
	return thief
}

// isCertificate reports whether a cookie is one of the guard's own, by its name.
func isCertificate(name string) bool { return strings.Contains(name, "oidc_guard_") }

// certificateOf is the name of a cookie's certificate.
func certificateOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	for _, prefix := range []string{"__Host-", "__Secure-"} {
		if strings.HasPrefix(name, prefix) {
			return fmt.Sprintf("%soidc_guard_%x", prefix, sum[:4])
		}
	}
	return fmt.Sprintf("oidc_guard_%x", sum[:4])
}

// withoutCertificates are the pairs of a Cookie header that are the app's.
func withoutCertificates(header string) string {
	var own []string
	for pair := range strings.SplitSeq(header, "; ") {
		if name, _, _ := strings.Cut(pair, "="); pair != "" && !isCertificate(name) {
			own = append(own, pair)
		}
	}
	return strings.Join(own, "; ")
}

// appGets fails the test unless the app gets these cookies, certificates aside, with the browser's
// next request.
func (b *browser) appGets(target, want string) response {
	b.site.t.Helper()
	response := b.get(target, sets())
	if got := withoutCertificates(response.cookies); !response.reached || got != want {
		b.site.t.Errorf("%s at %s: the app gets %q (reached: %v, status %d), want %q", b.name, target, got, response.reached, response.StatusCode, want)
	}
	return response
}

// certified fails the test unless just these cookies of the jar have a certificate, with the same
// attributes.
func (b *browser) certified(want ...string) {
	b.site.t.Helper()
	var got []string
	for _, c := range b.jar {
		if isCertificate(c.name) {
			continue
		}
		for _, other := range b.jar {
			same := other
			same.name, same.value = c.name, c.value
			if other.name == certificateOf(c.name) && same == c {
				got = append(got, c.name)
			}
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		b.site.t.Errorf("certified are %q, want %q; the jar has %+v", got, want, b.jar)
	}
	if n := len(slices.DeleteFunc(b.names(), func(name string) bool { return !isCertificate(name) })); n != len(want) {
		b.site.t.Errorf("there are %d certificates for %q: %q", n, want, b.names())
	}
}

// names are those that the registry has of the site's cookies.
func (s *site) names() (names []string) {
	s.t.Helper()
	recorded, err := s.Env.Registry.CookieNames(s.t.Context(), host)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, n := range recorded {
		names = append(names, n.Name)
	}
	return names
}

// logged returns the lines of the log that begin so.
func (s *site) logged(message string) (fields []map[string]any) {
	for _, entry := range s.Logs.All() {
		if strings.HasPrefix(entry.Message, message) {
			fields = append(fields, entry.ContextMap())
		}
	}
	return fields
}

func newRequest(target string) *http.Request { return httptest.NewRequest(http.MethodGet, target, nil) }

// another is another server's guard over the same registry and keys, which starts as it is set.
func (s *site) another(configure ...func(*guard.Guard)) *site {
	s.t.Helper()
	other := &site{World: s.World, t: s.t, context: s.context}
	other.restart(configure...)
	return other
}

// at has the browser be at another server of the site.
func (b *browser) at(other *site) *browser {
	moved := *b
	moved.site = other
	return &moved
}
