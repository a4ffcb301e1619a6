package handlers

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// A click is what a browser sends when the user clicks: a form to our own endpoint, or a link if there is none.
type click struct {
	target string
	form   url.Values
}

func (c click) request() *http.Request {
	if c.form == nil {
		return httptest.NewRequest(http.MethodGet, issuer+c.target, nil)
	}
	r := httptest.NewRequest(http.MethodPost, issuer+c.target, strings.NewReader(c.form.Encode()))
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Origin", issuer)
	return r
}

// hinted is a click on an app's link with a hint, confirmed one on the yes of the question.
func hinted(x *exit) click {
	return click{target: endSession + "?" + values("id_token_hint", x.hint(clientID, "alice"), "post_logout_redirect_uri", bye).Encode()}
}

func confirmed(x *exit) click {
	question := x.ask(values("client_id", clientID, "post_logout_redirect_uri", bye))
	return click{endSession + confirmSuffix, values("confirmation", confirmation(x.t, question), "answer", answerSignOut)}
}

// A double click: the browser sends the second request with the cookies of before the first answer, and shows the second answer.
func TestTheSecondClickIsAnsweredAsTheFirst(t *testing.T) {
	nothing := func(*exit, click) {}
	withoutLogin := func(x *exit, _ click) { delete(x.cookies, "login") }
	for name, tt := range map[string]struct {
		click   func(x *exit) click
		between func(x *exit, c click)
		logouts int32 // how often the OP is asked
	}{
		"on yes":                                  {confirmed, nothing, 1},
		"on yes, and the OP's cookie has gone":    {confirmed, withoutLogin, 1},
		"on yes, then on no":                      {confirmed, func(_ *exit, c click) { c.form.Set("answer", answerStay) }, 1},
		"on yes, at an OP that refuses it twice":  {confirmed, func(x *exit, _ click) { x.status = http.StatusForbidden }, 1},
		"on yes, and Caddy was restarted":         {confirmed, func(x *exit, _ click) { x.setUp() }, 1},
		"on yes, at another server":               {confirmed, func(x *exit, _ click) { x.e = x.anotherServer() }, 1},
		"on a link":                               {hinted, nothing, 1},
		"on a link, at another server":            {hinted, func(x *exit, _ click) { x.e = x.anotherServer() }, 1},
		"on a link, and the OP's cookie has gone": {hinted, withoutLogin, 1},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t, framed)
			x.signedIn(clientID, "alice")
			x.signedIn("wiki", "alice")
			c := tt.click(x)
			before := maps.Clone(x.cookies)
			x.do(c.request())
			x.cookies = before
			tt.between(x, c)
			page := readAll(t, x.do(c.request()).Body)
			if len(addresses(page)) != 2 {
				t.Fatalf("the second answer is %s", page)
			}
			if got := outcome(t, x.once(x.next(page))); got != "to "+bye {
				t.Errorf("after the frames: %s", got)
			}
			x.mustBe(false)
			if !x.w.keys.IsAnonymousState(issuer, x.stateCookie()) {
				t.Error("the check page of the browser does not see that it is signed out")
			}
			if x.logouts.Load() != tt.logouts {
				t.Errorf("the OP was asked %d times", x.logouts.Load())
			}
		})
	}
}

// The first answer may never have reached the browser: the second one clears the OP's cookies as well.
func TestTheSecondClickClearsTheOPsCookiesToo(t *testing.T) {
	x := newExit(t, framed, func(e *EndSession) { e.Upstream = nil })
	x.signedIn(clientID, "alice")
	c := confirmed(x)
	before := maps.Clone(x.cookies)
	x.once(c.request())
	x.cookies = before
	if page := readAll(t, x.do(c.request()).Body); len(addresses(page)) != 1 {
		t.Errorf("the second answer is %s", page)
	}
	x.mustBe(false)
}

// What the OP gave the browser with its answer to the first request comes with the second one, too.
func TestTheSecondClickBringsTheOPsOwnCookies(t *testing.T) {
	for _, status := range []int{http.StatusFound, http.StatusInternalServerError} {
		x := newExit(t)
		x.signedIn(clientID, "alice")
		x.status = status
		c := confirmed(x)
		before := maps.Clone(x.cookies)
		x.do(c.request())
		x.cookies = before
		x.status = http.StatusFound
		if got := outcome(t, x.do(c.request())); got != "to "+bye {
			t.Errorf("after %d, the second answer is %s", status, got)
		}
		x.mustBe(false)
	}
}

