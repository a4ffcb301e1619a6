package signin_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
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
		{"login page", handlerstest.Authorize("s"), reply.Page, 1},
		{"redirect to a login page", handlerstest.Authorize("s"), reply.Redirect("/login?code=none"), 1},
		{"redirect elsewhere", handlerstest.Authorize("s"), reply.Redirect("https://login.example.com/"), 1},
		{"answered at once", handlerstest.Authorize("s"), reply.Redirect(handlerstest.Callback + "?code=c&state=s"), 0},
		{"refused at once", handlerstest.Authorize("s"), reply.Redirect(handlerstest.Callback + "?error=login_required&state=s"), 0},
		{"error page", handlerstest.Authorize("s"), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }, 0},
		{"server error", handlerstest.Authorize("s"), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, 0},
		{"another path", strings.Replace(handlerstest.Authorize("s"), "/authorize", "/authorize2", 1), reply.Page, 0},
		{"a path below", strings.Replace(handlerstest.Authorize("s"), "/authorize", "/authorize/2", 1), reply.Page, 0},
		{"no redirect URI", "/authorize?client_id=shop", reply.Page, 0},
		{"no client", "/authorize?request_uri=urn:x", reply.Page, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
			response := a.Get(tt.target, tt.respond)
			if a.Pendings() != tt.want {
				t.Errorf("the browser has %v", a.Cookies)
			}
			if tt.want == 1 && response.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("header is %v", response.Header)
			}
		})
	}
}

func TestPendingCookies(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	response := a.Get(handlerstest.Authorize("s"), reply.Page)
	for name, value := range a.Cookies {
		c := handlerstest.CookieNamed(response, name)
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteNoneMode || c.Path != "/" || c.Domain != "" || !strings.HasPrefix(name, "__Host-") {
			t.Errorf("attributes of %v", c)
		}
		if strings.HasPrefix(name, w.OP.Cookies.Pending) && c.MaxAge != 3600 {
			t.Errorf("%s is kept for %d s", name, c.MaxAge)
		}
		if strings.Contains(value, handlerstest.ClientID) {
			t.Errorf("%s can be read", name)
		}
	}
	a.Get(handlerstest.Authorize("s"), reply.Page)
	if a.Pendings() != 1 {
		t.Errorf("after the same request again, the browser has %v", a.Cookies)
	}
	if body := reply.ReadAll(t, response.Body); body != "<form>" {
		t.Errorf("the page became %q", body)
	}
}

func TestOfManyPendingRequestsTheOldestAreForgotten(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	for i := range len(handlers.NavigationSlots) + 3 {
		a.Get(handlerstest.Authorize(fmt.Sprint(i)), reply.Page)
		w.Clock.Advance(time.Second)
	}
	if a.Pendings() != len(handlers.NavigationSlots) {
		t.Fatalf("%d requests are pending", a.Pendings())
	}
	a.B = nil // another server
	for i := range len(handlers.NavigationSlots) + 3 {
		response := a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state="+fmt.Sprint(i)))
		if got := handlerstest.SessionState(t, response) != ""; got != (i >= 3) {
			t.Errorf("request %d is answered: %v", i, got)
		}
	}
}

func TestAPendingCookieOfNoUseIsDeleted(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.Get(handlerstest.Authorize("old"), reply.Page)
	a.Cookies[w.OP.Cookies.Pending+"0"] = "garbage"
	w.Clock.Advance(browser.PendingLifetime)
	a.Dest = "iframe" // so that the new request does not take one of the cookies
	a.Get(handlerstest.Authorize("new"), reply.Page)
	if a.Pendings() != 1 {
		t.Errorf("the browser has %v", a.Cookies)
	}
}

