package logout_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
)

// says is an answer of the OP with a status and Set-Cookie lines.
func says(status int, cookies ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header()["Set-Cookie"] = cookies
		w.WriteHeader(status)
	}
}

const deletesLogin = "login=; Max-Age=0; Path=/"

// Users are told that they are signed out only if the login cookie was there and is gone, or if
// the OP says so by a status that the configuration names.
func TestSignedOutIsSaidOnlyWhereItIsProved(t *testing.T) {
	successIs := func(codes ...int) func(*logout.EndSession) {
		return func(e *logout.EndSession) { e.Upstream.Success = codes }
	}
	clearsToo := func(e *logout.EndSession) { e.ClearCookies = []browser.ClearCookie{{Name: "login"}} }
	misnamed := func(e *logout.EndSession) { e.LoginCookie = "misspelt" }
	onlyClears := func(login string, names ...string) func(*logout.EndSession) {
		return func(e *logout.EndSession) {
			e.LoginCookie, e.Upstream = login, nil
			for _, name := range names {
				e.ClearCookies = append(e.ClearCookies, browser.ClearCookie{Name: name})
			}
		}
	}
	withoutLogin := func(x *handlerstest.Exit) { delete(x.Cookies, "login") }
	for name, tt := range map[string]struct {
		configure func(*logout.EndSession)
		says      func(http.ResponseWriter)
		prepare   func(*handlerstest.Exit)
		advice    string // empty: the user is signed out
	}{
		"a redirect, and the cookie is deleted":      {nil, says(302, deletesLogin), nil, ""},
		"a page, and the cookie is deleted":          {nil, says(200, deletesLogin), nil, ""},
		"a page that asks":                           {nil, says(200), nil, "option success"},
		"a redirect to the login page":               {nil, says(302), nil, "option success"},
		"it is deleted for a part of the site":       {nil, says(302, "login=; Max-Age=0; Path=/admin"), nil, "option success"},
		"it is deleted for another domain":           {nil, says(302, "login=; Max-Age=0; Path=/; Domain=other.example"), nil, "option success"},
		"it is deleted where the OP does not set it": {nil, says(302, "login=; Max-Age=0; Path=/; Domain=op.example.com"), (*handlerstest.Exit).SetsLogin, "option success"},
		"it is deleted where the OP sets it":         {nil, says(302, deletesLogin), (*handlerstest.Exit).SetsLogin, ""},
		"another cookie is deleted":                  {nil, says(302, "messages=; Max-Age=0; Path=/"), nil, "option success"},
		"the cookie gets another value":              {nil, says(200, "login=anonymous; Path=/"), nil, "option success"},
		"the cookie is deleted and set anew":         {nil, says(200, deletesLogin, "login=anonymous; Path=/"), nil, "option success"},
		"the cookie is deleted, and set elsewhere":   {nil, says(200, deletesLogin, "login=anonymous; Path=/app"), nil, "option success"},
		"an error page of the site":                  {nil, says(404, deletesLogin), nil, "check the upstream request"},
		"an error of the OP":                         {nil, says(500), nil, "check the upstream request"},
		"success names the status":                   {successIs(204), says(204), nil, ""},
		"success names the class":                    {successIs(3), says(302), nil, ""},
		"success names another status":               {successIs(204), says(200, deletesLogin), nil, "check the upstream request"},
		"the cookie is cleared as well":              {clearsToo, says(200), nil, ""},
		"it is cleared, and not by the right path":   {clearsToo, says(200), func(x *handlerstest.Exit) { x.Sticky = "login" }, "as the OP sets them"},
		"the name is wrong":                          {misnamed, says(302, deletesLogin), nil, "check the name"},
		"the name is wrong, and nothing is asked":    {onlyClears("misspelt"), nil, nil, "check the name"},
		"no cookie, and none was ever observed":      {nil, nil, withoutLogin, "check the name"},
		"no cookie, but the OP sets it":              {nil, nil, func(x *handlerstest.Exit) { x.SetsLogin(); withoutLogin(x) }, ""},
		"no cookie, but another browser brought it":  {nil, nil, func(x *handlerstest.Exit) { x.Ask(nil); withoutLogin(x) }, ""},
		"no cookie, but somebody brought any":        {nil, nil, func(x *handlerstest.Exit) { x.Visited("login=forged"); withoutLogin(x) }, "check the name"},
		"no name, and a redirect":                    {func(e *logout.EndSession) { e.LoginCookie = "" }, says(302, deletesLogin), nil, "set login_cookie"},
		"no name, and success names the status":      {func(e *logout.EndSession) { e.LoginCookie, e.Upstream.Success = "", []int{302} }, says(302), nil, ""},
		"no name, and the cleared cookie is gone":    {onlyClears("", "login"), nil, nil, ""},
		"no name, and the cleared cookie was none":   {onlyClears("", "misspelt"), nil, nil, "check the name"},
		"a name that is not among what is cleared":   {onlyClears("login", "csrf"), nil, nil, "have clear_cookies delete the login cookie"},
		"nothing to end, as the OP has no session":   {onlyClears(""), nil, func(x *handlerstest.Exit) { x.E.Explicit = true }, ""},
		"success is named, and no cookie was to see": {successIs(302), says(302), withoutLogin, "check the name"}, // the OP was not asked
	} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t, func(e *logout.EndSession) {
				if tt.configure != nil {
					tt.configure(e)
				}
			})
			x.SignedIn(handlerstest.ClientID, "alice")
			x.Says = tt.says
			if tt.prepare != nil {
				tt.prepare(x)
			}
			want := map[bool]string{true: "to " + handlerstest.Bye, false: "error"}[tt.advice == ""]
			got := x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye))
			status := got.StatusCode
			if outcome := handlerstest.Outcome(t, got); outcome != want || want == "error" && status != http.StatusBadGateway {
				t.Errorf("got %s %d, want %s", outcome, status, want)
			}
			if here, _ := x.IsSignedIn(); here {
				t.Error("our own session goes on")
			}
			failed := x.W.Logs.FilterMessage("end_session").FilterField(zap.String("outcome", "failed"))
			if failed.Len() > 0 != (tt.advice != "") || !strings.Contains(x.W.Logged(), tt.advice) {
				t.Errorf("logged %s", x.W.Logged())
			}
		})
	}
}

