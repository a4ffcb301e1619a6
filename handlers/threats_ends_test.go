package handlers

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"
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
		"the user's own":                      {idClaims(clientID, "alice"), "signed out"},
		"the user's own, without a sid":       {without(idClaims(clientID, "alice"), "sid"), "signed out"},
		"another user's":                      {idClaims(clientID, "bob"), "question"},
		"another user's, without a sid":       {without(idClaims(clientID, "bob"), "sid"), "question"},
		"another user's, with this one's sid": {with(idClaims(clientID, "bob"), "sid", "sid of alice"), "question"},
		"another session of the user's":       {with(idClaims(clientID, "alice"), "sid", "sid of another browser"), "question"},
		"of a client that takes no part":      {idClaims("wiki", "alice"), "question"},
		"of a client that takes part as bob":  {idClaims("intranet", "alice"), "question"},
	} {
		t.Run(name, func(t *testing.T) {
			other := newExit(t)
			other.signedIn("wiki", "alice") // in another browser
			x := newExit(t)
			x.w.store, x.w.env.Registry = other.w.store, other.w.env.Registry
			x.setUp()
			x.signedIn("intranet", "bob's account at the intranet")
			x.signedIn(clientID, "alice")
			if got := outcome(t, x.ask(values("id_token_hint", sign(t, x.key, tt.claims, nil)))); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			x.mustBe(tt.want == "question")
		})
	}
}

// What a browser answered that had no session says nothing of the one that it has since.
func TestTheConfirmationOfABrowserWithoutASessionIsForThatAlone(t *testing.T) {
	x := newExit(t)
	x.cookies["login"] = "alice"
	value := confirmation(t, x.ask(nil))
	if value == "" {
		t.Fatal("the user is not asked")
	}
	x.signedIn(clientID, "alice")
	got := x.postForm(endSession+confirmSuffix, issuer, values("confirmation", value, "answer", answerSignOut))
	if confirmation(t, got) == "" {
		t.Error("the user is not asked again")
	}
	x.mustBe(true)
	if x.logouts.Load() != 0 {
		t.Error("the OP was asked")
	}
}

// Nor has one such browser to do with another: each sign-out is asked for at the OP, and its cookies reach that browser.
func TestBrowsersWithoutASessionDoNotShareASignOut(t *testing.T) {
	x := newExit(t)
	for _, user := range []string{"alice", "bob"} {
		x.cookies = map[string]string{"login": user}
		if got := outcome(t, x.answer(x.ask(nil), answerSignOut)); got != "signed out" {
			t.Errorf("%s: got %s", user, got)
		}
		if _, kept := x.cookies["login"]; kept || !strings.Contains(x.logout.Header.Get("Cookie"), "login="+user) {
			t.Errorf("%s: the OP got %q", user, x.logout.Header.Get("Cookie"))
		}
	}
	if n := x.logouts.Load(); n != 2 {
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
			twice := "&" + name + "=" + issuer
			if parameters.Has(name) {
				twice += "&" + name + "=x"
			} else {
				twice += twice
			}
			w := newWorld(t)
			a := newAgent(t, w)
			location := callback + lead + first + twice
			if got := a.get(authorize("s"), redirect(location)).Header.Get("Location"); got != location {
				t.Errorf("%s became %s", location, got)
			}
			if sealed := a.cookies[w.op.cookies.session]; sealed != "" && !a.openS().session.IsZero() {
				t.Errorf("%s signs in", location)
			}
		}
	}
}

// Another host of the site, or another port of the host, is not the OP: its POST comes without the OP's Strict cookies, and has to go
// on as a navigation as one of another site has.
func TestAPostOfTheSameSiteButAnotherOriginGoesOnAsANavigation(t *testing.T) {
	for name, tt := range map[string]struct {
		fields map[string]string
		parked bool
	}{
		"another host of the site":            {map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "https://shop.example.com"}, true},
		"another port of the host":            {map[string]string{"Sec-Fetch-Site": "same-site", "Origin": issuer + ":8443"}, true},
		"another site":                        {map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, true},
		"another host, in an old engine":      {map[string]string{"Origin": "https://shop.example.com"}, true},
		"another port, in an old engine":      {map[string]string{"Origin": issuer + ":8443"}, true},
		"a hidden origin, in an old engine":   {map[string]string{"Origin": "null"}, true},
		"the OP itself":                       {map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": issuer}, false},
		"the OP itself, in an old engine":     {map[string]string{"Origin": issuer}, false},
		"what does not say where it is from":  {nil, false},
		"what the user has sent from nowhere": {map[string]string{"Sec-Fetch-Site": "none"}, false},
	} {
		x := newExit(t)
		x.signedIn(clientID, "alice")
		r := httptest.NewRequest(http.MethodPost, issuer+endSession, strings.NewReader(values("id_token_hint", x.hint(clientID, "alice")).Encode()))
		r.Header.Set("Content-Type", formType)
		for field, value := range tt.fields {
			r.Header.Set(field, value)
		}
		got := x.once(r)
		if parked := got.StatusCode == http.StatusSeeOther && strings.Contains(got.Header.Get("Location"), parkedParameter+"="); parked != tt.parked {
			t.Errorf("%s: got %s to %s", name, got.Status, got.Header.Get("Location"))
		}
		x.mustBe(tt.parked)
	}
}

