package handlers

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func TestAnAuthorizationRequestIsRememberedUntilItIsAnswered(t *testing.T) {
	tests := []struct {
		name    string
		target  string
		respond http.HandlerFunc
		want    int
	}{
		{"login page", authorize("s"), page, 1},
		{"redirect to a login page", authorize("s"), redirect("/login?code=none"), 1},
		{"redirect elsewhere", authorize("s"), redirect("https://login.example.com/"), 1},
		{"answered at once", authorize("s"), redirect(callback + "?code=c&state=s"), 0},
		{"refused at once", authorize("s"), redirect(callback + "?error=login_required&state=s"), 0},
		{"error page", authorize("s"), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }, 0},
		{"server error", authorize("s"), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, 0},
		{"another path", strings.Replace(authorize("s"), "/authorize", "/authorize2", 1), page, 0},
		{"a path below", strings.Replace(authorize("s"), "/authorize", "/authorize/2", 1), page, 0},
		{"no redirect URI", "/authorize?client_id=shop", page, 0},
		{"no client", "/authorize?request_uri=urn:x", page, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAgent(t, newWorld(t))
			response := a.get(tt.target, tt.respond)
			if a.pendings() != tt.want {
				t.Errorf("the browser has %v", a.cookies)
			}
			if tt.want == 1 && response.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("header is %v", response.Header)
			}
		})
	}
}

func TestPendingCookies(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	response := a.get(authorize("s"), page)
	for name, value := range a.cookies {
		c := cookieNamed(response, name)
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteNoneMode || c.Path != "/" || c.Domain != "" || !strings.HasPrefix(name, "__Host-") {
			t.Errorf("attributes of %v", c)
		}
		if strings.HasPrefix(name, w.op.cookies.pending) && c.MaxAge != 3600 {
			t.Errorf("%s is kept for %d s", name, c.MaxAge)
		}
		if strings.Contains(value, clientID) {
			t.Errorf("%s can be read", name)
		}
	}
	a.get(authorize("s"), page)
	if a.pendings() != 1 {
		t.Errorf("after the same request again, the browser has %v", a.cookies)
	}
	if body := readAll(t, response.Body); body != "<form>" {
		t.Errorf("the page became %q", body)
	}
}

func TestOfManyPendingRequestsTheOldestAreForgotten(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	for i := range len(navigationSlots) + 3 {
		a.get(authorize(fmt.Sprint(i)), page)
		w.clock.advance(time.Second)
	}
	if a.pendings() != len(navigationSlots) {
		t.Fatalf("%d requests are pending", a.pendings())
	}
	a.b = nil // another server
	for i := range len(navigationSlots) + 3 {
		response := a.get("/login", redirect(callback+"?code=c&state="+fmt.Sprint(i)))
		if got := sessionState(t, response) != ""; got != (i >= 3) {
			t.Errorf("request %d is answered: %v", i, got)
		}
	}
}

func TestAPendingCookieOfNoUseIsDeleted(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.get(authorize("old"), page)
	a.cookies[w.op.cookies.pending+"0"] = "garbage"
	w.clock.advance(pendingLifetime)
	a.dest = "iframe" // so that the new request does not take one of the cookies
	a.get(authorize("new"), page)
	if a.pendings() != 1 {
		t.Errorf("the browser has %v", a.cookies)
	}
}

// Cookies know neither ports nor, with the __Host- prefix, paths: a browser sends those of all issuers on a host to each of them.
func TestPendingCookiesOfOtherIssuersOnTheHostAreLeftAlone(t *testing.T) {
	for _, other := range []string{issuer + ":8443", issuer + "/realm"} {
		w := newWorld(t)
		a := newAgent(t, w)
		plain := w.op
		w.op = knownOP(t, other, metadata{})
		a.get(authorize("s"), page)
		w.op = plain
		a.get(authorize("t"), page)
		w.op = knownOP(t, other, metadata{})
		if a.pendings() != 1 {
			t.Errorf("the request at %s is forgotten: the browser has %v", other, a.cookies)
		}
		if sessionState(t, a.get("/login", redirect(callback+"?code=c&state=s"))) == "" {
			t.Errorf("the response of %s was not observed", other)
		}
	}
}

