package integration

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// A modelWorld is one browser with its tabs at some RPs, the OP and the server, beside the truth about them.
type modelWorld struct {
	*direct

	browser *browser
	truth   *truth
	rps     []relyingParty
	open    []*modelTab // at the OP's login page
	held    []*modelTab // with codes that are not redeemed
	tabs    []*modelTab // that poll
	wrong   string      // what the check said wrongly
	did     []string
	asked   []time.Time // for each authorization request

	lifetimes int // of sessions, that passed
}

// A relyingParty is a client, and how it wants to be answered.
type relyingParty struct {
	name                       string
	responseType, responseMode string
	redeemsElsewhere           bool // past the plugin
}

// A modelTab is a tab of one RP.
type modelTab struct {
	*tab

	rp       relyingParty
	response *response
	idToken  string
	frame    *checkFrame
	replied  string // last
	asked    time.Time
	opened   int // in which epoch
	renewed  int // how often it asked again
	mayRenew int // how often on account of exceptions
}

// newModelWorld draws the traits of an OP, of RPs and of a browser.
func newModelWorld(t *testing.T, random *rand.Rand) *modelWorld {
	flip := func() bool { return random.IntN(3) == 0 }
	as := traits{
		cookie: cookiePlace(random.IntN(4)), fixedCookie: flip(), otherCookie: flip(), laxCookie: flip(), switching: switchShape(random.IntN(3)),
		newSid: flip(), signOut: deletion(random.IntN(5)), loginHost: flip(), pairwise: flip(), manyAccounts: flip(), ownSessionState: flip(),
		cleansFrames: flip(),
	}
	if flip() {
		as.cookiePath = "/account"
	}
	if flip() {
		as.codeLifetime = time.Minute
	}
	w := &modelWorld{direct: newDirect(t, as, nil)}
	w.discover()
	w.browser = w.direct.browser()
	w.truth = &truth{traits: as, hidden: flip()}
	for i := range 3 {
		rp := relyingParty{name: fmt.Sprintf("rp%d", i), responseType: "code", redeemsElsewhere: random.IntN(8) == 0}
		if flip() {
			rp.responseType = []string{"code id_token", "id_token", "id_token token", "code token"}[random.IntN(4)]
		}
		if flip() {
			rp.responseMode = "form_post"
		}
		w.rps = append(w.rps, rp)
	}
	if as.manyAccounts {
		w.op.traits.switching, w.truth.traits.switching = newValue, newValue
	}
	return w
}

func (w *modelWorld) String() string {
	return fmt.Sprintf("traits: %+v\nRPs: %+v\nhidden cookies: %v\n%s", w.truth.traits, w.rps, w.truth.hidden, strings.Join(w.did, "\n"))
}

