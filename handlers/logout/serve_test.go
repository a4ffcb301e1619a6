package logout_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

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
			x := handlerstest.NewExit(t)
			x.SignedIn(handlerstest.ClientID, "alice")
			got := x.Asked(header, "id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye)
			if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Cache-Control") != "no-store" || len(got.Cookies()) > 0 {
				t.Errorf("got %s %v", got.Status, got.Header)
			}
			x.MustBe(true)
		})
	}
}

func TestAFetchIsToldToNavigateAndTheLogSaysItOnceForEachClient(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	hint := x.Hint(handlerstest.ClientID, "alice")
	for range 2 {
		for _, mode := range []string{"cors", "no-cors", "same-origin"} {
			header := http.Header{"Sec-Fetch-Mode": {mode}, "Sec-Fetch-Dest": {"empty"}, "Origin": {"https://rp.example.com"}}
			got := x.Asked(header, "id_token_hint", hint)
			body := reply.ReadAll(t, got.Body)
			if got.StatusCode != http.StatusBadRequest || !strings.Contains(body, "by a link, a form") || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("%s: got %s %q", mode, got.Status, body)
			}
			x.Asked(header, "client_id", "wiki")
			x.Asked(header, "client_id", "of an attacker")
			x.Asked(header, "client_id", "of another attacker")
		}
	}
	x.MustBe(true)
	logged := x.W.Logs.FilterMessage("logout request by script refused")
	if logged.Len() != 3 || strings.Contains(x.W.Logged(), hint) || strings.Contains(x.W.Logged(), "attacker") {
		t.Errorf("logged %s", x.W.Logged())
	}
	if !strings.Contains(x.W.Logged(), `"client_id":"`+handlerstest.ClientID+`","origin":"https://rp.example.com"`) {
		t.Errorf("logged %s", x.W.Logged())
	}
}

// The power of a hint alone is that of its option, and ends with the token.
func TestAServersHintEndsTheSessionItNamesWhereThatIsAllowed(t *testing.T) {
	claim := func(name string, value any) func(*handlerstest.Exit) []string {
		return func(x *handlerstest.Exit) []string {
			return []string{"id_token_hint", x.Fresh(func(claims map[string]any) { claims[name] = value })}
		}
	}
	plain := func(x *handlerstest.Exit) []string { return []string{"id_token_hint", x.Fresh()} }
	for name, tt := range map[string]struct {
		off    bool
		header http.Header
		ask    func(*handlerstest.Exit) []string
		status int
		ends   bool
	}{
		"a hint":             {ask: plain, status: 200, ends: true},
		"as curl sends it":   {ask: plain, header: http.Header{"Accept": {"*/*"}}, status: 200, ends: true},
		"with its client":    {ask: func(x *handlerstest.Exit) []string { return append(plain(x), "client_id", handlerstest.ClientID) }, status: 200, ends: true},
		"not allowed":        {off: true, ask: plain, status: 200},
		"expired":            {ask: claim("exp", 1), status: 400},
		"that never expires": {ask: claim("exp", nil), status: 400},
		"without a sid":      {ask: claim("sid", nil), status: 400},
		"of another session": {ask: claim("sid", "unknown"), status: 400},
		"of another user":    {ask: claim("sub", "bob"), status: 400},
		"of another client":  {ask: claim("aud", "forum"), status: 400},
		"of another issuer":  {ask: claim("iss", "https://evil.example"), status: 400},
		"for another client": {ask: func(x *handlerstest.Exit) []string { return append(plain(x), "client_id", "wiki") }, status: 400},
		"by an unknown key": {ask: func(x *handlerstest.Exit) []string {
			return []string{"id_token_hint", handlerstest.Sign(t, handlerstest.NewKey(t, "1"), handlerstest.IDClaims(handlerstest.ClientID, "alice"), nil)}
		}, status: 400},
		"none":                               {ask: func(*handlerstest.Exit) []string { return nil }, status: 400},
		"of a browser's tab without cookies": {ask: plain, header: http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}, status: 200},
		"of a browser of old":                {ask: plain, header: http.Header{"Accept": {"text/html,*/*;q=0.8"}}, status: 200},
		"of a script":                        {ask: plain, header: http.Header{"Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}}, status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t, func(e *logout.EndSession) { e.AllowHintOnly = !tt.off })
			x.SignedIn(handlerstest.ClientID, "alice")
			x.SignedIn("wiki", "alice")
			session, cookies := x.OpenS().Session, x.Cookies
			ask := tt.ask(x)
			x.Cookies = map[string]string{}
			got := x.Asked(tt.header, ask...)
			if got.StatusCode != tt.status {
				t.Errorf("got %s", got.Status)
			}
			if lives := x.W.Live(t, session); lives == tt.ends {
				t.Errorf("the session lives: %v", lives)
			}
			if x.Cookies = cookies; tt.ends && x.Logouts.Load() > 0 {
				t.Error("the OP was asked, for a browser that is not there")
			}
			if ask != nil && strings.Contains(x.W.Logged(), ask[1]) {
				t.Error("the hint is in the log")
			}
		})
	}
}

