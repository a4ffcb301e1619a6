package handlers

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// ask is an authorization request with more parameters than usual, or others.
func ask(state string, more url.Values) string {
	path, raw, _ := strings.Cut(authorize(state), "?")
	query, _ := url.ParseQuery(raw)
	maps.Copy(query, more)
	return path + "?" + query.Encode()
}

// signed is a JWT with these claims, by a key that nobody knows.
func signed(t testing.TB, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("k", 32))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// posted is the page by which an OP answers.
func posted(target, fields string) string {
	return `<!doctype html><html><body onload="document.forms[0].submit()"><form method="post" action="` + html.EscapeString(target) + `">` +
		fields + `<noscript><button>Continue</button></noscript></form></body></html>`
}

func field(name, value string) string {
	return `<input type="hidden" name="` + name + `" value="` + html.EscapeString(value) + `">`
}

func respondPage(page string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "script-src 'nonce-x'")
		_, _ = io.WriteString(w, page)
	}
}

func TestFormPostResponsesGetSessionState(t *testing.T) {
	const state = `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~ and so on, to 128 characters: ------------------------------------------------------------`
	mode := url.Values{"response_mode": {"form_post"}}
	tests := []struct {
		name, target, fields string
		hops                 int
		edited               bool
	}{
		{"in one hop", callback, field("code", "c") + field("state", state), 1, true},
		{"in several hops", callback, field("code", "c") + field("state", state), 2, true},
		{"an error", callback, field("error", "access_denied") + field("state", state), 1, true},
		{"the fields in another order, with iss", callback, field("state", state) + field("iss", issuer) + field("code", "c"), 1, true},
		{"another target", "https://evil.example/cb", field("code", "c") + field("state", state), 1, false},
		{"another state", callback, field("code", "c") + field("state", "x"), 1, false},
		{"the state twice", callback, field("code", "c") + field("state", state) + field("state", state), 1, false},
		{"a login form", "/login", field("csrf", "c"), 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAgent(t, newWorld(t))
			page := posted(tt.target, tt.fields)
			response := a.get(ask(state, mode), respondPage(page))
			if tt.hops == 2 {
				a = newAgent(t, newWorld(t))
				a.get(ask(state, mode), respondPage("<form method=post action=/login>"))
				response = a.get("/interaction/1", respondPage(page))
			}
			body, _ := io.ReadAll(response.Body)
			if !tt.edited {
				if string(body) != page {
					t.Errorf("the page became %s", body)
				}
				return
			}
			forms := readForms(body)
			sent := forms[0].values.Get("session_state")
			if !sessionstate.Verify(sent, clientID, "https://rp.example.com", a.currentState()) {
				t.Errorf("session_state %q does not fit the cookie", sent)
			}
			if forms[0].values.Get("state") != state || response.Header.Get("Content-Security-Policy") != "script-src 'nonce-x'" {
				t.Error("the state or the policy changed")
			}
			if got := strings.Replace(string(body), `<input type="hidden" name="session_state" value="`+sent+`"/>`, "", 1); got != page {
				t.Errorf("other bytes changed: %s", got)
			}
			if response.Header.Get("Cache-Control") != "no-store" || response.Header.Get("Content-Length") != fmt.Sprint(len(body)) {
				t.Errorf("header is %v", response.Header)
			}
		})
	}
}

// currentState is the state that the check page would read, or that of nobody.
func (a *agent) currentState() string {
	if state := a.stateCookie(); state != "" {
		return state
	}
	return a.w.keys.AnonymousState(a.w.op.Issuer)
}

func TestCompressedFormPostPagesAreRead(t *testing.T) {
	a := newAgent(t, newWorld(t))
	var asked string
	r := httptest.NewRequest(http.MethodGet, issuer+ask("s", url.Values{"response_mode": {"form_post"}}), nil)
	r.Header.Set("Accept-Encoding", "br, gzip")
	response := a.send(r, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("Accept-Encoding")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, posted(callback, field("code", "c")+field("state", "s")))
		_ = z.Close()
	})
	body, _ := io.ReadAll(response.Body)
	if asked != "gzip" || response.Header.Get("Content-Encoding") != "" || !bytes.Contains(body, []byte(`name="session_state"`)) {
		t.Errorf("asked for %q, got %v %s", asked, response.Header, body)
	}
}

