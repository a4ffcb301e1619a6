package e2e

import "testing"

// TestIsolatedPageCanFrameTheCheckPage is about pages with Cross-Origin-Embedder-Policy:
// require-corp, which frame only what agrees.
func TestIsolatedPageCanFrameTheCheckPage(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, mode thirdPartyCookies) {
		s := newSite(t)
		s.addOP(t, scriptedProvider.host(crossSite), scriptedProvider)
		s.start(t)
		b := startBrowser(t, mode)
		page := b.open(t, s.authorizationURL(scriptedProvider, "query", "/isolated/answer.html"))
		scriptedProvider.login(t, page, "alice")
		page.waitFor(t, "location.pathname === '/isolated/answer.html'")
		if got := expectAnswered(t, page); got != "unchanged" {
			t.Errorf("the check page said %q, want unchanged", got)
		}
		if !eval[bool](t, page, "crossOriginIsolated") {
			t.Error("the page is not isolated: this test shows nothing")
		}
		if got := eval[string](t, page, frameAnother(s.url(cookieHost, "/"))); got != "blocked" {
			t.Errorf("another page in a frame said %q, want that it is blocked: this test shows nothing", got)
		}
	})
}

// frameAnother is an expression that frames a page which says something at once, and gives what it
// said, or that it is blocked.
func frameAnother(url string) string {
	return `new Promise((resolve) => {
		addEventListener('message', (event) => event.origin === new URL('` + url + `').origin && resolve(event.data));
		const frame = document.createElement('iframe');
		frame.onload = () => setTimeout(() => resolve('blocked'), 500);
		frame.src = '` + url + `';
		document.body.append(frame);
	})`
}