// Nothing is known here of a session that the OP alone has: the question itself tells that it was answered.
func TestTheSecondClickOfASessionThatTheOPAloneHas(t *testing.T) {
	x := newExit(t)
	x.cookies["login"] = "alice"
	c := confirmed(x)
	before := maps.Clone(x.cookies)
	for range 2 {
		if got := outcome(t, x.do(c.request())); got != "to "+bye {
			t.Errorf("got %s", got)
		}
		x.cookies = before
	}
	if x.logouts.Load() != 1 {
		t.Errorf("the OP was asked %d times", x.logouts.Load())
	}
}

// A browser that did not bring the OP's cookie was not signed out there.
func TestTheSecondClickBringsTheOPsCookieWhereTheFirstDidNot(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	before := maps.Clone(x.cookies)
	delete(x.cookies, "login")
	x.do(hinted(x).request())
	x.cookies = before
	x.do(hinted(x).request())
	if x.mustBe(false); x.logouts.Load() != 1 {
		t.Errorf("the OP was asked %d times", x.logouts.Load())
	}
}

// An answer that does not count comes after the browser was signed out.
func TestWhoIsSignedOutIsNotAskedAgain(t *testing.T) {
	x := newExit(t, framed)
	x.signedIn(clientID, "alice")
	late := confirmed(x)
	late.form.Set("confirmation", "cut off")
	before := maps.Clone(x.cookies)
	x.do(hinted(x).request())
	x.cookies = before
	delete(x.cookies, "login")
	if page := readAll(t, x.do(late.request()).Body); len(addresses(page)) != 1 {
		t.Errorf("got %s", page)
	}
}

// The second click comes while the OP has not answered the first one yet.
func TestTheSecondClickWaitsForTheFirst(t *testing.T) {
	here := func(x *exit) *EndSession { return x.e }
	for name, tt := range map[string]struct {
		click  func(x *exit) click
		second func(x *exit) *EndSession
	}{
		"on yes":                       {confirmed, here},
		"on yes, at another server":    {confirmed, (*exit).anotherServer},
		"on a link":                    {hinted, here},
		"on a link, at another server": {hinted, (*exit).anotherServer},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExit(t, framed)
			x.signedIn(clientID, "alice")
			x.ask(values("id_token_hint", x.hint("nobody", "alice"))) // the OP's keys are known
			c, second := tt.click(x), tt.second(x)
			reached, answer := make(chan struct{}), make(chan struct{})
			op := handler(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/logout" {
					select {
					case reached <- struct{}{}:
					case <-answer:
					}
					<-answer
				}
				x.op(w, r)
			})
			pages := make(chan string, 2)
			send := func(e *EndSession) {
				r := c.request()
				for name, value := range x.cookies {
					r.AddCookie(&http.Cookie{Name: name, Value: value})
				}
				go func() {
					recorder := httptest.NewRecorder()
					_ = e.Serve(x.w.op, recorder, r, op)
					pages <- recorder.Body.String()
				}()
			}
			send(x.e)
			<-reached
			waits := x.waiting()
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
			if x.logouts.Load() != 1 {
				t.Errorf("the OP was asked %d times", x.logouts.Load())
			}
		})
	}
}

// waiting is closed when a request looks for what the OP has answered another.
func (x *exit) waiting() <-chan struct{} {
	waits := make(chan struct{})
	looked := sync.OnceFunc(func() { close(waits) })
	x.w.store.do(func(_ context.Context, call string, keys ...registry.Key) error {
		if call == "get" && keys[0][0] == 'p' { // a pointer: what a one-time value leads to
			looked()
		}
		return nil
	})
	return waits
}

