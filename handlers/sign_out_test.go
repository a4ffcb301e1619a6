package handlers

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
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

// A page of the same site but of another origin is somebody else's: its POST is one of another site.
func TestAPostOfTheSameSiteButAnotherOriginIsOneOfAnotherSite(t *testing.T) {
	for name, header := range sameSite {
		t.Run(name, func(t *testing.T) {
			x := newExit(t)
			x.signedIn(clientID, "alice")
			post := func(path string, form url.Values) *http.Response {
				r := httptest.NewRequest(http.MethodPost, issuer+path, strings.NewReader(form.Encode()))
				for field, given := range header {
					r.Header[field] = given
				}
				r.Header.Set("Content-Type", formType)
				return x.once(r)
			}
			answered := post(endSession+confirmSuffix, values("confirmation", confirmation(t, x.ask(nil)), "answer", answerSignOut))
			if got := outcome(t, answered); got != "error" {
				t.Errorf("an answer to the question counts: got %s", got)
			}
			x.mustBe(true)
			parked := post(endSession, values("id_token_hint", x.hint(clientID, "alice")))
			if location := parked.Header.Get("Location"); parked.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, endSession+"?"+parkedParameter+"=") {
				t.Errorf("a request is not parked: %s to %q", parked.Status, location)
			}
			x.mustBe(true)
			kept := x.cookies
			x.cookies = map[string]string{"login": "alice"}
			refused := post(endSession, values("id_token_hint", "x"))
			if refused.StatusCode != http.StatusBadRequest || len(refused.Header["Set-Cookie"]) != 0 {
				t.Errorf("refused: %s with %q", refused.Status, refused.Header["Set-Cookie"])
			}
			x.cookies = kept
			x.mustBe(true)
		})
	}
}

// Where the OP's login cookie is not known, any cookie that is not ours may be it.
func TestSigningOutWhereNoLoginCookieIsConfigured(t *testing.T) {
	unknown := func(e *EndSession) { e.LoginCookie = "" }
	clears := func(e *EndSession) {
		e.LoginCookie, e.Upstream, e.ClearCookies = "", nil, []ClearCookie{{Name: "login"}, {Name: "csrf"}}
	}
	both := func(e *EndSession) { e.LoginCookie, e.ClearCookies = "", []ClearCookie{{Name: "login"}} }
	hint := func(x *exit) url.Values {
		return values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye)
	}
	for name, tt := range map[string]struct {
		configure func(*EndSession)
		prepare   func(x *exit)
		ask       func(x *exit) url.Values
		want      string
		logouts   int32
		gone      []string // cookies, afterwards
	}{
		"by upstream, with a hint":                          {unknown, func(x *exit) { x.signedIn(clientID, "alice") }, hint, "to " + bye, 1, []string{"login"}},
		"by upstream, without a hint":                       {unknown, func(x *exit) { x.signedIn(clientID, "alice") }, nothing, "question", 0, nil},
		"a browser with a cookie of which nothing is known": {unknown, func(x *exit) { x.cookies["other"] = "1" }, hint, "question", 0, nil},
		"a browser with no cookie":                          {unknown, func(*exit) {}, hint, "to " + bye, 0, nil},
		"a browser with no cookies but ours": {unknown, func(x *exit) {
			x.signedIn(clientID, "alice")
			delete(x.cookies, "login")
			x.get(authorize("t"), page) // one that is pending, too
			x.endElsewhere()
		}, hint, "to " + bye, 0, nil},
		"our session has ended, a cookie is left": {unknown, func(x *exit) { x.signedIn(clientID, "alice"); x.endElsewhere() }, hint, "question", 0, nil},
		"by deletion, with a hint":                {clears, func(x *exit) { x.signedIn(clientID, "alice"); x.cookies["csrf"] = "1" }, hint, "to " + bye, 0, []string{"login", "csrf"}},
		"by deletion, without a hint":             {clears, func(x *exit) { x.signedIn(clientID, "alice") }, nothing, "question", 0, nil},
		"by deletion, one of the cookies":         {clears, func(x *exit) { x.cookies["csrf"] = "1" }, hint, "question", 0, nil},
		"by deletion, none of the cookies":        {clears, func(x *exit) { x.cookies["other"] = "1" }, hint, "to " + bye, 0, nil},
		"by both":                                 {both, func(x *exit) { x.signedIn(clientID, "alice") }, hint, "to " + bye, 1, []string{"login"}},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t, tt.configure)
			x.login = "" // nor does anybody look for its deletion
			tt.prepare(x)
			if got := outcome(t, x.ask(tt.ask(x))); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if got := x.logouts.Load(); got != tt.logouts {
				t.Errorf("the OP was asked %d times, want %d", got, tt.logouts)
			}
			for _, name := range []string{"login", "csrf"} {
				if _, left := x.cookies[name]; left && slices.Contains(tt.gone, name) {
					t.Errorf("the cookie %s is left", name)
				}
			}
			if here, _ := x.isSignedIn(); here && strings.HasPrefix(tt.want, "to ") {
				t.Error("still signed in here")
			}
		})
	}
}

// A hint that fits is enough there, though another site's page sent the browser: which cookie it could have held back is not known.
func TestALinkOfAnotherSiteSignsOutWhereNoLoginCookieIsConfigured(t *testing.T) {
	x := newExit(t, func(e *EndSession) { e.LoginCookie = "" })
	x.login = ""
	x.signedIn(clientID, "alice")
	r := httptest.NewRequest(http.MethodGet, issuer+endSession+"?"+values("id_token_hint", x.hint(clientID, "alice")).Encode(), nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if got := outcome(t, x.once(r)); got != "signed out" {
		t.Errorf("got %s", got)
	}
	x.mustBe(false)
}

func nothing(*exit) url.Values { return nil }

// Where the login cookie is not known, each cookie that is cleared may be it: one that the browser keeps is told.
func TestACookieThatIsNotClearedIsToldWhereNoLoginCookieIsConfigured(t *testing.T) {
	for _, kept := range []string{"login", "csrf"} {
		x := newExit(t, func(e *EndSession) {
			e.LoginCookie, e.Upstream, e.ClearCookies = "", nil, []ClearCookie{{Name: "login"}, {Name: "csrf"}}
		})
		x.login = ""
		x.signedIn(clientID, "alice")
		x.cookies["csrf"] = "1"
		seeing := x.once(httptest.NewRequest(http.MethodGet, issuer+endSession+"?"+values("id_token_hint", x.hint(clientID, "alice")).Encode(), nil))
		x.cookies[kept] = "1" // it is on another path or domain
		if got := x.once(httptest.NewRequest(http.MethodGet, issuer+seeing.Header.Get("Location"), nil)); got.StatusCode != http.StatusBadGateway {
			t.Errorf("%s: got %s", kept, got.Status)
		}
		if here, _ := x.isSignedIn(); here {
			t.Errorf("%s: still signed in here", kept)
		}
	}
}