func TestLargePagesPassWhileAFormIsExpected(t *testing.T) {
	a := newAgent(t, newWorld(t))
	page := strings.Repeat("<p>large</p>", maxPage/10)
	response := a.get(ask("s", url.Values{"response_mode": {"form_post"}}), respondPage(page))
	if body, _ := io.ReadAll(response.Body); string(body) != page {
		t.Error("the page changed")
	}
	if a.pendings() != 1 {
		t.Error("the request is not awaited")
	}
}

func TestAnIDTokenInTheResponseNamesTheUserAtOnce(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	token := func(sub, audience, from string) string {
		c := w.fresh(audience, sub)
		c["iss"] = from
		return sign(t, w.key, c, nil)
	}
	implicit := func(idToken string) sessionstate.SessionID {
		a.get(ask("s", url.Values{"response_type": {"id_token"}}), redirect(callback+"#state=s&id_token="+idToken))
		return a.openS().session
	}
	first := implicit(token("alice", clientID, issuer))
	if got := w.subs(t, first); got != "alice" {
		t.Fatalf("subjects are %q", got)
	}
	w.clock.advance(time.Second)
	if again := implicit(token("alice", clientID, issuer)); again != first {
		t.Error("the same user has another session")
	}
	for name, idToken := range map[string]string{
		"of another client": token("bob", "another", issuer), "of another issuer": token("bob", clientID, "https://evil.example"), "garbled": "x.y.z",
	} {
		if again := implicit(idToken); again != first || w.subs(t, first) != "alice" {
			t.Errorf("a token %s counts", name)
		}
	}
	state := a.stateCookie()
	if second := implicit(token("bob", clientID, issuer)); second == first || w.live(t, first) || a.stateCookie() == state {
		t.Error("another user has the same session")
	}
	if strings.Contains(w.logged(), "eyJ") {
		t.Error("a token is in the log")
	}
}

// subs are the subs of a session.
func (w *world) subs(t testing.TB, id sessionstate.SessionID) string {
	t.Helper()
	var subs []string
	for _, client := range w.clients(t, id) {
		for _, s := range client.Subjects {
			subs = append(subs, s.Sub)
		}
	}
	return strings.Join(subs, " ")
}

func TestTheOPsOwnSessionStateIsKeptOrReplaced(t *testing.T) {
	const ours, itsOwn = true, false
	own := "&session_state=own.salt"
	form := posted(callback, field("code", "c")+field("session_state", "own.salt")+field("state", "s"))
	const checkPage = issuer + "/its-own-check"
	for _, tt := range []struct {
		mode     SessionState
		document metadata
		replaced bool
	}{
		{"", metadata{}, ours},
		{"", metadata{CheckSessionIframe: checkPage}, itsOwn},
		{SessionStateAuto, metadata{}, ours},
		{SessionStateAuto, metadata{CheckSessionIframe: checkPage}, itsOwn},
		{SessionStateKeep, metadata{}, itsOwn},
		{SessionStateKeep, metadata{CheckSessionIframe: checkPage}, itsOwn},
		{SessionStateReplace, metadata{}, ours},
		{SessionStateReplace, metadata{CheckSessionIframe: checkPage}, ours},
	} {
		t.Run(fmt.Sprintf("mode %s, check page %q", tt.mode, tt.document.CheckSessionIframe), func(t *testing.T) {
			w := newWorld(t)
			w.op = knownOP(t, issuer, tt.document)
			a := newAgent(t, w)
			a.sessionState = tt.mode
			got := sessionState(t, a.get(authorize("s"), redirect(callback+"?code=c"+own+"&state=s")))
			body, _ := io.ReadAll(a.get(ask("s", url.Values{"response_mode": {"form_post"}}), respondPage(form)).Body)
			replaced := sessionstate.Verify(got, clientID, "https://rp.example.com", a.stateCookie())
			if replaced != tt.replaced || !replaced && got != "own.salt" {
				t.Errorf("session_state is %q", got)
			}
			if (string(body) == form) == replaced {
				t.Errorf("the page is %s", body)
			}
			if a.openS().session.IsZero() {
				t.Error("the session is not known")
			}
		})
	}
}

