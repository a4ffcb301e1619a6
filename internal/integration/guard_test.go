package integration

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// guardGlobal keeps a test's sessions, and the names of its apps' cookies, to itself.
const guardGlobal = "{\n\tskip_install_trust\n\toidc_session {\n\t\tstore memory\n\t}\n}\n"

// guardedOP is the site of an OP whose apps are guarded.
func guardedOP(s site, op *scriptedOP) string {
	return s.issuer + " {\n\tbind 127.0.0.1\n\toidc_session {\n\t\tissuer " + s.issuer + "\n\t\tlogin_cookie login\n\t}\n\t" + op.proxy() + "\n}\n"
}

// readmeExample returns the Caddyfile of the README that has some text in it, with other names in place of its own, on loopback.
func readmeExample(t *testing.T, having string, names ...string) string {
	t.Helper()
	found := slices.DeleteFunc(blocks(readme(t), "caddyfile"), func(block string) bool { return !strings.Contains(block, having) })
	if len(found) != 1 {
		t.Fatalf("%d examples have %q", len(found), having)
	}
	for i := 0; i < len(names); i += 2 {
		if !strings.Contains(found[0], names[i]) {
			t.Fatalf("the example with %q has no %q", having, names[i])
		}
	}
	config := strings.NewReplacer(names...).Replace(found[0])
	var sites strings.Builder
	for line := range strings.Lines(config) {
		sites.WriteString(line)
		if strings.HasPrefix(line, "http://") {
			sites.WriteString("\tbind 127.0.0.1\n")
		}
	}
	return sites.String()
}

func TestTheReadmesGuardSignsUsersOutOfAnAppThatHasNoLogout(t *testing.T) {
	site := newSite(t)
	op, app := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "app")
	example := readmeExample(t, "oidc_guard\n\treverse_proxy localhost:3000", "op.example.com {", site.issuer+" {", "https://op.example.com", site.issuer,
		"sessionid", "login", "reverse_proxy localhost:8000", op.proxy(), "app.example.com", app.origin, "localhost:3000", app.address())
	runCaddy(t, t.TempDir(), guardGlobal+example)
	alice := newVisitor(t)
	alice.expectUser(app, "")
	alice.signIn(app.origin+"/login", "alice")
	alice.expectUser(app, "alice")
	thief := alice.copyOf(app.origin, "")
	thief.expectUser(app, "alice")
	bob := newVisitor(t)
	bob.signIn(app.origin+"/login", "bob")

	signedOut := alice.get(site.issuer + endSessionPath)
	if !strings.Contains(signedOut.body, "Sign out") {
		t.Fatalf("the endpoint says %s %s", signedOut.Status, signedOut.body)
	}
	alice.expectUser(app, "alice") // who has only been asked
	alice.get(site.issuer + "/logout")
	thief.expectUser(app, "")
	alice.expectUser(app, "")
	if names := alice.cookies(app.origin); len(names) > 0 {
		t.Errorf("the browser still has %q", names)
	}
	if len(app.sessions) != 2 {
		t.Errorf("the app itself has %d sessions", len(app.sessions))
	}
	bob.expectUser(app, "bob")

	alice.signIn(app.origin+"/login", "alice")
	alice.expectUser(app, "alice")
	thief.expectUser(app, "")
}

// The quick start is the first thing that anybody runs.
func TestAnEndOfTheSessionByEndSessionEndsTheAppsOfTheQuickStart(t *testing.T) {
	site := newSite(t)
	op, app := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "app")
	example := readmeExample(t, "oidc_guard\n\treverse_proxy localhost:9000", "op.example.com {", site.issuer+" {", "https://op.example.com", site.issuer,
		"sessionid", "login", "reverse_proxy localhost:8000", op.proxy(), "app.example.com", app.origin, "localhost:9000", app.address())
	runCaddy(t, t.TempDir(), guardGlobal+example)
	alice := newVisitor(t)
	alice.signIn(app.origin+"/login", "alice")
	alice.expectUser(app, "alice")
	alice.endSession(site, app)
	alice.expectUser(app, "")
}

func TestAReloadKeepsTheSessionsOfGuardedApps(t *testing.T) {
	site := newSite(t)
	op, app, storage := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "app"), t.TempDir()
	config := guardGlobal + guardedOP(site, op) + app.site("oidc_guard {\n\t\tadopt 0\n\t}")
	runCaddy(t, storage, config)
	alice, bob := newVisitor(t), newVisitor(t)
	alice.signIn(app.origin+"/login", "alice")
	bob.signIn(app.origin+"/login", "bob")
	bare := alice.copyOf(app.origin, app.cookie())
	loadCaddy(t, storage, strings.Replace(config, "adopt 0", "adopt 0\n\t\tclear_site_data", 1))
	for range 2 {
		alice.expectUser(app, "alice")
		bob.expectUser(app, "bob")
	}
	bare.expectUser(app, "")
	alice.get(site.issuer + "/logout")
	loadCaddy(t, storage, config)
	alice.expectUser(app, "")
	bob.expectUser(app, "bob")
}