// A browser that is signed in is not taken for a server, nor by an old engine's missing header
// fields.
func TestABrowsersOwnRequestIsNoServersCall(t *testing.T) {
	x := handlerstest.NewExit(t, func(e *logout.EndSession) { e.AllowHintOnly = true })
	x.SignedIn(handlerstest.ClientID, "alice")
	if got := handlerstest.Outcome(t, x.Ask(handlerstest.Values("id_token_hint", x.Fresh(), "post_logout_redirect_uri", handlerstest.Bye))); got != "to "+handlerstest.Bye {
		t.Errorf("got %s", got)
	}
}

func TestAServersHintWithoutTheRegistryIsToBeTriedAgain(t *testing.T) {
	x := handlerstest.NewExit(t, func(e *logout.EndSession) { e.AllowHintOnly = true })
	x.SignedIn(handlerstest.ClientID, "alice")
	hint := x.Fresh()
	up := x.W.Down()
	x.SetUp()
	x.Cookies = map[string]string{}
	if got := x.Asked(nil, "id_token_hint", hint); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s", got.Status)
	}
	up()
	x.SetUp()
	if got := x.Asked(nil, "id_token_hint", hint); got.StatusCode != http.StatusOK {
		t.Errorf("got %s", got.Status)
	}
}

// Without the registry the OP's session and the browser's end, and nobody is told that apps know
// of it.
func TestASignOutThatIsNotRecordedSaysThatAppsCouldNotBeTold(t *testing.T) {
	full := func(_ context.Context, call string, _ ...registry.Key) error { // which can be read
		if call == "edit" {
			return registry.ErrUnavailable
		}
		return nil
	}
	for name, fails := range map[string]func(context.Context, string, ...registry.Key) error{"unavailable": handlerstest.Unavailable, "full": full} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t)
			x.SignedIn(handlerstest.ClientID, "alice")
			session := x.OpenS().Session
			x.W.Store.Do(fails)
			x.SetUp()
			request := handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye, "state", "a b")
			got := x.Ask(request)
			if name == "unavailable" { // whose session it is cannot be known
				got = x.Answer(got, logout.AnswerSignOut)
			}
			body := reply.ReadAll(t, got.Body)
			for _, want := range []string{"You are signed out", "Your apps could not be told of it yet", `href="` + handlerstest.Bye + `?state=a&#43;b"`} {
				if !strings.Contains(body, want) {
					t.Errorf("the page does not say %q:\n%s", want, body)
				}
			}
			if _, atOP := x.IsSignedIn(); atOP || got.Header.Get("Location") != "" || x.Logouts.Load() != 1 {
				t.Errorf("at the OP: %v, got %v", atOP, got.Header)
			}
			if logged := x.W.Logged(); !strings.Contains(logged, `"level":"error"`) ||
				!strings.Contains(logged, `"msg":"session end not recorded","issuer":"`+handlerstest.Issuer+`","session":"`+session.String()+`","client_id":"`+handlerstest.ClientID+`"`) {
				t.Errorf("logged %s", logged)
			}
			x.W.Store.Do(nil)
			x.SetUp()
			x.Ask(nil)
			if x.W.Live(t, session) {
				t.Error("the end is not recorded when the browser is back")
			}
		})
	}
}

// An end that could be recorded after all, by the browser's next request, is a sign-out like any
// other.
func TestASignOutThatIsRecordedInTheSecondRequestRedirects(t *testing.T) {
	x := handlerstest.NewExit(t, func(e *logout.EndSession) { e.Upstream = nil })
	x.SignedIn(handlerstest.ClientID, "alice")
	up := x.W.Down()
	x.SetUp()
	question := x.Ask(handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye))
	form := handlerstest.Values("confirmation", handlerstest.Confirmation(t, question), "answer", logout.AnswerSignOut)
	r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+handlerstest.EndSession+handlers.ConfirmSuffix, strings.NewReader(form.Encode()))
	r.Header = http.Header{"Content-Type": {exchange.FormType}, "Origin": {handlerstest.Issuer}}
	seeing := x.Once(r)
	up()
	x.SetUp()
	got := x.Once(httptest.NewRequest(http.MethodGet, handlerstest.Issuer+seeing.Header.Get("Location"), nil))
	if outcome := handlerstest.Outcome(t, got); outcome != "to "+handlerstest.Bye {
		t.Errorf("got %s", outcome)
	}
}

// A login cookie that no sign-in shows is said once, and never where it was observed.
func TestALoginCookieThatNoSignInShowsIsSaidOnce(t *testing.T) {
	sets := func(line string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", line)
			reply.Page(w, r)
		}
	}
	both := func(line string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", line)
			reply.Redirect(handlerstest.Callback+"?code=c&state=s")(w, r)
		}
	}
	answers := reply.Redirect(handlerstest.Callback + "?code=c&state=s")
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
			w := handlerstest.NewWorld(t)
			a := handlerstest.NewAgent(t, w)
			a.Login = "login"
			maps.Copy(a.Cookies, tt.cookies)
			for range 2 {
				a.Get(handlerstest.Authorize("s")+tt.ask, reply.Page)
				if tt.between != nil {
					a.Get("/account/login", tt.between)
					delete(a.Cookies, "login") // its path is another
				}
				a.Get("/resume", tt.answers)
			}
			if logged := w.Logs.FilterMessage("login cookie not observed at a sign-in"); logged.Len() != tt.want {
				t.Errorf("logged %s", w.Logged())
			}
		})
	}
}
