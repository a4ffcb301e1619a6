package e2e

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// appCookies are those of an app: one of its server's, which Caddy deletes with the page in the
// frame, and one of its script's.
var appCookies = []string{"served", "scripted"}

// An app in a frame keeps its origin, runs its script and posts its form. A browser that blocks
// third-party cookies keeps those of another site's app from it; nothing in our page can change
// that.
func TestAppInFrontChannelFrameSignsItselfOut(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	needPackages(t)
	inBothModes(t, func(t *testing.T, mode thirdPartyCookies) {
		op := singleLogout("frontchannel_timeout 10s\n\t\t" +
			client("shop", "The Shop", "frontchannel_logout_uri https://app.shop.test:PORT/front-scripted.html") +
			client("wiki", "The Member", "frontchannel_logout_uri https://app.provider.test:PORT/front-scripted.html"))
		s := newSite(t)
		s.addOP(t, op.host(crossSite), op)
		s.start(t)
		l := &leaver{cell: cell{op: op, site: s, browser: startBrowser(t, mode), host: op.host(crossSite)}}
		l.signInAsBoth(t, "alice")
		for _, app := range []string{shopHost, memberHost} {
			l.browser.signInAtApp(t, s.url(app, "/"))
		}
		l.ask(t, url.Values{"id_token_hint": {l.hint(t)}, "post_logout_redirect_uri": {s.url(shopHost, "/bye.html")}, "state": {"1"}})
		l.expectBack(t, "1")
		l.expectAppSignedOut(t, memberHost, true)
		l.expectAppSignedOut(t, shopHost, mode == allowed)
	})
}

// signInAtApp gives the browser the cookies of an app.
func (b *browser) signInAtApp(t *testing.T, address string) {
	t.Helper()
	for _, name := range appCookies {
		set := network.SetCookie(name, "yes").WithURL(address).WithPath("/").WithSecure(true).WithSameSite(network.CookieSameSiteNone)
		if err := chromedp.Run(b.ctx, set.WithHTTPOnly(name == "served")); err != nil {
			t.Fatal(err)
		}
	}
}

// expectAppSignedOut expects that the app in a frame has ended its own session, or could not see
// it.
func (l *leaver) expectAppSignedOut(t *testing.T, host string, want bool) {
	t.Helper()
	for _, name := range appCookies {
		if got := l.browser.cookie(t, l.site.url(host, "/"), name); got != "" == want {
			t.Errorf("the cookie %q of %s is %q", name, host, got)
		}
	}
	posted := map[bool]string{true: "/posted?signed-in", false: "/posted?signed-out"}[want]
	waitAnswered(t, l.site.caddy, 1, "the form of "+host+", posted to "+posted, func(e logEntry) bool {
		return strings.HasPrefix(e.Request.Host, host) && e.Request.URI == posted
	})
}
