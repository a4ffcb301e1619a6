package handlers

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

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// What went wrong in other products, and must not here. Each test is named after the product's advisory or finding.

// Keycloak's check page took messages from any origin and asked the server for each.
func TestThreatCVE20241249RequestFloodByTheCheckPage(t *testing.T) {
	w := newWorld(t)
	c := w.checker()
	answered := 0
	for range 10000 {
		recorder := httptest.NewRecorder()
		if status(t, c.Serve(w.op, recorder, question("client_id=a&session_state=h.s&origin=o")), recorder) == 200 {
			answered++
		}
	}
	if answered != burstPerHandle {
		t.Errorf("%d of 10000 questions at once were answered", answered)
	}
}

// ZITADEL sent browsers to javascript: URLs. An authorization response goes nowhere else because of us, and none is completed
// for a target that was not asked for.
func TestThreatCVE202567495ScriptTargets(t *testing.T) {
	for _, target := range []string{"javascript:alert(1)", "data:text/html,x", "vbscript:x", "//evil", `\\evil`, "https:evil", "///evil", `/\evil`, "https://evil\t/cb", "/%09//evil"} {
		w := newWorld(t)
		a := newAgent(t, w)
		a.get(authorize("s"), page)
		location := target + "?code=c&state=s"
		if got := a.get("/login", redirect(location)).Header.Get("Location"); got != location {
			t.Errorf("%s became %s", location, got)
		}
	}
}

// mod_auth_openidc let a quote in the OP's session_state out of a string of its page.
func TestThreatTheOPsOwnSessionStateStaysAsItIs(t *testing.T) {
	for _, state := range []string{"%27%3Balert(1)//", "%3C/script%3E", "'", ""} {
		w := newWorld(t)
		location := callback + "?code=c&state=s&session_state=" + state
		a := newAgent(t, w)
		a.sessionState = SessionStateKeep
		response := a.get(authorize("s"), redirect(location))
		if got := response.Header.Get("Location"); got != location {
			t.Errorf("%s became %s", location, got)
		}
	}
}

