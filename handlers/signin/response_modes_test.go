package signin_test

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

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

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

func field(name, value string) string {
	return `<input type="hidden" name="` + name + `" value="` + html.EscapeString(value) + `">`
}

func TestFormPostResponsesGetSessionState(t *testing.T) {
	const state = `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~ and so on, to 128 characters: ------------------------------------------------------------`
	mode := url.Values{"response_mode": {"form_post"}}
	tests := []struct {
		name, target, fields string
		hops                 int
		edited               bool
	}{
		{"in one hop", handlerstest.Callback, field("code", "c") + field("state", state), 1, true},
		{"in several hops", handlerstest.Callback, field("code", "c") + field("state", state), 2, true},
		{"an error", handlerstest.Callback, field("error", "access_denied") + field("state", state), 1, true},
		{"the fields in another order, with iss", handlerstest.Callback, field("state", state) + field("iss", handlerstest.Issuer) + field("code", "c"), 1, true},
		{"another target", "https://evil.example/cb", field("code", "c") + field("state", state), 1, false},
		{"another state", handlerstest.Callback, field("code", "c") + field("state", "x"), 1, false},
		{"the state twice", handlerstest.Callback, field("code", "c") + field("state", state) + field("state", state), 1, false},
		{"a login form", "/login", field("csrf", "c"), 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
			page := handlerstest.Posted(tt.target, tt.fields)
			response := a.Get(handlerstest.Ask(state, mode), handlerstest.RespondPage(page))
			if tt.hops == 2 {
				a = handlerstest.NewAgent(t, handlerstest.NewWorld(t))
				a.Get(handlerstest.Ask(state, mode), handlerstest.RespondPage("<form method=post action=/login>"))
				response = a.Get("/interaction/1", handlerstest.RespondPage(page))
			}
			body, _ := io.ReadAll(response.Body)
			if !tt.edited {
				if string(body) != page {
					t.Errorf("the page became %s", body)
				}
				return
			}
			forms := exchange.ReadForms(body)
			sent := forms[0].Values.Get("session_state")
			if !sessionstate.Verify(sent, handlerstest.ClientID, "https://rp.example.com", a.CurrentState()) {
				t.Errorf("session_state %q does not fit the cookie", sent)
			}
			if forms[0].Values.Get("state") != state || response.Header.Get("Content-Security-Policy") != "script-src 'nonce-x'" {
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

func TestCompressedFormPostPagesAreRead(t *testing.T) {
	a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
	var asked string
	r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.Ask("s", url.Values{"response_mode": {"form_post"}}), nil)
	r.Header.Set("Accept-Encoding", "br, gzip")
	response := a.Send(r, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("Accept-Encoding")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, handlerstest.Posted(handlerstest.Callback, field("code", "c")+field("state", "s")))
		_ = z.Close()
	})
	body, _ := io.ReadAll(response.Body)
	if asked != "gzip" || response.Header.Get("Content-Encoding") != "" || !bytes.Contains(body, []byte(`name="session_state"`)) {
		t.Errorf("asked for %q, got %v %s", asked, response.Header, body)
	}
}

func TestLargePagesPassWhileAFormIsExpected(t *testing.T) {
	a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
	page := strings.Repeat("<p>large</p>", exchange.MaxPage/10)
	response := a.Get(handlerstest.Ask("s", url.Values{"response_mode": {"form_post"}}), handlerstest.RespondPage(page))
	if body, _ := io.ReadAll(response.Body); string(body) != page {
		t.Error("the page changed")
	}
	if a.Pendings() != 1 {
		t.Error("the request is not awaited")
	}
}

func TestAnIDTokenInTheResponseNamesTheUserAtOnce(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	token := func(sub, audience, from string) string {
		c := w.Fresh(audience, sub)
		c["iss"] = from
		return handlerstest.Sign(t, w.Key, c, nil)
	}
	implicit := func(idToken string) sessionstate.SessionID {
		a.Get(handlerstest.Ask("s", url.Values{"response_type": {"id_token"}}), reply.Redirect(handlerstest.Callback+"#state=s&id_token="+idToken))
		return a.OpenS().Session
	}
	first := implicit(token("alice", handlerstest.ClientID, handlerstest.Issuer))
	if got := w.Subs(t, first); got != "alice" {
		t.Fatalf("subjects are %q", got)
	}
	w.Clock.Advance(time.Second)
	if again := implicit(token("alice", handlerstest.ClientID, handlerstest.Issuer)); again != first {
		t.Error("the same user has another session")
	}
	for name, idToken := range map[string]string{
		"of another client": token("bob", "another", handlerstest.Issuer), "of another issuer": token("bob", handlerstest.ClientID, "https://evil.example"), "garbled": "x.y.z",
	} {
		if again := implicit(idToken); again != first || w.Subs(t, first) != "alice" {
			t.Errorf("a token %s counts", name)
		}
	}
	state := a.StateCookie()
	if second := implicit(token("bob", handlerstest.ClientID, handlerstest.Issuer)); second == first || w.Live(t, first) || a.StateCookie() == state {
		t.Error("another user has the same session")
	}
	if strings.Contains(w.Logged(), "eyJ") {
		t.Error("a token is in the log")
	}
}

func TestTheOPsOwnSessionStateIsKeptOrReplaced(t *testing.T) {
	const ours, itsOwn = true, false
	own := "&session_state=own.salt"
	form := handlerstest.Posted(handlerstest.Callback, field("code", "c")+field("session_state", "own.salt")+field("state", "s"))
	const checkPage = handlerstest.Issuer + "/its-own-check"
	for _, tt := range []struct {
		mode     handlers.SessionState
		document handlers.Metadata
		replaced bool
	}{
		{"", handlers.Metadata{}, ours},
		{"", handlers.Metadata{CheckSessionIframe: checkPage}, itsOwn},
		{handlers.SessionStateAuto, handlers.Metadata{}, ours},
		{handlers.SessionStateAuto, handlers.Metadata{CheckSessionIframe: checkPage}, itsOwn},
		{handlers.SessionStateKeep, handlers.Metadata{}, itsOwn},
		{handlers.SessionStateKeep, handlers.Metadata{CheckSessionIframe: checkPage}, itsOwn},
		{handlers.SessionStateReplace, handlers.Metadata{}, ours},
		{handlers.SessionStateReplace, handlers.Metadata{CheckSessionIframe: checkPage}, ours},
	} {
		t.Run(fmt.Sprintf("mode %s, check page %q", tt.mode, tt.document.CheckSessionIframe), func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			w.OP = handlerstest.KnownOP(t, handlerstest.Issuer, tt.document)
			a := handlerstest.NewAgent(t, w)
			a.SessionState = tt.mode
			got := handlerstest.SessionState(t, a.Get(handlerstest.Authorize("s"), reply.Redirect(handlerstest.Callback+"?code=c"+own+"&state=s")))
			body, _ := io.ReadAll(a.Get(handlerstest.Ask("s", url.Values{"response_mode": {"form_post"}}), handlerstest.RespondPage(form)).Body)
			replaced := sessionstate.Verify(got, handlerstest.ClientID, "https://rp.example.com", a.StateCookie())
			if replaced != tt.replaced || !replaced && got != "own.salt" {
				t.Errorf("session_state is %q", got)
			}
			if (string(body) == form) == replaced {
				t.Errorf("the page is %s", body)
			}
			if a.OpenS().Session.IsZero() {
				t.Error("the session is not known")
			}
		})
	}
}

