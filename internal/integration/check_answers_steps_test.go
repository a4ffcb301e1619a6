package integration

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A step is one action. Its numbers are taken modulo what there is, so that a sequence without some of its steps is one, too.
type step struct {
	name string
	n, m int
}

var users = []string{"alice", "bob", "carol"}

// actions are what may happen, with how often.
var actions = []struct {
	name  string
	times int
	do    func(w *modelWorld, n, m int)
}{
	{"sign in", 8, func(w *modelWorld, n, m int) {
		w.finish(w.request(w.browser, w.rp(n), url.Values{"prompt": {"login"}}), m)
	}},
	{"single sign-on", 8, func(w *modelWorld, n, m int) { w.finish(w.request(w.browser, w.rp(n), nil), m) }},
	{"single sign-on as", 2, func(w *modelWorld, n, m int) {
		w.finish(w.request(w.browser, w.rp(n), url.Values{"login_hint": {user(m)}}), m)
	}},
	{"open a tab at the login page", 3, func(w *modelWorld, n, _ int) {
		w.hold(w.request(w.browser, w.rp(n), url.Values{"prompt": {"login"}}))
	}},
	{"open two tabs at once", 2, func(w *modelWorld, n, m int) {
		before := w.browser.count("__Host-oidc_pending")
		stale, catchUp := w.browser.stale()
		first := w.request(stale, w.rp(n), url.Values{"prompt": {"login"}})
		second := w.request(w.browser, w.rp(m), url.Values{"prompt": {"login"}})
		catchUp()
		w.hold(first)
		// Of two requests that took the same cookie, one is known in memory only, or not at all if the browser had no ID yet.
		if w.browser.count("__Host-oidc_pending") == before+2 {
			w.hold(second)
		}
	}},
	{"finish a tab", 5, func(w *modelWorld, n, m int) {
		if o := take(&w.open, n); o != nil {
			w.finish(o, m)
		}
	}},
	{"prompt=none", 3, func(w *modelWorld, n, _ int) { w.silently(w.rp(n), "") }},
	{"redeem", 12, func(w *modelWorld, n, _ int) {
		if o := take(&w.held, n); o != nil {
			w.redeem(o, o.rp.name)
		}
	}},
	{"fail to redeem", 2, func(w *modelWorld, n, _ int) {
		if o := take(&w.held, n); o != nil {
			w.redeem(o, "another verifier")
		}
	}},
	{"sign out", 3, (*modelWorld).signOut},
	{"sign out at the end_session endpoint", 3, (*modelWorld).endSession},
	{"poll", 12, func(w *modelWorld, n, _ int) {
		w.clock.Advance(time.Duration(1+n%15) * time.Second)
		w.poll()
	}},
	{"time passes", 5, func(w *modelWorld, n, _ int) {
		w.clock.Advance([]time.Duration{time.Second, 20 * time.Second, 61 * time.Second, 61 * time.Second, 11 * time.Minute, 61 * time.Minute}[n%6])
	}},
	{"the session's lifetime passes", 1, func(w *modelWorld, _, _ int) {
		w.clock.Advance(defaultLifetime)
		w.lifetimes++
	}},
	{"reload", 1, func(w *modelWorld, _, _ int) {
		w.reload()
		w.discover()
	}},
	{"lose the registry", 1, func(w *modelWorld, _, _ int) {
		w.loseRegistry()
		w.discover()
		w.truth.lost = w.clock.Now()
	}},
}

// randomSteps draws a sequence.
func randomSteps(random *rand.Rand, length int) []step {
	var bag []string
	for _, a := range actions {
		bag = append(bag, slices.Repeat([]string{a.name}, a.times)...)
	}
	steps := make([]step, length)
	for i := range steps {
		steps[i] = step{bag[random.IntN(len(bag))], random.IntN(60), random.IntN(60)}
	}
	return steps
}

// do does one step.
func (w *modelWorld) do(s step) {
	w.note("%s %d %d", s.name, s.n, s.m)
	for _, a := range actions {
		if a.name == s.name {
			a.do(w, s.n, s.m)
		}
	}
	w.clock.Advance(time.Millisecond)
}

func (w *modelWorld) rp(n int) relyingParty { return w.rps[n%len(w.rps)] }

// user picks a user: some come more often than others.
func user(n int) string { return users[[]int{0, 0, 0, 1, 1, 2}[n%6]] }

func (w *modelWorld) hold(o *modelTab) { w.open = append(w.open, o) }

// take takes one of the tabs out of a list; nil: there is none.
func take(tabs *[]*modelTab, n int) *modelTab {
	if len(*tabs) == 0 {
		return nil
	}
	i := n % len(*tabs)
	o := (*tabs)[i]
	*tabs = slices.Delete(*tabs, i, i+1)
	return o
}

// finish signs a user in where the tab is at the login page, and has the code redeemed at once, mostly.
func (w *modelWorld) finish(o *modelTab, n int) {
	h, user := w.truth, user(n)
	ended, deletes := h.epoch, w.deletesFirst(user) && !o.answered
	o.signIn(user)
	h.signedIn(w.op.answered(o.answer))
	if deletes {
		h.cookieDeleted(w.clock.Now(), ended)
	}
	w.arrived(o, false)
	if n%4 != 0 && slices.Contains(w.held, o) {
		w.redeem(o, o.rp.name)
	}
}

// deletesFirst reports whether the OP deletes its cookie when user signs in.
func (w *modelWorld) deletesFirst(user string) bool {
	as := w.truth.traits
	return as.switching == deletedFirst && as.signOut != byNothing && w.browser.cookies["login"] != "" && !slices.Contains(w.truth.accounts, user)
}

func (w *modelWorld) signOut(_, _ int) {
	h := w.truth
	ended, deletes := h.epoch, h.traits.signOut != byNothing && w.browser.cookies["login"] != ""
	w.browser.signOut(w.site(), w.op)
	h.signedOut()
	if deletes {
		h.cookieDeleted(w.clock.Now(), ended)
	}
}

// endSession asks the plugin's own endpoint to sign out, and says yes if it asks. It ends the OP's session and the plugin's, whatever the OP
// does about its cookie. Users see that it may not where no login cookie was ever observed.
func (w *modelWorld) endSession(_, _ int) {
	ended := w.truth.epoch
	page := w.browser.get(w.op.issuer + w.op.at(endSessionPage))
	found := confirmationField.FindStringSubmatch(page.body)
	if page.StatusCode != http.StatusOK || found == nil {
		if !strings.Contains(page.body, "You are signed out") {
			w.wrong = "the endpoint neither asks nor says that nobody is signed in: " + page.Status
		}
		return
	}
	answer := w.browser.post(w.op.issuer+w.op.at(endSessionPage)+"/confirm", url.Values{"confirmation": {found[1]}, "answer": {"sign_out"}})
	want := "You are signed out"
	if w.truth.traits.cookie == neverSet {
		want = "You may still be signed in" // the configured name may be wrong, for all that is known
	}
	if !strings.Contains(answer.body, want) {
		w.wrong = "the endpoint does not sign out: " + answer.Status
	}
	w.truth.signedOut()
	w.truth.cookieDeleted(w.clock.Now(), ended)
}
