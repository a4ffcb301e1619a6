package integration

import (
	"net/http"
	"net/url"
	"testing"
)

const (
	oldKey = "an example of the old key, 32 bytes or longer"
	newKey = "an example of the new key, 32 bytes or longer"
)

// The README's recipe, from the old key to the new one. The servers take each step one after the other.
func TestRotatingTheKeyServerByServerMakesNoFalseChanged(t *testing.T) {
	c := newCluster(t, `"`+oldKey+`"`)
	signedIn, anonymous, passing := newBrowser(t), newBrowser(t), newBrowser(t)
	watched := []watch{
		{c, signedIn, signedIn.authorize(c.site, "shop", "alice", nil)},
		{c, anonymous, anonymous.authorize(c.site, "shop", "", none)},
		{c, passing, passing.authorize(c.site, "shop", "carol", nil)},
	}
	states := []string{signedIn.state(), passing.state()}
	for _, keys := range []string{`"` + oldKey + `" "` + newKey + `"`, `"` + newKey + `" "` + oldKey + `"`, `"` + newKey + `"`} {
		for i, server := range c.servers {
			server.load(t, c.config(i, keys))
			for only := range int64(2) {
				c.only.Store(only)
				expectUnchanged(t, watched)
				// Both come back to the OP: what they get then holds at both servers as well.
				again := signedIn.authorize(c.site, "wiki", "", nil)
				refused := anonymous.authorize(c.site, "wiki", "", none)
				c.only.Store(1 - only)
				expectUnchanged(t, append(watched, watch{c, signedIn, again}, watch{c, anonymous, refused}))
			}
			newcomers := newlySignedOut(t, c)
			for only := range int64(2) {
				c.only.Store(only)
				expectUnchanged(t, newcomers)
				passing.begin(c.site, "wiki", url.Values{"prompt": {"login"}}) // and no further: seeing its cookie is enough
			}
		}
	}
	for i := range int64(2) { // nothing is left that the old key is needed for
		c.only.Store(i)
		signedIn.authorize(c.site, "shop", "", nil)
		passing.authorize(c.site, "shop", "", nil)
		if signedIn.state() != states[0] || passing.state() != states[1] {
			t.Error("a session did not outlast the old key")
		}
	}
}

var none = url.Values{"prompt": {"none"}}

// A watch is an answer whose RP polls all the time.
type watch struct {
	*cluster

	browser *browser
	answer  answer
}

func expectUnchanged(t *testing.T, watched []watch) {
	t.Helper()
	for _, w := range watched {
		readable, hidden := w.pages(w.browser, w.answer)
		if got := readable.poll(); got != "unchanged" {
			t.Errorf("%s: %q", w.answer.clientID, got)
		}
		if got := hidden.poll(); got != "unchanged" && got != "" {
			t.Errorf("%s, cookie hidden: %q", w.answer.clientID, got)
		}
	}
}

// newlySignedOut are browsers that nobody is signed in at, and that come to the two servers: one asks first in a hidden frame, where it
// is given no cookie; one signs in and out meanwhile, while its RP asks nothing.
func newlySignedOut(t *testing.T, c *cluster) (watched []watch) {
	t.Helper()
	for i := range int64(2) {
		framed := newBrowser(t)
		framed.header.Set("Sec-Fetch-Dest", "iframe")
		c.only.Store(i)
		watched = append(watched, watch{c, framed, framed.authorize(c.site, "framed", "", none)})
		framed.header.Del("Sec-Fetch-Dest")
		c.only.Store(1 - i)
		watched = append(watched, watch{c, framed, framed.authorize(c.site, "top", "", none)})

		visitor := newBrowser(t)
		c.only.Store(i)
		watched = append(watched, watch{c, visitor, visitor.authorize(c.site, "before", "", none)})
		visitor.authorize(c.site, "shop", "alice", nil)
		c.only.Store(1 - i)
		if got := visitor.get(c.issuer + "/logout"); got.StatusCode != http.StatusOK {
			t.Fatal(got.Status)
		}
		watched = append(watched, watch{c, visitor, visitor.authorize(c.site, "after", "", none)})
	}
	return watched
}