// Cookies know neither ports nor, with the __Host- prefix, paths: a browser sends those of all
// issuers on a host to each of them.
func TestPendingCookiesOfOtherIssuersOnTheHostAreLeftAlone(t *testing.T) {
	for _, other := range []string{handlerstest.Issuer + ":8443", handlerstest.Issuer + "/realm"} {
		w := handlerstest.NewWorld(t)
		a := handlerstest.NewAgent(t, w)
		plain := w.OP
		w.OP = handlerstest.KnownOP(t, other, handlers.Metadata{})
		a.Get(handlerstest.Authorize("s"), reply.Page)
		w.OP = plain
		a.Get(handlerstest.Authorize("t"), reply.Page)
		w.OP = handlerstest.KnownOP(t, other, handlers.Metadata{})
		if a.Pendings() != 1 {
			t.Errorf("the request at %s is forgotten: the browser has %v", other, a.Cookies)
		}
		if handlerstest.SessionState(t, a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state=s"))) == "" {
			t.Errorf("the response of %s was not observed", other)
		}
	}
}

func TestTheBrowserIsNamedAtItsFirstTopLevelRequest(t *testing.T) {
	for dest, want := range map[string]bool{"": true, "document": true, "iframe": false, "empty": false} {
		a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
		a.Dest = dest
		a.Get(handlerstest.Authorize("s"), reply.Page)
		if _, has := a.Cookies[a.W.OP.Cookies.Session]; has != want || a.Pendings() != 1 {
			t.Errorf("with destination %q the browser has %v", dest, a.Cookies)
			continue
		}
		if !want {
			continue
		}
		first := a.OpenS()
		a.Get(handlerstest.Authorize("t"), reply.Page)
		if again := a.OpenS(); again != first || !first.Session.IsZero() || first.Browser.IsZero() {
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
	{"code", handlerstest.Callback, "s", handlerstest.Callback + "?code=c&state=s", "", handlerstest.RpOrigin},
	{"code first or last", handlerstest.Callback, "s", handlerstest.Callback + "?iss=https%3A%2F%2Fop.example.com&state=s&scope=openid%20email&code=c", "", handlerstest.RpOrigin},
	{"no state", handlerstest.Callback, "", handlerstest.Callback + "?code=c", "", handlerstest.RpOrigin},
	{"an empty state", handlerstest.Callback, "", handlerstest.Callback + "?code=c&state=", "", handlerstest.RpOrigin},
	{"a state with all punctuation", handlerstest.Callback, punctuation, handlerstest.Callback + "?code=c&state=" + url.QueryEscape(punctuation) + "&iss=https%3a%2f%2fop.example.com", "", handlerstest.RpOrigin},
	{"a state that is escaped otherwise", handlerstest.Callback, "a b+x/d=~'()*!", handlerstest.Callback + "?code=c&state=a%20b%2bx/d=~'()*!", "", handlerstest.RpOrigin},
	{"a query of the redirect URI's own", handlerstest.Callback + "?tenant=a%20b", "s", handlerstest.Callback + "?tenant=a%20b&code=c&state=s", "", handlerstest.RpOrigin},
	{"hybrid", handlerstest.Callback, "s", handlerstest.Callback + "#code=c&id_token=e.e.e&state=s", "", handlerstest.RpOrigin},
	{"implicit", handlerstest.Callback, "s", handlerstest.Callback + "#id_token=e.e.e&access_token=t&token_type=Bearer&state=s", "", handlerstest.RpOrigin},
	{"fragment behind a query", handlerstest.Callback + "?tenant=1", "s", handlerstest.Callback + "?tenant=1#code=c&state=s", "", handlerstest.RpOrigin},
	{"query before a fragment", handlerstest.Callback, "s", handlerstest.Callback + "?code=c&state=s", "#_=_", handlerstest.RpOrigin},
	{"a state of 8 KiB", handlerstest.Callback, strings.Repeat("%", handlers.MaxState), handlerstest.Callback + "?code=c&state=" + strings.Repeat("%25", handlers.MaxState), "", handlerstest.RpOrigin},
	{"default port in the request", "https://rp.example.com:443/cb", "s", handlerstest.Callback + "?code=c&state=s", "", handlerstest.RpOrigin},
	{"default port in the response", handlerstest.Callback, "s", "https://rp.example.com:443/cb?code=c&state=s", "", handlerstest.RpOrigin},
	{"another port", "https://rp.example.com:8443/cb", "s", "https://rp.example.com:8443/cb?code=c&state=s", "", handlerstest.RpOrigin + ":8443"},
	{"host in other letters", "https://RP.example.com/cb", "s", "https://RP.example.com/cb?code=c&state=s", "", handlerstest.RpOrigin},
	{"loopback", "http://127.0.0.1:3000/cb", "s", "http://127.0.0.1:3000/cb?code=c&state=s", "", "http://127.0.0.1:3000"},
	{"error", handlerstest.Callback, "s", handlerstest.Callback + "?error=access_denied&error_description=no%20way&state=s", "", handlerstest.RpOrigin},
	{"error in the fragment", handlerstest.Callback, "s", handlerstest.Callback + "#error=login_required&state=s", "", handlerstest.RpOrigin},
	{"on the OP's own origin", handlerstest.Issuer + "/account", "s", "/account?code=c&state=s", "", handlerstest.Issuer},
}

const punctuation = `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~ !"#$%&'()*+,-./:;<=>?@[\]^_{|}~ !"#$%&'()*+,-./:;<=>?@[\]^_{|}~ !"#$%&'()*+,-./:;<=>?@[\]^_{|}~ `

func TestSessionStateIsAddedToTheResponse(t *testing.T) {
	for _, tt := range answers {
		request := "/authorize?" + url.Values{"client_id": {handlerstest.ClientID}, "redirect_uri": {tt.redirectURI}, "state": {tt.state}}.Encode()
		for _, oneHop := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, one hop: %v", tt.name, oneHop), func(t *testing.T) {
				w := handlerstest.NewWorld(t)
				a := handlerstest.NewAgent(t, w)
				var response *http.Response
				if answer := reply.Redirect(tt.location + tt.fragment); oneHop {
					response = a.Get(request, answer)
				} else {
					a.Get(request, reply.Redirect("/login"))
					a.Get("/login", reply.Page)
					w.Clock.Advance(time.Minute)
					r := httptest.NewRequest("POST", handlerstest.Issuer+"/login?step=2", strings.NewReader("password=x"))
					response = a.Send(r, answer)
				}
				got := response.Header.Get("Location")
				state, ok := strings.CutPrefix(got, tt.location+"&session_state=")
				state, ends := strings.CutSuffix(state, tt.fragment)
				if !ok || !ends {
					t.Fatalf("got %s", got)
				}
				if !sessionstate.Verify(state, handlerstest.ClientID, tt.origin, a.StateCookie()) {
					t.Errorf("%s does not fit the cookie %s", state, a.StateCookie())
				}
				_, salt, _ := sessionstate.Split(state)
				handle, err := w.Keys.OpenHandle(handlerstest.Issuer, salt)
				if err != nil || !handle.IsFor(handlerstest.ClientID, tt.origin) || !handle.Session.IsZero() && !handle.Until.Equal(w.Clock.Now().Add(handlerstest.Lifetime)) {
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
	answer := handlerstest.Callback + "?code=c&state=s"
	tests := []struct {
		name     string
		location string
		respond  http.HandlerFunc // instead of a redirect to location
	}{
		{"another state", handlerstest.Callback + "?code=c&state=S", nil},
		{"no state", handlerstest.Callback + "?code=c", nil},
		{"another target", "https://evil.example/cb?code=c&state=s", nil},
		{"a target that begins alike", "https://rp.example.com.evil.example/cb?code=c&state=s", nil},
		{"a target with a user", "https://rp.example.com@evil.example/cb?code=c&state=s", nil},
		{"another path", handlerstest.Callback + "/..?code=c&state=s", nil},
		{"a path in other letters", "https://rp.example.com/CB?code=c&state=s", nil},
		{"another scheme", "http://rp.example.com/cb?code=c&state=s", nil},
		{"without a scheme, elsewhere", "//evil.example/cb?code=c&state=s", nil},
		{"a script", "javascript:alert(1)//?code=c&state=s", nil},
		{"a target that cannot be read", "https://rp.example.com\\@evil.example/cb?code=c&state=s", nil},
		{"neither code nor error", handlerstest.Callback + "?state=s", nil},
		{"an empty code", handlerstest.Callback + "?code=&state=s", nil},
		{"code and error", handlerstest.Callback + "?code=c&error=e&state=s", nil},
		{"code twice", handlerstest.Callback + "?code=c&code=d&state=s", nil},
		{"state twice", handlerstest.Callback + "?code=c&state=s&state=s", nil},
		{"in query and fragment", answer + "#id_token=t", nil},
		{"too long a code", handlerstest.Callback + "?code=" + strings.Repeat("c", handlers.MaxCode+1) + "&state=s", nil},
		{"a huge Location", answer + "&x=" + strings.Repeat("x", handlers.MaxLocation), nil},
		{"JARM", handlerstest.Callback + "?response=e.e.e", nil},
		{"a page", answer, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", handlerstest.Callback+"?code=c&state=s")
			reply.Page(w, r)
		}},
		{"201", answer, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", handlerstest.Callback+"?code=c&state=s")
			w.WriteHeader(201)
		}},
		{"two Locations", answer, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Location", handlerstest.Callback+"?code=c&state=s")
			w.Header().Add("Location", "https://evil.example/")
			w.WriteHeader(302)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			a := handlerstest.NewAgent(t, w)
			a.Get(handlerstest.Authorize("s"), reply.Page)
			before := len(a.Cookies)
			respond := tt.respond
			if respond == nil {
				respond = reply.Redirect(tt.location)
			}
			response := a.Get("/login", func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Cache-Control", "private")
				respond(rw, r)
			})
			want := tt.location
			if got := response.Header.Get("Location"); got != want && tt.name != "two Locations" || strings.Contains(strings.Join(response.Header["Location"], ""), "session_state=A") {
				t.Errorf("Location is %s", response.Header["Location"])
			}
			if len(response.Header["Set-Cookie"]) > 0 || len(a.Cookies) != before || response.Header.Get("Cache-Control") != "private" {
				t.Errorf("header is %v", response.Header)
			}
		})
	}
}