func TestTheBrowserIsNamedAtItsFirstTopLevelRequest(t *testing.T) {
	for dest, want := range map[string]bool{"": true, "document": true, "iframe": false, "empty": false} {
		a := newAgent(t, newWorld(t))
		a.dest = dest
		a.get(authorize("s"), page)
		if _, has := a.cookies[a.w.op.cookies.session]; has != want || a.pendings() != 1 {
			t.Errorf("with destination %q the browser has %v", dest, a.cookies)
			continue
		}
		if !want {
			continue
		}
		first := a.openS()
		a.get(authorize("t"), page)
		if again := a.openS(); again != first || !first.session.IsZero() || first.browser.IsZero() {
			t.Errorf("first %+v, then %+v", first, again)
		}
	}
}

// answers are the ways in which OPs answer a request with the given redirect URI and state.
var answers = []struct {
	name, redirectURI, state string
	location                 string
	fragment                 string // behind session_state
	origin                   string
}{
	{"code", callback, "s", callback + "?code=c&state=s", "", rpOrigin},
	{"code first or last", callback, "s", callback + "?iss=https%3A%2F%2Fop.example.com&state=s&scope=openid%20email&code=c", "", rpOrigin},
	{"no state", callback, "", callback + "?code=c", "", rpOrigin},
	{"an empty state", callback, "", callback + "?code=c&state=", "", rpOrigin},
	{"a state with all punctuation", callback, punctuation, callback + "?code=c&state=" + url.QueryEscape(punctuation) + "&iss=https%3a%2f%2fop.example.com", "", rpOrigin},
	{"a state that is escaped otherwise", callback, "a b+x/d=~'()*!", callback + "?code=c&state=a%20b%2bx/d=~'()*!", "", rpOrigin},
	{"a query of the redirect URI's own", callback + "?tenant=a%20b", "s", callback + "?tenant=a%20b&code=c&state=s", "", rpOrigin},
	{"hybrid", callback, "s", callback + "#code=c&id_token=e.e.e&state=s", "", rpOrigin},
	{"implicit", callback, "s", callback + "#id_token=e.e.e&access_token=t&token_type=Bearer&state=s", "", rpOrigin},
	{"fragment behind a query", callback + "?tenant=1", "s", callback + "?tenant=1#code=c&state=s", "", rpOrigin},
	{"query before a fragment", callback, "s", callback + "?code=c&state=s", "#_=_", rpOrigin},
	{"a state of 8 KiB", callback, strings.Repeat("%", maxState), callback + "?code=c&state=" + strings.Repeat("%25", maxState), "", rpOrigin},
	{"default port in the request", "https://rp.example.com:443/cb", "s", callback + "?code=c&state=s", "", rpOrigin},
	{"default port in the response", callback, "s", "https://rp.example.com:443/cb?code=c&state=s", "", rpOrigin},
	{"another port", "https://rp.example.com:8443/cb", "s", "https://rp.example.com:8443/cb?code=c&state=s", "", rpOrigin + ":8443"},
	{"host in other letters", "https://RP.example.com/cb", "s", "https://RP.example.com/cb?code=c&state=s", "", rpOrigin},
	{"loopback", "http://127.0.0.1:3000/cb", "s", "http://127.0.0.1:3000/cb?code=c&state=s", "", "http://127.0.0.1:3000"},
	{"error", callback, "s", callback + "?error=access_denied&error_description=no%20way&state=s", "", rpOrigin},
	{"error in the fragment", callback, "s", callback + "#error=login_required&state=s", "", rpOrigin},
	{"on the OP's own origin", issuer + "/account", "s", "/account?code=c&state=s", "", issuer},
}

const punctuation = `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~ !"#$%&'()*+,-./:;<=>?@[\]^_{|}~ !"#$%&'()*+,-./:;<=>?@[\]^_{|}~ !"#$%&'()*+,-./:;<=>?@[\]^_{|}~ `