// Whoever tries again with a wrong name is told again.
func TestAWrongLoginCookieNeverBecomesASignOutByTryingAgain(t *testing.T) {
	x := handlerstest.NewExit(t, func(e *logout.EndSession) { e.LoginCookie = "misspelt" })
	x.SignedIn(handlerstest.ClientID, "alice")
	got := x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice")))
	for range 3 {
		if got.StatusCode != http.StatusBadGateway {
			t.Fatalf("got %s", got.Status)
		}
		got = x.Answer(got, logout.AnswerSignOut)
	}
	if got := handlerstest.Outcome(t, x.Ask(nil)); got != "question" {
		t.Errorf("a new request: %s", got)
	}
}

// A login cookie is missed only where it may be there: a Lax one comes with a link of another
// site.
func TestNobodyIsAskedForALoginCookieThatWouldHaveCome(t *testing.T) {
	for _, tt := range []struct {
		set  string // as the OP was observed to set the cookie; empty: it was not
		site string
		want string
	}{
		{"; SameSite=Lax", "cross-site", "to " + handlerstest.Bye},
		{"; SameSite=Lax", "same-site", "to " + handlerstest.Bye},
		{"; SameSite=None; Secure", "cross-site", "to " + handlerstest.Bye},
		{"", "cross-site", "question"},
		{"; SameSite=Strict", "cross-site", "question"},
		{"; SameSite=Strict", "same-site", "to " + handlerstest.Bye},
		{"; SameSite=Strict", "", "question"}, // an engine that does not say where the link was
		{"; SameSite=Lax", "", "to " + handlerstest.Bye},
	} {
		t.Run(fmt.Sprintf("%s %s", tt.set, tt.site), func(t *testing.T) {
			x := handlerstest.NewExit(t)
			x.SignedIn(handlerstest.ClientID, "alice")
			delete(x.Cookies, "login")
			if tt.set != "" {
				login := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/login", nil)
				x.E.LoginCookiePaths.Note([]string{"login=alice; Path=/" + tt.set}, "login", login, x.W.Clock.Now())
			}
			r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?"+
				handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye).Encode(), nil)
			if tt.site != "" {
				r.Header = http.Header{"Sec-Fetch-Site": {tt.site}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Mode": {"navigate"}}
			}
			got := x.Do(r)
			if outcome := handlerstest.Outcome(t, got); outcome != tt.want {
				t.Errorf("got %s, want %s", outcome, tt.want)
			}
		})
	}
}

// A Strict cookie that did not come with the request comes with the answer to the question.
func TestAStrictLoginCookieComesWithTheAnswer(t *testing.T) {
	for _, there := range []bool{true, false} {
		x := handlerstest.NewExit(t)
		x.SignedIn(handlerstest.ClientID, "alice")
		login := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/login", nil)
		x.E.LoginCookiePaths.Note([]string{"login=alice; Path=/; SameSite=Strict"}, "login", login, x.W.Clock.Now())
		delete(x.Cookies, "login")
		r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?post_logout_redirect_uri="+handlerstest.Bye+"&id_token_hint="+x.Hint(handlerstest.ClientID, "alice"), nil)
		r.Header = http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Mode": {"navigate"}}
		question := x.Do(r)
		if there {
			x.Cookies["login"] = "alice"
		}
		if got := handlerstest.Outcome(t, x.Answer(question, logout.AnswerSignOut)); got != "to "+handlerstest.Bye || x.Logouts.Load() == 1 != there {
			t.Errorf("with the cookie: %v: got %s, the OP was asked %d times", there, got, x.Logouts.Load())
		}
	}
}

// A user who never signed in here is not told of a failure, whatever other cookies the browser
// has.
func TestWhoNeverSignedInIsSignedOutThoughNoLoginCookieWasObserved(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.Cookies = map[string]string{"theme": "dark"}
	if got := handlerstest.Outcome(t, x.Ask(nil)); got != "signed out" {
		t.Errorf("got %s", got)
	}
}