func TestAnotherBrowsersPendingRequestDoesNotCount(t *testing.T) {
	w := handlerstest.NewWorld(t)
	handlerstest.NewAgent(t, w).Get(handlerstest.Authorize("s"), reply.Page)
	a := handlerstest.NewAgent(t, w)
	a.Get(handlerstest.Authorize("own"), reply.Page)
	response := a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state=s"))
	if handlerstest.SessionState(t, response) != "" || len(response.Header["Set-Cookie"]) > 0 {
		t.Errorf("header is %v", response.Header)
	}
}

func TestARequestIsAnsweredAgainAfterBack(t *testing.T) {
	a := handlerstest.NewAgent(t, handlerstest.NewWorld(t))
	a.Get(handlerstest.Authorize("s"), reply.Page)
	for _, code := range []string{"c1", "c2"} {
		if handlerstest.SessionState(t, a.Get("/login", reply.Redirect(handlerstest.Callback+"?code="+code+"&state=s"))) == "" {
			t.Errorf("the response with %s was not observed", code)
		}
	}
}

func TestASuccessSetsBothCookies(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.Get(handlerstest.Authorize("s"), reply.Page)
	named := a.OpenS().Browser
	response := a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c&state=s"))
	s, b := handlerstest.CookieNamed(response, w.OP.Cookies.Session), handlerstest.CookieNamed(response, w.OP.Cookies.State)
	if s == nil || b == nil {
		t.Fatalf("header is %v", response.Header)
	}
	if !s.HttpOnly || s.MaxAge != int((handlerstest.Lifetime+registry.CodeLifetime).Seconds()) || b.HttpOnly || b.MaxAge != int(handlerstest.Lifetime.Seconds()) {
		t.Errorf("cookies are %v and %v", s, b)
	}
	sealed := a.OpenS()
	session := w.Session(t, sealed.Session)
	if session == nil || !session.Live(registry.At(w.Clock.Now())) || sealed.Browser != named {
		t.Fatalf("recorded is %+v; the cookie has %+v", session, sealed)
	}
	if sealed.State != b.Value || !sealed.Expires.Equal(session.Expires.Time()) || registry.PlaceOfSession(session.ID) != registry.PlaceOf(handlerstest.Issuer, named) {
		t.Errorf("the cookie has %+v", sealed)
	}
	if clients := w.Clients(t, sealed.Session); len(clients) != 1 || clients[0].ID != handlerstest.ClientID || !slices.Equal(clients[0].Origins, []string{handlerstest.RpOrigin}) {
		t.Errorf("clients are %+v", clients)
	}
}

