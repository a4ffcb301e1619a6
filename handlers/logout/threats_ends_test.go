package logout_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
)

// A hint speaks for a client and a user of this very session, and for nobody else's.
func TestThreatHintNotBoundToTheSessionOfTheBrowser(t *testing.T) {
	without := func(claims map[string]any, names ...string) map[string]any {
		for _, name := range names {
			delete(claims, name)
		}
		return claims
	}
	with := func(claims map[string]any, name string, value any) map[string]any {
		claims[name] = value
		return claims
	}
	for name, tt := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"the user's own":                      {handlerstest.IDClaims(handlerstest.ClientID, "alice"), "signed out"},
		"the user's own, without a sid":       {without(handlerstest.IDClaims(handlerstest.ClientID, "alice"), "sid"), "signed out"},
		"another user's":                      {handlerstest.IDClaims(handlerstest.ClientID, "bob"), "question"},
		"another user's, without a sid":       {without(handlerstest.IDClaims(handlerstest.ClientID, "bob"), "sid"), "question"},
		"another user's, with this one's sid": {with(handlerstest.IDClaims(handlerstest.ClientID, "bob"), "sid", "sid of alice"), "question"},
		"another session of the user's":       {with(handlerstest.IDClaims(handlerstest.ClientID, "alice"), "sid", "sid of another browser"), "question"},
		"of a client that takes no part":      {handlerstest.IDClaims("wiki", "alice"), "question"},
		"of a client that takes part as bob":  {handlerstest.IDClaims("intranet", "alice"), "question"},
	} {
		t.Run(name, func(t *testing.T) {
			other := handlerstest.NewExit(t)
			other.SignedIn("wiki", "alice") // in another browser
			x := handlerstest.NewExit(t)
			x.W.Store, x.W.Env.Registry = other.W.Store, other.W.Env.Registry
			x.SetUp()
			x.SignedIn("intranet", "bob's account at the intranet")
			x.SignedIn(handlerstest.ClientID, "alice")
			if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("id_token_hint", handlerstest.Sign(t, x.Key, tt.claims, nil)))); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			x.MustBe(tt.want == "question")
		})
	}
}

// What a browser answered that had no session says nothing of the one that it has since.
func TestTheConfirmationOfABrowserWithoutASessionIsForThatAlone(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.Cookies["login"] = "alice"
	value := handlerstest.Confirmation(t, x.Ask(nil))
	if value == "" {
		t.Fatal("the user is not asked")
	}
	x.SignedIn(handlerstest.ClientID, "alice")
	got := x.PostForm(handlerstest.EndSession+handlers.ConfirmSuffix, handlerstest.Issuer, handlerstest.Values("confirmation", value, "answer", logout.AnswerSignOut))
	if handlerstest.Confirmation(t, got) == "" {
		t.Error("the user is not asked again")
	}
	x.MustBe(true)
	if x.Logouts.Load() != 0 {
		t.Error("the OP was asked")
	}
}

// Nor has one such browser to do with another: each sign-out is asked for at the OP, and its
// cookies reach that browser.
func TestBrowsersWithoutASessionDoNotShareASignOut(t *testing.T) {
	x := handlerstest.NewExit(t)
	for _, user := range []string{"alice", "bob"} {
		x.Cookies = map[string]string{"login": user}
		if got := handlerstest.Outcome(t, x.Answer(x.Ask(nil), logout.AnswerSignOut)); got != "signed out" {
			t.Errorf("%s: got %s", user, got)
		}
		if _, kept := x.Cookies["login"]; kept || !strings.Contains(x.Logout.Header.Get("Cookie"), "login="+user) {
			t.Errorf("%s: the OP got %q", user, x.Logout.Header.Get("Cookie"))
		}
	}
	if n := x.Logouts.Load(); n != 2 {
		t.Errorf("the OP was asked %d times", n)
	}
}