// The server that asked the OP stopped before it could record the answer.
func TestTheSecondClickAsksTheOPItselfIfTheFirstIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExit(t, framed)
		x.signedIn(clientID, "alice")
		session, _, _ := openSessionCookie(x.w.keys, issuer, x.cookies[x.w.op.cookies.session])
		claim, _ := (&leave{visit: &visit{sealed: session}}).onceValues()
		until := x.w.clock.Now().Add(repeatedWithin)
		if first, _, err := x.w.env.Registry.Once(t.Context(), issuer, claim, "", until); !first || err != nil {
			t.Fatal(first, err)
		}
		if page := readAll(t, x.do(hinted(x).request()).Body); len(addresses(page)) != 1 {
			t.Errorf("got %s", page)
		}
		if x.mustBe(false); x.logouts.Load() != 1 {
			t.Errorf("the OP was asked %d times", x.logouts.Load())
		}
	})
}

// While the registry is unavailable, sign-outs go on: nothing tells the first from the second.
func TestASignOutGoesOnWhileTheRegistryIsUnavailable(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	c := confirmed(x)
	up := x.w.down()
	x.do(c.request())
	up()
	if x.logouts.Load() != 1 {
		t.Errorf("the OP was asked %d times", x.logouts.Load())
	}
	if _, atOP := x.isSignedIn(); atOP {
		t.Error("still signed in at the OP")
	}
}

// Who clicks twice on no is told twice that the session goes on; who then clicks on yes is asked again.
func TestTheSecondClickOnNoIsAnsweredAsTheFirst(t *testing.T) {
	x := newExit(t)
	x.signedIn(clientID, "alice")
	value := confirmation(t, x.ask(nil))
	for _, want := range []string{"stayed", "stayed"} {
		if got := outcome(t, x.confirm(value, answerStay)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := outcome(t, x.confirm(value, answerSignOut)); got != "error" {
		t.Errorf("got %s", got)
	}
	x.mustBe(true)
}

// anotherServer has the same configuration and the same registry, and no memory in common.
func (x *exit) anotherServer() *EndSession {
	x.t.Helper()
	env := x.w.env
	env.Registry = registry.Open(x.w.store, x.w.hearEnds, env.Logger)
	e := &EndSession{
		LoginCookie: x.e.LoginCookie, LoginPlace: new(LoginPlace), Upstream: x.e.Upstream,
		Clients: x.e.Clients, Keys: new(Keys), BackChannel: x.w.backChannel(x.e.Clients),
		FrontChannel: x.e.FrontChannel, FrontChannelTimeout: x.e.FrontChannelTimeout,
	}
	e.BackChannel.See(x.w.op)
	e.Keys.Setup(env)
	if err := e.Setup(env); err != nil {
		x.t.Fatal(err)
	}
	return e
}

func TestASignOutIsRepeatedForAMinuteAndByItsOwnBrowserOnly(t *testing.T) {
	for name, tt := range map[string]struct {
		between func(x *exit)
		want    int // frames
	}{
		"half a minute later":              {func(x *exit) { x.w.clock.advance(30 * time.Second) }, 1},
		"a minute later":                   {func(x *exit) { x.w.clock.advance(time.Minute + time.Second) }, 0},
		"by a browser without our cookies": {func(x *exit) { x.cookies = map[string]string{} }, 0},
	} {
		for kind, click := range map[string]func(x *exit) click{"link": hinted, "yes": confirmed} {
			x := newExit(t, framed)
			x.signedIn(clientID, "alice")
			c := click(x)
			before := maps.Clone(x.cookies)
			x.do(c.request())
			x.cookies = before
			delete(x.cookies, "login")
			tt.between(x)
			if page := readAll(t, x.do(c.request()).Body); len(addresses(page)) != tt.want {
				t.Errorf("%s, %s: %s", name, kind, page)
			}
		}
	}
}

// Sessions that ended otherwise were not left by the user: the OP's own goes on, and nobody has asked for anything.
func TestASessionThatEndedOtherwiseIsNoSignOutToRepeat(t *testing.T) {
	for _, reason := range []registry.Reason{registry.ReasonOperator, registry.ReasonLoginCookie, registry.ReasonExpiry} {
		x := newExit(t, framed)
		x.signedIn(clientID, "alice")
		x.w.end(t, x.openS().browser, reason)
		if got := outcome(t, x.do(hinted(x).request())); got != "question" {
			t.Errorf("%s: signed in at the OP: %s", reason, got)
		}
		delete(x.cookies, "login")
		if got := outcome(t, x.do(hinted(x).request())); got != "to "+bye {
			t.Errorf("%s: not signed in: %s", reason, got)
		}
	}
}