func (w *modelWorld) note(format string, args ...any) {
	w.did = append(w.did, w.clock.Now().Format("02 15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// request is the authorization request of an RP, in a browser or in its frame.
func (w *modelWorld) request(b *browser, rp relyingParty, extra url.Values) *modelTab {
	w.clock.Advance(time.Second) // pending requests differ by seconds
	query := url.Values{
		"response_type": {rp.responseType}, "state": {fmt.Sprintf("state %d", len(w.asked))}, "code_challenge": {challengeOf(rp.name)}, "nonce": {"n"},
	}
	if rp.responseMode != "" {
		query.Set("response_mode", rp.responseMode)
	}
	for name := range extra {
		query[name] = extra[name]
	}
	o := &modelTab{rp: rp, opened: w.truth.epoch, asked: w.clock.Now()}
	w.asked = append(w.asked, o.asked)
	o.tab = b.begin(w.site(), rp.name, query)
	o.frame = &checkFrame{b: w.browser, s: w.site(), readable: !w.truth.hidden, answers: make(map[string]checked)}
	return o
}

// arrived takes the answer of a tab.
func (w *modelWorld) arrived(o *modelTab, silent bool) {
	user := w.op.answered(o.answer)
	r := &response{client: o.rp.name, user: user, epoch: w.truth.epoch, silent: silent, made: w.clock.Now(), nobody: w.truth.active == ""}
	o.response, o.opened = r, w.truth.epoch
	w.note("  %s: answer for %q in epoch %d, session_state %.4s", o.rp.name, user, r.epoch, o.answer.sessionState())
	o.idToken = o.answer.values.Get("id_token")
	if state := o.answer.sessionState(); state == "" || state == ownSessionState { // the plugin does not know of it
		hour := w.clock.Now().Add(-time.Hour)
		if o.asked.After(hour) && w.askedSince(hour) <= 8 {
			w.wrong = o.rp.name + " gets no session_state"
		}
		return
	}
	w.truth.responses = append(w.truth.responses, r)
	if o.idToken != "" {
		r.known = r.made
	}
	if o.answer.values.Has("code") {
		w.held = append(w.held, o)
	}
	w.tabs = append(w.tabs, o)
	if len(w.tabs) > 8 {
		w.tabs = slices.Delete(w.tabs, 0, 1)
	}
}

// askedSince counts the authorization requests since then.
func (w *modelWorld) askedSince(then time.Time) (n int) {
	for _, at := range w.asked {
		if at.After(then) {
			n++
		}
	}
	return n
}

// redeem redeems the code of a tab, with the right verifier or a wrong one.
func (w *modelWorld) redeem(o *modelTab, verifier string) {
	w.held = slices.DeleteFunc(w.held, func(other *modelTab) bool { return other == o })
	if o.rp.redeemsElsewhere {
		w.redeemElsewhere(o, verifier)
		return
	}
	got := w.browser.redeemWith(w.site(), o.answer, verifier)
	w.note("  %s: code of epoch %d redeemed: %d", o.rp.name, o.response.epoch, got.StatusCode)
	if got.StatusCode != http.StatusOK {
		return
	}
	_, token, _ := strings.Cut(got.body, `"id_token":"`)
	o.idToken, _, _ = strings.Cut(token, `"`)
	now := w.clock.Now()
	if r := o.response; now.Sub(r.made) < 10*time.Minute && !r.made.Before(w.truth.lost) {
		if r.known.IsZero() {
			r.known = now
		}
	}
}

// redeemElsewhere redeems a code at the OP itself.
func (w *modelWorld) redeemElsewhere(o *modelTab, verifier string) {
	past := newBrowserOver(w.t, roundTripper(func(r *http.Request) *http.Response {
		r.URL.Host = "past.example"
		response, _ := w.RoundTrip(r)
		return response
	}), w.clock.Now)
	got := past.redeemWith(w.site(), o.answer, verifier)
	w.note("  %s: code of epoch %d redeemed past the plugin: %d", o.rp.name, o.response.epoch, got.StatusCode)
	if got.StatusCode == http.StatusOK {
		_, token, _ := strings.Cut(got.body, `"id_token":"`)
		o.idToken, _, _ = strings.Cut(token, `"`)
	}
}

type roundTripper func(*http.Request) *http.Response

// RoundTrip answers a request.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// poll has all tabs poll once.
func (w *modelWorld) poll() {
	for _, o := range slices.Clone(w.tabs) {
		if w.wrong != "" {
			continue
		}
		w.clock.Advance(time.Second)
		word, asked := o.frame.poll(o.answer)
		w.judge(o, word, asked)
		if word == "changed" && w.wrong == "" {
			w.renew(o)
		}
	}
}

// judge compares a reply with the truth.
func (w *modelWorld) judge(o *modelTab, word string, asked time.Time) {
	h, r, now, right := w.truth, o.response, w.clock.Now(), false
	switch word {
	case "changed":
		if right = h.mayBeChanged(r, asked, now); right && r.epoch == h.epoch {
			o.mayRenew++
		}
	case "unchanged":
		right = h.mayBeUnchanged(r, asked)
	case "":
		right = h.mayBeSilent(r, o.frame.state(), now)
	}
	if word != o.replied || !right {
		w.note("  %s: %q of the answer for %q in epoch %d", o.rp.name, word, r.user, r.epoch)
	}
	o.replied = word
	if !right {
		w.wrong = fmt.Sprintf("%s gets %q for its answer for %q in epoch %d; now is epoch %d, of %q (the server says %s, the cookie agrees: %v)",
			o.rp.name, word, r.user, r.epoch, h.epoch, h.active, o.frame.ask(o.answer), w.browser.matches(o.answer))
	}
}

// renew is what an RP does on `changed`: it asks with prompt=none, in a hidden frame, and goes on with the same user or not at all.
func (w *modelWorld) renew(o *modelTab) {
	o.renewed++
	if allowed := w.truth.epoch - o.opened + min(o.mayRenew, len(users)+w.lifetimes); o.renewed > allowed {
		w.wrong = fmt.Sprintf("%s asks for the %d. time, for %d changes", o.rp.name, o.renewed, allowed)
		return
	}
	before, opened := o.response, o.opened
	again := w.silently(o.rp, o.idToken)
	w.tabs = slices.DeleteFunc(w.tabs, func(other *modelTab) bool { return other == o || other == again })
	if again.response.user != before.user || !slices.Contains(w.truth.responses, again.response) {
		return // signed out there
	}
	if again.answer.values.Has("code") {
		w.redeem(again, again.rp.name)
	}
	again.opened, again.renewed, again.mayRenew = opened, o.renewed, o.mayRenew
	w.tabs = append(w.tabs, again)
}

// silently asks with prompt=none in a hidden frame.
func (w *modelWorld) silently(rp relyingParty, hint string) *modelTab {
	frame := w.browser.frame()
	if w.truth.hidden {
		frame = w.browser.partitioned()
	}
	query := url.Values{"prompt": {"none"}}
	if hint != "" {
		query.Set("id_token_hint", hint)
	}
	o := w.request(frame, rp, query)
	w.arrived(o, true)
	return o
}
