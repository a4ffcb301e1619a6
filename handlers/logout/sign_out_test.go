package logout_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
)

// withoutSession is a browser that is signed in at the OP, and that nothing is known of here.
func withoutSession(t *testing.T) *handlerstest.Exit {
	x := handlerstest.NewExit(t)
	x.Cookies["login"] = "alice"
	return x
}

// In a browser without a session, a confirmation is for that browser, and for one answer.
func TestAConfirmationOfABrowserWithoutASessionIsForThatBrowser(t *testing.T) {
	for name, tt := range map[string]struct {
		answers func(x *handlerstest.Exit, value string) *http.Response
		want    string
		atOP    bool // signed in there, afterwards
	}{
		"the browser that was asked": {func(x *handlerstest.Exit, value string) *http.Response { return x.Confirm(value, logout.AnswerSignOut) }, "signed out", false},
		"another browser without a session": {func(x *handlerstest.Exit, value string) *http.Response {
			x.Cookies = map[string]string{"login": "alice"}
			x.Ask(nil) // it is known by an ID of its own
			return x.Confirm(value, logout.AnswerSignOut)
		}, "error", true},
		"a browser that nothing was sent to yet": {func(x *handlerstest.Exit, value string) *http.Response {
			x.Cookies = map[string]string{"login": "alice"}
			return x.Confirm(value, logout.AnswerSignOut)
		}, "error", true},
		"the browser, after somebody signed in": {func(x *handlerstest.Exit, value string) *http.Response {
			x.SignedIn(handlerstest.ClientID, "alice")
			return x.Confirm(value, logout.AnswerSignOut)
		}, "error", true},
		"the browser, which has answered": {func(x *handlerstest.Exit, value string) *http.Response {
			x.Confirm(value, logout.AnswerStay)
			return x.Confirm(value, logout.AnswerSignOut)
		}, "error", true},
	} {
		t.Run(name, func(t *testing.T) {
			x := withoutSession(t)
			got := tt.answers(x, handlerstest.Confirmation(t, x.Ask(nil)))
			if outcome := handlerstest.Outcome(t, got); outcome != tt.want {
				t.Errorf("got %s, want %s", outcome, tt.want)
			}
			if _, atOP := x.IsSignedIn(); atOP != tt.atOP {
				t.Errorf("signed in at the OP: %v, want %v", atOP, tt.atOP)
			}
		})
	}
}

// sameSite are the pages of other origins on the same site, as browsers tell them.
var sameSite = map[string]http.Header{
	"by Fetch Metadata": {"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://blog.example.com"}},
	"by Origin":         {"Origin": {"https://blog.example.com"}},
	"another port":      {"Sec-Fetch-Site": {"same-site"}, "Origin": {handlerstest.Issuer + ":8443"}},
	"plain http":        {"Origin": {"http://op.example.com"}},
}

// A page of the same site but of another origin is somebody else's, and so is one that came by
// plain http.
func TestAnAnswerFromThePageOfAnotherOriginOfTheSiteDoesNotCount(t *testing.T) {
	for name, header := range sameSite {
		x := handlerstest.NewExit(t)
		x.SignedIn(handlerstest.ClientID, "alice")
		form := handlerstest.Values("confirmation", handlerstest.Confirmation(t, x.Ask(nil)), "answer", logout.AnswerSignOut)
		r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+handlerstest.EndSession+handlers.ConfirmSuffix, strings.NewReader(form.Encode()))
		r.Header = header.Clone()
		r.Header.Set("Content-Type", exchange.FormType)
		if got := handlerstest.Outcome(t, x.Once(r)); got != "error" {
			t.Errorf("%s: got %s", name, got)
		}
		x.MustBe(true)
	}
}

// Cookies of our own, pending ones as well, do not say that the OP knows the user.
func TestOurOwnCookiesAreNotTakenForTheOPsLogin(t *testing.T) {
	x := handlerstest.NewExit(t, func(e *logout.EndSession) { e.LoginCookie = "" })
	x.Login = ""
	x.SignedIn(handlerstest.ClientID, "alice")
	delete(x.Cookies, "login")
	x.Get(handlerstest.Authorize("t"), reply.Page)
	x.EndElsewhere()
	if x.Pendings() == 0 {
		t.Fatal("nothing is pending")
	}
	if got := handlerstest.Outcome(t, x.Ask(nil)); got != "signed out" {
		t.Errorf("got %s", got)
	}
}

// Where the login cookie is known, it alone reports whether the OP's session is gone; else each
// cookie that is cleared may be it.
func TestACookieThatTheBrowserKeepsIsTold(t *testing.T) {
	for _, tt := range []struct {
		known, kept string
		want        int
	}{
		{"", "login", http.StatusBadGateway},
		{"", "csrf", http.StatusBadGateway},
		{"login", "login", http.StatusBadGateway},
		{"login", "csrf", http.StatusOK},
	} {
		x := handlerstest.NewExit(t, func(e *logout.EndSession) {
			e.LoginCookie, e.Upstream, e.ClearCookies = tt.known, nil, []browser.ClearCookie{{Name: "login"}, {Name: "csrf"}}
		})
		x.Login = tt.known
		x.SignedIn(handlerstest.ClientID, "alice")
		x.Cookies["csrf"] = "1"
		seeing := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?"+handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice")).Encode(), nil))
		x.Cookies[tt.kept] = "1" // it is on another path or domain
		if got := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+seeing.Header.Get("Location"), nil)); got.StatusCode != tt.want {
			t.Errorf("login cookie %q, %s stays: got %s", tt.known, tt.kept, got.Status)
		}
		if here, _ := x.IsSignedIn(); here {
			t.Errorf("login cookie %q, %s stays: still signed in here", tt.known, tt.kept)
		}
	}
}
