package logout_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// A click is what a browser sends when the user clicks: a form to our own endpoint, or a link if
// there is none.
type click struct {
	target string
	form   url.Values
}

func (c click) request() *http.Request {
	if c.form == nil {
		return httptest.NewRequest(http.MethodGet, handlerstest.Issuer+c.target, nil)
	}
	r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+c.target, strings.NewReader(c.form.Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	r.Header.Set("Origin", handlerstest.Issuer)
	return r
}

// hinted is a click on an app's link with a hint, confirmed one on the yes of the question.
func hinted(x *handlerstest.Exit) click {
	return click{target: handlerstest.EndSession + "?" + handlerstest.Values("id_token_hint", x.Hint(handlerstest.ClientID, "alice"), "post_logout_redirect_uri", handlerstest.Bye).Encode()}
}

func confirmed(x *handlerstest.Exit) click {
	question := x.Ask(handlerstest.Values("client_id", handlerstest.ClientID, "post_logout_redirect_uri", handlerstest.Bye))
	return click{handlerstest.EndSession + handlers.ConfirmSuffix, handlerstest.Values("confirmation", handlerstest.Confirmation(x.T, question), "answer", logout.AnswerSignOut)}
}

// A double click: the browser sends the second request with the cookies of before the first
// answer, and shows the second answer.
func TestTheSecondClickIsAnsweredAsTheFirst(t *testing.T) {
	nothing := func(*handlerstest.Exit, click) {}
	withoutLogin := func(x *handlerstest.Exit, _ click) { delete(x.Cookies, "login") }
	for name, tt := range map[string]struct {
		click   func(x *handlerstest.Exit) click
		between func(x *handlerstest.Exit, c click)
		logouts int32 // how often the OP is asked
	}{
		"on yes":                                  {confirmed, nothing, 1},
		"on yes, and the OP's cookie has gone":    {confirmed, withoutLogin, 1},
		"on yes, then on no":                      {confirmed, func(_ *handlerstest.Exit, c click) { c.form.Set("answer", logout.AnswerStay) }, 1},
		"on yes, at an OP that refuses it twice":  {confirmed, func(x *handlerstest.Exit, _ click) { x.Status = http.StatusForbidden }, 1},
		"on yes, and Caddy was restarted":         {confirmed, func(x *handlerstest.Exit, _ click) { x.SetUp() }, 1},
		"on yes, at another server":               {confirmed, func(x *handlerstest.Exit, _ click) { x.E = x.AnotherServer() }, 1},
		"on a link":                               {hinted, nothing, 1},
		"on a link, at another server":            {hinted, func(x *handlerstest.Exit, _ click) { x.E = x.AnotherServer() }, 1},
		"on a link, and the OP's cookie has gone": {hinted, withoutLogin, 1},
	} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t, framed)
			x.SignedIn(handlerstest.ClientID, "alice")
			x.SignedIn("wiki", "alice")
			c := tt.click(x)
			before := maps.Clone(x.Cookies)
			x.Do(c.request())
			x.Cookies = before
			tt.between(x, c)
			page := reply.ReadAll(t, x.Do(c.request()).Body)
			if len(addresses(page)) != 2 {
				t.Fatalf("the second answer is %s", page)
			}
			if got := handlerstest.Outcome(t, x.Once(x.Next(page))); got != "to "+handlerstest.Bye {
				t.Errorf("after the frames: %s", got)
			}
			x.MustBe(false)
			if !x.W.Keys.IsAnonymousState(handlerstest.Issuer, x.StateCookie()) {
				t.Error("the check page of the browser does not see that it is signed out")
			}
			if x.Logouts.Load() != tt.logouts {
				t.Errorf("the OP was asked %d times", x.Logouts.Load())
			}
		})
	}
}

// The first answer may never have reached the browser: the second one clears the OP's cookies as
// well.
func TestTheSecondClickClearsTheOPsCookiesToo(t *testing.T) {
	x := handlerstest.NewExit(t, framed, func(e *logout.EndSession) { e.Upstream = nil })
	x.SignedIn(handlerstest.ClientID, "alice")
	c := confirmed(x)
	before := maps.Clone(x.Cookies)
	x.Once(c.request())
	x.Cookies = before
	if page := reply.ReadAll(t, x.Do(c.request()).Body); len(addresses(page)) != 1 {
		t.Errorf("the second answer is %s", page)
	}
	x.MustBe(false)
}

// What the OP gave the browser with its answer to the first request comes with the second one,
// too.
func TestTheSecondClickBringsTheOPsOwnCookies(t *testing.T) {
	for _, status := range []int{http.StatusFound, http.StatusInternalServerError} {
		x := handlerstest.NewExit(t)
		x.SignedIn(handlerstest.ClientID, "alice")
		x.Status = status
		c := confirmed(x)
		before := maps.Clone(x.Cookies)
		x.Do(c.request())
		x.Cookies = before
		x.Status = http.StatusFound
		if got := handlerstest.Outcome(t, x.Do(c.request())); got != "to "+handlerstest.Bye {
			t.Errorf("after %d, the second answer is %s", status, got)
		}
		x.MustBe(false)
	}
}

