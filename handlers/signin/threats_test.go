package signin_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// What went wrong in other products, and must not here. Each test is named after the product's
// advisory or finding.

// Keycloak's check page took messages from any origin and asked the server for each.
func TestThreatCVE20241249RequestFloodByTheCheckPage(t *testing.T) {
	w := handlerstest.NewWorld(t)
	c := w.Checker()
	answered := 0
	for range 10000 {
		recorder := httptest.NewRecorder()
		if handlerstest.Status(t, c.Serve(w.OP, recorder, handlerstest.Question("client_id=a&session_state=h.s&origin=o")), recorder) == 200 {
			answered++
		}
	}
	if answered != check.BurstPerHandle {
		t.Errorf("%d of 10000 questions at once were answered", answered)
	}
}

// ZITADEL sent browsers to javascript: URLs. An authorization response goes nowhere else because
// of us, and none is completed for a target that was not asked for.
func TestThreatCVE202567495ScriptTargets(t *testing.T) {
	for _, target := range []string{"javascript:alert(1)", "data:text/html,x", "vbscript:x", "//evil", `\\evil`, "https:evil", "///evil", `/\evil`, "https://evil\t/cb", "/%09//evil"} {
		w := handlerstest.NewWorld(t)
		a := handlerstest.NewAgent(t, w)
		a.Get(handlerstest.Authorize("s"), reply.Page)
		location := target + "?code=c&state=s"
		if got := a.Get("/login", reply.Redirect(location)).Header.Get("Location"); got != location {
			t.Errorf("%s became %s", location, got)
		}
	}
}

// mod_auth_openidc let a quote in the OP's session_state out of a string of its page.
func TestThreatTheOPsOwnSessionStateStaysAsItIs(t *testing.T) {
	for _, state := range []string{"%27%3Balert(1)//", "%3C/script%3E", "'", ""} {
		w := handlerstest.NewWorld(t)
		location := handlerstest.Callback + "?code=c&state=s&session_state=" + state
		a := handlerstest.NewAgent(t, w)
		a.SessionState = handlers.SessionStateKeep
		response := a.Get(handlerstest.Authorize("s"), reply.Redirect(location))
		if got := response.Header.Get("Location"); got != location {
			t.Errorf("%s became %s", location, got)
		}
	}
}

// mod_auth_openidc again: the check page is the same whatever the request says.
func TestThreatNothingOfTheRequestIsInTheCheckPage(t *testing.T) {
	w := handlerstest.NewWorld(t)
	c := w.Checker()
	var first string
	for _, query := range []string{"", "?poll=';</script><script>alert(1)</script>", "?client_id=%27&origin=%3C/script%3E#x"} {
		r := httptest.NewRequest("GET", handlerstest.CheckPage+query, nil)
		r.Header.Set("Referer", "https://evil.example/</script>")
		r.AddCookie(&http.Cookie{Name: w.OP.Cookies.State, Value: "</script>"})
		recorder := httptest.NewRecorder()
		if err := c.Serve(w.OP, recorder, r); err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = recorder.Body.String()
		}
		if recorder.Body.String() != first {
			t.Errorf("with %q the page is another", query)
		}
	}
}

// mod_auth_openidc spent seconds on one number in a cookie.
func TestThreatCVE202424814HugeNumbersInCookies(t *testing.T) {
	w := handlerstest.NewWorld(t)
	r := httptest.NewRequest("GET", handlerstest.Issuer+handlerstest.Authorize("s"), nil)
	nines := strings.Repeat("9", 1<<19)
	r.Header.Set("Cookie", w.OP.Cookies.Session+"="+nines+"; "+w.OP.Cookies.State+"="+nines+"; "+w.OP.Cookies.Pending+"0="+nines)
	began := time.Now()
	response := handlerstest.NewAgent(t, w).Send(r, reply.Redirect(handlerstest.Callback+"?code=c&state=s"))
	if took := time.Since(began); took > 20*time.Second || handlerstest.SessionState(t, response) == "" {
		t.Errorf("answered after %v with %v", took, response.Header)
	}
}

// 13. Headers that keep the page out of frames.
func TestThreat13TheCheckPageIsNotKeptOutOfFrames(t *testing.T) {
	w := handlerstest.NewWorld(t)
	recorder := httptest.NewRecorder()
	recorder.Header().Set("X-Frame-Options", "SAMEORIGIN")
	recorder.Header().Set("Content-Security-Policy", "frame-ancestors 'none'")
	if err := w.Checker().Serve(w.OP, recorder, httptest.NewRequest("GET", handlerstest.CheckPage, nil)); err != nil {
		t.Fatal(err)
	}
	policies := strings.Join(recorder.Header().Values("Content-Security-Policy"), ",")
	if recorder.Header().Get("X-Frame-Options") != "" || strings.Contains(policies, "frame-ancestors") || strings.Contains(policies, "sandbox") {
		t.Errorf("header is %v", recorder.Header())
	}
}

