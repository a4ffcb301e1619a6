package e2e

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/storage"
)

// speculations are the ways in which a page has Chromium load a link before anybody follows it:
// statements, for the address.
var speculations = map[string]string{
	"prerendered by rules":  speculationRules("prerender"),
	"prefetched by rules":   speculationRules("prefetch"),
	"prerendered by a link": speculationLink("prerender"),
	"prefetched by a link":  speculationLink("prefetch"),
}

func speculationRules(action string) string {
	return `const script = document.createElement('script');
		script.type = 'speculationrules';
		script.textContent = JSON.stringify({` + action + `: [{urls: [address], eagerness: 'immediate'}]});
		document.head.append(script);`
}

func speculationLink(relation string) string {
	return `const link = document.createElement('link');
		link.rel = '` + relation + `';
		link.href = address;
		document.head.append(link);`
}

// Chromium loads a link of another site so only where it has no cookies for it: nobody is signed
// in there.
func TestLinkThatWasLoadedBeforehandSignsOutWhenItIsClicked(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	op := leavable[1]
	op.options = strings.Replace(op.options, "end_session {", "end_session {\n\t\t\taccess_log", 1)
	host := op.host(crossSite)
	s := newSite(t)
	s.addOP(t, host, op)
	s.start(t)
	l := &leaver{cell: cell{op: op, site: s, browser: startBrowser(t, allowed), host: host}}
	for page, address := range map[string]string{"a page of the OP": s.url(host, "/"), "an app on its site": s.url(cookieHost, "/")} {
		for how, speculate := range speculations {
			t.Run(how+" on "+page, func(t *testing.T) { l.clickAfter(t, address, speculate) })
		}
	}
}

// clickAfter has a page load its link to the endpoint, and then clicks on it.
func (l *leaver) clickAfter(t *testing.T, address, speculate string) {
	(&tab{l.browser.ctx}).run(t, "forgetting all cookies", storage.ClearCookies())
	l.shop = l.open(t, shopHost, "")
	l.signIn(t, l.shop, "alice", true)
	target := strconv.Quote(l.site.url(l.host, endSessionPath) + "?" + url.Values{"id_token_hint": {l.hint(t)}}.Encode())
	page, before := l.browser.open(t, address), len(answered(l.site.caddy, isSpeculative))
	page.run(t, "loading beforehand", evaluate(`{
		const address = `+target+`, link = document.createElement('a');
		link.href = address;
		link.id = 'leave';
		link.textContent = 'Sign out';
		document.body.append(link);
		{ `+speculate+` }
	}`))
	waitAnswered(t, l.site.caddy, before+1, "a request before the click", isSpeculative)
	if got := l.silently(t); got["code"] == "" {
		t.Errorf("loading it beforehand signs out: %q", got["error"])
	}
	page.click(t, "#leave")
	page.waitFor(t, `document.querySelector('h1')?.textContent === 'You are signed out'`)
	if got := l.silently(t); got["error"] != "login_required" {
		t.Errorf("prompt=none finds %q %q after the sign-out", got["code"], got["error"])
	}
}

// isSpeculative reports whether a request for the endpoint says that nobody has followed the link
// yet.
func isSpeculative(e logEntry) bool {
	return len(e.Request.Headers["Sec-Purpose"]) > 0 && strings.HasPrefix(e.Request.URI, endSessionPath)
}