// An OP that was asked once too often refuses: the click after a failure is a new try, and the one
// after a success is none.
func TestTheClickAfterTheOneThatWorkedAsksTheOPNoMore(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	c := confirmed(x)
	before := maps.Clone(x.Cookies)
	for i, status := range []int{
		http.StatusInternalServerError, http.StatusFound, http.StatusInternalServerError,
	} {
		x.Status = status
		got := handlerstest.Outcome(t, x.Do(c.request()))
		if want := i > 0; (got == "to "+handlerstest.Bye) != want {
			t.Errorf("answer %d is %s", i, got)
		}
		x.Cookies = maps.Clone(before)
	}
	if x.Logouts.Load() != 2 {
		t.Errorf("the OP was asked %d times", x.Logouts.Load())
	}
}

// A page that is gone back to is no double click.
func TestALateSecondAnswerIsNoDoubleClick(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.Cookies["login"] = "alice"
	c := confirmed(x)
	before := maps.Clone(x.Cookies)
	x.Do(c.request())
	x.Cookies = before
	x.W.Clock.Advance(logout.RepeatedWithin)
	if got := handlerstest.Outcome(t, x.Do(c.request())); got == "to "+handlerstest.Bye || x.Logouts.Load() != 1 {
		t.Errorf("got %s, and the OP was asked %d times", got, x.Logouts.Load())
	}
}

// Nothing is known here of a session that the OP alone has: the question itself tells that it was
// answered.
func TestTheSecondClickOfASessionThatTheOPAloneHas(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.Cookies["login"] = "alice"
	c := confirmed(x)
	before := maps.Clone(x.Cookies)
	for range 2 {
		if got := handlerstest.Outcome(t, x.Do(c.request())); got != "to "+handlerstest.Bye {
			t.Errorf("got %s", got)
		}
		x.Cookies = before
	}
	if x.Logouts.Load() != 1 {
		t.Errorf("the OP was asked %d times", x.Logouts.Load())
	}
}

// A browser that did not bring the OP's cookie was not signed out there.
func TestTheSecondClickBringsTheOPsCookieWhereTheFirstDidNot(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	before := maps.Clone(x.Cookies)
	delete(x.Cookies, "login")
	x.Do(hinted(x).request())
	x.Cookies = before
	x.Do(hinted(x).request())
	if x.MustBe(false); x.Logouts.Load() != 1 {
		t.Errorf("the OP was asked %d times", x.Logouts.Load())
	}
}

// An answer that does not count comes after the browser was signed out.
func TestWhoIsSignedOutIsNotAskedAgain(t *testing.T) {
	x := handlerstest.NewExit(t, framed)
	x.SignedIn(handlerstest.ClientID, "alice")
	late := confirmed(x)
	late.form.Set("confirmation", "cut off")
	before := maps.Clone(x.Cookies)
	x.Do(hinted(x).request())
	x.Cookies = before
	delete(x.Cookies, "login")
	if page := reply.ReadAll(t, x.Do(late.request()).Body); len(addresses(page)) != 1 {
		t.Errorf("got %s", page)
	}
}

// The second click comes while the OP has not answered the first one yet.
func TestTheSecondClickWaitsForTheFirst(t *testing.T) {
	here := func(x *handlerstest.Exit) *logout.EndSession { return x.E }
	for name, tt := range map[string]struct {
		click  func(x *handlerstest.Exit) click
		second func(x *handlerstest.Exit) *logout.EndSession
	}{
		"on yes":                       {confirmed, here},
		"on yes, at another server":    {confirmed, (*handlerstest.Exit).AnotherServer},
		"on a link":                    {hinted, here},
		"on a link, at another server": {hinted, (*handlerstest.Exit).AnotherServer},
	} {
		t.Run(name, func(t *testing.T) {
			x := handlerstest.NewExit(t, framed)
			x.SignedIn(handlerstest.ClientID, "alice")
			x.Ask(handlerstest.Values("id_token_hint", x.Hint("nobody", "alice"))) // the OP's keys are known
			c, second := tt.click(x), tt.second(x)
			reached, answer := make(chan struct{}), make(chan struct{})
			op := reply.Handler(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/logout" {
					select {
					case reached <- struct{}{}:
					case <-answer:
					}
					<-answer
				}
				x.OP(w, r)
			})
			pages := make(chan string, 2)
			send := func(e *logout.EndSession) {
				r := c.request()
				for name, value := range x.Cookies {
					r.AddCookie(&http.Cookie{Name: name, Value: value})
				}
				go func() {
					recorder := httptest.NewRecorder()
					_ = e.Serve(x.W.OP, recorder, r, op)
					pages <- recorder.Body.String()
				}()
			}
			send(x.E)
			<-reached
			waits := x.Waiting()
			send(second)
			select {
			case <-waits:
			case <-reached: // it does not wait
			case page := <-pages:
				pages <- page
			}
			close(answer)
			for range 2 {
				if page := <-pages; len(addresses(page)) != 1 {
					t.Errorf("an answer is %s", page)
				}
			}
			if x.Logouts.Load() != 1 {
				t.Errorf("the OP was asked %d times", x.Logouts.Load())
			}
		})
	}
}

