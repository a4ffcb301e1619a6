package e2e

import "testing"

const cookieHost = "cookies.provider.test"

// TestBrowserModes shows that the two modes of the browser are what the other tests take them for.
func TestBrowserModes(t *testing.T) {
	t.Parallel()
	want := map[thirdPartyCookies]string{allowed: "remembered=yes", blocked: "no cookies"}
	inBothModes(t, func(t *testing.T, mode thirdPartyCookies) {
		s, b := startSite(t), startBrowser(t, mode)
		b.open(t, s.url(cookieHost, "/set"))
		page := b.open(t, s.url(foreignHost, "/frame.html?"+s.url(cookieHost, "/")))
		page.waitFor(t, "replies.length > 0")
		if got := eval[string](t, page, "replies[0]"); got != want[mode] {
			t.Errorf("a frame of another site reads %q, want %q", got, want[mode])
		}
	})
}
