package handlers

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// asked requests the endpoint by GET with header fields, and nothing that is not among them.
func (x *exit) asked(header http.Header, parameters ...string) *http.Response {
	x.t.Helper()
	r := httptest.NewRequest(http.MethodGet, issuer+endSession+"?"+values(parameters...).Encode(), nil)
	maps.Copy(r.Header, header)
	return x.once(r)
}

// A browser shows what it has prerendered, or prefetched, when the user clicks: it must ask anew
// then.
func TestPrefetchesAndPrerendersFailAndDoNothing(t *testing.T) {
	for name, header := range map[string]http.Header{
		"prefetch":               {"Sec-Purpose": {"prefetch"}, "Sec-Fetch-Dest": {"empty"}, "Sec-Fetch-Mode": {"no-cors"}},
		"prerender":              {"Sec-Purpose": {"prefetch;prerender"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Mode": {"navigate"}},
		"prefetch, earlier":      {"Purpose": {"prefetch"}},
		"prefetch, in Firefox":   {"X-Moz": {"prefetch"}},
		"prefetch, in uppercase": {"Purpose": {"Prefetch"}},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t)
			x.signedIn(clientID, "alice")
			got := x.asked(header, "id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye)
			if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Cache-Control") != "no-store" || len(got.Cookies()) > 0 {
				t.Errorf("got %s %v", got.Status, got.Header)
			}
			x.mustBe(true)
		})
	}
}

func TestAFetchIsToldToNavigateAndTheLogSaysItOnceForEachClient(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	hint := x.hint(clientID, "alice")
	for range 2 {
		for _, mode := range []string{"cors", "no-cors", "same-origin"} {
			header := http.Header{"Sec-Fetch-Mode": {mode}, "Sec-Fetch-Dest": {"empty"}, "Origin": {"https://rp.example.com"}}
			got := x.asked(header, "id_token_hint", hint)
			body := readAll(t, got.Body)
			if got.StatusCode != http.StatusBadRequest || !strings.Contains(body, "by a link, a form") || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("%s: got %s %q", mode, got.Status, body)
			}
			x.asked(header, "client_id", "wiki")
			x.asked(header, "client_id", "of an attacker")
			x.asked(header, "client_id", "of another attacker")
		}
	}
	x.mustBe(true)
	logged := x.w.logs.FilterMessage("logout request by script refused")
	if logged.Len() != 3 || strings.Contains(x.w.logged(), hint) || strings.Contains(x.w.logged(), "attacker") {
		t.Errorf("logged %s", x.w.logged())
	}
	if !strings.Contains(x.w.logged(), `"client_id":"`+clientID+`","origin":"https://rp.example.com"`) {
		t.Errorf("logged %s", x.w.logged())
	}
}

// fresh is a hint of alice's that expires a minute from now.
func (x *exit) fresh(change ...func(map[string]any)) string {
	claims := idClaims(clientID, "alice")
	claims["exp"] = x.w.clock.Now().Add(time.Minute).Unix()
	for _, change := range change {
		change(claims)
	}
	return sign(x.t, x.key, claims, nil)
}