func TestAParameterOfAResponseGivenTwiceCountsForNothing(t *testing.T) {
	for _, name := range []string{"state", "code", "error", "id_token", "access_token", "session_state", "iss"} {
		for lead, first := range map[string]string{"?": "code=c&state=s", "#": "id_token=t&code=c&state=s"} {
			parameters, err := url.ParseQuery(first)
			if err != nil {
				t.Fatal(err)
			}
			twice := "&" + name + "=" + handlerstest.Issuer
			if parameters.Has(name) {
				twice += "&" + name + "=x"
			} else {
				twice += twice
			}
			w := handlerstest.NewWorld(t)
			a := handlerstest.NewAgent(t, w)
			location := handlerstest.Callback + lead + first + twice
			if got := a.Get(handlerstest.Authorize("s"), reply.Redirect(location)).Header.Get("Location"); got != location {
				t.Errorf("%s became %s", location, got)
			}
			if sealed := a.Cookies[w.OP.Cookies.Session]; sealed != "" && !a.OpenS().Session.IsZero() {
				t.Errorf("%s signs in", location)
			}
		}
	}
}

// Another host of the site, or another port of the host, is not the OP: its POST comes without the
// OP's Strict cookies, and has to go on as a navigation as one of another site has.
func TestAPostOfTheSameSiteButAnotherOriginGoesOnAsANavigation(t *testing.T) {
	for name, tt := range map[string]struct {
		fields map[string]string
		parked bool
	}{
		"another host of the site":            {map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "https://shop.example.com"}, true},
		"another port of the host":            {map[string]string{"Sec-Fetch-Site": "same-site", "Origin": handlerstest.Issuer + ":8443"}, true},
		"another site":                        {map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, true},
		"another host, in an old engine":      {map[string]string{"Origin": "https://shop.example.com"}, true},
		"another port, in an old engine":      {map[string]string{"Origin": handlerstest.Issuer + ":8443"}, true},
		"a hidden origin, in an old engine":   {map[string]string{"Origin": "null"}, true},
		"the OP itself":                       {map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": handlerstest.Issuer}, false},
		"the OP itself, in an old engine":     {map[string]string{"Origin": handlerstest.Issuer}, false},
		"what does not say where it is from":  {nil, false},
		"what the user has sent from nowhere": {map[string]string{"Sec-Fetch-Site": "none"}, false},
	} {
		x := handlerstest.NewExit(t)
		x.SignedIn(handlerstest.ClientID, "alice")
		r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+handlerstest.EndSession, strings.NewReader(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice")).Encode()))
		r.Header.Set("Content-Type", exchange.FormType)
		for field, value := range tt.fields {
			r.Header.Set(field, value)
		}
		got := x.Once(r)
		if parked := got.StatusCode == http.StatusSeeOther && strings.Contains(got.Header.Get("Location"), logout.ParkedParameter+"="); parked != tt.parked {
			t.Errorf("%s: got %s to %s", name, got.Status, got.Header.Get("Location"))
		}
		x.MustBe(tt.parked)
	}
}

// Where no login_cookie is configured, any cookie may be the one that the OP knows the user by.
func TestSignOutsWhereNoLoginCookieIsConfigured(t *testing.T) {
	byUpstream := func(e *logout.EndSession) { e.LoginCookie, e.Upstream.Success = "", []int{http.StatusFound} }
	byCookies := func(e *logout.EndSession) {
		e.LoginCookie, e.Upstream, e.ClearCookies = "", nil, []browser.ClearCookie{{Name: "login"}, {Name: "csrf"}}
	}
	for name, tt := range map[string]struct {
		configure func(*logout.EndSession)
		cookies   map[string]string // of the OP; nil: the user is signed in here, with "login" at the OP
		hinted    bool
		site      string
		want      string
		asked     int32
	}{
		"by upstream":                                   {byUpstream, nil, true, "", "signed out", 1},
		"by upstream, from another site":                {byUpstream, nil, true, "cross-site", "signed out", 1},
		"by upstream, not hinted":                       {byUpstream, nil, false, "", "question", 0},
		"by upstream, of a browser that has no session": {byUpstream, map[string]string{"theme": "dark"}, true, "", "question", 0},
		"by upstream, of a browser without any cookie":  {byUpstream, map[string]string{}, true, "", "signed out", 0},
		"by cookies":                                    {byCookies, nil, true, "", "signed out", 0},
		"by cookies, of a browser with the second":      {byCookies, map[string]string{"csrf": "x"}, true, "", "question", 0},
		"by cookies, of a browser with another":         {byCookies, map[string]string{"theme": "dark"}, true, "", "signed out", 0},
	} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t, tt.configure)
			x.Login = ""
			if tt.cookies == nil {
				x.SignedIn(handlerstest.ClientID, "alice")
			} else {
				x.Cookies = tt.cookies
			}
			parameters := url.Values{}
			if tt.hinted {
				parameters.Set("id_token_hint", x.Hint(handlerstest.ClientID, "alice"))
			}
			r := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?"+parameters.Encode(), nil)
			if tt.site != "" {
				r.Header.Set("Sec-Fetch-Site", tt.site)
			}
			if got := handlerstest.Outcome(t, x.Do(r)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if n := x.Logouts.Load(); n != tt.asked {
				t.Errorf("the OP was asked %d times", n)
			}
			if tt.cookies == nil {
				x.MustBe(tt.want == "question")
			}
		})
	}
}