func TestSessionStateIsAddedToTheResponse(t *testing.T) {
	for _, tt := range answers {
		request := "/authorize?" + url.Values{"client_id": {clientID}, "redirect_uri": {tt.redirectURI}, "state": {tt.state}}.Encode()
		for _, oneHop := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, one hop: %v", tt.name, oneHop), func(t *testing.T) {
				w := newWorld(t)
				a := newAgent(t, w)
				var response *http.Response
				if answer := redirect(tt.location + tt.fragment); oneHop {
					response = a.get(request, answer)
				} else {
					a.get(request, redirect("/login"))
					a.get("/login", page)
					w.clock.advance(time.Minute)
					r := httptest.NewRequest("POST", issuer+"/login?step=2", strings.NewReader("password=x"))
					response = a.send(r, answer)
				}
				got := response.Header.Get("Location")
				state, ok := strings.CutPrefix(got, tt.location+"&session_state=")
				state, ends := strings.CutSuffix(state, tt.fragment)
				if !ok || !ends {
					t.Fatalf("got %s", got)
				}
				if !sessionstate.Verify(state, clientID, tt.origin, a.stateCookie()) {
					t.Errorf("%s does not fit the cookie %s", state, a.stateCookie())
				}
				_, salt, _ := sessionstate.Split(state)
				handle, err := w.keys.OpenHandle(issuer, salt)
				if err != nil || !handle.IsFor(clientID, tt.origin) || !handle.Session.IsZero() && !handle.Until.Equal(w.clock.Now().Add(lifetime)) {
					t.Errorf("handle is %+v, %v", handle, err)
				}
				if response.Header.Get("Cache-Control") != "no-store" || response.StatusCode != http.StatusFound {
					t.Errorf("got %d, %v", response.StatusCode, response.Header)
				}
			})
		}
	}
}

func TestAResponseThatAnswersNothingIsUntouched(t *testing.T) {
	answer := callback + "?code=c&state=s"
	tests := []struct {
		name     string
		location string
		respond  http.HandlerFunc // instead of a redirect to location
	}{
		{"another state", callback + "?code=c&state=S", nil},
		{"no state", callback + "?code=c", nil},
		{"another target", "https://evil.example/cb?code=c&state=s", nil},
		{"a target that begins alike", "https://rp.example.com.evil.example/cb?code=c&state=s", nil},
		{"a target with a user", "https://rp.example.com@evil.example/cb?code=c&state=s", nil},
		{"another path", callback + "/..?code=c&state=s", nil},
		{"a path in other letters", "https://rp.example.com/CB?code=c&state=s", nil},
		{"another scheme", "http://rp.example.com/cb?code=c&state=s", nil},
		{"without a scheme, elsewhere", "//evil.example/cb?code=c&state=s", nil},
		{"a script", "javascript:alert(1)//?code=c&state=s", nil},
		{"a target that cannot be read", "https://rp.example.com\\@evil.example/cb?code=c&state=s", nil},
		{"neither code nor error", callback + "?state=s", nil},
		{"an empty code", callback + "?code=&state=s", nil},
		{"code and error", callback + "?code=c&error=e&state=s", nil},
		{"code twice", callback + "?code=c&code=d&state=s", nil},
		{"state twice", callback + "?code=c&state=s&state=s", nil},
		{"in query and fragment", answer + "#id_token=t", nil},
		{"too long a code", callback + "?code=" + strings.Repeat("c", maxCode+1) + "&state=s", nil},
		{"a huge Location", answer + "&x=" + strings.Repeat("x", maxLocation), nil},
		{"JARM", callback + "?response=e.e.e", nil},
		{"a page", answer, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", callback+"?code=c&state=s")
			page(w, r)
		}},
		{"201", answer, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", callback+"?code=c&state=s")
			w.WriteHeader(201)
		}},
		{"two Locations", answer, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Location", callback+"?code=c&state=s")
			w.Header().Add("Location", "https://evil.example/")
			w.WriteHeader(302)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a := newAgent(t, w)
			a.get(authorize("s"), page)
			before := len(a.cookies)
			respond := tt.respond
			if respond == nil {
				respond = redirect(tt.location)
			}
			response := a.get("/login", func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Cache-Control", "private")
				respond(rw, r)
			})
			want := tt.location
			if got := response.Header.Get("Location"); got != want && tt.name != "two Locations" || strings.Contains(strings.Join(response.Header["Location"], ""), "session_state=A") {
				t.Errorf("Location is %s", response.Header["Location"])
			}
			if len(response.Header["Set-Cookie"]) > 0 || len(a.cookies) != before || response.Header.Get("Cache-Control") != "private" {
				t.Errorf("header is %v", response.Header)
			}
		})
	}
}