// A guard that is switched on signs nobody out; one that is switched off leaves nothing behind that the app would miss.
func TestTheGuardMayBeSwitchedOnAndOff(t *testing.T) {
	site := newSite(t)
	op, app, storage := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "app"), t.TempDir()
	without := guardGlobal + guardedOP(site, op) + app.site("")
	with := guardGlobal + guardedOP(site, op) + app.site("oidc_guard")
	runCaddy(t, storage, without)
	alice, bob := newVisitor(t), newVisitor(t)
	alice.signIn(app.origin+"/login", "alice")
	loadCaddy(t, storage, with)
	alice.expectUser(app, "alice")
	bob.signIn(app.origin+"/login", "bob")
	alice.expectUser(app, "alice")
	if names := alice.cookies(app.origin); len(names) != 2 {
		t.Errorf("the adopted browser has %q", names)
	}
	alice.get(site.issuer + "/logout")
	alice.expectUser(app, "alice") // whose session is not known
	bob.get(site.issuer + "/logout")
	bob.expectUser(app, "")
	loadCaddy(t, storage, without)
	alice.expectUser(app, "alice")
}

func TestTwoOPsAndTwoAppsInOneCaddyDoNotMix(t *testing.T) {
	first := newSite(t)
	second := site{port: first.port, issuer: strings.Replace(first.issuer, "op.", "id.", 1)}
	op1, op2 := newScriptedOP(t, first.issuer), newScriptedOP(t, second.issuer)
	shop, wiki := newGuardedApp(t, first, "shop"), newGuardedApp(t, second, "wiki")
	blog := newGuardedApp(t, first, "blog") // guarded for sessions of the second OP only
	runCaddy(t, t.TempDir(), guardGlobal+guardedOP(first, op1)+guardedOP(second, op2)+
		shop.site("oidc_guard")+wiki.site("oidc_guard {\n\t\tissuer "+second.issuer+"\n\t}")+blog.site("oidc_guard {\n\t\tissuer "+second.issuer+"\n\t}"))
	alice := newVisitor(t)
	for _, app := range []*guardedApp{shop, wiki, blog} {
		alice.signIn(app.origin+"/login", "alice")
		alice.expectUser(app, "alice")
	}
	alice.get(first.issuer + "/logout")
	alice.expectUser(shop, "")
	alice.expectUser(wiki, "alice")
	alice.expectUser(blog, "alice")
	alice.signIn(shop.origin+"/login", "alice")
	alice.get(second.issuer + "/logout")
	alice.expectUser(shop, "alice")
	alice.expectUser(wiki, "")
}

// What a certificate names counts at its own host only.
func TestAnAppsCookiesAreWorthNothingAtAnothersSite(t *testing.T) {
	site := newSite(t)
	op, shop, wiki := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "shop"), newGuardedApp(t, site, "wiki")
	strict := "oidc_guard {\n\t\tadopt 0\n\t}"
	runCaddy(t, t.TempDir(), guardGlobal+guardedOP(site, op)+shop.site(strict)+wiki.site(strict))
	alice := newVisitor(t)
	alice.signIn(shop.origin+"/login", "alice")
	alice.expectUser(shop, "alice")
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, wiki.origin+"/", http.NoBody)
	for _, c := range alice.at(shop.origin) {
		r.AddCookie(c)
	}
	newVisitor(t).do(r)
	if got := wiki.asked.to("/").Header.Get("Cookie"); strings.Contains(got, "shop_session") {
		t.Errorf("the wiki got %q", got)
	}
}

