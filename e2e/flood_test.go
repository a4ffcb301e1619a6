package e2e

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

func TestFloodFromOpenerAndForeignPageKeepsServerRequestsWithinTheBound(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, mode thirdPartyCookies) {
		s, b := startSite(t), startBrowser(t, mode)
		foreign := b.open(t, s.url(foreignHost, "/frame.html?"+s.url(opHost, checkSessionPath)))
		foreign.run(t, "flooding", evaluate("flood(10000, () => frames[0])"))
		opener := b.open(t, s.url(foreignHost, "/opener.html?"+s.url(shopHost, "/")))
		shop := opener.clickAndFollow(t, "button")
		opener.run(t, "flooding", evaluate("flood(10000, () => opened.frames[0])"))

		signIn(t, shop, "alice")
		foreign.waitFor(t, "posted >= 10000")
		opener.waitFor(t, "posted >= 10000")
		s.expectBound(t, 2)
		expectAnswers(t, shop)
		if got := eval[[]string](t, opener, "replies"); len(got) != 0 {
			t.Errorf("the check page replied %q to the window that opened the relying party's", got)
		}
	})
}

func TestFloodFromFrameInTheRelyingPartysPageDoesNotStarveItsOwnCheck(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, mode thirdPartyCookies) {
		s, b := startSite(t), startBrowser(t, mode)
		shop := b.open(t, s.url(shopHost, "/"))
		signIn(t, shop, "alice")
		shop.run(t, "adding the frame", evaluate(`
			const frame = document.createElement('iframe');
			frame.src = '`+s.url(foreignHost, "/advertisement.html")+`';
			addEventListener('message', (event) => {
				if (event.source === frame.contentWindow) window.flooded = event.data;
			});
			document.body.append(frame)`))
		shop.waitFor(t, "window.flooded === 10000")
		s.expectBound(t, 1)
		expectAnswers(t, shop)
	})
}

// expectBound expects that so many check pages asked the server, each no more than once a second
// and once more, however the time is cut.
func (s *site) expectBound(t *testing.T, pages int) {
	t.Helper()
	times := s.checkTimes()
	if len(times) < 2 {
		t.Fatalf("the check pages asked the server %d times: they were not there", len(times))
	}
	for first := range times {
		for last := first; last < len(times); last++ {
			seconds := times[last] - times[first]
			if bound := pages * (1 + int(math.Ceil(seconds))); last-first+1 > bound {
				t.Fatalf("the check pages asked the server %d times in %.2f s, want at most %d", last-first+1, seconds, bound)
			}
		}
	}
	t.Logf("%d questions in %.1f s", len(times), times[len(times)-1]-times[0])
}

// expectAnswers expects that a relying party's own check had its answers during the flood:
// unchanged alone, and never much later than its turn comes, though what the server said was
// forgotten meanwhile.
func expectAnswers(t *testing.T, page *tab) {
	t.Helper()
	page.waitFor(t, "replies.unchanged > "+strconv.Itoa(replies(t, page, "unchanged")))
	if silence := eval[float64](t, page, "longestSilence"); silence > 6000 {
		t.Errorf("the relying party had no answer for %.0f ms", silence)
	}
	if got := eval[map[string]int](t, page, "replies"); len(got) != 1 {
		t.Errorf("the check page replied %v to the relying party, want unchanged alone", got)
	}
}

// clickAndFollow clicks on what opens a new window, and returns that.
func (p *tab) clickAndFollow(t *testing.T, selector string) *tab {
	t.Helper()
	opened := chromedp.WaitNewTarget(p.ctx, func(info *target.Info) bool { return info.OpenerID != "" })
	p.click(t, selector)
	select {
	case id := <-opened:
		return attach(t, p.ctx, chromedp.WithTargetID(id))
	case <-time.After(waitLimit):
		t.Fatalf("clicking %s opened nothing", selector)
		return nil
	}
}
