package logout_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
)

func TestTheOPIsAskedAsItsOwnPageWouldAskIt(t *testing.T) {
	x := handlerstest.NewExit(t, func(e *logout.EndSession) {
		e.Upstream = &logout.Upstream{
			Method: http.MethodPut, Path: "/logout?next=/",
			Headers: map[string]string{"x-csrf-token": "token for {method}", "Referer": "https://op.example.com/account"},
			Form:    map[string]string{"csrf": "a&b {method}", "all": "1"},
		}
	})
	x.SignedIn(handlerstest.ClientID, "alice")
	x.Get(handlerstest.Authorize("pending"), reply.Page) // leaves a pending cookie
	x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice")))
	asked := x.Logout
	if asked == nil {
		t.Fatal("the OP was not asked")
	}
	body, err := io.ReadAll(asked.Body)
	if err != nil {
		t.Fatal(err)
	}
	if asked.Method != http.MethodPut || asked.URL.String() != "/logout?next=/" || asked.Host != "op.example.com" || string(body) != "all=1&csrf=a%26b+GET" {
		t.Errorf("the request is %s %s%s with %s", asked.Method, asked.Host, asked.URL, body)
	}
	for field, want := range map[string]string{
		"Origin": handlerstest.Issuer, "Referer": "https://op.example.com/account", "X-Csrf-Token": "token for GET",
		"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin",
	} {
		if got := asked.Header.Get(field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	if cookies := asked.Header.Get("Cookie"); !strings.Contains(cookies, "login=alice") || strings.Contains(cookies, "oidc_pending") {
		t.Errorf("the cookies are %q", cookies)
	}
}

func TestIfTheOPFailsTheUserIsTold(t *testing.T) {
	for name, fail := range map[string]func(x *handlerstest.Exit){
		"forbidden":      func(x *handlerstest.Exit) { x.Status = http.StatusForbidden },
		"broken":         func(x *handlerstest.Exit) { x.Status = http.StatusInternalServerError },
		"not as it must": func(x *handlerstest.Exit) { x.E.Upstream.Success = []int{204} },
	} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t)
			x.SignedIn(handlerstest.ClientID, "alice")
			fail(x)
			request := handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye)
			failed := x.Ask(request)
			if failed.StatusCode != http.StatusBadGateway || failed.Header.Get("Location") != "" {
				t.Fatalf("got %s to %q", failed.Status, failed.Header.Get("Location"))
			}
			if here, _ := x.IsSignedIn(); here {
				t.Error("our own session goes on")
			}
			x.Cookies["login"] = "alice"
			x.Status, x.E.Upstream.Success = http.StatusOK, nil
			if got := handlerstest.Outcome(t, x.Answer(failed, logout.AnswerSignOut)); got != "to "+handlerstest.Bye {
				t.Errorf("the second try: %s", got)
			}
			x.MustBe(false)
		})
	}
}

func TestAHandlerThatFailsIsAFailureOfTheOP(t *testing.T) {
	for name, next := range map[string]caddyhttp.HandlerFunc{
		"an error": func(http.ResponseWriter, *http.Request) error { return errors.New("down") },
		"a panic":  func(http.ResponseWriter, *http.Request) error { panic("down") },
	} {
		x := handlerstest.NewExit(t)
		x.SignedIn(handlerstest.ClientID, "alice")
		r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?id_token_hint="+x.Hint(handlerstest.ClientID, "alice"), nil)
		for cookie, value := range x.Cookies {
			r.AddCookie(&http.Cookie{Name: cookie, Value: value})
		}
		x.E.Keys.Find(x.W.OP, r, reply.Handler(x.OP), "")
		recorder := httptest.NewRecorder()
		if err := x.E.Serve(x.W.OP, recorder, r, next); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if recorder.Code != http.StatusBadGateway {
			t.Errorf("%s: got %d", name, recorder.Code)
		}
	}
}

// Both the OP's own answer and the configured deletions reach the browser, each cookie once.
func TestCookiesOfTheOPAreRelayedAndCleared(t *testing.T) {
	x := handlerstest.NewExit(t, func(e *logout.EndSession) {
		e.ClearCookies = []browser.ClearCookie{
			{Name: "login"},
			{Name: "csrf", Domain: "example.com", Path: "/app"},
			{Name: "csrf", Domain: "example.com", Path: "/app"},
			{Name: "__Host-x"},
			{Name: "__Secure-y", Path: "/y"},
		}
		e.Upstream.Path = "/accounts/logout"
	})
	x.SignedIn(handlerstest.ClientID, "alice")
	r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?id_token_hint="+x.Hint(handlerstest.ClientID, "alice"), nil)
	for cookie, value := range x.Cookies {
		r.AddCookie(&http.Cookie{Name: cookie, Value: value})
	}
	recorder := httptest.NewRecorder()
	_ = x.E.Serve(x.W.OP, recorder, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.Path != "/accounts/logout" {
			x.OP(w, r)
			return nil
		}
		w.Header().Add("Set-Cookie", "login=; Max-Age=0; Path=/; Secure")
		w.Header().Add("Set-Cookie", "messages=bye")
		w.Header().Add("Set-Cookie", `odd={"a": 1}; Path=/`)
		return nil
	}))
	got := recorder.Header()["Set-Cookie"]
	for _, want := range []string{
		"messages=bye; Path=/accounts",
		`odd={"a": 1}; Path=/`,
		"login=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure",
		"csrf=; Path=/app; Domain=example.com; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure",
		"__Host-x=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure",
		"__Secure-y=; Path=/y; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure",
	} {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(line string) bool { return line != want })); n != 1 {
			t.Errorf("%q is given %d times in\n%s", want, n, strings.Join(got, "\n"))
		}
	}
	for _, line := range got {
		if strings.HasPrefix(line, "login=; Max-Age=0; Path=/; Secure") {
			t.Error("the OP's own deletion is relayed beside ours")
		}
	}
}