func TestAnotherBrowsersPendingRequestDoesNotCount(t *testing.T) {
	w := newWorld(t)
	newAgent(t, w).get(authorize("s"), page)
	a := newAgent(t, w)
	a.get(authorize("own"), page)
	response := a.get("/login", redirect(callback+"?code=c&state=s"))
	if sessionState(t, response) != "" || len(response.Header["Set-Cookie"]) > 0 {
		t.Errorf("header is %v", response.Header)
	}
}

func TestARequestIsAnsweredAgainAfterBack(t *testing.T) {
	a := newAgent(t, newWorld(t))
	a.get(authorize("s"), page)
	for _, code := range []string{"c1", "c2"} {
		if sessionState(t, a.get("/login", redirect(callback+"?code="+code+"&state=s"))) == "" {
			t.Errorf("the response with %s was not observed", code)
		}
	}
}

func TestASuccessSetsBothCookies(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.get(authorize("s"), page)
	named := a.openS().browser
	response := a.get("/login", redirect(callback+"?code=c&state=s"))
	s, b := cookieNamed(response, w.op.cookies.session), cookieNamed(response, w.op.cookies.state)
	if s == nil || b == nil {
		t.Fatalf("header is %v", response.Header)
	}
	if !s.HttpOnly || s.MaxAge != int((lifetime+registry.CodeLifetime).Seconds()) || b.HttpOnly || b.MaxAge != int(lifetime.Seconds()) {
		t.Errorf("cookies are %v and %v", s, b)
	}
	sealed := a.openS()
	session := w.session(t, sealed.session)
	if session == nil || !session.Live(registry.At(w.clock.Now())) || sealed.browser != named {
		t.Fatalf("recorded is %+v; the cookie has %+v", session, sealed)
	}
	if sealed.state != b.Value || !sealed.expires.Equal(session.Expires.Time()) || registry.PlaceOfSession(session.ID) != registry.PlaceOf(issuer, named) {
		t.Errorf("the cookie has %+v", sealed)
	}
	if clients := w.clients(t, sealed.session); len(clients) != 1 || clients[0].ID != clientID || !slices.Equal(clients[0].Origins, []string{rpOrigin}) {
		t.Errorf("clients are %+v", clients)
	}
}

func TestASuccessContinuesTheSessionOfTheCookie(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	first := a.signIn("c1")
	w.redeem(t, codeForm("c1"), answering(tokenResponse(claims("alice", clientID)))) // or it is forgotten soon
	before, state := a.openS(), a.stateCookie()
	w.clock.advance(lifetime / 2)
	response := a.get(strings.Replace(authorize("s"), clientID, "mail", 1), redirect(callback+"?code=c2&state=s"))
	if after := a.openS(); after != before || a.stateCookie() != state {
		t.Errorf("the session was %+v and is %+v", before, after)
	}
	if c := cookieNamed(response, w.op.cookies.session); c.MaxAge != int((lifetime + registry.CodeLifetime).Seconds()) { // for the browser's ID
		t.Errorf("the sealed cookie is kept for %d s", c.MaxAge)
	}
	second := sessionState(t, response)
	if !sessionstate.Verify(first, clientID, rpOrigin, state) || !sessionstate.Verify(second, "mail", rpOrigin, state) || first == second {
		t.Errorf("states are %s and %s", first, second)
	}
	if clients := w.clients(t, before.session); len(clients) != 2 {
		t.Errorf("clients are %+v", clients)
	}
}

