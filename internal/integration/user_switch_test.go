package integration

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// again is the parameter by which an RP has the OP ask who the user is, whoever is signed in.
var again = url.Values{"prompt": {"login"}}

// runOP runs Caddy in front of an OP with these traits, and returns a browser there.
func runOP(t *testing.T, as traits) (*browser, site, *scriptedOP) {
	t.Helper()
	site := newSite(t)
	op := newScriptedOP(t, site.issuer)
	op.traits = as
	runCaddy(t, t.TempDir(), site.caddyfile("oidc_session {\n\t\tstore memory\n\t}", directives+op.proxy()))
	return newBrowser(t), site, op
}

// directOP is runOP without sockets, and with a clock that goes on at each request: who came last is known by milliseconds.
func directOP(t *testing.T, as traits) (*browser, site, *scriptedOP) {
	t.Helper()
	d := newDirect(t, as, nil)
	t.Cleanup(d.close)
	return d.browser(), d.site(), d.op
}

// signIn goes through an authorization request and redeems its code.
func (b *browser) signIn(s site, clientID, user string, extra url.Values) answer {
	b.t.Helper()
	a := b.authorize(s, clientID, user, extra)
	if got := b.redeem(s, a); got.StatusCode != http.StatusOK {
		b.t.Fatalf("the token response is %s %s", got.Status, got.body)
	}
	return a
}

// expect reports what the server should have said of each answer, and did not.
func (b *browser) expect(s site, when, want string, answers ...answer) {
	b.t.Helper()
	for i, a := range answers {
		if got := b.ask(s, a); got != want {
			b.t.Errorf("%s, the server says %s of answer %d, for %s: it should be %s", when, got, i+1, a.clientID, want)
		}
	}
}

// realOPs are the traits of OPs in the field.
var realOPs = map[string]traits{
	"a new cookie on each response":                               {},
	"the cookie is deleted, then new":                             {switching: deletedFirst},
	"a cookie that keeps its value":                               {fixedCookie: true},
	"the cookie one hop earlier, on another path":                 {cookie: oneHopEarlier, cookiePath: "/account", fixedCookie: true},
	"the cookie two hops earlier, the login page on another host": {cookie: twoHopsEarlier, loginHost: true, newSid: true, signOut: byMaxAgeWithValue},
	"the same cookie and the same sid, and another cookie beside": {switching: sameValue, otherCookie: true, fixedCookie: true, signOut: byEmptyValue},
	"never a cookie":    {cookie: neverSet},
	"pairwise subjects": {pairwise: true, signOut: byExpires},
}

func TestAnotherUserEndsTheFirstSessionHoweverTheOPShowsIt(t *testing.T) {
	for name, as := range realOPs {
		t.Run(name, func(t *testing.T) {
			b, site, _ := runOP(t, as)
			shop := b.signIn(site, "shop", "alice", nil)
			wiki := b.signIn(site, "wiki", "alice", nil)
			b.expect(site, "while alice is signed in", "unchanged", shop, wiki)
			bob := b.signIn(site, "shop", "bob", again)
			b.expect(site, "after bob signed in", "changed", shop, wiki)
			b.expect(site, "after bob signed in", "unchanged", bob)
			next := b.signIn(site, "wiki", "bob", nil)
			b.expect(site, "at the browser's next response", "unchanged", bob, next)
			if b.matches(shop) || b.matches(wiki) || !b.matches(next) {
				t.Error("the browser state is not bob's")
			}
		})
	}
}

func TestTheSameUserAgainIsNoChange(t *testing.T) {
	for name, as := range realOPs {
		for _, newSid := range []bool{false, true} {
			as.newSid = newSid
			t.Run(name, func(t *testing.T) {
				b, site, _ := runOP(t, as)
				first := b.signIn(site, "shop", "alice", nil)
				state := b.state()
				wiki := b.signIn(site, "wiki", "alice", again)
				second := b.signIn(site, "shop", "alice", again)
				b.expect(site, "after alice signed in again", "unchanged", first, second, wiki)
				if b.state() != state {
					t.Error("the browser state is another")
				}
			})
		}
	}
}

func TestASwitchIsSeenInEveryResponseMode(t *testing.T) {
	modes := map[string]struct {
		extra  url.Values
		atOnce bool // an ID token in the response itself says who signed in
		as     traits
	}{
		"query":               {extra: url.Values{}},
		"fragment":            {extra: url.Values{"response_mode": {"fragment"}}},
		"form_post":           {extra: url.Values{"response_mode": {"form_post"}}},
		"form_post, untyped":  {extra: url.Values{"response_mode": {"form_post"}}, as: traits{untypedPages: true}},
		"implicit":            {extra: url.Values{"response_type": {"id_token"}}, atOnce: true},
		"implicit, form_post": {extra: url.Values{"response_type": {"id_token"}, "response_mode": {"form_post"}}, atOnce: true},
		"hybrid":              {extra: url.Values{"response_type": {"code id_token"}}, atOnce: true},
	}
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			b, site, _ := runOP(t, mode.as)
			alice := b.authorize(site, "shop", "alice", mode.extra)
			if !mode.atOnce {
				b.redeem(site, alice)
			}
			mode.extra.Set("prompt", "login")
			bob := b.authorize(site, "shop", "bob", mode.extra)
			if !mode.atOnce {
				b.redeem(site, bob)
			}
			b.expect(site, "after bob signed in", "changed", alice)
			b.expect(site, "after bob signed in", "unchanged", bob)
		})
	}
}

