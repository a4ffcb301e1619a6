package integration

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/internal/freeport"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A manyOP is the OP of every issuer that it is asked as, at any host and path. It signs in whoever the parameter user names.
type manyOP struct {
	server  *httptest.Server
	fetches atomic.Int64 // of discovery documents
}

func newManyOP(t *testing.T) *manyOP {
	op := new(manyOP)
	op.server = httptest.NewServer(op)
	t.Cleanup(op.server.Close)
	return op
}

func (op *manyOP) proxy() string {
	return "reverse_proxy " + strings.TrimPrefix(op.server.URL, "http://")
}

// ServeHTTP serves an endpoint by the end of its path. The login cookie's name has the path before that.
func (op *manyOP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, endpoint, _ := strings.Cut(r.URL.Path, "/at/")
	cookie := &http.Cookie{Name: "login" + strings.ReplaceAll(path, "/", "-"), Value: rand.Text(), Path: path + "/"}
	issuer := "http://" + r.Host + path
	switch endpoint {
	case "authorize":
		answer := url.Values{"code": {rand.Text()}, "state": {r.FormValue("state")}}
		if r.FormValue("user") == "" {
			answer = url.Values{"error": {"login_required"}, "state": {r.FormValue("state")}}
		} else {
			http.SetCookie(w, cookie)
		}
		http.Redirect(w, r, r.FormValue("redirect_uri")+"?"+answer.Encode(), http.StatusFound)
	case "logout":
		cookie.Value, cookie.MaxAge = "", -1
		http.SetCookie(w, cookie)
	default:
		op.fetches.Add(1)
		issuer = strings.TrimSuffix(issuer, "/.well-known/openid-configuration")
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer, "authorization_endpoint": issuer + "/at/authorize"})
	}
}

// visit sends a browser to an issuer's authorization endpoint.
func visit(b *browser, issuer, user string) answer {
	b.t.Helper()
	clear(b.scopes) // one host: ports and paths keep no cookie of ours apart
	a := answer{clientID: "shop", origin: "https://shop.example"}
	got := b.get(issuer + "/at/authorize?" + url.Values{
		"client_id": {a.clientID}, "redirect_uri": {a.origin + "/cb"}, "response_type": {"code"}, "state": {"xyz"}, "user": {user},
	}.Encode())
	target, err := url.Parse(got.Header.Get("Location"))
	if err != nil || target.Host != "shop.example" {
		b.t.Fatalf("%s answers %s, %v", issuer, got.Status, got.Header)
	}
	a.values = target.Query()
	return a
}

// An issuerPage is what the check page of an issuer knows.
type issuerPage struct {
	issuer string
	cookie string // the name of its cookie
}

func newIssuerPage(b *browser, issuer string) issuerPage {
	b.t.Helper()
	found := regexp.MustCompile(`data-cookie="?([\w-]+)`).FindStringSubmatch(b.get(issuer + "/oidc/check-session").body)
	if found == nil {
		b.t.Fatalf("%s has no check page", issuer)
	}
	return issuerPage{issuer, found[1]}
}

// session is the name of the issuer's sealed cookie.
func (p issuerPage) session() string {
	return strings.Replace(p.cookie, "op_browser_state", "oidc_session", 1)
}

func (p issuerPage) matches(b *browser, a answer) bool {
	return sessionstate.Verify(a.sessionState(), a.clientID, a.origin, b.cookies[p.cookie])
}

// ask asks the server, as the page does where it cannot read its cookie.
func (p issuerPage) ask(t *testing.T, a answer) string {
	t.Helper()
	origin, err := sessionstate.Origin(p.issuer)
	if err != nil {
		t.Fatal(err)
	}
	asking := newBrowser(t)
	asking.header.Set("Origin", origin)
	return asking.post(p.issuer+"/oidc/check-session", url.Values{
		"client_id": {a.clientID}, "session_state": {a.sessionState()}, "origin": {a.origin},
	}).body
}

