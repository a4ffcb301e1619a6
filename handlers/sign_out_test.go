package handlers

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// withoutSession is a browser that is signed in at the OP, and that nothing is known of here.
func withoutSession(t *testing.T) *exit {
	x := newExit(t)
	x.cookies["login"] = "alice"
	return x
}

// In a browser without a session, a confirmation is for that browser, and for one answer.
func TestAConfirmationOfABrowserWithoutASessionIsForThatBrowser(t *testing.T) {
	for name, tt := range map[string]struct {
		answers func(x *exit, value string) *http.Response
		want    string
		atOP    bool // signed in there, afterwards
	}{
		"the browser that was asked": {func(x *exit, value string) *http.Response { return x.confirm(value, answerSignOut) }, "signed out", false},
		"another browser without a session": {func(x *exit, value string) *http.Response {
			x.cookies = map[string]string{"login": "alice"}
			x.ask(nil) // it is known by an ID of its own
			return x.confirm(value, answerSignOut)
		}, "error", true},
		"a browser that nothing was sent to yet": {func(x *exit, value string) *http.Response {
			x.cookies = map[string]string{"login": "alice"}
			return x.confirm(value, answerSignOut)
		}, "error", true},
		"the browser, after somebody signed in": {func(x *exit, value string) *http.Response {
			x.signedIn(clientID, "alice")
			return x.confirm(value, answerSignOut)
		}, "error", true},
		"the browser, which has answered": {func(x *exit, value string) *http.Response {
			x.confirm(value, answerStay)
			return x.confirm(value, answerSignOut)
		}, "error", true},
	} {
		t.Run(name, func(t *testing.T) {
			x := withoutSession(t)
			got := tt.answers(x, confirmation(t, x.ask(nil)))
			if outcome := outcome(t, got); outcome != tt.want {
				t.Errorf("got %s, want %s", outcome, tt.want)
			}
			if _, atOP := x.isSignedIn(); atOP != tt.atOP {
				t.Errorf("signed in at the OP: %v, want %v", atOP, tt.atOP)
			}
		})
	}
}

// confirm answers a question from our own page.
func (x *exit) confirm(value, answer string) *http.Response {
	x.t.Helper()
	return x.postForm(endSession+confirmSuffix, issuer, values("confirmation", value, "answer", answer))
}

// sameSite are the pages of other origins on the same site, as browsers tell them.
var sameSite = map[string]http.Header{
	"by Fetch Metadata": {"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://blog.example.com"}},
	"by Origin":         {"Origin": {"https://blog.example.com"}},
	"another port":      {"Sec-Fetch-Site": {"same-site"}, "Origin": {issuer + ":8443"}},
	"plain http":        {"Origin": {"http://op.example.com"}},
}

// A page of the same site but of another origin is somebody else's, and so is one that came by
// plain http.
func TestAnAnswerFromThePageOfAnotherOriginOfTheSiteDoesNotCount(t *testing.T) {
	for name, header := range sameSite {
		x := newExit(t)
		x.signedIn(clientID, "alice")
		form := values("confirmation", confirmation(t, x.ask(nil)), "answer", answerSignOut)
		r := httptest.NewRequest(http.MethodPost, issuer+endSession+confirmSuffix, strings.NewReader(form.Encode()))
		r.Header = header.Clone()
		r.Header.Set("Content-Type", formType)
		if got := outcome(t, x.once(r)); got != "error" {
			t.Errorf("%s: got %s", name, got)
		}
		x.mustBe(true)
	}
}

// Cookies of our own, pending ones as well, do not say that the OP knows the user.
func TestOurOwnCookiesAreNotTakenForTheOPsLogin(t *testing.T) {
	x := newExit(t, func(e *EndSession) { e.LoginCookie = "" })
	x.login = ""
	x.signedIn(clientID, "alice")
	delete(x.cookies, "login")
	x.get(authorize("t"), page)
	x.endElsewhere()
	if x.pendings() == 0 {
		t.Fatal("nothing is pending")
	}
	if got := outcome(t, x.ask(nil)); got != "signed out" {
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
		x := newExit(t, func(e *EndSession) {
			e.LoginCookie, e.Upstream, e.ClearCookies = tt.known, nil, []ClearCookie{{Name: "login"}, {Name: "csrf"}}
		})
		x.login = tt.known
		x.signedIn(clientID, "alice")
		x.cookies["csrf"] = "1"
		seeing := x.once(httptest.NewRequest(http.MethodGet, issuer+endSession+"?"+values("id_token_hint", x.hint(clientID, "alice")).Encode(), nil))
		x.cookies[tt.kept] = "1" // it is on another path or domain
		if got := x.once(httptest.NewRequest(http.MethodGet, issuer+seeing.Header.Get("Location"), nil)); got.StatusCode != tt.want {
			t.Errorf("login cookie %q, %s stays: got %s", tt.known, tt.kept, got.Status)
		}
		if here, _ := x.isSignedIn(); here {
			t.Errorf("login cookie %q, %s stays: still signed in here", tt.known, tt.kept)
		}
	}
}