// A deletion for another domain or path than the cookie's does nothing, and nobody is told of it:
// so it is looked.
func TestClearedCookiesMustBeGone(t *testing.T) {
	x := handlerstest.NewExit(t, func(e *logout.EndSession) { e.Upstream, e.ClearCookies = nil, nil })
	x.SignedIn(handlerstest.ClientID, "alice")
	request := handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye, "state", "1")
	if got := handlerstest.Outcome(t, x.Ask(request)); got != "to "+handlerstest.Bye+"?state=1" {
		t.Errorf("got %s", got)
	}
	x.MustBe(false)

	x.SignedIn(handlerstest.ClientID, "alice")
	first := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?"+request.Encode(), nil))
	x.Cookies["login"] = "alice" // it was set for a path of its own
	second := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+first.Header.Get("Location"), nil))
	if second.StatusCode != http.StatusBadGateway || second.Header.Get("Location") != "" {
		t.Errorf("a cookie that is still there: %s to %q", second.Status, second.Header.Get("Location"))
	}
	if !strings.Contains(x.W.Logged(), "their domain or path") {
		t.Error("the log does not say what to do")
	}
}

func TestABrowserWithoutTheLoginCookieIsNotSentToTheOP(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	x.SetsLogin()
	delete(x.Cookies, "login")
	if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice")))); got != "signed out" || x.Logouts.Load() != 0 {
		t.Errorf("got %s, the OP was asked %d times", got, x.Logouts.Load())
	}
}

func TestUpstreamsAndCookiesThatCannotBe(t *testing.T) {
	for name, u := range map[string]logout.Upstream{
		"no path": {}, "a path without a slash": {Path: "logout"}, "another host": {Path: "//evil.example/"}, "a URL": {Path: "https://evil.example/"},
		"a fragment": {Path: "/logout#x"}, "a method with a space": {Path: "/x", Method: "GET /"}, "a body and a form": {Path: "/x", Body: "a", Form: map[string]string{"a": "b"}},
		"a header that cannot be": {Path: "/x", Headers: map[string]string{"a b": "c"}}, "a header with a line end": {Path: "/x", Headers: map[string]string{"a": "b\nc"}},
		"cookies": {Path: "/x", Headers: map[string]string{"cookie": "a=b"}}, "a status of 600": {Path: "/x", Success: []int{600}}, "a class of 7": {Path: "/x", Success: []int{7}},
	} {
		if u.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, c := range map[string]browser.ClearCookie{
		"no name": {}, "a name with a space": {Name: "a b"}, "a path without a slash": {Name: "a", Path: "x"}, "a domain of a cookie with __Host-": {Name: "__Host-a", Domain: "example.com"},
		"a path of a cookie with __host-": {Name: "__host-a", Path: "/x"}, "a path with a semicolon": {Name: "a", Path: "/;x"},
	} {
		if c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A login cookie for a part of the site does not reach an endpoint elsewhere: nothing may be
// claimed then.
func TestALoginCookieThatDoesNotReachTheEndpointIsAFailureThatSaysWhatToDo(t *testing.T) {
	for set, reaches := range map[string]bool{"/account": false, "/oidc/end": false, "/": true, "/oidc": true, "/oidc/": true, handlerstest.EndSession: true, "": true} {
		x := handlerstest.NewExit(t)
		x.SignedIn(handlerstest.ClientID, "alice")
		line := "login=alice; Path=" + set
		x.E.LoginCookiePaths.Note([]string{"login=; Max-Age=0; Path=/gone", line, "other=1; Path=/x", "login=; Path=/gone"}, "login", httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/account/x", nil), x.W.Clock.Now())
		x.Says = says(http.StatusFound, "login=; Max-Age=0; Path="+set)
		if set == "" {
			x.E.LoginCookiePaths, x.Says = new(browser.LoginCookiePaths), says(http.StatusFound, deletesLogin)
		}
		if !reaches {
			delete(x.Cookies, "login")
		}
		got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"))))
		if want := map[bool]string{true: "signed out", false: "error"}[reaches]; got != want {
			t.Errorf("set for %q: got %s, want %s", set, got, want)
		}
		if !reaches && !strings.Contains(x.W.Logged(), "give end_session a path below that") {
			t.Errorf("set for %q: the log does not say what to do", set)
		}
	}
}

func TestAClearedCookieOfANeighboursNameIsNoFailure(t *testing.T) {
	for login, want := range map[string]int{"login": http.StatusOK, "": http.StatusBadGateway} {
		x := handlerstest.NewExit(t, func(e *logout.EndSession) {
			e.Upstream, e.LoginCookie, e.ClearCookies = nil, login, []browser.ClearCookie{{Name: "login"}, {Name: "csrf"}}
		})
		x.SignedIn(handlerstest.ClientID, "alice")
		x.Cookies["csrf"] = "a token"
		first := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?id_token_hint="+x.Hint(handlerstest.ClientID, "alice"), nil))
		x.Cookies["csrf"] = "of the whole domain"
		second := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+first.Header.Get("Location"), nil))
		if second.StatusCode != want {
			t.Errorf("with login cookie %q: got %s", login, second.Status)
		}
	}
}