// 16. Paths matched by their beginning.
func TestThreat16OnlyTheExactPathIsTheEndpoint(t *testing.T) {
	for _, path := range []string{"/authorizefoo", "/authorize/", "/authorize/x", "/Authorize", "/x/authorize", "//authorize"} {
		w := handlerstest.NewWorld(t)
		r := httptest.NewRequest("GET", handlerstest.Issuer+strings.Replace(handlerstest.Authorize("s"), "/authorize", path, 1), nil)
		if (&signin.Observer{}).Involved(w.OP, r) {
			t.Errorf("%s is taken for the authorization endpoint", path)
		}
	}
}

// 18. Scripts of others in the check page.
func TestThreat18TheCheckPageHasOneScriptWhichItsPolicyNames(t *testing.T) {
	w := handlerstest.NewWorld(t)
	recorder := httptest.NewRecorder()
	if err := w.Checker().Serve(w.OP, recorder, httptest.NewRequest("GET", handlerstest.CheckPage, nil)); err != nil {
		t.Fatal(err)
	}
	page, policy := recorder.Body.String(), recorder.Header().Get("Content-Security-Policy")
	scripts := regexp.MustCompile(`(?s)<script[^>]*>(.*?)</script>`).FindAllStringSubmatch(page, -1)
	if len(scripts) != 1 || strings.Contains(page, "://") || regexp.MustCompile(`(?i)\b(src|href)\s*=\s*["']?(https?:|//)`).MatchString(page) {
		t.Fatalf("the page is %s", page)
	}
	sum := sha256.Sum256([]byte(scripts[0][1]))
	if !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
}

// 19. Tokens in logs.
func TestThreat19NoSecretIsLogged(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.Login = "sid"
	secrets := []string{"eyJ", "verysecretcode", "verysecretstate", "verysecretsub", "verysecretlogin"}
	run := func() {
		a.Get(handlerstest.Authorize("verysecretstate"), reply.Page)
		state := handlerstest.SessionState(t, a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=verysecretcode&state=verysecretstate")))
		secrets = append(secrets, state)
		for _, value := range a.Cookies {
			secrets = append(secrets, value)
		}
		token := handlerstest.TokenResponse(handlerstest.Claims("verysecretsub", handlerstest.ClientID))
		for _, body := range []string{token, strings.Replace(token, ".", "", 1), strings.Replace(token, "RS256", "none", 1), token[:60]} {
			w.Redeem(t, handlerstest.CodeForm("verysecretcode"), reply.Answering(body))
		}
		w.Redeem(t, handlerstest.CodeForm("verysecretcode"), handlerstest.Responding(200, "application/json", "br", []byte(token)))
		w.Check(t, handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: a.StateCookie()})
		a.Cookies["sid"] = "verysecretlogin"
		a.Get("/logout", handlerstest.SignOut)
	}
	run()
	w.Down()
	run()
	if w.Logs.Len() < 6 {
		t.Errorf("logged only %s", w.Logged())
	}
	for _, secret := range secrets {
		if strings.Contains(w.Logged(), secret) {
			t.Errorf("%s is in the log: %s", secret, w.Logged())
		}
	}
}