func TestIssuersDoNotMix(t *testing.T) {
	block := func(matcher, issuer, cookie string) string {
		return "\toidc_session " + matcher + " {\n\t\tissuer " + issuer + "\n\t\tlogin_cookie " + cookie + "\n\t}\n"
	}
	site := func(address, directives string) string {
		return address + " {\n\tbind 127.0.0.1\n" + directives + "\tPROXY\n}\n"
	}
	type config struct{ caddyfile, first, second string }
	tests := map[string]func(base, port, host string) config{
		"with paths on one host": func(base, _, _ string) config {
			return config{site(base, block("", base+"/a", "login-a")+block("", base+"/b", "login-b")), base + "/a", base + "/b"}
		},
		"with paths on one host, and matchers": func(base, _, _ string) config {
			return config{site(base, block("/a/*", base+"/a", "login-a")+block("/b/*", base+"/b", "login-b")), base + "/a", base + "/b"}
		},
		"one with a path, one without": func(base, _, _ string) config {
			return config{site(base, block("", base, "login")+block("", base+"/b", "login-b")), base, base + "/b"}
		},
		"on two ports of one host": func(base, port, _ string) config {
			return config{site(base, block("", base, "login")) + site(port, block("", port, "login")), base, port}
		},
		"on two hosts": func(base, _, host string) config {
			return config{site(base, block("", base, "login")) + site(host, block("", host, "login")), base, host}
		},
		"on two hosts of one site": func(base, _, host string) config {
			return config{site(base+", "+host, block("", base, "login")+block("", host, "login")), base, host}
		},
	}
	for name, of := range tests {
		t.Run(name, func(t *testing.T) {
			op := newManyOP(t)
			base := newSite(t)
			tt := of(base.issuer, newSite(t).issuer, fmt.Sprintf("http://second.localhost:%d", base.port))
			runCaddy(t, t.TempDir(), strings.ReplaceAll(tt.caddyfile, "PROXY", op.proxy()))
			expectApart(t, tt.first, tt.second)
			expectApart(t, tt.second, tt.first)
		})
	}
}

// expectApart tries whether anything of the first issuer means something at the second.
func expectApart(t *testing.T, first, second string) {
	t.Helper()
	b := newBrowser(t)
	one, two := newIssuerPage(b, first), newIssuerPage(b, second)
	a1, a2 := visit(b, first, "alice"), visit(b, second, "bob")
	if one.cookie == two.cookie || b.cookies[one.cookie] == b.cookies[two.cookie] {
		t.Fatal("two issuers have one cookie or one browser state")
	}
	if !one.matches(b, a1) || !two.matches(b, a2) || one.ask(t, a1) != "unchanged" || two.ask(t, a2) != "unchanged" {
		t.Errorf("after both sign-ins: cookies match: %v, %v; the server says %s, %s", one.matches(b, a1), two.matches(b, a2), one.ask(t, a1), two.ask(t, a2))
	}
	if got := two.ask(t, a1); got != "unknown" {
		t.Errorf("the session_state of one issuer is %q at the other", got)
	}

	swapped, states := newBrowser(t), []string{b.cookies[one.cookie], b.cookies[two.cookie]}
	swapped.cookies[two.session()] = b.cookies[one.session()]
	visit(swapped, second, "mallory")
	if got := swapped.cookies[two.cookie]; got == "" || got == states[0] || got == states[1] {
		t.Error("the sealed cookie of one issuer opens at the other")
	}

	clear(b.scopes)
	b.get(first + "/at/logout")
	if one.matches(b, a1) || one.ask(t, a1) != "changed" {
		t.Error("the sign-out is not noticed")
	}
	if !two.matches(b, a2) || two.ask(t, a2) != "unchanged" {
		t.Errorf("signing out of one issuer signed out of the other: cookie matches: %v, the server says %s", two.matches(b, a2), two.ask(t, a2))
	}
	nobody := newBrowser(t)
	if e1, e2 := visit(nobody, first, ""), visit(nobody, second, ""); !one.matches(nobody, e1) || !two.matches(nobody, e2) ||
		nobody.cookies[one.cookie] == nobody.cookies[two.cookie] {
		t.Error("browsers that are not signed in have one state at both issuers")
	}
}

// Realms of one OP have login cookies of one name, at their own paths.
func TestASignOutBelowAnotherIssuersPathIsThatIssuersOwn(t *testing.T) {
	base := newSite(t).issuer
	op := newManyOP(t)
	config := base + " {\n\tbind 127.0.0.1\n"
	for _, realm := range []string{"/a", "/b"} {
		config += "\toidc_session {\n\t\tissuer " + base + realm + "\n\t\tlogin_cookie login\n\t}\n"
	}
	proxy := op.proxy() + " {\n\t\theader_down Set-Cookie login-[ab]= login=\n\t}\n}\n"
	runCaddy(t, t.TempDir(), config+"\t"+proxy)
	b := newBrowser(t)
	one, two := newIssuerPage(b, base+"/a"), newIssuerPage(b, base+"/b")
	a1, a2 := visit(b, base+"/a", "alice"), visit(b, base+"/b", "alice")
	clear(b.scopes)
	b.get(base + "/b/at/logout")
	if !one.matches(b, a1) || one.ask(t, a1) != "unchanged" {
		t.Errorf("cookie matches: %v, the server says %s", one.matches(b, a1), one.ask(t, a1))
	}
	if two.matches(b, a2) || two.ask(t, a2) != "changed" {
		t.Error("the sign-out is not noticed")
	}
}