func TestASuccessStartsANewSession(t *testing.T) {
	tests := []struct {
		name string
		end  func(*world, *agent)
	}{
		{"after the old one expired", func(w *world, _ *agent) { w.clock.advance(lifetime) }},
		{"after the old one was ended", func(w *world, a *agent) { w.end(t, a.openS().browser, registry.ReasonOperator) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a := newAgent(t, w)
			a.signIn("c1")
			before, state := a.openS(), a.stateCookie()
			tt.end(w, a)
			a.signIn("c2")
			after := a.openS()
			if after.session == before.session || after.browser != before.browser || a.stateCookie() == state {
				t.Errorf("the session was %+v and is %+v", before, after)
			}
		})
	}
}

func TestAnErrorWritesNothing(t *testing.T) {
	refused := redirect(callback + "?error=login_required&state=s")
	tests := []struct {
		name    string
		dest    string
		prepare func(*testing.T, *agent)
		gives   bool   // the anonymous state
		state   string // what session_state is over: "given", "presented", "anonymous"
	}{
		{"at top level", "document", nil, true, "anonymous"},
		{"from an old engine", "", nil, true, "anonymous"},
		{"in a frame", "iframe", nil, false, "anonymous"},
		{"of a browser that is signed in", "document", func(t *testing.T, a *agent) { a.signIn("c") }, false, "presented"},
		{"in a frame of a browser that is signed in", "iframe", func(t *testing.T, a *agent) { a.signIn("c") }, false, "presented"},
		{"of a browser that was signed out", "document", func(_ *testing.T, a *agent) {
			a.cookies[a.w.op.cookies.state] = a.w.keys.AnonymousState(issuer)
		}, false, "presented"},
		{"of a browser that presents another state than its session's", "iframe", func(t *testing.T, a *agent) {
			a.signIn("c")
			a.cookies[a.w.op.cookies.state] = a.w.keys.AnonymousState(issuer)
		}, false, "presented"},
		{"of a browser that presents garbage", "document", func(_ *testing.T, a *agent) { a.cookies[a.w.op.cookies.state] = "garbage" }, true, "anonymous"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a := newAgent(t, w)
			if tt.prepare != nil {
				tt.prepare(t, a)
			}
			a.dest = tt.dest
			presented := a.stateCookie()
			w.env.Registry = nil // it is not asked at all
			response := a.get(authorize("s"), refused)
			if given := cookieNamed(response, w.op.cookies.state); (given != nil) != tt.gives || tt.gives && given.Value != w.keys.AnonymousState(issuer) {
				t.Errorf("the state cookie given is %v", given)
			}
			if c := cookieNamed(response, w.op.cookies.session); c != nil {
				t.Errorf("the sealed cookie given is %v", c)
			}
			over := map[string]string{"anonymous": w.keys.AnonymousState(issuer), "presented": presented}[tt.state]
			state := sessionState(t, response)
			if !sessionstate.Verify(state, clientID, rpOrigin, over) {
				t.Errorf("%s is not over the %s state", state, tt.state)
			}
			_, salt, _ := sessionstate.Split(state)
			if handle, err := w.keys.OpenHandle(issuer, salt); err != nil || !handle.Session.IsZero() || !handle.Response.IsZero() {
				t.Errorf("handle is %+v, %v", handle, err)
			}
		})
	}
}

func TestANativeAppTakesPartWithoutSessionState(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	const app = "com.example.app:/cb"
	response := a.get("/authorize?client_id=app&state=s&redirect_uri="+url.QueryEscape(app), redirect(app+"?code=c&state=s"))
	if got := response.Header.Get("Location"); got != app+"?code=c&state=s" || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("header is %v", response.Header)
	}
	if clients := w.clients(t, a.openS().session); len(clients) != 1 || clients[0].ID != "app" || len(clients[0].Origins) != 0 {
		t.Errorf("clients are %+v", clients)
	}
}