// The server that asked the OP stopped before it could record the answer.
func TestTheSecondClickAsksTheOPItselfIfTheFirstIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := handlerstest.NewExit(t, framed)
		x.SignedIn(handlerstest.ClientID, "alice")
		session, _, _ := browser.OpenSessionCookie(x.W.Keys, handlerstest.Issuer, x.Cookies[x.W.OP.Cookies.Session])
		claim := logout.ClaimOf(session)
		until := x.W.Clock.Now().Add(logout.RepeatedWithin)
		if first, _, err := x.W.Env.Registry.Once(t.Context(), handlerstest.Issuer, claim, "", until); !first || err != nil {
			t.Fatal(first, err)
		}
		if page := reply.ReadAll(t, x.Do(hinted(x).request()).Body); len(addresses(page)) != 1 {
			t.Errorf("got %s", page)
		}
		if x.MustBe(false); x.Logouts.Load() != 1 {
			t.Errorf("the OP was asked %d times", x.Logouts.Load())
		}
	})
}

// While the registry is unavailable, sign-outs go on: nothing tells the first from the second.
func TestASignOutGoesOnWhileTheRegistryIsUnavailable(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	c := confirmed(x)
	up := x.W.Down()
	x.Do(c.request())
	up()
	if x.Logouts.Load() != 1 {
		t.Errorf("the OP was asked %d times", x.Logouts.Load())
	}
	if _, atOP := x.IsSignedIn(); atOP {
		t.Error("still signed in at the OP")
	}
}

// Who clicks twice on no is told twice that the session goes on; who then clicks on yes is asked
// again.
func TestTheSecondClickOnNoIsAnsweredAsTheFirst(t *testing.T) {
	x := handlerstest.NewExit(t)
	x.SignedIn(handlerstest.ClientID, "alice")
	value := handlerstest.Confirmation(t, x.Ask(nil))
	for _, want := range []string{"stayed", "stayed"} {
		if got := handlerstest.Outcome(t, x.Confirm(value, logout.AnswerStay)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := handlerstest.Outcome(t, x.Confirm(value, logout.AnswerSignOut)); got != "error" {
		t.Errorf("got %s", got)
	}
	x.MustBe(true)
}

func TestASignOutIsRepeatedForAMinuteAndByItsOwnBrowserOnly(t *testing.T) {
	for name, tt := range map[string]struct {
		between func(x *handlerstest.Exit)
		want    int // frames
	}{
		"half a minute later":              {func(x *handlerstest.Exit) { x.W.Clock.Advance(30 * time.Second) }, 1},
		"a minute later":                   {func(x *handlerstest.Exit) { x.W.Clock.Advance(time.Minute + time.Second) }, 0},
		"by a browser without our cookies": {func(x *handlerstest.Exit) { x.Cookies = map[string]string{} }, 0},
	} {
		for kind, click := range map[string]func(x *handlerstest.Exit) click{"link": hinted, "yes": confirmed} {
			x := handlerstest.NewExit(t, framed)
			x.SignedIn(handlerstest.ClientID, "alice")
			c := click(x)
			before := maps.Clone(x.Cookies)
			x.Do(c.request())
			x.Cookies = before
			delete(x.Cookies, "login")
			tt.between(x)
			if page := reply.ReadAll(t, x.Do(c.request()).Body); len(addresses(page)) != tt.want {
				t.Errorf("%s, %s: %s", name, kind, page)
			}
		}
	}
}

// Sessions that ended otherwise were not left by the user: the OP's own goes on, and nobody has
// asked for anything.
func TestASessionThatEndedOtherwiseIsNoSignOutToRepeat(t *testing.T) {
	for _, reason := range []registry.Reason{registry.ReasonOperator, registry.ReasonLoginCookie, registry.ReasonExpiry} {
		x := handlerstest.NewExit(t, framed)
		x.SignedIn(handlerstest.ClientID, "alice")
		x.W.End(t, x.OpenS().Browser, reason)
		if got := handlerstest.Outcome(t, x.Do(hinted(x).request())); got != "question" {
			t.Errorf("%s: signed in at the OP: %s", reason, got)
		}
		delete(x.Cookies, "login")
		if got := handlerstest.Outcome(t, x.Do(hinted(x).request())); got != "to "+handlerstest.Bye {
			t.Errorf("%s: not signed in: %s", reason, got)
		}
	}
}