func TestRequestObjectsAndPushedRequestsAreAnswered(t *testing.T) {
	object := func(t *testing.T) string {
		return signed(t, map[string]any{"client_id": clientID, "redirect_uri": callback, "state": "s", "response_mode": "form_post"})
	}
	const encrypted = "e30.e30.e30.e30.e30"
	answer := redirect(callback + "?code=c&state=s")
	push := func(a *agent, parameters url.Values) {
		a.pushed = new(Pushed)
		a.pushed.Setup(a.w.env)
		r := httptest.NewRequest(http.MethodPost, issuer+"/par", strings.NewReader(parameters.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		recorder := httptest.NewRecorder()
		err := a.pushed.Serve(a.w.op, recorder, r, handler(func(w http.ResponseWriter, r *http.Request) {
			if body, _ := io.ReadAll(r.Body); string(body) != parameters.Encode() {
				a.t.Errorf("the OP got %q", body)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"request_uri":"urn:x:1","expires_in":60}`)
		}))
		if err != nil || recorder.Code != http.StatusCreated || !strings.Contains(recorder.Body.String(), "urn:x:1") {
			a.t.Fatalf("%v, %d %s", err, recorder.Code, recorder.Body)
		}
	}
	pushed := url.Values{"client_id": {clientID}, "redirect_uri": {callback}, "state": {"s"}, "client_secret": {"secret"}}
	byURI := "/authorize?request_uri=urn:x:1&client_id=" + clientID
	tests := []struct {
		name     string
		push     url.Values
		request  func(t *testing.T) string
		response http.HandlerFunc
		want     bool
	}{
		{"a request object", nil, func(t *testing.T) string { return "/authorize?client_id=" + clientID + "&request=" + object(t) }, answer, true},
		{"a request object, answered elsewhere", nil, func(t *testing.T) string { return "/authorize?client_id=" + clientID + "&request=" + object(t) }, redirect("https://evil.example/?code=c&state=s"), false},
		{"a request object beside the parameters", nil, func(t *testing.T) string {
			return ask("other", url.Values{"request": {signed(t, map[string]any{"state": "s"})}})
		}, answer, true},
		{"an encrypted request object", nil, func(*testing.T) string { return "/authorize?client_id=" + clientID + "&request=" + encrypted }, answer, true},
		{"an encrypted request object, answered at the OP itself", nil, func(*testing.T) string { return "/authorize?client_id=" + clientID + "&request=" + encrypted }, redirect("/next?code=c&state=s"), false},
		{"an encrypted request object, answered without state or issuer", nil, func(*testing.T) string { return "/authorize?client_id=" + clientID + "&request=" + encrypted }, redirect(callback + "?code=c"), false},
		{"an encrypted request object, answered by another issuer", nil, func(*testing.T) string { return "/authorize?client_id=" + clientID + "&request=" + encrypted }, redirect(callback + "?code=c&state=s&iss=https://evil.example"), false},
		{"a pushed request", pushed, func(*testing.T) string { return byURI }, answer, true},
		{"a pushed request, answered elsewhere", pushed, func(*testing.T) string { return byURI }, redirect("https://evil.example/?code=c&state=s"), false},
		{"a pushed request of another client", pushed, func(*testing.T) string { return "/authorize?request_uri=urn:x:1&client_id=other" }, redirect("https://op.example.com/?code=c&state=s"), false},
		{"a request that was pushed to another server", nil, func(*testing.T) string { return byURI }, answer, true},
		{"a request object without a client", nil, func(*testing.T) string { return "/authorize?request=" + encrypted }, answer, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, hops := range []int{1, 2} {
				a := newAgent(t, newWorld(t))
				a.w.op.requestObjects, a.w.op.requestURIs = true, true
				a.knows(Client{ID: clientID, PostLogoutRedirectURIs: []string{bye}})
				if tt.push != nil {
					push(a, tt.push)
				}
				request := tt.request(t)
				response := a.get(request, tt.response)
				if hops == 2 {
					a.cookies = map[string]string{}
					if tt.push != nil {
						push(a, tt.push)
					}
					a.get(request, page)
					response = a.get("/login", tt.response)
				}
				if got := sessionState(t, response); (got != "") != tt.want {
					t.Errorf("after %d hops: session_state %q", hops, got)
				}
			}
		})
	}
}

func TestPushedRequestsAreForgotten(t *testing.T) {
	w := newWorld(t)
	p := new(Pushed)
	p.Setup(w.env)
	p.requests.put(hash16("urn:first"), pend(t, clientID, callback, "s"))
	if _, known := p.find("urn:first", clientID, noon.Add(pushedLifetime)); known {
		t.Error("after its lifetime it is known")
	}
	if _, known := p.find("urn:first", "other", noon); known {
		t.Error("another client knows it")
	}
	for i := range 3 * maxRecent {
		p.requests.put(hash16(fmt.Sprint("urn:", i)), pend(t, clientID, callback, "s"))
	}
	if _, known := p.find("urn:first", clientID, noon); known || len(p.requests.young)+len(p.requests.old) > 2*maxRecent {
		t.Errorf("%d are remembered", len(p.requests.young)+len(p.requests.old))
	}
}

func TestBlindRequestsAreForOPsThatTakeThem(t *testing.T) {
	for _, request := range []string{"request=e30.e30.e30.e30.e30", "request_uri=urn:x"} {
		a := newAgent(t, newWorld(t))
		response := a.get("/authorize?client_id="+clientID+"&"+request, redirect(callback+"?code=c&state=s"))
		if sessionState(t, response) != "" || a.pendings() != 0 {
			t.Errorf("%s is taken for a request", request)
		}
	}
}

func TestBlindRequestsOfSeveralClientsAreNotGuessedAt(t *testing.T) {
	a := newAgent(t, newWorld(t))
	a.w.op.requestURIs = true
	a.get("/authorize?request_uri=urn:1&client_id=one", page)
	a.get("/authorize?request_uri=urn:2&client_id=two", page)
	if got := sessionState(t, a.get("/login", redirect(callback+"?code=c&state=s"))); got != "" {
		t.Errorf("session_state is %q", got)
	}
}

func TestParametersGivenTwiceAreNotObserved(t *testing.T) {
	for _, query := range []string{
		"client_id=other&" + strings.TrimPrefix(authorize("s"), "/authorize?"),
		strings.TrimPrefix(authorize("s"), "/authorize?") + "&redirect_uri=https://evil.example/cb",
		strings.TrimPrefix(authorize("s"), "/authorize?") + "&request=" + signed(t, map[string]any{"client_id": "victim"}),
	} {
		a := newAgent(t, newWorld(t))
		a.w.op.requestObjects = true
		if got := sessionState(t, a.get("/authorize?"+query, redirect(callback+"?code=c&state=s"))); got != "" {
			t.Errorf("%s: session_state is %q", query, got)
		}
	}
	a := newAgent(t, newWorld(t))
	r := httptest.NewRequest(http.MethodPost, issuer+authorize("s"), strings.NewReader("client_id=other"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if got := sessionState(t, a.send(r, redirect(callback+"?code=c&state=s"))); got != "" {
		t.Errorf("in query and body: session_state is %q", got)
	}
}

// A page that knows an app's client ID and redirect URI asks in its name, and then uses a redirector of the OP.
func TestThreatARedirectorAnswersWithWhatItWasGiven(t *testing.T) {
	forged := signed(t, map[string]any{"iss": issuer, "aud": clientID, "sub": "nobody"})
	for _, response := range []string{callback + "?code=mallorys&state=s", callback + "#state=s&id_token=" + forged} {
		for name, path := range map[string]string{
			"escaped": "/logout?returnTo=" + url.QueryEscape(response), "escaped twice": "/x?next=" + url.QueryEscape("/y?to="+url.QueryEscape(response)),
			"as it is": "/logout?returnTo=" + strings.ReplaceAll(response, "#", "?"),
		} {
			w := newWorld(t)
			a := newAgent(t, w)
			a.signIn("alices")
			session := a.openS().session
			a.get(authorize("s"), page)
			if got := a.get(path, redirect(response)); got.Header.Get("Location") != response {
				t.Errorf("%s: Location is %s", name, got.Header.Get("Location"))
			}
			if !w.live(t, session) || a.openS().session != session {
				t.Errorf("%s: alice's session is over", name)
			}
		}
	}
}

// A page loads the authorization endpoint hundreds of times at once: as images, and in frames.
func TestThreatAPageThatAsksManyTimesDoesNotLockTheBrowserOut(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	for i := range 200 { // none of these requests carries the cookies of the others
		one := newAgent(t, w)
		r := httptest.NewRequest(http.MethodGet, issuer+authorize(fmt.Sprint(i)), nil)
		mode := "navigate"
		if i >= 100 {
			mode = "no-cors"
		}
		r.Header.Set("Sec-Fetch-Mode", mode)
		r.Header.Set("Sec-Fetch-Dest", "iframe")
		one.send(r, page)
		maps.Copy(a.cookies, one.cookies)
	}
	if n := a.pendings(); n != len(otherSlots) {
		t.Fatalf("%d pending cookies", n)
	}
	a.cookies["login"] = "x"
	var passed string
	a.get("/login", func(w http.ResponseWriter, r *http.Request) {
		passed = r.Header.Get("Cookie")
		respondPage("<p>login")(w, r)
	})
	if strings.Contains(passed, "pending") || !strings.Contains(passed, "login=x") {
		t.Errorf("the OP gets the cookies %q", passed)
	}
	if got := a.get(authorize("mine"), page); got.StatusCode != http.StatusOK || sessionState(t, a.get("/login", redirect(callback+"?code=c&state=mine"))) == "" {
		t.Error("signing in does not work any more")
	}
}

func TestTabsThatBeganToSignInAtOnceEndTogether(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.login = "login"
	// Both tabs ask before either has an answer, so each is given an ID of its own; the later cookie stays.
	two := newAgent(t, w)
	a.get(authorize("one"), page)
	two.get(authorize("two"), page)
	first := a.get("/login", redirect(callback+"?code=1&state=one"))
	if sessionState(t, first) == "" {
		t.Fatal("the first tab has no answer")
	}
	firstSession := a.openS().session
	maps.Copy(a.cookies, two.cookies)
	a.get("/login", redirect(callback+"?code=2&state=two"))
	secondSession := a.openS().session
	a.cookies["login"] = "x"
	a.get("/logout", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "login=; Max-Age=0")
		w.WriteHeader(http.StatusOK)
	})
	if firstSession == secondSession || w.live(t, firstSession) || w.live(t, secondSession) {
		t.Errorf("one session: %v; live: %v, %v", firstSession == secondSession, w.live(t, firstSession), w.live(t, secondSession))
	}
}

func TestASignOutWhileTheRegistryIsAwayIsMadeGood(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.login = "login"
	a.signIn("1")
	first := a.openS()
	up := w.down()
	a.cookies["login"] = "x"
	a.get("/logout", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Set-Cookie", "login=; Max-Age=0")
		rw.WriteHeader(http.StatusOK)
	})
	delete(a.cookies, "login")
	a.signIn("2") // by cookies alone
	second := a.openS()
	if up(); len(second.owed.ids()) != 1 || second.browser == first.browser || !w.live(t, first.session) {
		t.Fatalf("owed are %d endings", len(second.owed.ids()))
	}
	a.signIn("3")
	third := a.openS()
	if w.live(t, first.session) || !w.live(t, third.session) || third.session != second.session || len(third.owed.ids()) != 0 {
		t.Errorf("the first session lives: %v, the second goes on and is recorded: %v, %v", w.live(t, first.session),
			third.session == second.session, w.live(t, third.session))
	}
}

func TestDiscoveryReplacesTheOPsOwnCheckPage(t *testing.T) {
	document := `{"issuer":"` + issuer + `", "x":{"check_session_iframe":"inner"}, "y":"check_session_iframe", "check_session_iframe" : "https://op/own" ,"z":1e400}`
	want := strings.Replace(document, `"https://op/own"`, `"https://op.example.com/c"`, 1)
	got, err := addMembers([]byte(document), []Member{{Name: "check_session_iframe", Value: "https://op.example.com/c", Replace: true}})
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}