func TestASuccessContinuesTheSessionOfTheCookie(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	first := a.SignIn("c1")
	w.Redeem(t, handlerstest.CodeForm("c1"), reply.Answering(handlerstest.TokenResponse(handlerstest.Claims("alice", handlerstest.ClientID)))) // or it is forgotten soon
	before, state := a.OpenS(), a.StateCookie()
	w.Clock.Advance(handlerstest.Lifetime / 2)
	response := a.Get(strings.Replace(handlerstest.Authorize("s"), handlerstest.ClientID, "mail", 1), reply.Redirect(handlerstest.Callback+"?code=c2&state=s"))
	if after := a.OpenS(); after != before || a.StateCookie() != state {
		t.Errorf("the session was %+v and is %+v", before, after)
	}
	// for the browser's ID
	if c := handlerstest.CookieNamed(response, w.OP.Cookies.Session); c.MaxAge != int((handlerstest.Lifetime + registry.CodeLifetime).Seconds()) {
		t.Errorf("the sealed cookie is kept for %d s", c.MaxAge)
	}
	second := handlerstest.SessionState(t, response)
	if !sessionstate.Verify(first, handlerstest.ClientID, handlerstest.RpOrigin, state) || !sessionstate.Verify(second, "mail", handlerstest.RpOrigin, state) || first == second {
		t.Errorf("states are %s and %s", first, second)
	}
	if clients := w.Clients(t, before.Session); len(clients) != 2 {
		t.Errorf("clients are %+v", clients)
	}
}