// A proxy that signs users in for an app is guarded like an app: forward_auth does not get its cookie.
func TestTheReadmesGuardStandsBeforeForwardAuth(t *testing.T) {
	site := newSite(t)
	op, proxy, wiki := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "wiki"), newGuardedApp(t, site, "behind")
	example := readmeExample(t, "forward_auth", "wiki.example.com", proxy.origin, "localhost:4180", proxy.address(), "localhost:3000", wiki.address())
	runCaddy(t, t.TempDir(), guardGlobal+guardedOP(site, op)+example)
	alice := newVisitor(t)
	const behind = `behind: user ""`
	if got := alice.signIn(proxy.origin+"/", "alice"); got.body != behind {
		t.Fatalf("after sign-in: %s %s", got.Status, got.body)
	}
	if got := alice.get(proxy.origin + "/page"); got.body != behind || got.Request.URL.Path != "/page" {
		t.Errorf("signed in: %s at %s: %s", got.Status, got.Request.URL, got.body)
	}
	thief := alice.copyOf(proxy.origin, "")
	alice.get(site.issuer + "/logout")
	for name, v := range map[string]*visitor{"the thief": thief, "alice": alice} {
		if got := v.get(proxy.origin + "/page"); !strings.Contains(got.body, "Who are you") {
			t.Errorf("%s after sign-out: %s at %s: %s", name, got.Status, got.Request.URL, got.body)
		}
		if got := proxy.asked.to("/oauth2/auth").Header.Get("Cookie"); strings.Contains(got, proxy.cookie()) {
			t.Errorf("for %s, forward_auth got %q", name, got)
		}
	}
}

func TestTheReadmesPageIsShownOnceWhenASessionHasEnded(t *testing.T) {
	site := newSite(t)
	op, app := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "app")
	example := readmeExample(t, "handle_errors", "app.example.com", app.origin, "localhost:3000", app.address())
	runCaddy(t, t.TempDir(), guardGlobal+guardedOP(site, op)+example)
	alice := newVisitor(t)
	alice.signIn(app.origin+"/login", "alice")
	alice.get(site.issuer + "/logout")
	got := alice.get(app.origin + "/")
	if got.StatusCode != http.StatusUnauthorized || !strings.Contains(got.body, "You have signed out") || got.Header.Get("Content-Type") != "text/html" {
		t.Errorf("got %s %v: %s", got.Status, got.Header, got.body)
	}
	alice.expectUser(app, "")
}

// All sites on a port are one server, whose routes for errors are those of all.
func TestTheHandleErrorsOfAnotherSiteOrStatusLeavesTheGuardItsPage(t *testing.T) {
	site := newSite(t)
	op, app := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "app")
	other := newGuardedApp(t, site, "other")
	runCaddy(t, t.TempDir(), guardGlobal+guardedOP(site, op)+
		other.site("handle_errors {\n\t\trespond oops\n\t}")+
		app.site("oidc_guard {\n\t\ton_logout 401\n\t}\n\thandle_errors 404 5xx {\n\t\trespond oops\n\t}"))
	alice := newVisitor(t)
	alice.signIn(app.origin+"/login", "alice")
	alice.get(site.issuer + "/logout")
	got := alice.get(app.origin + "/")
	if got.StatusCode != http.StatusUnauthorized || !strings.Contains(got.body, "Your session has ended") {
		t.Errorf("got %s %q", got.Status, got.body)
	}
	alice.expectUser(app, "")
}

func TestARefusalLeadsWhereTheCaddyfileSays(t *testing.T) {
	site := newSite(t)
	op, app := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "app")
	runCaddy(t, t.TempDir(), guardGlobal+guardedOP(site, op)+app.site("oidc_guard {\n\t\ton_logout redirect {scheme}://{hostport}/bye?from={path}\n\t}"))
	alice := newVisitor(t)
	alice.signIn(app.origin+"/login", "alice")
	alice.get(site.issuer + "/logout")
	got := alice.get(app.origin + "/page")
	if want := app.origin + "/bye?from=/page"; got.Request.URL.String() != want || got.StatusCode != http.StatusOK {
		t.Errorf("got %s at %s, want %s", got.Status, got.Request.URL, want)
	}
	if got := alice.get(app.origin + "/page"); got.Request.URL.Path != "/page" {
		t.Errorf("again at %s", got.Request.URL)
	}
}

func TestThePlaceholdersOfTheGuardSayWhoseSessionItIs(t *testing.T) {
	site := newSite(t)
	op, app := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "app")
	runCaddy(t, t.TempDir(), guardGlobal+strings.Replace(guardedOP(site, op), "reverse_proxy", "respond /me {http.oidc_session.id}\n\treverse_proxy", 1)+
		app.site("oidc_guard\n\trespond /who \"<{http.oidc_guard.session}> <{http.oidc_guard.subject}> <{http.oidc_guard.refused}>\""))
	const unknown = "<{http.oidc_guard.session}> <{http.oidc_guard.subject}> <{http.oidc_guard.refused}>"
	alice := newVisitor(t)
	if got := alice.get(app.origin + "/who").body; got != unknown {
		t.Errorf("before sign-in: %s", got)
	}
	alice.signIn(app.origin+"/login", "alice")
	session := alice.get(site.issuer + "/me").body
	if got, want := alice.get(app.origin+"/who").body, "<"+session+"> <alice> <{http.oidc_guard.refused}>"; got != want {
		t.Errorf("signed in: %s, want %s", got, want)
	}
	alice.get(site.issuer + "/logout")
	if got, want := alice.get(app.origin+"/who").body, strings.Replace(unknown, "{http.oidc_guard.refused}", app.cookie(), 1); got != want {
		t.Errorf("signed out: %s, want %s", got, want)
	}
	if got := alice.get(app.origin + "/who").body; got != unknown {
		t.Errorf("afterwards: %s", got)
	}
}

