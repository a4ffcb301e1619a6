package e2e

import (
	"testing"
	"time"
)

func TestSignOutAtTheProviderSignsOutTheRelyingPartyOnce(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, mode thirdPartyCookies) {
		s, b := startSite(t), startBrowser(t, mode)
		shop := b.open(t, s.url(shopHost, "/"))
		signIn(t, shop, "alice")
		shop.waitFor(t, "replies.unchanged > 1")
		before := s.authorizations(opHost, "shop")

		hint := eval[string](t, shop, "manager.getUser().then((user) => user.id_token)")
		provider := b.open(t, s.url(opHost, "/session/end?id_token_hint="+hint))
		provider.click(t, `button[name="logout"]`)
		shop.waitFor(t, "events.includes('signed out')")

		// Long enough for several rounds of a loop.
		time.Sleep(8 * time.Second)
		if again := s.authorizations(opHost, "shop") - before; again != 1 {
			t.Errorf("%d authorization requests after one change, want 1", again)
		}
		if got := eval[[]string](t, shop, "events"); len(got) != 1 {
			t.Errorf("events are %q, want one", got)
		}
		if n := replies(t, shop, "error"); n != 0 {
			t.Errorf("the check page said error %d times", n)
		}
	})
}