func TestASuccessStartsANewSession(t *testing.T) {
	tests := []struct {
		name string
		end  func(*handlerstest.World, *handlerstest.Agent)
	}{
		{"after the old one expired", func(w *handlerstest.World, _ *handlerstest.Agent) { w.Clock.Advance(handlerstest.Lifetime) }},
		{"after the old one was ended", func(w *handlerstest.World, a *handlerstest.Agent) {
			w.End(t, a.OpenS().Browser, registry.ReasonOperator)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			a := handlerstest.NewAgent(t, w)
			a.SignIn("c1")
			before, state := a.OpenS(), a.StateCookie()
			tt.end(w, a)
			a.SignIn("c2")
			after := a.OpenS()
			if after.Session == before.Session || after.Browser != before.Browser || a.StateCookie() == state {
				t.Errorf("the session was %+v and is %+v", before, after)
			}
		})
	}
}

func TestAnErrorWritesNothing(t *testing.T) {
	refused := reply.Redirect(handlerstest.Callback + "?error=login_required&state=s")
	tests := []struct {
		name    string
		dest    string
		prepare func(*testing.T, *handlerstest.Agent)
		gives   bool   // the anonymous state
		state   string // what session_state is over: "given", "presented", "anonymous"
	}{
		{"at top level", "document", nil, true, "anonymous"},
		{"from an old engine", "", nil, true, "anonymous"},
		{"in a frame", "iframe", nil, false, "anonymous"},
		{"of a browser that is signed in", "document", func(t *testing.T, a *handlerstest.Agent) { a.SignIn("c") }, false, "presented"},
		{"in a frame of a browser that is signed in", "iframe", func(t *testing.T, a *handlerstest.Agent) { a.SignIn("c") }, false, "presented"},
		{"of a browser that was signed out", "document", func(_ *testing.T, a *handlerstest.Agent) {
			a.Cookies[a.W.OP.Cookies.State] = a.W.Keys.AnonymousState(handlerstest.Issuer)
		}, false, "presented"},
		{"of a browser that presents another state than its session's", "iframe", func(t *testing.T, a *handlerstest.Agent) {
			a.SignIn("c")
			a.Cookies[a.W.OP.Cookies.State] = a.W.Keys.AnonymousState(handlerstest.Issuer)
		}, false, "presented"},
		{"of a browser that presents garbage", "document", func(_ *testing.T, a *handlerstest.Agent) { a.Cookies[a.W.OP.Cookies.State] = "garbage" }, true, "anonymous"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := handlerstest.NewWorld(t)
			a := handlerstest.NewAgent(t, w)
			if tt.prepare != nil {
				tt.prepare(t, a)
			}
			a.Dest = tt.dest
			presented := a.StateCookie()
			w.Env.Registry = nil // it is not asked at all
			response := a.Get(handlerstest.Authorize("s"), refused)
			if given := handlerstest.CookieNamed(response, w.OP.Cookies.State); (given != nil) != tt.gives || tt.gives && given.Value != w.Keys.AnonymousState(handlerstest.Issuer) {
				t.Errorf("the state cookie given is %v", given)
			}
			if c := handlerstest.CookieNamed(response, w.OP.Cookies.Session); c != nil {
				t.Errorf("the sealed cookie given is %v", c)
			}
			over := map[string]string{"anonymous": w.Keys.AnonymousState(handlerstest.Issuer), "presented": presented}[tt.state]
			state := handlerstest.SessionState(t, response)
			if !sessionstate.Verify(state, handlerstest.ClientID, handlerstest.RpOrigin, over) {
				t.Errorf("%s is not over the %s state", state, tt.state)
			}
			_, salt, _ := sessionstate.Split(state)
			if handle, err := w.Keys.OpenHandle(handlerstest.Issuer, salt); err != nil || !handle.Session.IsZero() || !handle.Response.IsZero() {
				t.Errorf("handle is %+v, %v", handle, err)
			}
		})
	}
}