// The power of a hint alone is that of its option, and ends with the token.
func TestAServersHintEndsTheSessionItNamesWhereThatIsAllowed(t *testing.T) {
	claim := func(name string, value any) func(*exit) []string {
		return func(x *exit) []string {
			return []string{"id_token_hint", x.fresh(func(claims map[string]any) { claims[name] = value })}
		}
	}
	plain := func(x *exit) []string { return []string{"id_token_hint", x.fresh()} }
	for name, tt := range map[string]struct {
		off    bool
		header http.Header
		ask    func(*exit) []string
		status int
		ends   bool
	}{
		"a hint":             {ask: plain, status: 200, ends: true},
		"as curl sends it":   {ask: plain, header: http.Header{"Accept": {"*/*"}}, status: 200, ends: true},
		"with its client":    {ask: func(x *exit) []string { return append(plain(x), "client_id", clientID) }, status: 200, ends: true},
		"not allowed":        {off: true, ask: plain, status: 200},
		"expired":            {ask: claim("exp", 1), status: 400},
		"that never expires": {ask: claim("exp", nil), status: 400},
		"without a sid":      {ask: claim("sid", nil), status: 400},
		"of another session": {ask: claim("sid", "unknown"), status: 400},
		"of another user":    {ask: claim("sub", "bob"), status: 400},
		"of another client":  {ask: claim("aud", "forum"), status: 400},
		"of another issuer":  {ask: claim("iss", "https://evil.example"), status: 400},
		"for another client": {ask: func(x *exit) []string { return append(plain(x), "client_id", "wiki") }, status: 400},
		"by an unknown key": {ask: func(x *exit) []string {
			return []string{"id_token_hint", sign(t, newKey(t, "1"), idClaims(clientID, "alice"), nil)}
		}, status: 400},
		"none":                               {ask: func(*exit) []string { return nil }, status: 400},
		"of a browser's tab without cookies": {ask: plain, header: http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}, status: 200},
		"of a browser of old":                {ask: plain, header: http.Header{"Accept": {"text/html,*/*;q=0.8"}}, status: 200},
		"of a script":                        {ask: plain, header: http.Header{"Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}}, status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t, func(e *EndSession) { e.AllowHintOnly = !tt.off })
			x.signedIn(clientID, "alice")
			x.signedIn("wiki", "alice")
			session, cookies := x.openS().session, x.cookies
			ask := tt.ask(x)
			x.cookies = map[string]string{}
			got := x.asked(tt.header, ask...)
			if got.StatusCode != tt.status {
				t.Errorf("got %s", got.Status)
			}
			if lives := x.w.live(t, session); lives == tt.ends {
				t.Errorf("the session lives: %v", lives)
			}
			if x.cookies = cookies; tt.ends && x.logouts.Load() > 0 {
				t.Error("the OP was asked, for a browser that is not there")
			}
			if ask != nil && strings.Contains(x.w.logged(), ask[1]) {
				t.Error("the hint is in the log")
			}
		})
	}
}

// A browser that is signed in is not taken for a server, nor by an old engine's missing header
// fields.
func TestABrowsersOwnRequestIsNoServersCall(t *testing.T) {
	x := newExit(t, func(e *EndSession) { e.AllowHintOnly = true })
	x.signedIn(clientID, "alice")
	if got := outcome(t, x.ask(values("id_token_hint", x.fresh(), "post_logout_redirect_uri", bye))); got != "to "+bye {
		t.Errorf("got %s", got)
	}
}

func TestAServersHintWithoutTheRegistryIsToBeTriedAgain(t *testing.T) {
	x := newExit(t, func(e *EndSession) { e.AllowHintOnly = true })
	x.signedIn(clientID, "alice")
	hint := x.fresh()
	up := x.w.down()
	x.setUp()
	x.cookies = map[string]string{}
	if got := x.asked(nil, "id_token_hint", hint); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s", got.Status)
	}
	up()
	x.setUp()
	if got := x.asked(nil, "id_token_hint", hint); got.StatusCode != http.StatusOK {
		t.Errorf("got %s", got.Status)
	}
}