// Without a cookie of the OP's there is nothing to end there: the session and those of the apps
// are ended.
func TestAnEndSessionBlockIsEnoughForAnOPWithoutACookie(t *testing.T) {
	for theme, warnings := range map[string]int{"": 0, "dark": 1} {
		x := handlerstest.NewExit(t, func(e *logout.EndSession) { e.LoginCookie, e.Upstream, e.Explicit = "", nil, true })
		x.Login = ""
		for range 2 {
			x.SignedIn(handlerstest.ClientID, "alice")
			delete(x.Cookies, "login")
			if x.Cookies["theme"] = theme; theme == "" {
				delete(x.Cookies, "theme")
			}
			if got := handlerstest.Outcome(t, x.Ask(nil)); got != "question" {
				t.Errorf("without a hint: got %s", got)
			}
			if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye))); got != "to "+handlerstest.Bye {
				t.Errorf("got %s", got)
			}
			if here, _ := x.IsSignedIn(); here {
				t.Error("the session lives on")
			}
			if got := handlerstest.Outcome(t, x.Ask(nil)); got != "signed out" {
				t.Errorf("who is not signed in: got %s", got)
			}
		}
		logged := x.W.Logs.FilterMessage("end_session ends no session at the OP itself").FilterLevelExact(zapcore.WarnLevel).Len()
		if logged != warnings {
			t.Errorf("with theme %q: %d warnings", theme, logged)
		}
	}
}

// A cookie of the login cookie's name that another host of the domain has set stays when the OP's
// own is deleted.
func TestThreatAParentDomainsCookieOfTheLoginCookiesName(t *testing.T) {
	lines := []string{"login=alice; Path=/"}
	for name, tt := range map[string]struct {
		seen          []string // that the OP has set
		before, after string   // what the browser sends
		want          int
	}{
		"beside the OP's own":                    {nil, "login=alice; login=tossed", "login=tossed", http.StatusOK},
		"two beside the OP's own":                {nil, "login=a; login=alice; login=b", "login=a; login=b", http.StatusOK},
		"alone, where the OP's is for this host": {lines, "login=tossed", "login=tossed", http.StatusOK},
		"alone, and nothing known":               {nil, "login=alice", "login=alice", http.StatusBadGateway},
		"the OP's own, for another path":         {[]string{"login=alice; Path=/oidc"}, "login=alice", "login=alice", http.StatusBadGateway},
		"the OP's own, for the domain":           {[]string{"login=alice; Path=/; Domain=example.com"}, "login=alice", "login=alice", http.StatusBadGateway},
		"the OP's own, at two places":            {[]string{"login=alice; Path=/", "login=alice; Path=/oidc"}, "login=alice", "login=alice", http.StatusBadGateway},
		"both stay":                              {nil, "login=alice; login=tossed", "login=alice; login=tossed", http.StatusBadGateway},
	} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t, func(e *logout.EndSession) { e.Upstream = nil })
			x.SignedIn(handlerstest.ClientID, "alice")
			delete(x.Cookies, "login")
			x.E.LoginCookiePaths.Note(tt.seen, "login", httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/", nil), x.W.Clock.Now())
			first := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+handlerstest.EndSession+"?id_token_hint="+x.Hint(handlerstest.ClientID, "alice"), nil)
			first.Header.Set("Cookie", tt.before)
			parked := x.Once(first)
			if here, _ := x.IsSignedIn(); here {
				t.Error("the session lives on")
			}
			if parked.StatusCode == tt.want {
				return // it need not be looked at
			}
			second := httptest.NewRequest(http.MethodGet, handlerstest.Issuer+parked.Header.Get("Location"), nil)
			second.Header.Set("Cookie", tt.after)
			if got := x.Once(second); got.StatusCode != tt.want {
				t.Errorf("got %s, want %d", got.Status, tt.want)
			}
		})
	}
}
