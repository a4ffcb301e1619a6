package e2e

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	atNextPoll  = "at the next poll"
	soon        = "within 12 s" // how long the check page goes by an answer of the server: 8 to 12 s
	cellPolls   = 5
	nothingSaid = "silence"
)

// A cell of the matrix: an OP in one place, seen by one browser.
type cell struct {
	op       provider
	site     *site
	browser  *browser
	host     string // the OP's
	readable bool   // the check page can read its cookie
}

// run goes through all that a cell tells of, sign-in elsewhere first, and returns what was found,
// in the order of the table.
func (c *cell) run(t *testing.T) []string {
	t.Helper()
	watcher := c.open(t, shopHost, "&anonymous")
	watcher.waitFor(t, "queries.length > 0")
	wiki := c.open(t, wikiHost, "")
	c.signIn(t, wiki, c.op.users[0], true)
	anonymous := c.watched(t, watcher)
	for _, page := range []*tab{watcher, wiki} {
		page.navigate(t, "about:blank")
	}

	shop := c.open(t, shopHost, "")
	c.signIn(t, shop, c.op.users[0], !c.op.sso)
	expectUnchanged(t, shop, cellPolls)

	switched := c.op.switchUser(t, c)
	unchanged := replies(t, shop, "unchanged") // those while it went on do not count
	otherUser := c.noticed(t, shop, unchanged)
	expectQueries(t, shop, c.silently(c.op.users[1], "login_required"))
	expectUnchanged(t, switched, 1)

	shop = c.open(t, shopHost, "")
	c.signIn(t, shop, c.op.users[1], !c.op.sso)
	shop.waitFor(t, "replies.unchanged > 0")
	return []string{"unchanged", otherUser, c.signedOut(t, shop), anonymous}
}

// open opens the first page of a relying party that belongs to the OP.
func (c *cell) open(t *testing.T, rp, options string) *tab {
	t.Helper()
	return c.browser.open(t, c.site.url(rp, "/?op="+c.host+options))
}

// signIn signs a user in at the relying party in a tab, with or without the login page.
func (c *cell) signIn(t *testing.T, page *tab, user string, login bool) {
	t.Helper()
	page.click(t, "#sign-in")
	if login {
		c.op.login(t, page, user)
	}
	page.waitFor(t, signedInAs(user))
}

// signInTwice has the second user sign in at a relying party, in two tabs, and returns the first.
// The token response says who it is; the browser learns of it with the next authorization
// response.
func (c *cell) signInTwice(t *testing.T) *tab {
	t.Helper()
	first := c.open(t, wikiHost, "")
	c.signIn(t, first, c.op.users[1], !c.op.sso)
	second := c.open(t, wikiHost, "")
	c.signIn(t, second, c.op.users[1], !c.op.sso)
	return first
}

// watched tells what a relying party got to know of a sign-in elsewhere, for which it had watched
// a browser that was not signed in.
func (c *cell) watched(t *testing.T, page *tab) string {
	t.Helper()
	if got := eval[[]string](t, page, "queries"); got[0] != "nobody" {
		t.Errorf("prompt=none before sign-in finds %q, want nobody, with session_state", got[0])
	}
	if c.readable {
		found := event(t, page)
		time.Sleep(2 * time.Second) // as long as a loop would need to show
		expectQueries(t, page, "nobody", c.silently(c.op.users[0], "nobody"))
		return found
	}
	time.Sleep(cellPolls * time.Second)
	if got := eval[map[string]int](t, page, "replies"); len(got) != 0 {
		t.Errorf("the check page replied %v, where it cannot know", got)
	}
	// It is there, all the same.
	page.run(t, "posting nonsense", evaluate(`document.querySelector('iframe[src*="check-session"]').contentWindow.postMessage('nonsense', '*')`))
	page.waitFor(t, "replies.error === 1")
	return cmp.Or(strings.Join(eval[[]string](t, page, "events"), ", "), nothingSaid)
}

// silently is what prompt=none finds in a hidden frame: a user, if the OP remembers users and gets
// its cookie there.
func (c *cell) silently(user, nobody string) string {
	if c.op.sso && c.readable {
		return user
	}
	return nobody
}

// expectQueries expects what the library's authorization requests with prompt=none found so far.
func expectQueries(t *testing.T, page *tab, want ...string) {
	t.Helper()
	if got := eval[[]string](t, page, "queries"); !slices.Equal(got, want) {
		t.Errorf("prompt=none found %q, want %q", got, want)
	}
}

// event waits for the first event that the library raises, and returns all.
func event(t *testing.T, page *tab) string {
	t.Helper()
	page.waitFor(t, "events.length > 0")
	return strings.Join(eval[[]string](t, page, "events"), ", ")
}

// expectUnchanged expects that the check page says unchanged to a relying party, so often at
// least, and nothing else.
func expectUnchanged(t *testing.T, page *tab, times int) {
	t.Helper()
	page.waitFor(t, "replies.unchanged >= "+strconv.Itoa(times))
	if got := eval[map[string]int](t, page, "replies"); len(got) != 1 {
		t.Errorf("the check page replied %v, want unchanged alone", got)
	}
	if got := eval[[]string](t, page, "events"); len(got) != 0 {
		t.Errorf("events are %q, want none", got)
	}
}

// noticed tells which event a relying party raises, and how soon, by the replies that it had
// before.
func (c *cell) noticed(t *testing.T, page *tab, unchanged int) string {
	t.Helper()
	raised := event(t, page)
	late := replies(t, page, "unchanged") - unchanged
	want, limit := soon, 13
	if c.readable {
		want, limit = atNextPoll, 2
	}
	if late > limit {
		t.Errorf("%s after %d replies of unchanged, want at most %d", raised, late, limit)
	}
	return raised + ", " + want
}

// signedOut signs out at the OP and tells what the relying party makes of it. There must be one
// authorization request for it and no more.
func (c *cell) signedOut(t *testing.T, page *tab) string {
	t.Helper()
	before := c.site.authorizations(c.host, "shop")
	provider := c.browser.open(t, c.site.url(c.host, "/"))
	c.op.signOut(t, provider)
	unchanged := replies(t, page, "unchanged")
	if !c.op.sso {
		return c.unnoticed(t, page, before)
	}
	result := c.noticed(t, page, unchanged)
	expectQueries(t, page, "login_required")
	c.expectAuthorizations(t, before+1)
	return result
}

// unnoticed expects that a relying party goes on to be told unchanged.
func (c *cell) unnoticed(t *testing.T, page *tab, authorizations int) string {
	t.Helper()
	c.expectAuthorizations(t, authorizations)
	expectUnchanged(t, page, cellPolls)
	return "not noticed"
}

// expectAuthorizations expects so many authorization requests of the shop when some more polls
// have passed: there is no loop.
func (c *cell) expectAuthorizations(t *testing.T, want int) {
	t.Helper()
	time.Sleep(3 * time.Second)
	if got := c.site.authorizations(c.host, "shop"); got != want {
		t.Errorf("%d authorization requests of the shop, want %d", got, want)
	}
}