// Without the registry the OP's session and the browser's end, and nobody is told that apps know of
// it.
func TestASignOutThatIsNotRecordedSaysThatAppsCouldNotBeTold(t *testing.T) {
	full := func(_ context.Context, call string, _ ...registry.Key) error { // which can be read
		if call == "edit" {
			return registry.ErrUnavailable
		}
		return nil
	}
	for name, fails := range map[string]func(context.Context, string, ...registry.Key) error{"unavailable": unavailable, "full": full} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t)
			x.signedIn(clientID, "alice")
			session := x.openS().session
			x.w.store.do(fails)
			x.setUp()
			request := values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye, "state", "a b")
			got := x.ask(request)
			if name == "unavailable" { // whose session it is cannot be known
				got = x.answer(got, answerSignOut)
			}
			body := readAll(t, got.Body)
			for _, want := range []string{"You are signed out", "Your apps could not be told of it yet", `href="` + bye + `?state=a&#43;b"`} {
				if !strings.Contains(body, want) {
					t.Errorf("the page does not say %q:\n%s", want, body)
				}
			}
			if _, atOP := x.isSignedIn(); atOP || got.Header.Get("Location") != "" || x.logouts.Load() != 1 {
				t.Errorf("at the OP: %v, got %v", atOP, got.Header)
			}
			if logged := x.w.logged(); !strings.Contains(logged, `"level":"error"`) ||
				!strings.Contains(logged, `"msg":"session end not recorded","issuer":"`+issuer+`","session":"`+session.String()+`","client_id":"`+clientID+`"`) {
				t.Errorf("logged %s", logged)
			}
			x.w.store.do(nil)
			x.setUp()
			x.ask(nil)
			if x.w.live(t, session) {
				t.Error("the end is not recorded when the browser is back")
			}
		})
	}
}

// An end that could be recorded after all, by the browser's next request, is a sign-out like any
// other.
func TestASignOutThatIsRecordedInTheSecondRequestRedirects(t *testing.T) {
	x := newExit(t, func(e *EndSession) { e.Upstream = nil })
	x.signedIn(clientID, "alice")
	up := x.w.down()
	x.setUp()
	question := x.ask(values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye))
	form := values("confirmation", confirmation(t, question), "answer", answerSignOut)
	r := httptest.NewRequest(http.MethodPost, issuer+endSession+confirmSuffix, strings.NewReader(form.Encode()))
	r.Header = http.Header{"Content-Type": {formType}, "Origin": {issuer}}
	seeing := x.once(r)
	up()
	x.setUp()
	got := x.once(httptest.NewRequest(http.MethodGet, issuer+seeing.Header.Get("Location"), nil))
	if outcome := outcome(t, got); outcome != "to "+bye {
		t.Errorf("got %s", outcome)
	}
}

// A login cookie that no sign-in shows is said once, and never where it was observed.
func TestALoginCookieThatNoSignInShowsIsSaidOnce(t *testing.T) {
	sets := func(line string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", line)
			page(w, r)
		}
	}
	both := func(line string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", line)
			redirect(callback+"?code=c&state=s")(w, r)
		}
	}
	answers := redirect(callback + "?code=c&state=s")
	for name, tt := range map[string]struct {
		ask     string
		between http.HandlerFunc // answers a request between the two; nil: there is none
		answers http.HandlerFunc
		cookies map[string]string // of the OP's, at the start
		want    int
	}{
		"never observed":                   {"", nil, answers, nil, 1},
		"another cookie is set":            {"", sets("session=1; Path=/"), answers, map[string]string{"theme": "dark"}, 1},
		"only a deletion of it":            {"", sets("login=; Max-Age=0; Path=/"), answers, nil, 1},
		"the browser brings it":            {"", nil, answers, map[string]string{"login": "alice"}, 0},
		"set by the login form's response": {"", sets("login=1; Path=/account"), answers, nil, 0},
		"set by the response itself":       {"", nil, both("login=1; Path=/account"), nil, 0},
		"set with a value of JSON":         {"", sets(`login={"a": 1}; Path=/account`), answers, nil, 0},
		"a sign-in without a user":         {"&prompt=none", nil, answers, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := newAgent(t, w)
			a.login = "login"
			maps.Copy(a.cookies, tt.cookies)
			for range 2 {
				a.get(authorize("s")+tt.ask, page)
				if tt.between != nil {
					a.get("/account/login", tt.between)
					delete(a.cookies, "login") // its path is another
				}
				a.get("/resume", tt.answers)
			}
			if logged := w.logs.FilterMessage("login cookie not observed at a sign-in"); logged.Len() != tt.want {
				t.Errorf("logged %s", w.logged())
			}
		})
	}
}