func TestAnOPOnASecondSiteIsItsIssuersOnly(t *testing.T) {
	for name, block := range map[string]string{
		"which discovers the issuer":    "oidc_session\n\t",
		"with an issuer configured":     directives,
		"which has nothing of ours":     "",
		"with one elsewhere configured": strings.ReplaceAll(directives, "ISSUER", "http://elsewhere.localhost"),
	} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t)
			op := newScriptedOP(t, site.issuer)
			second := fmt.Sprintf("http://alias.localhost:%d", freeport.Hold(t))
			block := strings.ReplaceAll(block, "ISSUER", site.issuer)
			runCaddy(t, t.TempDir(), site.caddyfile("", directives+op.proxy())+second+" {\n\tbind 127.0.0.1\n\t"+block+op.proxy()+"\n}\n")
			stranger := newBrowser(t)
			got := stranger.get(second + "/authorize?" + url.Values{
				"client_id": {"shop"}, "redirect_uri": {"https://shop.example/cb"}, "state": {"x"}, "prompt": {"none"},
			}.Encode())
			if location := got.Header.Get("Location"); !strings.Contains(location, "login_required") || strings.Contains(location, "session_state") || stranger.cookie("__Host-") != "" {
				t.Errorf("at the second site: %s, cookies %v", location, stranger.cookies)
			}
			b := newBrowser(t)
			if a := b.authorize(site, "shop", "alice", nil); !b.matches(a) || b.ask(site, a) != "unchanged" {
				t.Error("at the issuer's own site, sign-in has no session_state that holds")
			}
		})
	}
}

func TestAnIssuerOnTwoListenersHasOneSetOfSessions(t *testing.T) {
	site, second := newSite(t), freeport.Hold(t)
	op := newScriptedOP(t, site.issuer)
	inner := fmt.Sprintf("http://op.localhost:%d {\n\tbind 127.0.0.1\n\t%s\n}\n", second, strings.ReplaceAll(directives, "ISSUER", site.issuer)+op.proxy())
	runCaddy(t, t.TempDir(), site.caddyfile("", directives+op.proxy())+inner)
	b := newBrowser(t)
	a := b.authorize(site, "shop", "alice", nil)
	b.client.Transport = dialing(t, second) // as the issuer, by the other way
	wiki := b.authorize(site, "wiki", "", nil)
	if !b.matches(a) || !b.matches(wiki) || b.ask(site, wiki) != "unchanged" || questionAt(t, b, site, a) != "unchanged" {
		t.Error("a session of one listener is none at the other")
	}
	b.signOut(site, op)
	if b.matches(a) || b.ask(site, a) != "changed" || b.ask(site, wiki) != "changed" {
		t.Error("a sign-out at one listener is none at the other")
	}
}

func TestAForgedHostNamesNoIssuerAndMakesNoFetch(t *testing.T) {
	sites := map[string]string{
		"a site for one host, which discovers the issuer": "http://HOST {\n\tbind 127.0.0.1\n\toidc_session\n\tPROXY\n}\n",
		"a site for one host":                             "http://HOST {\n\tbind 127.0.0.1\n\toidc_session {\n\t\tissuer http://HOST\n\t}\n\tPROXY\n}\n",
		"a site for any host":                             "http://:PORT {\n\tbind 127.0.0.1\n\toidc_session {\n\t\tissuer http://HOST\n\t}\n\tPROXY\n}\n",
	}
	forged := []string{
		"evil.example", "evil.example:PORT", "op.localhost:1", "HOST.evil.example", "op.localhost.:PORT", "evil.HOST", "127.0.0.1:PORT", "HOST1",
	}
	query := "/at/authorize?client_id=shop&redirect_uri=https%3A%2F%2Fshop.example%2Fcb&response_type=code&state=x&user="
	for name, config := range sites {
		t.Run(name, func(t *testing.T) {
			port := strconv.Itoa(freeport.Hold(t))
			genuine := "op.localhost:" + port
			named := strings.NewReplacer("HOST", genuine, "PORT", port)
			op := newManyOP(t)
			runCaddy(t, t.TempDir(), named.Replace(strings.Replace(config, "PROXY", op.proxy(), 1)))
			client := newBrowser(t).client
			for _, host := range forged {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+genuine+query+"mallory", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				r.Host = named.Replace(host)
				r.Header.Set("Cookie", "login=x")
				r.Header.Set("X-Forwarded-Host", genuine)
				got, _ := do(t, client, r)
				if strings.Contains(got.Header.Get("Location"), "session_state") || strings.Contains(fmt.Sprint(got.Cookies()), "__Host-") {
					t.Errorf("Host %q: %v", r.Host, got.Header)
				}
			}
			if n := op.fetches.Load(); n != 0 {
				t.Errorf("%d fetches", n)
			}
			b := newBrowser(t)
			page := newIssuerPage(b, "http://"+genuine)
			if a := visit(b, "http://"+genuine, "alice"); !page.matches(b, a) {
				t.Error("the issuer itself is not known afterwards")
			}
			if n := op.fetches.Load(); n != 1 {
				t.Errorf("%d fetches for the issuer", n)
			}
		})
	}
}