func TestAGuardWithoutAnOPIsWarnedOfAtStart(t *testing.T) {
	const warning = "oidc_guard cannot see the sessions of any OpenID Provider"
	site := newSite(t)
	op, app, storage := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "app"), t.TempDir()
	alone := guardGlobal + app.site("oidc_guard")
	log := runLogged(t, storage, alone)
	if line := lineWith(log, warning); !strings.Contains(line, `"level":"warn"`) || !strings.Contains(line, `"advice":"have the provider's site`) {
		t.Errorf("the log has %q", line)
	}
	newVisitor(t).expectUser(app, "")
	for name, config := range map[string]string{
		"with an OP":      guardedOP(site, op) + app.site("oidc_guard"),
		"with an OP last": app.site("oidc_guard") + guardedOP(site, op),
		"without a guard": app.site(""),
	} {
		log := newTextLog(t, t.Name()+name)
		loadLoggedTo(t, t.Name()+name, storage, guardGlobal+config)
		if log.has(warning) {
			t.Errorf("%s: %s", name, lineWith(log, warning))
		}
	}
}

// One line a session says why a user was signed out; no line has what a thief could use.
func TestARefusalIsInTheLogOnceForEachSession(t *testing.T) {
	site := newSite(t)
	op, app := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "app")
	log := runLogged(t, t.TempDir(), guardGlobal+guardedOP(site, op)+app.site("oidc_guard {\n\t\tadopt 0\n\t}"))
	alice := newVisitor(t)
	alice.signIn(app.origin+"/login", "alice")
	thief := alice.copyOf(app.origin, "")
	alice.get(site.issuer + "/logout")
	alice.expectUser(app, "")
	for range 3 {
		thief.copyOf(app.origin, "").expectUser(app, "")
	}
	const refused = "an app's session is refused"
	line := lineWith(log, refused)
	ended := lineWith(log, "session ended")
	_, session, _ := strings.Cut(ended, `"session":"`)
	session, _, _ = strings.Cut(session, `"`)
	for _, text := range []string{`"level":"info"`, `"host":"app.localhost"`, `"cookie":"app_session"`, `"session":"` + session + `"`} {
		if session == "" || !strings.Contains(line, text) {
			t.Errorf("%s is not in %q", text, line)
		}
	}
	if n := strings.Count(log.String(), refused); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	for value := range app.sessions {
		if log.has(value) {
			t.Error("the log has the app's cookie")
		}
	}
}

// A session is not bound that the app has signed in to past Caddy: somebody has to learn of it.
func TestAnAppThatRedeemsItsCodesPastCaddyIsNamedInTheLog(t *testing.T) {
	site := newSite(t)
	op, app := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "app")
	log := runLogged(t, t.TempDir(), guardGlobal+guardedOP(site, op)+app.site("oidc_guard"))
	app.token = op.server.URL + "/token"
	for range 3 {
		alice := newVisitor(t)
		alice.signIn(app.origin+"/login", "alice")
		alice.expectUser(app, "alice")
	}
	if line := lineWith(log, "an app's sign-ins are not guarded"); !strings.Contains(line, `"host":"app.localhost"`) {
		t.Errorf("the log has %q", line)
	}
}

func TestTheSignedOutPageSaysThatGuardedAppsAreSignedOutOf(t *testing.T) {
	site := newSite(t)
	op, app, wiki := newScriptedOP(t, site.issuer), newGuardedApp(t, site, "app"), newGuardedApp(t, site, "wiki")
	runCaddy(t, t.TempDir(), guardGlobal+guardedOP(site, op)+app.site("oidc_guard")+wiki.site("oidc_guard"))
	alice := newVisitor(t)
	alice.signIn(app.origin+"/login", "alice")
	alice.signIn(wiki.origin+"/login", "alice")
	page := alice.endSession(site, app).body
	if told, cannot := strings.Contains(page, "You were signed out of these apps"), strings.Contains(page, "cannot be told"); !told || cannot || !strings.Contains(page, wiki.name) {
		t.Errorf("told: %v, cannot be told: %v: %s", told, cannot, page)
	}
	alice.expectUser(wiki, "")
}