func TestAResponseTypeOfNoneIsAnswered(t *testing.T) {
	none := url.Values{"response_type": {"none"}}
	for name, as := range map[string]traits{
		"at once": {}, "some redirects later": {cookie: twoHopsEarlier}, "by an OP with a session_state of its own": {ownSessionState: true},
	} {
		t.Run(name, func(t *testing.T) {
			b, site, op := runOP(t, as)
			shop := b.authorize(site, "shop", "alice", none) // after the login page
			wiki := b.authorize(site, "wiki", "", none)
			if shop.values.Has("code") || wiki.values.Has("code") {
				t.Fatal("the OP gave a code: this test shows nothing")
			}
			b.expect(site, "after both asked", "unchanged", shop, wiki)
			b.signOut(site, op)
			b.expect(site, "after sign-out", "changed", shop, wiki)
		})
	}
}

func TestPairwiseSubjectsAreNoSwitch(t *testing.T) {
	b, site, _ := runOP(t, traits{pairwise: true})
	shop := b.signIn(site, "shop", "alice", nil)
	state := b.state()
	wiki := b.signIn(site, "wiki", "", nil)
	app := b.signIn(site, "app", "alice", again)
	b.expect(site, "with a sub for each", "unchanged", shop, wiki, app)
	if b.state() != state {
		t.Error("the browser state is another")
	}
}

func TestSignOutEndsTheSessionHoweverTheOPDeletesItsCookie(t *testing.T) {
	shapes := map[string]traits{
		"Max-Age=0":                               {},
		"Max-Age=0 with a value":                  {signOut: byMaxAgeWithValue},
		"a past Expires with a value":             {signOut: byExpires},
		"an empty value with an expiry to come":   {signOut: byEmptyValue},
		"on the path that the cookie was set for": {cookiePath: "/account", signOut: byMaxAgeWithValue},
	}
	for name, as := range shapes {
		t.Run(name, func(t *testing.T) {
			b, site, op := runOP(t, as)
			shop, wiki := b.signIn(site, "shop", "alice", nil), b.authorize(site, "wiki", "", nil)
			b.expect(site, "before", "unchanged", shop, wiki)
			b.signOut(site, op)
			b.expect(site, "after sign-out", "changed", shop, wiki)
			if b.matches(shop) || b.state() == "" {
				t.Error("the browser state is not that of a browser which is not signed in")
			}
		})
	}
}

func TestAFrameworksCleanUpInAHiddenFrameEndsNothing(t *testing.T) {
	frames := map[string]func(b *browser) *browser{
		"its jar is empty": (*browser).partitioned,
		"its jar has a login cookie of long ago": func(b *browser) *browser {
			frame := b.partitioned()
			frame.cookies["login"] = "of long ago"
			return frame
		},
		"it has our cookies, and a login cookie of long ago": func(b *browser) *browser {
			frame, _ := b.stale()
			frame = frame.frame()
			frame.cookies["login"] = "of long ago"
			return frame
		},
	}
	for name, frame := range frames {
		t.Run(name, func(t *testing.T) {
			b, site, _ := runOP(t, traits{cleansFrames: true})
			shop := b.signIn(site, "shop", "alice", nil)
			query := url.Values{"prompt": {"none"}}
			if strings.HasPrefix(name, "it has our cookies") {
				query.Set("max_age", "60") // else the answer itself says that the OP has ended its session
			}
			o := frame(b).begin(site, "shop", query)
			cleans := slices.ContainsFunc(o.at.Cookies(), func(c *http.Cookie) bool { return c.Name == "login" && c.MaxAge < 0 })
			if o.answer.values.Get("error") != "login_required" || !cleans {
				t.Fatalf("the frame gets %v and %v", o.answer.values, o.at.Cookies())
			}
			b.expect(site, "after the frame", "unchanged", shop)
			if !b.matches(shop) {
				t.Error("the browser state is another")
			}
		})
	}
}

func TestASessionExpires(t *testing.T) {
	d := newDirect(t, traits{}, nil)
	defer d.close()
	b, site := d.browser(), d.site()
	shop := b.signIn(site, "shop", "alice", nil)
	d.clock.Advance(defaultLifetime - time.Minute)
	b.expect(site, "a minute before its time", "unchanged", shop)
	d.clock.Advance(time.Minute)
	b.expect(site, "after its time", "changed", shop)

	next := b.frame().signIn(site, "shop", "", url.Values{"prompt": {"none"}})
	b.expect(site, "asked again", "unchanged", next)
	if !b.matches(next) {
		t.Error("the browser state is another")
	}
}