func TestANativeAppTakesPartWithoutSessionState(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	const app = "com.example.app:/cb"
	response := a.Get("/authorize?client_id=app&state=s&redirect_uri="+url.QueryEscape(app), reply.Redirect(app+"?code=c&state=s"))
	if got := response.Header.Get("Location"); got != app+"?code=c&state=s" || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("header is %v", response.Header)
	}
	if clients := w.Clients(t, a.OpenS().Session); len(clients) != 1 || clients[0].ID != "app" || len(clients[0].Origins) != 0 {
		t.Errorf("clients are %+v", clients)
	}
}

func TestWithoutTheRegistryLoginGoesOn(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	up := w.Down()
	state := a.SignIn("c")
	sealed := a.OpenS()
	if !sessionstate.Verify(state, handlerstest.ClientID, handlerstest.RpOrigin, a.StateCookie()) || sealed.Session.IsZero() {
		t.Errorf("state %s, cookie %+v", state, sealed)
	}
	if w.Logs.FilterMessageSnippet("cookies only").Len() != 1 {
		t.Errorf("logged %s", w.Logged())
	}
	if got := w.Check(t, handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: state, Origin: handlerstest.RpOrigin, BrowserState: ""}); got != "unknown" {
		t.Errorf("the check says %s", got)
	}
	again := a.SignIn("c2")
	if after := a.OpenS(); after != sealed || !sessionstate.Verify(again, handlerstest.ClientID, handlerstest.RpOrigin, sealed.State) {
		t.Errorf("the session was %+v and is %+v", sealed, after)
	}
	up()
	recorded := a.SignIn("c3")
	if after := a.OpenS(); after.Session != sealed.Session || after.State != sealed.State || !w.Live(t, sealed.Session) {
		t.Errorf("once the registry is back, the session is %+v", after)
	}
	if got := w.Check(t, handlerstest.PageCheck{ClientID: handlerstest.ClientID, SessionState: recorded, Origin: handlerstest.RpOrigin, BrowserState: ""}); got != "unchanged" {
		t.Errorf("the check says %s of the recorded session", got)
	}
}