func TestWithoutTheRegistryLoginGoesOn(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	up := w.down()
	state := a.signIn("c")
	sealed := a.openS()
	if !sessionstate.Verify(state, clientID, rpOrigin, a.stateCookie()) || sealed.session.IsZero() {
		t.Errorf("state %s, cookie %+v", state, sealed)
	}
	if w.logs.FilterMessageSnippet("cookies only").Len() != 1 {
		t.Errorf("logged %s", w.logged())
	}
	if got := w.check(t, pageCheck{clientID, state, rpOrigin, ""}); got != "unknown" {
		t.Errorf("the check says %s", got)
	}
	again := a.signIn("c2")
	if after := a.openS(); after != sealed || !sessionstate.Verify(again, clientID, rpOrigin, sealed.state) {
		t.Errorf("the session was %+v and is %+v", sealed, after)
	}
	up()
	recorded := a.signIn("c3")
	if after := a.openS(); after.session != sealed.session || after.state != sealed.state || !w.live(t, sealed.session) {
		t.Errorf("once the registry is back, the session is %+v", after)
	}
	if got := w.check(t, pageCheck{clientID, recorded, rpOrigin, ""}); got != "unchanged" {
		t.Errorf("the check says %s of the recorded session", got)
	}
}

func TestWithoutKeysTheResponseIsUntouched(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	a.get(authorize("s"), page)
	w.withoutKeys()
	for target, respond := range map[string]http.HandlerFunc{
		authorize("t"): page,
		"/login":       redirect(callback + "?code=c&state=s"),
	} {
		response := a.get(target, respond)
		if len(response.Header["Set-Cookie"]) > 0 || response.Header.Get("Cache-Control") != "" || strings.Contains(response.Header.Get("Location"), "session_state") {
			t.Errorf("header at %s is %v", target, response.Header)
		}
	}
}

func TestAfterKeyRotationTheCookieIsSealedAnewAndTheStateStays(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	first := a.signIn("c")
	before, value, state := a.openS(), a.cookies[w.op.cookies.session], a.stateCookie()
	w.keys = keyring(t, secondSecret, firstSecret)
	a.get(authorize("t"), page)
	if a.cookies[w.op.cookies.session] == value || a.openS() != before || a.stateCookie() != state {
		t.Errorf("the cookie was %+v and is %+v", before, a.openS())
	}
	w.keys = keyring(t, secondSecret)
	second := a.signIn("c2")
	if after := a.openS(); after != before || a.stateCookie() != state {
		t.Errorf("the session was %+v and is %+v", before, after)
	}
	for _, s := range []string{first, second} {
		if !sessionstate.Verify(s, clientID, rpOrigin, state) {
			t.Errorf("%s does not fit the cookie any more", s)
		}
	}
}

func TestThePostedRequestIsObservedAndReplayed(t *testing.T) {
	_, form, _ := strings.Cut(authorize("s"), "?")
	w := newWorld(t)
	a := newAgent(t, w)
	r := httptest.NewRequest("POST", issuer+"/authorize", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response := a.send(r, func(w http.ResponseWriter, r *http.Request) {
		if body := readAll(t, r.Body); body != form {
			t.Errorf("the OP read %q", body)
		}
		redirect(callback+"?code=c&state=s")(w, r)
	})
	if state := sessionState(t, response); !sessionstate.Verify(state, clientID, rpOrigin, a.stateCookie()) {
		t.Errorf("state is %q", state)
	}
}

func TestWhatABrowserPresentsMayBeAnything(t *testing.T) {
	w := newWorld(t)
	names := w.op.cookies
	tests := []struct{ name, cookie string }{
		{"huge", names.session + "=" + strings.Repeat("A", 1<<16)},
		{"huge pending", names.pending + "x=" + strings.Repeat("A", 1<<16)},
		{"thousands", strings.Repeat(names.pending+"x=y; ", 5000)},
		{"not ASCII", names.session + "=\xff\xfe; " + names.state + "=\x00"},
		{"without values", names.session + "; " + names.state + "; " + names.pending},
		{"a number without end", names.session + "=" + strings.Repeat("9", 10000)},
		{"only separators", strings.Repeat("; ", 1000) + "=" + names.pending},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", issuer+authorize("s"), nil)
			r.Header["Cookie"] = []string{tt.cookie}
			a := newAgent(t, w)
			response := a.send(r, redirect(callback+"?code=c&state=s"))
			if !sessionstate.Verify(sessionState(t, response), clientID, rpOrigin, a.stateCookie()) {
				t.Errorf("header is %v", response.Header)
			}
		})
	}
}

