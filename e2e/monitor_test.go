package e2e

import (
	"testing"
	"time"
)

// polls is how often the relying party asks, once a second.
const polls = 60

func TestMonitoredSessionStaysUnchangedWhileTheProvidersCookieRotates(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, mode thirdPartyCookies) {
		s, b := startSite(t), startBrowser(t, mode)
		shop := b.open(t, s.url(shopHost, "/"))
		signIn(t, shop, "alice")
		signedIn := time.Now()

		wiki := b.open(t, s.url(wikiHost, "/"))
		signInAgain(t, wiki, "alice")
		rotate(t, s, b, mode)
		waitForPolls(t, shop, signedIn)

		for name, page := range map[string]*tab{"shop": shop, "wiki": wiki} {
			if got := eval[map[string]int](t, page, "replies"); len(got) != 1 || got["unchanged"] == 0 {
				t.Errorf("the check page replied %v to %s, want unchanged alone", got, name)
			}
			if got := eval[[]string](t, page, "events"); len(got) != 0 {
				t.Errorf("%s raised %q", name, got)
			}
		}
	})
}

// rotate makes the OP write its cookie anew, as it does for every authorization response: to one
// who signs in again by hand at another relying party, and to prompt=none in a hidden frame. Where
// the browser keeps the cookie from the frame, that finds nobody, which must mean nothing to those
// who are signed in.
func rotate(t *testing.T, s *site, b *browser, mode thirdPartyCookies) {
	t.Helper()
	before := b.cookie(t, s.url(opHost, "/"), "_session")
	page := b.open(t, s.url(wikiHost, "/"))
	page.run(t, "asking for a password again", evaluate(`manager.signinRedirect({prompt: 'login'})`))
	page.click(t, `button[value="alice"]`)
	page.waitFor(t, signedInAs("alice"))

	want := map[thirdPartyCookies]string{allowed: "alice", blocked: "login_required"}[mode]
	silent := `manager.querySessionStatus().then((status) => status.sub, (err) => err.error)`
	if got := eval[string](t, page, silent); got != want {
		t.Errorf("prompt=none in a hidden frame gives %q, want %q", got, want)
	}
	if after := b.cookie(t, s.url(opHost, "/"), "_session"); after == before || after == "" {
		t.Error("the OP's cookie did not rotate: this test shows nothing")
	}
}

// waitForPolls waits until the check page replied 60 times, and makes sure that these were as many
// seconds.
func waitForPolls(t *testing.T, page *tab, since time.Time) {
	t.Helper()
	for deadline := since.Add((polls + 30) * time.Second); ; time.Sleep(time.Second) {
		count := replies(t, page, "unchanged")
		if count >= polls && time.Since(since) >= (polls-1)*time.Second {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d replies in %s, want %d", count, time.Since(since).Round(time.Second), polls)
		}
	}
}