func TestWithoutKeysTheResponseIsUntouched(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	a.Get(handlerstest.Authorize("s"), reply.Page)
	w.WithoutKeys()
	for target, respond := range map[string]http.HandlerFunc{
		handlerstest.Authorize("t"): reply.Page,
		"/login":                    reply.Redirect(handlerstest.Callback + "?code=c&state=s"),
	} {
		response := a.Get(target, respond)
		if len(response.Header["Set-Cookie"]) > 0 || response.Header.Get("Cache-Control") != "" || strings.Contains(response.Header.Get("Location"), "session_state") {
			t.Errorf("header at %s is %v", target, response.Header)
		}
	}
}

func TestAfterKeyRotationTheCookieIsSealedAnewAndTheStateStays(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	first := a.SignIn("c")
	before, value, state := a.OpenS(), a.Cookies[w.OP.Cookies.Session], a.StateCookie()
	w.Keys = handlerstest.Keyring(t, handlerstest.SecondSecret, handlerstest.FirstSecret)
	a.Get(handlerstest.Authorize("t"), reply.Page)
	if a.Cookies[w.OP.Cookies.Session] == value || a.OpenS() != before || a.StateCookie() != state {
		t.Errorf("the cookie was %+v and is %+v", before, a.OpenS())
	}
	w.Keys = handlerstest.Keyring(t, handlerstest.SecondSecret)
	second := a.SignIn("c2")
	if after := a.OpenS(); after != before || a.StateCookie() != state {
		t.Errorf("the session was %+v and is %+v", before, after)
	}
	for _, s := range []string{first, second} {
		if !sessionstate.Verify(s, handlerstest.ClientID, handlerstest.RpOrigin, state) {
			t.Errorf("%s does not fit the cookie any more", s)
		}
	}
}

func TestThePostedRequestIsObservedAndReplayed(t *testing.T) {
	_, form, _ := strings.Cut(handlerstest.Authorize("s"), "?")
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	r := httptest.NewRequest("POST", handlerstest.Issuer+"/authorize", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response := a.Send(r, func(w http.ResponseWriter, r *http.Request) {
		if body := reply.ReadAll(t, r.Body); body != form {
			t.Errorf("the OP read %q", body)
		}
		reply.Redirect(handlerstest.Callback+"?code=c&state=s")(w, r)
	})
	if state := handlerstest.SessionState(t, response); !sessionstate.Verify(state, handlerstest.ClientID, handlerstest.RpOrigin, a.StateCookie()) {
		t.Errorf("state is %q", state)
	}
}

func TestWhatABrowserPresentsMayBeAnything(t *testing.T) {
	w := handlerstest.NewWorld(t)
	names := w.OP.Cookies
	tests := []struct{ name, cookie string }{
		{"huge", names.Session + "=" + strings.Repeat("A", 1<<16)},
		{"huge pending", names.Pending + "x=" + strings.Repeat("A", 1<<16)},
		{"thousands", strings.Repeat(names.Pending+"x=y; ", 5000)},
		{"not ASCII", names.Session + "=\xff\xfe; " + names.State + "=\x00"},
		{"without values", names.Session + "; " + names.State + "; " + names.Pending},
		{"a number without end", names.Session + "=" + strings.Repeat("9", 10000)},
		{"only separators", strings.Repeat("; ", 1000) + "=" + names.Pending},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", handlerstest.Issuer+handlerstest.Authorize("s"), nil)
			r.Header["Cookie"] = []string{tt.cookie}
			a := handlerstest.NewAgent(t, w)
			response := a.Send(r, reply.Redirect(handlerstest.Callback+"?code=c&state=s"))
			if !sessionstate.Verify(handlerstest.SessionState(t, response), handlerstest.ClientID, handlerstest.RpOrigin, a.StateCookie()) {
				t.Errorf("header is %v", response.Header)
			}
		})
	}
}