// 20. Identifiers that are made of one another.
func TestThreat20WhatIsGivenToBrowsersAndRPsSharesNoPart(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.Login, a.Cookies["sid"] = "sid", "login-cookie-value"
	state := a.SignIn("authorization-code")
	sealed := a.OpenS()
	_, salt, _ := sessionstate.Split(state)
	unbase := func(s string) string {
		raw, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	parts := map[string]string{
		"session ID":    string(sealed.Session[:]),
		"browser ID":    string(sealed.Browser[:]),
		"sealed cookie": unbase(a.Cookies[w.OP.Cookies.Session]),
		"state cookie":  unbase(a.StateCookie()),
		"salt":          unbase(salt),
		"code":          "authorization-code",
		"login cookie":  "login-cookie-value",
	}
	for name, part := range parts {
		for other, in := range parts {
			for i := range len(part) - 4 {
				if name != other && strings.Contains(in, part[i:i+5]) {
					t.Errorf("a part of the %s is in the %s", name, other)
				}
			}
		}
	}
}

// 21. The check must not tell a forged handle, another registry's, and that of a browser which was not signed in apart.
func TestThreat21WhatIsNotKnownIsAnsweredAlikeToTheByte(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	signedIn := a.SignIn("c")
	anonymous := handlerstest.SessionState(t, handlerstest.NewAgent(t, w).Get(handlerstest.Authorize("s"), reply.Redirect(handlerstest.Callback+"?error=login_required&state=s")))
	_, salt, _ := sessionstate.Split(signedIn)
	forged := "x." + salt[:len(salt)-4] + "AAAA"
	elsewhere := w.Env
	elsewhere.Registry = handlerstest.NewWorld(t).Env.Registry

	ask := func(env handlers.Env, state string) string {
		c := check.Endpoint{Path: handlers.DefaultCheckSessionPath}
		c.Setup(env)
		recorder := httptest.NewRecorder()
		r := handlerstest.Question(handlerstest.CheckForm(handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: ""}))
		r.TLS.HandshakeComplete = true
		if err := c.Serve(w.OP, recorder, r); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(recorder.Code, recorder.Header(), recorder.Body)
	}
	want := ask(w.Env, forged)
	if !strings.Contains(want, "unknown") {
		t.Errorf("a forged handle is answered %s", want)
	}
	for name, got := range map[string]string{
		"another registry's":   ask(elsewhere, signedIn),
		"an anonymous handle":  ask(w.Env, anonymous),
		"no handle at all":     ask(w.Env, "x.y"),
		"a state with no salt": ask(w.Env, "x"),
	} {
		if got != want {
			t.Errorf("%s is answered %s, a forged handle %s", name, got, want)
		}
	}
}

// 23. Redirect URIs compared otherwise than browsers and the OP do.
func TestThreat23RedirectURIsAreComparedAsBrowsersGoThere(t *testing.T) {
	for target, want := range map[string]bool{
		handlerstest.Callback: true, "https://RP.EXAMPLE.COM/cb": true, "https://rp.example.com:443/cb": true,
		"https://rp.example.com/CB": false, "https://rp.example.com/cb/": false, "https://rp.example.com/cb/../cb": false,
		"https://rp.example.com:444/cb": false, "http://rp.example.com/cb": false, "https://rp.example.com./cb": false,
		"https://rp.example.com/%63b/": false, "https://rp.example.com%2eevil.example/cb": false,
	} {
		a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
		a.Get(handlerstest.Authorize("s"), reply.Page)
		location := a.Get("/login", reply.Redirect(target+"?code=c&state=s")).Header.Get("Location")
		if got := strings.Contains(location, "session_state"); got != want {
			t.Errorf("%s became %s", target, location)
		}
	}
}

// An open redirect at the OP must not make session states for whoever finds it.
func TestThreatAnOpenRedirectMintsNoSessionState(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.SignIn("c")
	sessions := a.OpenS()
	for _, target := range []string{"https://evil.example/cb", "https://rp.example.com/open", handlerstest.Issuer + "/cb"} {
		location := target + "?code=attack&state=s"
		response := a.Get("/redirect?to="+target, reply.Redirect(location))
		if response.Header.Get("Location") != location || len(response.Header["Set-Cookie"]) > 0 {
			t.Errorf("header is %v", response.Header)
		}
	}
	if clients := w.Clients(t, sessions.Session); len(clients) != 1 {
		t.Errorf("clients are %v", clients)
	}
}

// caddy-security kept sessions alive that were signed out.
func TestThreatCVE202421492AnOldCookieRevivesNoSession(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a, state := handlerstest.SignedIn(t, w)
	old := maps.Clone(a.Cookies)
	before := a.OpenS()
	a.Get("/logout", handlerstest.SignOut)
	a.Cookies = maps.Clone(old)
	if a.SignIn("c2"); a.OpenS().Session == before.Session || w.Live(t, before.Session) {
		t.Error("the session lives again")
	}
	if got := w.Check(t, handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: old[w.OP.Cookies.State]}); got != "changed" {
		t.Errorf("the check says %s", got)
	}
	if session := w.Session(t, before.Session); session.Reason != registry.ReasonLoginCookie {
		t.Errorf("recorded is %+v", session)
	}
	// So many sessions have ended since that this one's end is not recorded any more.
	for i := range registry.MaxTombstones {
		a.SignIn(fmt.Sprint("next ", i))
		a.Cookies["sid"] = "v"
		a.Get("/logout", handlerstest.SignOut)
	}
	w.Clock.Advance(2 * registry.CodeLifetime)
	for range 2 { // to record it, and to find it so
		a.Cookies = maps.Clone(old)
		if a.SignIn("c3"); a.OpenS().Session == before.Session || w.Live(t, before.Session) {
			t.Error("the session lives again though its end was forgotten")
		}
	}
	if w.Session(t, before.Session) != nil {
		t.Error("its end is recorded still")
	}
	if got := w.Check(t, handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: ""}); got != "unknown" {
		t.Errorf("then, the check says %s", got)
	}
}