// Where no login_cookie is configured, any cookie may be the one that the OP knows the user by.
func TestSignOutsWhereNoLoginCookieIsConfigured(t *testing.T) {
	byUpstream := func(e *EndSession) { e.LoginCookie, e.Upstream.Success = "", []int{http.StatusFound} }
	byCookies := func(e *EndSession) {
		e.LoginCookie, e.Upstream, e.ClearCookies = "", nil, []ClearCookie{{Name: "login"}, {Name: "csrf"}}
	}
	for name, tt := range map[string]struct {
		configure func(*EndSession)
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
			x := newExit(t, tt.configure)
			x.login = ""
			if tt.cookies == nil {
				x.signedIn(clientID, "alice")
			} else {
				x.cookies = tt.cookies
			}
			parameters := url.Values{}
			if tt.hinted {
				parameters.Set("id_token_hint", x.hint(clientID, "alice"))
			}
			r := httptest.NewRequest(http.MethodGet, issuer+endSession+"?"+parameters.Encode(), nil)
			if tt.site != "" {
				r.Header.Set("Sec-Fetch-Site", tt.site)
			}
			if got := outcome(t, x.do(r)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if n := x.logouts.Load(); n != tt.asked {
				t.Errorf("the OP was asked %d times", n)
			}
			if tt.cookies == nil {
				x.mustBe(tt.want == "question")
			}
		})
	}
}

// Without a cookie of the OP's there is nothing to end there: the session and those of the apps are ended.
func TestAnEndSessionBlockIsEnoughForAnOPWithoutACookie(t *testing.T) {
	for theme, warnings := range map[string]int{"": 0, "dark": 1} {
		x := newExit(t, func(e *EndSession) { e.LoginCookie, e.Upstream, e.Explicit = "", nil, true })
		x.login = ""
		for range 2 {
			x.signedIn(clientID, "alice")
			delete(x.cookies, "login")
			if x.cookies["theme"] = theme; theme == "" {
				delete(x.cookies, "theme")
			}
			if got := outcome(t, x.ask(nil)); got != "question" {
				t.Errorf("without a hint: got %s", got)
			}
			if got := outcome(t, x.ask(values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye))); got != "to "+bye {
				t.Errorf("got %s", got)
			}
			if here, _ := x.isSignedIn(); here {
				t.Error("the session lives on")
			}
			if got := outcome(t, x.ask(nil)); got != "signed out" {
				t.Errorf("who is not signed in: got %s", got)
			}
		}
		logged := x.w.logs.FilterMessage("end_session ends no session at the OP itself").FilterLevelExact(zapcore.WarnLevel).Len()
		if logged != warnings {
			t.Errorf("with theme %q: %d warnings", theme, logged)
		}
	}
}

// A cookie of the login cookie's name that another host of the domain has set stays when the OP's own is deleted.
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
			x := newExit(t, func(e *EndSession) { e.Upstream = nil })
			x.signedIn(clientID, "alice")
			delete(x.cookies, "login")
			x.e.LoginPlace.note(tt.seen, "login", httptest.NewRequest(http.MethodGet, issuer+"/", nil), x.w.clock.Now())
			first := httptest.NewRequest(http.MethodGet, issuer+endSession+"?id_token_hint="+x.hint(clientID, "alice"), nil)
			first.Header.Set("Cookie", tt.before)
			parked := x.once(first)
			if here, _ := x.isSignedIn(); here {
				t.Error("the session lives on")
			}
			if parked.StatusCode == tt.want {
				return // it need not be looked at
			}
			second := httptest.NewRequest(http.MethodGet, issuer+parked.Header.Get("Location"), nil)
			second.Header.Set("Cookie", tt.after)
			if got := x.once(second); got.StatusCode != tt.want {
				t.Errorf("got %s, want %d", got.Status, tt.want)
			}
		})
	}
}

// Around a cookie's name stand spaces and tabs (RFC 6265, section 5.2); all else is part of the name, and names another cookie.
func TestThreatCookiesWhoseNamesLookAlike(t *testing.T) {
	for header, want := range map[string]int{
		"login=x": 1, " login=x": 1, "a=b;\tlogin =x": 1, "login=x; login=y": 2, `login="x"`: 1, `login={"a": 1}`: 1,
		"login=": 0, `login=""`: 0, "login": 0, "login= \t": 0, "Login=x": 0, "xlogin=x": 0,
		"\u00a0login=x": 0, "\u0085login=x": 0, "login\v=x": 0, "login\f=x": 0, "\u2003login=x": 0,
	} {
		r := &http.Request{Header: http.Header{"Cookie": {header}}}
		if got := countCookies(r, "login"); got != want {
			t.Errorf("%q has %d", header, got)
		}
		if got := carriesCookie(r, "login"); got != (want > 0) {
			t.Errorf("%q: carries is %v", header, got)
		}
	}
}