// mod_auth_openidc again: the check page is the same whatever the request says.
func TestThreatNothingOfTheRequestIsInTheCheckPage(t *testing.T) {
	w := newWorld(t)
	c := w.checker()
	var first string
	for _, query := range []string{"", "?poll=';</script><script>alert(1)</script>", "?client_id=%27&origin=%3C/script%3E#x"} {
		r := httptest.NewRequest("GET", checkPage+query, nil)
		r.Header.Set("Referer", "https://evil.example/</script>")
		r.AddCookie(&http.Cookie{Name: w.op.cookies.state, Value: "</script>"})
		recorder := httptest.NewRecorder()
		if err := c.Serve(w.op, recorder, r); err != nil {
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
	w := newWorld(t)
	r := httptest.NewRequest("GET", issuer+authorize("s"), nil)
	nines := strings.Repeat("9", 1<<19)
	r.Header.Set("Cookie", w.op.cookies.session+"="+nines+"; "+w.op.cookies.state+"="+nines+"; "+w.op.cookies.pending+"0="+nines)
	began := time.Now()
	response := newAgent(t, w).send(r, redirect(callback+"?code=c&state=s"))
	if took := time.Since(began); took > 20*time.Second || sessionState(t, response) == "" {
		t.Errorf("answered after %v with %v", took, response.Header)
	}
}

// 13. Headers that keep the page out of frames.
func TestThreat13TheCheckPageIsNotKeptOutOfFrames(t *testing.T) {
	w := newWorld(t)
	recorder := httptest.NewRecorder()
	recorder.Header().Set("X-Frame-Options", "SAMEORIGIN")
	recorder.Header().Set("Content-Security-Policy", "frame-ancestors 'none'")
	if err := w.checker().Serve(w.op, recorder, httptest.NewRequest("GET", checkPage, nil)); err != nil {
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
		w := newWorld(t)
		r := httptest.NewRequest("GET", issuer+strings.Replace(authorize("s"), "/authorize", path, 1), nil)
		if (&Browser{}).Involved(w.op, r) {
			t.Errorf("%s is taken for the authorization endpoint", path)
		}
	}
}

// 18. Scripts of others in the check page.
func TestThreat18TheCheckPageHasOneScriptWhichItsPolicyNames(t *testing.T) {
	w := newWorld(t)
	recorder := httptest.NewRecorder()
	if err := w.checker().Serve(w.op, recorder, httptest.NewRequest("GET", checkPage, nil)); err != nil {
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
	w := newWorld(t)
	a := newAgent(t, w)
	a.login = "sid"
	secrets := []string{"eyJ", "verysecretcode", "verysecretstate", "verysecretsub", "verysecretlogin"}
	run := func() {
		a.get(authorize("verysecretstate"), page)
		state := sessionState(t, a.get("/login", redirect(callback+"?code=verysecretcode&state=verysecretstate")))
		secrets = append(secrets, state)
		for _, value := range a.cookies {
			secrets = append(secrets, value)
		}
		token := tokenResponse(claims("verysecretsub", clientID))
		for _, body := range []string{token, strings.Replace(token, ".", "", 1), strings.Replace(token, "RS256", "none", 1), token[:60]} {
			w.redeem(t, codeForm("verysecretcode"), answering(body))
		}
		w.redeem(t, codeForm("verysecretcode"), responding(200, "application/json", "br", []byte(token)))
		w.check(t, pageCheck{clientID, state, rpOrigin, a.stateCookie()})
		a.cookies["sid"] = "verysecretlogin"
		a.get("/logout", signOut)
	}
	run()
	w.down()
	run()
	if w.logs.Len() < 6 {
		t.Errorf("logged only %s", w.logged())
	}
	for _, secret := range secrets {
		if strings.Contains(w.logged(), secret) {
			t.Errorf("%s is in the log: %s", secret, w.logged())
		}
	}
}

// 20. Identifiers that are made of one another.
func TestThreat20WhatIsGivenToBrowsersAndRPsSharesNoPart(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.login, a.cookies["sid"] = "sid", "login-cookie-value"
	state := a.signIn("authorization-code")
	sealed := a.openS()
	_, salt, _ := sessionstate.Split(state)
	unbase := func(s string) string {
		raw, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	parts := map[string]string{
		"session ID":    string(sealed.session[:]),
		"browser ID":    string(sealed.browser[:]),
		"sealed cookie": unbase(a.cookies[w.op.cookies.session]),
		"state cookie":  unbase(a.stateCookie()),
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
	w := newWorld(t)
	a := newAgent(t, w)
	signedIn := a.signIn("c")
	anonymous := sessionState(t, newAgent(t, w).get(authorize("s"), redirect(callback+"?error=login_required&state=s")))
	_, salt, _ := sessionstate.Split(signedIn)
	forged := "x." + salt[:len(salt)-4] + "AAAA"
	elsewhere := w.env
	elsewhere.Registry = newWorld(t).env.Registry

	ask := func(env Env, state string) string {
		c := CheckSession{Path: DefaultCheckSessionPath}
		c.Setup(env)
		recorder := httptest.NewRecorder()
		r := question(checkForm(pageCheck{clientID, state, rpOrigin, ""}))
		r.TLS.HandshakeComplete = true
		if err := c.Serve(w.op, recorder, r); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(recorder.Code, recorder.Header(), recorder.Body)
	}
	want := ask(w.env, forged)
	if !strings.Contains(want, "unknown") {
		t.Errorf("a forged handle is answered %s", want)
	}
	for name, got := range map[string]string{
		"another registry's":   ask(elsewhere, signedIn),
		"an anonymous handle":  ask(w.env, anonymous),
		"no handle at all":     ask(w.env, "x.y"),
		"a state with no salt": ask(w.env, "x"),
	} {
		if got != want {
			t.Errorf("%s is answered %s, a forged handle %s", name, got, want)
		}
	}
}

// 23. Redirect URIs compared otherwise than browsers and the OP do.
func TestThreat23RedirectURIsAreComparedAsBrowsersGoThere(t *testing.T) {
	for target, want := range map[string]bool{
		callback: true, "https://RP.EXAMPLE.COM/cb": true, "https://rp.example.com:443/cb": true,
		"https://rp.example.com/CB": false, "https://rp.example.com/cb/": false, "https://rp.example.com/cb/../cb": false,
		"https://rp.example.com:444/cb": false, "http://rp.example.com/cb": false, "https://rp.example.com./cb": false,
		"https://rp.example.com/%63b/": false, "https://rp.example.com%2eevil.example/cb": false,
	} {
		a := newAgent(t, newWorld(t))
		a.get(authorize("s"), page)
		location := a.get("/login", redirect(target+"?code=c&state=s")).Header.Get("Location")
		if got := strings.Contains(location, "session_state"); got != want {
			t.Errorf("%s became %s", target, location)
		}
	}
}

// An open redirect at the OP must not make session states for whoever finds it.
func TestThreatAnOpenRedirectMintsNoSessionState(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.signIn("c")
	sessions := a.openS()
	for _, target := range []string{"https://evil.example/cb", "https://rp.example.com/open", issuer + "/cb"} {
		location := target + "?code=attack&state=s"
		response := a.get("/redirect?to="+target, redirect(location))
		if response.Header.Get("Location") != location || len(response.Header["Set-Cookie"]) > 0 {
			t.Errorf("header is %v", response.Header)
		}
	}
	if clients := w.clients(t, sessions.session); len(clients) != 1 {
		t.Errorf("clients are %v", clients)
	}
}

// caddy-security kept sessions alive that were signed out.
func TestThreatCVE202421492AnOldCookieRevivesNoSession(t *testing.T) {
	w := newWorld(t)
	a, state := signedIn(t, w)
	old := maps.Clone(a.cookies)
	before := a.openS()
	a.get("/logout", signOut)
	a.cookies = maps.Clone(old)
	if a.signIn("c2"); a.openS().session == before.session || w.live(t, before.session) {
		t.Error("the session lives again")
	}
	if got := w.check(t, pageCheck{clientID, state, rpOrigin, old[w.op.cookies.state]}); got != "changed" {
		t.Errorf("the check says %s", got)
	}
	if session := w.session(t, before.session); session.Reason != registry.ReasonLoginCookie {
		t.Errorf("recorded is %+v", session)
	}
	// So many sessions have ended since that this one's end is not recorded any more.
	for i := range registry.MaxTombstones {
		a.signIn(fmt.Sprint("next ", i))
		a.cookies["sid"] = "v"
		a.get("/logout", signOut)
	}
	w.clock.advance(2 * registry.CodeLifetime)
	for range 2 { // to record it, and to find it so
		a.cookies = maps.Clone(old)
		if a.signIn("c3"); a.openS().session == before.session || w.live(t, before.session) {
			t.Error("the session lives again though its end was forgotten")
		}
	}
	if w.session(t, before.session) != nil {
		t.Error("its end is recorded still")
	}
	if got := w.check(t, pageCheck{clientID, state, rpOrigin, ""}); got != "unknown" {
		t.Errorf("then, the check says %s", got)
	}
}