func TestTheOPsOwnCookiesAndErrorsStay(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	response := a.get(authorize("s"), func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Add("Set-Cookie", "login=1; Path=/x")
		redirect(callback+"?code=c&state=s")(rw, r)
	})
	if lines := response.Header["Set-Cookie"]; len(lines) != 3 || lines[0] != "login=1; Path=/x" {
		t.Errorf("cookies are %v", lines)
	}
	b := Browser{}
	b.Setup(w.env)
	behind := caddyhttp.Error(http.StatusBadGateway, nil)
	recorder := httptest.NewRecorder()
	err := b.Serve(w.op, recorder, httptest.NewRequest("GET", issuer+authorize("s"), nil), caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return behind
	}))
	if err != error(behind) || len(recorder.Header()) != 0 { //nolint:errorlint // the very same value
		t.Errorf("got %v, %v", err, recorder.Header())
	}
}

// What the OP has done has happened: the next request finds it, whether or not the browser waited for this response.
func TestASignInIsRecordedThoughTheBrowserHasGone(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := newAgent(t, w)
	response := a.send(httptest.NewRequest("GET", issuer+authorize("s"), nil).WithContext(ctx), redirect(callback+"?code=c&state=s"))
	if !sessionstate.Verify(sessionState(t, response), clientID, rpOrigin, a.stateCookie()) || !w.live(t, a.openS().session) {
		t.Errorf("header is %v", response.Header)
	}
}

func TestInvolvedRequests(t *testing.T) {
	w := newWorld(t)
	tests := []struct {
		name, path, cookie, login string
		want                      bool
	}{
		{"authorization endpoint", "/authorize", "", "", true},
		{"a path that begins alike", "/authorizefoo", "", "", false},
		{"pending cookie", "/login", "x=y; " + w.op.cookies.pending + "0=v", "", true},
		{"login cookie", "/logout", "sid=v", "sid", true},
		{"login cookie where none is configured", "/logout", "sid=v", "", false},
		{"other cookies", "/logout", "x=y; " + w.op.cookies.session + "=v", "sid", false},
		{"no cookies", "/style.css", "", "sid", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", issuer+tt.path, nil)
			if tt.cookie != "" {
				r.Header.Set("Cookie", tt.cookie)
			}
			if got := (&Browser{LoginCookie: tt.login}).Involved(w.op, r); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
	unknown, err := newOP(issuer)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", issuer, nil)
	r.URL.Path = ""
	if (&Browser{}).Involved(unknown, r) {
		t.Error("an empty path is the unknown authorization endpoint")
	}
}

// check asks the server about a session_state.
func (w *world) check(t testing.TB, q pageCheck) string {
	t.Helper()
	var c CheckSession
	c.Setup(w.env)
	form := url.Values{"client_id": {q.clientID}, "session_state": {q.sessionState}, "origin": {q.origin}}
	if q.browserState != "" {
		form.Set("browser_state", q.browserState)
	}
	recorder := httptest.NewRecorder()
	r := httptest.NewRequest("POST", w.op.Origin+DefaultCheckSessionPath, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", w.op.Origin)
	if err := c.Serve(w.op, recorder, r); err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(recorder.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