func TestTheOPsOwnCookiesAndErrorsStay(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	response := a.Get(handlerstest.Authorize("s"), func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Add("Set-Cookie", "login=1; Path=/x")
		reply.Redirect(handlerstest.Callback+"?code=c&state=s")(rw, r)
	})
	if lines := response.Header["Set-Cookie"]; len(lines) != 3 || lines[0] != "login=1; Path=/x" {
		t.Errorf("cookies are %v", lines)
	}
	b := signin.Observer{}
	b.Setup(w.Env)
	behind := caddyhttp.Error(http.StatusBadGateway, nil)
	recorder := httptest.NewRecorder()
	err := b.Serve(w.OP, recorder, httptest.NewRequest("GET", handlerstest.Issuer+handlerstest.Authorize("s"), nil), caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return behind
	}))
	if err != error(behind) || len(recorder.Header()) != 0 { //nolint:errorlint // the very same value
		t.Errorf("got %v, %v", err, recorder.Header())
	}
}

// What the OP has done has happened: the next request finds it, whether or not the browser waited
// for this response.
func TestASignInIsRecordedThoughTheBrowserHasGone(t *testing.T) {
	w := handlerstest.NewWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := handlerstest.NewAgent(t, w)
	response := a.Send(httptest.NewRequest("GET", handlerstest.Issuer+handlerstest.Authorize("s"), nil).WithContext(ctx), reply.Redirect(handlerstest.Callback+"?code=c&state=s"))
	if !sessionstate.Verify(handlerstest.SessionState(t, response), handlerstest.ClientID, handlerstest.RpOrigin, a.StateCookie()) || !w.Live(t, a.OpenS().Session) {
		t.Errorf("header is %v", response.Header)
	}
}

func TestInvolvedRequests(t *testing.T) {
	w := handlerstest.NewWorld(t)
	tests := []struct {
		name, path, cookie, login string
		want                      bool
	}{
		{"authorization endpoint", "/authorize", "", "", true},
		{"a path that begins alike", "/authorizefoo", "", "", false},
		{"pending cookie", "/login", "x=y; " + w.OP.Cookies.Pending + "0=v", "", true},
		{"login cookie", "/logout", "sid=v", "sid", true},
		{"login cookie where none is configured", "/logout", "sid=v", "", false},
		{"other cookies", "/logout", "x=y; " + w.OP.Cookies.Session + "=v", "sid", false},
		{"no cookies", "/style.css", "", "sid", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", handlerstest.Issuer+tt.path, nil)
			if tt.cookie != "" {
				r.Header.Set("Cookie", tt.cookie)
			}
			if got := (&signin.Observer{LoginCookie: tt.login}).Involved(w.OP, r); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
	unknown, err := handlers.NewOP(handlerstest.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", handlerstest.Issuer, nil)
	r.URL.Path = ""
	if (&signin.Observer{}).Involved(unknown, r) {
		t.Error("an empty path is the unknown authorization endpoint")
	}
}

// A frame asks for the same as an app that sends no state, as another client: the OP refuses that,
// by a page.
func TestAFrameTakesNoAnswerFromASignIn(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	ask := func(client string) string {
		return "/authorize?" + handlerstest.Values("response_type", "code", "scope", "openid", "client_id", client, "redirect_uri", handlerstest.Callback).Encode()
	}
	a.Dest = "document"
	a.Get(ask(handlerstest.ClientID), reply.Page)
	w.Clock.Advance(2 * time.Second)
	a.Dest = "iframe"
	a.Get(ask("evil"), reply.Page)
	a.Dest = "document"
	a.Get("/login", reply.Redirect(handlerstest.Callback+"?code=c"))
	if joined := w.Clients(t, a.OpenS().Session); len(joined) != 1 || joined[0].ID != handlerstest.ClientID {
		t.Errorf("the sign-in is that of %+v", joined)
	}
}