func TestRequestObjectsAndPushedRequestsAreAnswered(t *testing.T) {
	object := func(t *testing.T) string {
		return signed(t, map[string]any{"client_id": handlerstest.ClientID, "redirect_uri": handlerstest.Callback, "state": "s", "response_mode": "form_post"})
	}
	const encrypted = "e30.e30.e30.e30.e30"
	answer := reply.Redirect(handlerstest.Callback + "?code=c&state=s")
	push := func(a *handlerstest.Agent, parameters url.Values) {
		r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/par", strings.NewReader(parameters.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		recorder := httptest.NewRecorder()
		err := a.Browser().ServePushed(a.W.OP, recorder, r, reply.Handler(func(w http.ResponseWriter, r *http.Request) {
			if body, _ := io.ReadAll(r.Body); string(body) != parameters.Encode() {
				a.T.Errorf("the OP got %q", body)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"request_uri":"urn:x:1","expires_in":60}`)
		}))
		if err != nil || recorder.Code != http.StatusCreated || !strings.Contains(recorder.Body.String(), "urn:x:1") {
			a.T.Fatalf("%v, %d %s", err, recorder.Code, recorder.Body)
		}
	}
	pushed := url.Values{"client_id": {handlerstest.ClientID}, "redirect_uri": {handlerstest.Callback}, "state": {"s"}, "client_secret": {"secret"}}
	byURI := "/authorize?request_uri=urn:x:1&client_id=" + handlerstest.ClientID
	tests := []struct {
		name     string
		push     url.Values
		request  func(t *testing.T) string
		response http.HandlerFunc
		want     bool
	}{
		{"a request object", nil, func(t *testing.T) string {
			return "/authorize?client_id=" + handlerstest.ClientID + "&request=" + object(t)
		}, answer, true},
		{"a request object, answered elsewhere", nil, func(t *testing.T) string {
			return "/authorize?client_id=" + handlerstest.ClientID + "&request=" + object(t)
		}, reply.Redirect("https://evil.example/?code=c&state=s"), false},
		{"a request object beside the parameters", nil, func(t *testing.T) string {
			return handlerstest.Ask("other", url.Values{"request": {signed(t, map[string]any{"state": "s"})}})
		}, answer, true},
		{"an encrypted request object", nil, func(*testing.T) string {
			return "/authorize?client_id=" + handlerstest.ClientID + "&request=" + encrypted
		}, answer, true},
		{"an encrypted request object, answered at the OP itself", nil, func(*testing.T) string {
			return "/authorize?client_id=" + handlerstest.ClientID + "&request=" + encrypted
		}, reply.Redirect("/next?code=c&state=s"), false},
		{"an encrypted request object, answered without state or issuer", nil, func(*testing.T) string {
			return "/authorize?client_id=" + handlerstest.ClientID + "&request=" + encrypted
		}, reply.Redirect(handlerstest.Callback + "?code=c"), false},
		{"an encrypted request object, answered by another issuer", nil, func(*testing.T) string {
			return "/authorize?client_id=" + handlerstest.ClientID + "&request=" + encrypted
		}, reply.Redirect(handlerstest.Callback + "?code=c&state=s&iss=https://evil.example"), false},
		{"a pushed request", pushed, func(*testing.T) string { return byURI }, answer, true},
		{"a pushed request, answered elsewhere", pushed, func(*testing.T) string { return byURI }, reply.Redirect("https://evil.example/?code=c&state=s"), false},
		{"a pushed request of another client", pushed, func(*testing.T) string { return "/authorize?request_uri=urn:x:1&client_id=other" }, reply.Redirect("https://op.example.com/?code=c&state=s"), false},
		{"a request that was pushed to another server", nil, func(*testing.T) string { return byURI }, answer, true},
		{"a request object without a client", nil, func(*testing.T) string { return "/authorize?request=" + encrypted }, answer, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, hops := range []int{1, 2} {
				a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
				a.W.OP.RequestParameter, a.W.OP.RequestURIParameter = true, true
				a.Knows(clients.Client{ID: handlerstest.ClientID, PostLogoutRedirectURIs: []string{handlerstest.Bye}})
				if tt.push != nil {
					push(a, tt.push)
				}
				request := tt.request(t)
				response := a.Get(request, tt.response)
				if hops == 2 {
					a.Cookies = map[string]string{}
					if tt.push != nil {
						push(a, tt.push)
					}
					a.Get(request, reply.Page)
					response = a.Get("/login", tt.response)
				}
				if got := handlerstest.SessionState(t, response); (got != "") != tt.want {
					t.Errorf("after %d hops: session_state %q", hops, got)
				}
			}
		})
	}
}

func TestPushedRequestsAreForgotten(t *testing.T) {
	var o signin.Observer
	o.KeepPushed("urn:first", handlerstest.Pend(t, handlerstest.ClientID, handlerstest.Callback, "s"))
	if _, known := o.FindPushed("urn:first", handlerstest.ClientID, handlerstest.Noon.Add(signin.PushedLifetime)); known {
		t.Error("after its lifetime it is known")
	}
	if _, known := o.FindPushed("urn:first", "other", handlerstest.Noon); known {
		t.Error("another client knows it")
	}
}

func TestBlindRequestsAreForOPsThatTakeThem(t *testing.T) {
	for _, request := range []string{"request=e30.e30.e30.e30.e30", "request_uri=urn:x"} {
		a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
		response := a.Get("/authorize?client_id="+handlerstest.ClientID+"&"+request, reply.Redirect(handlerstest.Callback+"?code=c&state=s"))
		if handlerstest.SessionState(t, response) != "" || a.Pendings() != 0 {
			t.Errorf("%s is taken for a request", request)
		}
	}
}

func TestBlindRequestsOfSeveralClientsAreNotGuessedAt(t *testing.T) {
	a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
	a.W.OP.RequestURIParameter = true
	a.Get("/authorize?request_uri=urn:1&client_id=one", reply.Page)
	a.Get("/authorize?request_uri=urn:2&client_id=two", reply.Page)
	if got := handlerstest.SessionState(t, a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state=s"))); got != "" {
		t.Errorf("session_state is %q", got)
	}
}

func TestParametersGivenTwiceAreNotObserved(t *testing.T) {
	for _, query := range []string{
		"client_id=other&" + strings.TrimPrefix(handlerstest.Authorize("s"), "/authorize?"),
		strings.TrimPrefix(handlerstest.Authorize("s"), "/authorize?") + "&redirect_uri=https://evil.example/cb",
		strings.TrimPrefix(handlerstest.Authorize("s"), "/authorize?") + "&request=" + signed(t, map[string]any{"client_id": "victim"}),
	} {
		a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
		a.W.OP.RequestParameter = true
		if got := handlerstest.SessionState(t, a.Get("/authorize?"+query, reply.Redirect(handlerstest.Callback+"?code=c&state=s"))); got != "" {
			t.Errorf("%s: session_state is %q", query, got)
		}
	}
	a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
	r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+handlerstest.Authorize("s"), strings.NewReader("client_id=other"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if got := handlerstest.SessionState(t, a.Send(r, reply.Redirect(handlerstest.Callback+"?code=c&state=s"))); got != "" {
		t.Errorf("in query and body: session_state is %q", got)
	}
}

// A page that knows an app's client ID and redirect URI asks in its name, and then uses a
// redirector of the OP.
func TestThreatARedirectorAnswersWithWhatItWasGiven(t *testing.T) {
	forged := signed(t, map[string]any{"iss": handlerstest.Issuer, "aud": handlerstest.ClientID, "sub": "nobody"})
	for _, response := range []string{handlerstest.Callback + "?code=mallorys&state=s", handlerstest.Callback + "#state=s&id_token=" + forged} {
		for name, path := range map[string]string{
			"escaped": "/logout?returnTo=" + url.QueryEscape(response), "escaped twice": "/x?next=" + url.QueryEscape("/y?to="+url.QueryEscape(response)),
			"as it is": "/logout?returnTo=" + strings.ReplaceAll(response, "#", "?"),
		} {
			w := handlerstest.NewWorld(t)
			a := handlerstest.NewAgent(t, w)
			a.SignIn("alices")
			session := a.OpenS().Session
			a.Get(handlerstest.Authorize("s"), reply.Page)
			if got := a.Get(path, reply.Redirect(response)); got.Header.Get("Location") != response {
				t.Errorf("%s: Location is %s", name, got.Header.Get("Location"))
			}
			if !w.Live(t, session) || a.OpenS().Session != session {
				t.Errorf("%s: alice's session is over", name)
			}
		}
	}
}

// A page loads the authorization endpoint hundreds of times at once: as images, and in frames.
func TestThreatAPageThatAsksManyTimesDoesNotLockTheBrowserOut(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	for i := range 200 { // none of these requests carries the cookies of the others
		one := handlerstest.NewAgent(t, w)
		r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.Authorize(fmt.Sprint(i)), nil)
		mode := "navigate"
		if i >= 100 {
			mode = "no-cors"
		}
		r.Header.Set("Sec-Fetch-Mode", mode)
		r.Header.Set("Sec-Fetch-Dest", "iframe")
		one.Send(r, reply.Page)
		maps.Copy(a.Cookies, one.Cookies)
	}
	if n := a.Pendings(); n != len(handlers.OtherSlots) {
		t.Fatalf("%d pending cookies", n)
	}
	a.Cookies["login"] = "x"
	var passed string
	a.Get("/login", func(w http.ResponseWriter, r *http.Request) {
		passed = r.Header.Get("Cookie")
		handlerstest.RespondPage("<p>login")(w, r)
	})
	if strings.Contains(passed, "pending") || !strings.Contains(passed, "login=x") {
		t.Errorf("the OP gets the cookies %q", passed)
	}
	if got := a.Get(handlerstest.Authorize("mine"), reply.Page); got.StatusCode != http.StatusOK || handlerstest.SessionState(t, a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state=mine"))) == "" {
		t.Error("signing in does not work any more")
	}
}

func TestTabsThatBeganToSignInAtOnceEndTogether(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.Login = "login"
	// Both tabs ask before either has an answer, so each is given an ID of its own; the later
	// cookie stays.
	two := handlerstest.NewAgent(t, w)
	a.Get(handlerstest.Authorize("one"), reply.Page)
	two.Get(handlerstest.Authorize("two"), reply.Page)
	first := a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=1&state=one"))
	if handlerstest.SessionState(t, first) == "" {
		t.Fatal("the first tab has no answer")
	}
	firstSession := a.OpenS().Session
	maps.Copy(a.Cookies, two.Cookies)
	a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=2&state=two"))
	secondSession := a.OpenS().Session
	a.Cookies["login"] = "x"
	a.Get("/logout", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "login=; Max-Age=0")
		w.WriteHeader(http.StatusOK)
	})
	if firstSession == secondSession || w.Live(t, firstSession) || w.Live(t, secondSession) {
		t.Errorf("one session: %v; live: %v, %v", firstSession == secondSession, w.Live(t, firstSession), w.Live(t, secondSession))
	}
}

func TestASignOutWhileTheRegistryIsAwayIsMadeGood(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.Login = "login"
	a.SignIn("1")
	first := a.OpenS()
	up := w.Down()
	a.Cookies["login"] = "x"
	a.Get("/logout", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Set-Cookie", "login=; Max-Age=0")
		rw.WriteHeader(http.StatusOK)
	})
	delete(a.Cookies, "login")
	a.SignIn("2") // by cookies alone
	second := a.OpenS()
	if up(); len(second.Owed.IDs()) != 1 || second.Browser == first.Browser || !w.Live(t, first.Session) {
		t.Fatalf("owed are %d endings", len(second.Owed.IDs()))
	}
	a.SignIn("3")
	third := a.OpenS()
	if w.Live(t, first.Session) || !w.Live(t, third.Session) || third.Session != second.Session || len(third.Owed.IDs()) != 0 {
		t.Errorf("the first session lives: %v, the second goes on and is recorded: %v, %v", w.Live(t, first.Session),
			third.Session == second.Session, w.Live(t, third.Session))
	}
}

func TestDiscoveryReplacesTheOPsOwnCheckPage(t *testing.T) {
	document := `{"issuer":"` + handlerstest.Issuer + `", "x":{"check_session_iframe":"inner"}, "y":"check_session_iframe", "check_session_iframe" : "https://op/own" ,"z":1e400}`
	want := strings.Replace(document, `"https://op/own"`, `"https://op.example.com/c"`, 1)
	got, err := exchange.AddMembers([]byte(document), []exchange.Member{{Name: "check_session_iframe", Value: "https://op.example.com/c", Replace: true}})
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}
